"""What crewcap's services write to their logs: one event a line, for people or for machines, and never a secret.

    2026-11-22T09:30:00.123Z warning provider anthropic takes requests again
    {"time":"2026-11-22T09:30:00.123Z","level":"warning","event":"provider anthropic takes requests again",...}

Nothing that is written here has passed by its author alone: every text goes through `redact`, with the secrets that
the process knows (`Secrets`) and with everything that looks like a key. Bodies of requests and answers are never
logged at any level, by anybody; a traceback shows where it was, and an error's own words only where they are ours or
the system's: a library may quote what a client sent.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from crewcap.core.harmless import plain, redact
from crewcap.errors import CrewcapError

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
FORMATS: tuple[Format, ...] = ("text", "json")
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")

LONGEST = 4_000  # letters of one text
MOST_CAUSES = 5
_ASIDE_BYTES = 1_000_000
_QUOTABLE = (CrewcapError, OSError)
_QUOTABLE_MODULES = frozenset({"sqlite3"})
_OURS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(slots=True)
class Secrets:
    """The secrets that this process knows, for as long as it does; shown to nobody."""

    _known: set[str] = field(default_factory=set, repr=False)

    def know(self, found: Iterable[str]) -> None:
        """From now on these are taken out of every line; those that were known before too, they may still be valid."""
        self._known.update(secret for secret in found if secret)

    def without(self, text: str) -> str:
        """A text without them, and without what looks like a key."""
        return redact(text, self._known)


class _Lines(logging.Formatter):
    """Records as lines."""

    def __init__(self, style: Format, secrets: Secrets) -> None:
        super().__init__()
        self._as = style
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever was in the record."""
        said = self._said(record)
        if self._as == "json":
            return json.dumps(said, ensure_ascii=True, separators=(",", ":"))
        rest = "".join(f" {name}={value}" for name, value in said.items() if name not in {"time", "level", "event"})
        return " ".join(f"{said['time']} {said['level']} {said['event']}{rest}".splitlines())

    def _said(self, record: logging.LogRecord) -> dict[str, Any]:
        """Time, level, event, where it is from, and the fields that were given with `extra`."""
        at = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "event": self._clean(record.getMessage()),
        }
        if self._as == "json":
            said |= {"logger": record.name, "pid": record.process}
        said |= {name: self._value(value) for name, value in vars(record).items() if name not in _OURS}
        if record.exc_info:
            said["trace"] = self._clean(_trace(record.exc_info[1]))
        return said

    def _value(self, value: object) -> object:
        """Numbers stay numbers; whatever else there is becomes a text that was looked through."""
        return value if value is None or isinstance(value, (bool, int, float)) else self._clean(str(value))

    def _clean(self, text: str) -> str:
        """Redacted before it is cut: half of a secret looks like nothing, and tells half of it."""
        clean = plain(self._secrets.without(text))
        return clean if len(clean) <= LONGEST else f"{clean[:LONGEST]}..."


def _trace(error: BaseException | None) -> str:
    """What went wrong and where, the cause first."""
    told: list[str] = []
    while error is not None and len(told) < MOST_CAUSES:
        frames = "".join(traceback.format_tb(error.__traceback__))
        said = f": {error}" if isinstance(error, _QUOTABLE) or type(error).__module__ in _QUOTABLE_MODULES else ""
        told.append(f"{frames}{type(error).__qualname__}{said}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(reversed(told))


def set_up(
    style: Format,
    level: Level,
    *,
    secrets: Secrets,
    stream: TextIO | LogFile | None = None,
    also: LogFile | None = None,
) -> None:
    """Send every logger's records to one place, on stderr unless said otherwise; done anew, the old place is left."""
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    for place in (stream or sys.stderr, *((also,) if also is not None else ())):
        handler = logging.StreamHandler(place)
        handler.setFormatter(_Lines(style, secrets))
        root.addHandler(handler)
    root.setLevel(level.upper())


class LogFile(io.TextIOBase):
    """A log that several processes write to, put aside when it has become too large: `serve.log`, `serve.log.1`, ...

    Every line is one write at the file's end. Whoever finds the file too large, or put aside by another, takes the lock
    beside it and looks again. A line that cannot be written, because the disk is full, is lost and counted: a log must
    never end what it tells of.
    """

    def __init__(self, path: Path, *, most_bytes: int, kept: int) -> None:
        super().__init__()
        self._path, self._most_bytes, self._kept = path, most_bytes, kept
        self._file = -1
        self._lost = 0

    def writable(self) -> bool:
        """Whether it can be written."""
        return True

    def write(self, text: str) -> int:
        """Append it; how many letters that were."""
        lost = f"({self._lost} lines could not be written)\n" if self._lost else ""
        try:
            self._be_open()
            os.write(self._file, (lost + text).encode("utf-8", "replace"))
        except OSError:
            self._lost += 1
        else:
            self._lost = 0
        return len(text)

    def close(self) -> None:
        """Let go of it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def _be_open(self) -> None:
        """At the file that bears the name now, which has room."""
        if self._file < 0 or not self._is_current():
            self._open()
        if os.fstat(self._file).st_size < self._most_bytes:
            return
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_current():  # else another has put it aside meanwhile
                self._put_aside()
        finally:
            os.close(lock)
        self._open()

    def _is_current(self) -> bool:
        try:
            named = self._path.stat()
        except OSError:
            return False
        ours = os.fstat(self._file)
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file = opened

    def _put_aside(self) -> None:
        """The oldest goes, and every other one moves on by one."""
        for number in range(self._kept, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            younger = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            if younger.exists():
                younger.replace(older)


def aside(folder: Path) -> None:
    """For a command at somebody's screen: what its parts note goes to `commands.log`, never between its own lines."""
    if not logging.getLogger().handlers:  # else somebody has said where it goes
        place = LogFile(folder / "commands.log", most_bytes=_ASIDE_BYTES, kept=1)
        set_up("text", "warning", secrets=Secrets(), stream=place)


def cut(path: Path, *, most_bytes: int) -> bool:
    """Put the content of a log aside that somebody else holds open to append to, and go on from nothing."""
    try:
        if path.is_symlink() or path.stat().st_size <= most_bytes:
            return False
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
    except OSError:
        return False
    return True
