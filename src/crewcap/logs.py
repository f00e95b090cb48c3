"""What crewcap's services write to their logs: one event a line, for people or for machines, and never a secret.

    2026-11-22T09:30:00.123Z warning provider anthropic takes requests again
    {"time":"2026-11-22T09:30:00.123Z","level":"warning","event":"provider anthropic takes requests again",...}

Nothing that is written here has passed by its author alone: every text goes through `redact`, with the secrets that
the process knows (`Secrets`) and with everything that looks like a key. Bodies of requests and answers are never
logged at any level, by anybody; a traceback shows where it was, and an error's own words only where they are ours or
the system's: a library may quote what a client sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from crewcap.core.harmless import plain, redact
from crewcap.errors import CrewcapError

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
FORMATS: tuple[Format, ...] = ("text", "json")
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")

LONGEST = 4_000  # letters of one text
MOST_CAUSES = 5
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


def set_up(style: Format, level: Level, *, secrets: Secrets, stream: TextIO | None = None) -> None:
    """Send every logger's records to one place, on stderr unless said otherwise; done anew, the old place is left."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(style, secrets))
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
