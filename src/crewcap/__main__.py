"""`crewcap`, and the one place where an error becomes a line and an exit status."""

from __future__ import annotations

import gc
import io
import os
import sys

import click

from crewcap.cli.complaints import complaint
from crewcap.cli.context import wants_json

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    _fill_closed_streams()
    _take_all_letters()
    status = call(sys.argv[1:])
    _flush()
    gc.freeze()  # what is left ends with the process: to look through it for cycles first is time wasted
    sys.exit(status)


def call(argv: list[str]) -> int:
    """Run one command; the exit status. Never a traceback, but for a defect of ours with CREWCAP_DEBUG set."""
    from crewcap.cli import root  # noqa: PLC0415  (an import error is an error like others)

    try:
        status = root.main(argv, prog_name="crewcap", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit:  # how click says that the reader left: there is nothing more to tell it
        return 0
    except Exception as error:
        if os.environ.get("CREWCAP_DEBUG"):
            raise
        said = complaint(error)
        said.say(as_json=wants_json(argv))
        return said.status
    return status if isinstance(status, int) else 0


def _fill_closed_streams() -> None:
    """A stream that our starter closed (`>&-`) goes to nobody, before a file of ours is given its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        nobody = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if nobody != number:
            os.dup2(nobody, number)
            os.close(nobody)
        os.set_inheritable(number, True)  # what we start has it as well
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _take_all_letters() -> None:
    """A letter that the terminal's encoding does not have is a question mark, and no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _flush() -> None:
    """What cannot be written any more is no complaint of the interpreter's."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
