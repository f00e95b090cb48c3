"""The head of an issue file: a few keys between `---` (simple `key: value` lines) or `+++` (TOML).

    ---
    title: Login fails when the e-mail has capitals
    labels: [bug, chore]
    cap: 2.50            # may only lower
    author: ana
    ---

Only what crewcap uses is read strictly. A key that it does not know is kept and named in a note; a line that is
neither is an error, because it could have been a cap.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crewcap.core.harmless import one_line
from crewcap.core.money import Money, MoneyError
from crewcap.errors import UsageError

KNOWN = ("title", "labels", "cap", "author")

_KEY = re.compile(r"(?P<key>[A-Za-z][\w .-]*?)[ \t]*:(?:[ \t]+(?P<value>.*))?$")
_ITEM = re.compile(r"[ \t]*-[ \t]+(?P<value>.*)$")
_LONGEST_LINE = 1_000
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_DOUBLE = re.compile(r'"(?P<inside>(?:[^"\\]|\\.)*)"')
_SINGLE = re.compile(r"'(?P<inside>(?:[^']|'')*)'")
_ESCAPE = re.compile(r"\\(?:x(?P<x>[0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|(?P<letter>.))")
_ESCAPES = dict(zip('"\\/ \t0abtnvfre_NLP', '"\\/ \t\0\a\b\t\n\v\f\r\x1b\xa0\x85\u2028\u2029', strict=True))
_LAST_LETTER = 0x10FFFF

Value = str | int | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the head of an issue says."""

    title: str = ""
    labels: tuple[str, ...] = ()
    cap: Money | None = None
    author: str = ""
    notes: tuple[str, ...] = ()


def split(text: str, *, where: str) -> tuple[Head, str]:
    """The head and the rest. A text without a head is all rest; a rule of dashes at its top is no head."""
    first, _, rest = text.partition("\n")
    fence = first.rstrip()
    if fence not in {"---", "+++"}:
        return Head(), text
    inside, found, body = _until(rest, fence)
    if not found:
        return Head(notes=(f"its first line is {fence} but no second one follows; all of it was read as text",)), text
    if fence == "---" and not any(_KEY.match(line) for line in inside):
        return Head(), text
    values = _toml(inside, where=where) if fence == "+++" else _lines(inside, where=where)
    return _head(values, where=where), body


def _until(text: str, fence: str) -> tuple[list[str], bool, str]:
    """The lines before the next fence, whether there is one, and the text behind it."""
    lines = text.split("\n")
    ends = [number for number, line in enumerate(lines) if line.rstrip() == fence]
    if not ends:
        return [], False, text
    return lines[: ends[0]], True, "\n".join(lines[ends[0] + 1 :])


def _head(values: Mapping[str, Value], *, where: str) -> Head:
    unknown = [key for key in values if key not in KNOWN]
    notes = [f"its head says {one_line(key, limit=40)!r}, which crewcap does not use" for key in unknown]
    labels = values.get("labels", ())
    return Head(
        title=one_line(str(values.get("title", "")), limit=200),
        labels=tuple(one_line(label, limit=60) for label in _words(labels) if label.strip()),
        cap=_cap(values["cap"], where=where) if "cap" in values else None,
        author=one_line(str(values.get("author", "")), limit=100),
        notes=tuple(notes),
    )


def _cap(value: Value, *, where: str) -> Money:
    try:
        cap = Money.usd(value.removeprefix("$") if isinstance(value, str) else value)  # type: ignore[arg-type]  # a tuple is refused by it
    except MoneyError as error:
        raise UsageError(f"{where}: cap: {error}", help="write it as cap: 2.50") from None
    if not cap:
        raise UsageError(f"{where}: a cap of 0 refuses every request", help="leave cap out, or give what it may cost")
    return cap


def _words(value: Value) -> Sequence[str]:
    """Labels as a list, or as one line with commas."""
    return value if isinstance(value, tuple) else str(value).split(",")


def _toml(lines: Sequence[str], *, where: str) -> dict[str, Value]:
    try:
        read = tomllib.loads("\n".join(lines), parse_float=str)  # as written: 1e3 is no way to write money
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: its head is not TOML: {error}", help='write title = "..." and cap = 2.50') from None
    return {key: _plain(value) for key, value in read.items()}


def _plain(value: object) -> Value:
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    return value if isinstance(value, (str, int)) else str(value)


def _lines(lines: Sequence[str], *, where: str) -> dict[str, Value]:
    """`key: value` lines; a list is in brackets or has one `- item` a line."""
    values: dict[str, Value] = {}
    key = ""
    for number, raw in enumerate(lines, start=2):
        line = raw.rstrip()
        if not line or line.lstrip().startswith("#"):
            continue
        if key and (item := _ITEM.match(line)):
            values[key] = (*_items(values[key]), _unquoted(item["value"]))
        elif not (key and key not in KNOWN and line[0] in " \t"):  # what is indented under a strange key is its own
            key, value = _pair(line, where=f"{where}:{number}")
            if key in values:
                raise UsageError(f"{where}:{number}: {key!r} is said twice", help="keep one of the two")
            values[key] = value
    return values


def _pair(line: str, *, where: str) -> tuple[str, Value]:
    if len(line) > _LONGEST_LINE:
        raise UsageError(
            f"{where}: {one_line(line, limit=40)!r} goes on for {len(line):,} letters; a line of the head has at most"
            f" {_LONGEST_LINE:,}",
            help="say it shorter, or below the head",
        )
    match = _KEY.match(line)
    if match is None:
        raise UsageError(
            f"{where}: {one_line(line, limit=40)!r} is not `key: value`",
            help=f"the head of an issue has lines such as `cap: 2.50`; crewcap reads {', '.join(KNOWN)}",
        )
    return match["key"].strip().lower(), _value(match["value"] or "")


def _items(value: Value) -> tuple[str, ...]:
    """What a list holds so far; a value on the key's own line gives way to the items below it."""
    return value if isinstance(value, tuple) else ()


def _value(text: str) -> Value:
    """A value in quotes, a list in brackets, or the rest of the line without its comment."""
    text = text.strip()
    bare = _COMMENT.sub("", text).strip()
    if bare.startswith("[") and bare.endswith("]"):
        return tuple(_unquoted(word) for word in bare[1:-1].split(",") if word.strip())
    return _unquoted(text)


def _unquoted(text: str) -> str:
    """What stands in quotes, by the rules of YAML; else the text without its comment."""
    text = text.strip()
    if found := _DOUBLE.match(text):
        return _ESCAPE.sub(_escaped, found["inside"])
    if found := _SINGLE.match(text):
        return found["inside"].replace("''", "'")
    return _COMMENT.sub("", text).strip()


def _escaped(found: re.Match[str]) -> str:
    """The letter that an escape in double quotes means; what means none stays as it is written."""
    if code := found["x"] or found["u"] or found["U"]:
        number = int(code, 16)
        return chr(number) if number <= _LAST_LETTER and not 0xD800 <= number < 0xE000 else found[0]
    return _ESCAPES.get(found["letter"], found[0])
