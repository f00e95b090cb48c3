"""The line on which each key of a TOML text stands, so that a message can name it.

The standard parser gives values without places. This walk is run over a text that the parser has accepted (or refused
for a key that is said twice), so it may trust the grammar: it follows tables, keys, arrays and inline tables, and skips
everything else.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import NamedTuple

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_GAP = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRINGS = (
    re.compile(r'"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*"{3,5}'),
    re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}"),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_ESCAPES = re.compile(r'\\(["\\])')


class Repeat(NamedTuple):
    """A key that is said twice."""

    path: Path
    first: int
    again: int


def lines(text: str) -> Mapping[Path, int]:
    """Where each key is first said: `("defaults", "cap")` -> 7. Elements of lists are counted from 0."""
    return _Walk(text).run()


def repeat(text: str) -> Repeat | None:
    """The first key that is said a second time; the parser refuses such a text, but not always says where."""
    walk = _Walk(text)
    walk.run()
    return walk.repeat


def dotted(path: Path) -> str:
    """A key as people write it: `repos."acme/shop".check`, `routes[0].cap`."""
    text = ""
    for name in path:
        if isinstance(name, int):
            text += f"[{name}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None
            text += ("." if text else "") + (name if bare else json.dumps(name, ensure_ascii=False))
    return text


def nearest_line(places: Mapping[Path, int], path: Path) -> int | None:
    """The line of a key, or of the table around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return None


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.ends = [match.start() for match in re.finditer("\n", self.text)]
        self.places: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        self.said: dict[Path, int] = {}
        self.repeat: Repeat | None = None

    def run(self) -> Mapping[Path, int]:
        table: Path = ()
        self._skip(_GAP)
        while self.at < len(self.text):
            start = self.at
            if self.text[self.at] == "[":
                table = self._header()
                self._note(table, start)
            else:
                self._pair(table)
            self._skip(_GAP)
            if self.at == start:  # not TOML after all: give up quietly, a message without a line is still one
                break
        return self.places

    def _header(self) -> Path:
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        path = self._resolve(self._key())
        self.at += 2 if many else 1
        if not many:
            return path
        index = self.counts.get(path, -1) + 1
        self.counts[path] = index
        return (*path, index)

    def _resolve(self, names: Path) -> Path:
        """`[a.b]` under an array of tables `[[a]]` means its last element."""
        path: Path = ()
        for position, name in enumerate(names):
            path = (*path, name)
            if path in self.counts and position < len(names) - 1:
                path = (*path, self.counts[path])
        return path

    def _pair(self, table: Path) -> None:
        start = self.at
        path = (*table, *self._key())
        self._note(path, start)
        self._skip(_BLANK)
        self.at += 1  # the equals sign
        self._value(path)

    def _key(self) -> Path:
        names: list[str | int] = []
        while True:
            self._skip(_BLANK)
            names.append(self._name())
            self._skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(names)
            self.at += 1

    def _name(self) -> str:
        for pattern in (*_STRINGS[2:], _BARE):
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                raw = match[0]
                return _ESCAPES.sub(r"\1", raw[1:-1]) if raw[0] in "\"'" else raw
        return ""

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._inside("]", path, lambda index: self._value((*path, index)))
        elif opening == "{":
            self._inside("}", path, lambda _: self._pair(path))
        else:
            self._scalar()

    def _inside(self, closing: str, path: Path, read: Callable[[int], None]) -> None:
        self.at += 1
        index = 0
        self._skip(_GAP)
        while self.at < len(self.text) and not self.text.startswith(closing, self.at):
            start = self.at
            if closing == "]":
                self.places.setdefault((*path, index), self._line(start))
            read(index)
            index += 1
            self._skip(_GAP)
            if self.at == start:
                return
        self.at += 1

    def _scalar(self) -> None:
        for pattern in _STRINGS:
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                return
        self._skip(_SCALAR)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def _note(self, path: Path, start: int) -> None:
        line = self._line(start)
        if path in self.said and self.repeat is None:
            self.repeat = Repeat(path, self.said[path], line)
        self.said.setdefault(path, line)
        for length in range(1, len(path) + 1):
            self.places.setdefault(path[:length], line)

    def _line(self, position: int) -> int:
        return bisect_left(self.ends, position) + 1
