"""A TOML table that is read strictly: every value is taken once, by name, and what nobody took is refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from decimal import InvalidOperation
from typing import Any, TypeVar

from crewcap.errors import SettingsError

T = TypeVar("T")
D = TypeVar("D")


class Table:
    """One table of a file; `where` names it in messages, `name` without the line on which it happens to stand."""

    def __init__(
        self, values: Any, *, where: str, line: int = 0, lines: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        """`line`: where it begins, 0 = not known; `lines`: where the tables of its arrays begin."""
        if not isinstance(values, dict):
            raise SettingsError(f"{where} is not a table", help="write it as [name] or { key = value }")
        self._left: dict[str, Any] = dict(values)
        self._known: list[str] = []
        self.name = where
        self.where = f"{where} (line {line})" if line else where
        self.line = line
        self._lines = lines or {}

    def left(self) -> tuple[str, ...]:
        """Keys that nobody has taken yet."""
        return tuple(self._left)

    def need(self, key: str, read: Callable[[Any], T]) -> T:
        """A value that has to be there, read."""
        if key not in self._left:
            raise SettingsError(f"{self.where} lacks {key!r}", help=f"add {key} = ...")
        return self._read(key, read)

    def take(self, key: str, read: Callable[[Any], T], default: D) -> T | D:
        """A value that may be there, read; else the default."""
        if key in self._left:
            return self._read(key, read)
        self._known.append(key)
        return default

    def table(self, key: str) -> Table:
        """A table inside this one; empty where it is not there."""
        self._known.append(key)
        return Table(self._left.pop(key, {}), where=f"{self.where}, {key}")

    def tables(self, key: str) -> list[Table]:
        """Every table of an array."""
        self._known.append(key)
        found = self._left.pop(key, [])
        if not isinstance(found, list):
            raise SettingsError(f"{self.where}: {key} is one table", help=f"write [[{key}]], each is a line of its own")
        lines = self._lines.get(key) or [0] * len(found)
        return [
            Table(each, where=f"{self.where}, [[{key}]] {n}", line=line)
            for n, (each, line) in enumerate(zip(found, lines, strict=True), start=1)
        ]

    def finish(self) -> None:
        """Refuse what nobody took, and name the nearest key that somebody would have taken."""
        for key in self._left:
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(self._known)}"
            raise SettingsError(f"{self.where} has the unknown key {key!r}", help=hint)

    def _read(self, key: str, read: Callable[[Any], T]) -> T:
        self._known.append(key)
        value = self._left.pop(key)
        try:
            return read(value)
        except (ValueError, InvalidOperation) as error:
            reason = "is not a number" if isinstance(error, InvalidOperation) else str(error)
            raise SettingsError(f"{self.where}: {key} = {str(value)!r} {reason}", help=f"correct {key}") from error
