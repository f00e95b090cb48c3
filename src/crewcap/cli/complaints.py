"""What went wrong, as people and machines read it: one line that says it, one that helps, an exit status.

Every error of a command comes through here, ours, click's and the system's, so that all of them look alike. Saying it
never fails: the place where it would be read may be closed or full, and the exit status is there all the same.
"""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

import click

from crewcap.errors import CrewcapError, InternalError, LedgerError, UnsafeEnvironment, UsageError

_MAKE_ROOM = "make room, and start the same command again: what was done is kept"
_ANOTHER_HOME = "make it yours (chown), or name another state directory: --home DIR, or export CREWCAP_HOME=DIR"
_HELP = {  # what can be done about what the system refuses
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EROFS: "name a state directory that can be written: --home DIR, or export CREWCAP_HOME=DIR",
    errno.EACCES: _ANOTHER_HOME,
    errno.EPERM: _ANOTHER_HOME,
    errno.EMFILE: "let this shell open more files: ulimit -n 4096",
}
_MEANT = re.compile(r"[;.] \(?(?=[Dd]id you mean)")
_NEGATIVE = re.compile(r"-\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One error, ready to be said."""

    code: str
    message: str
    help: str
    status: int

    def say(self, *, as_json: bool) -> None:
        """Two lines on stderr for people, one object on stdout for machines; where that cannot be, for people."""
        if as_json:
            said = {"error": {"code": self.code, "message": self.message, "help": self.help}}
            if _write(sys.stdout, [json.dumps(said, ensure_ascii=False)]):
                return
        _write(sys.stderr, [f"error: {self.message}", *([f"help: {self.help}"] if self.help else [])])


def complaint(error: Exception) -> Complaint:
    """The words for an error."""
    match error:
        case CrewcapError():
            return Complaint(code=error.code, message=error.message, help=error.help, status=error.exit_status)
        case click.ClickException():
            message, help_ = _of_click(error)
            return Complaint(code=UsageError.code, message=message, help=help_, status=UsageError.exit_status)
        case _ if type(error).__module__ == "sqlite3":  # not imported for every `--help`
            return complaint(LedgerError(f"the books cannot be read or written: {error}", help="crewcap ledger verify"))
        case OSError():
            help_ = _HELP.get(error.errno or 0, "crewcap doctor looks at everything that crewcap needs")
            return Complaint(
                code=UnsafeEnvironment.code, message=_of_system(error), help=help_, status=UnsafeEnvironment.exit_status
            )
        case UnicodeEncodeError():
            message = f"{error.object[:60]!r} is not UTF-8 text"
            return Complaint(
                code=UsageError.code, message=message, help="name it in UTF-8", status=UsageError.exit_status
            )
    return Complaint(
        code=InternalError.code,
        message=f"this is a defect of ours: {type(error).__name__}: {_one_line(str(error))}",
        help="CREWCAP_DEBUG=1 shows where; please report it",
        status=InternalError.exit_status,
    )


def _of_system(error: OSError) -> str:
    """`/srv/state: read-only file system`, without numbers."""
    what = _small(error.strerror or _one_line(str(error)))
    return f"{error.filename}: {what}" if error.filename else what


def _of_click(error: click.ClickException) -> tuple[str, str]:
    """Click's words as ours: `--cap: '5,00' is not an amount of money`, and below it what was probably meant."""
    ctx = getattr(error, "ctx", None)
    where = f"{ctx.command_path} --help" if ctx is not None else "crewcap --help"
    text = _one_line(error.format_message())
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        text = f"{_name(error)}: {_small(_one_line(error.message))}"
        text, _, better = text.partition("; ")
        return text.removesuffix(".").replace("valid integer range", "whole number of at least 1"), better or where
    if isinstance(error, click.NoSuchOption) and _NEGATIVE.match(error.option_name):
        return (
            f"{error.option_name} stands where an amount belongs, and reads like an option",
            "write an amount from 0 up",
        )
    message, *meant = _MEANT.split(_small(text), maxsplit=1)
    return message.removesuffix("."), _small(meant[0].removesuffix(")")) if meant else where


def _name(error: click.BadParameter) -> str:
    """`--cap`, or an argument as the usage line calls it."""
    if isinstance(error.param_hint, str):
        return error.param_hint
    if isinstance(error.param, click.Option):
        return error.param.opts[0]
    return error.param.make_metavar(error.ctx) if error.param is not None and error.ctx is not None else "argument"


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write(stream: TextIO | None, lines: Iterable[str]) -> bool:
    """Whether it could be written."""
    with suppress(OSError, ValueError):
        print(*lines, sep="\n", file=stream, flush=True)
        return stream is not None
    return False
