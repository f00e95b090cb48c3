"""`crewcap`, and the one place where an error becomes a line and an exit status."""

from __future__ import annotations

import json
import os
import sys

import click

from crewcap.cli.context import wants_json
from crewcap.errors import CrewcapError

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    sys.exit(call(sys.argv[1:]))


def call(argv: list[str]) -> int:
    """Run one command; the exit status. Never a traceback, but for a defect of ours with CREWCAP_DEBUG set."""
    from crewcap.cli import root  # noqa: PLC0415  (an import error is an error like others)

    try:
        status = root.main(argv, prog_name="crewcap", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing more to say to it
        return 0
    except Exception as error:
        if os.environ.get("CREWCAP_DEBUG"):
            raise
        return _explain(error, as_json=wants_json(argv))
    return status if isinstance(status, int) else 0


def _explain(error: Exception, *, as_json: bool) -> int:
    """Say what went wrong in one line and return the exit status that belongs to it."""
    if isinstance(error, CrewcapError):
        return _say(error.code, error.message, error.help, as_json=as_json, status=error.exit_status)
    if isinstance(error, click.ClickException):
        return _say("usage", _sentence(error), _usage(error), as_json=as_json, status=2)
    if isinstance(error, OSError):
        return _say("system", str(error), "", as_json=as_json, status=4)
    what = f"this is a defect of ours: {type(error).__name__}: {error}"
    return _say("internal", what, "CREWCAP_DEBUG=1 shows where; please report it", as_json=as_json, status=1)


def _say(code: str, message: str, help_: str, *, as_json: bool, status: int) -> int:
    """Write an error where it is looked for: one line for people, one object for machines."""
    if as_json:
        click.echo(json.dumps({"error": {"code": code, "message": message, "help": help_}}, ensure_ascii=False))
    else:
        click.echo(f"error: {message}", err=True)
        if help_:
            click.echo(f"help: {help_}", err=True)
    return status


def _sentence(error: click.ClickException) -> str:
    """Click's own message, as one line that begins small."""
    text = " ".join(error.format_message().split())
    return text[:1].lower() + text[1:].removesuffix(".")


def _usage(error: click.ClickException) -> str:
    """Where to look next."""
    ctx = getattr(error, "ctx", None)
    return f"{ctx.command_path} --help" if ctx is not None else "crewcap --help"


if __name__ == "__main__":
    main()
