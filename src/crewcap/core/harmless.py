"""Text from strangers, made harmless to show and honest to pass on.

Three dangers, each with its function:

    a terminal obeys what it prints (colours, titles, clipboard)    -> `plain`, `one_line`
    an issue says things that its readers do not see                -> `reveal`
    what an agent writes goes where secrets must not                -> `redact`
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from crewcap.core.scrub import Scrubber

_ANSI = re.compile(
    r"\x9b[0-?]*[ -/]*[@-~]|\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff\U0001d173-\U0001d17a]"
)
# Joiners and variation selectors shape emoji and several scripts, one at a time after a visible letter; a row of them
# is smuggled text.
_JOINER = "\u200c\u200d\ufe00-\ufe0f"
_JOINERS = re.compile(f"(?<![^\\s{_JOINER}])[{_JOINER}]+|(?<=[{_JOINER}])[{_JOINER}]+")
_UNREADABLE = "\ufffd"  # what decoding makes of a byte that is none of a letter
_STRAY = 12  # so few, or one in so many letters, come of a text in another encoding
_NO_TEXT = "(bytes that are no text)"
_HIDDEN = (
    ("comment", re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)),
    ("comment", re.compile(r"^ {0,3}\[[^\]\n]*\]:[ \t]*(?:#|<>|<#>)[ \t]*[\"'(][^\n]*\n?", re.MULTILINE)),
    (
        "hidden element",
        re.compile(
            r"<(?P<tag>[a-z][a-z0-9]*)\b(?=[^<>]*(?:\shidden\b|display\s*:\s*none|visibility\s*:\s*hidden|"
            r"font-size\s*:\s*0|opacity\s*:\s*0(?![.\d])))[^<>]*>.*?(?:</(?P=tag)\s*>|\Z)",
            re.DOTALL | re.IGNORECASE,
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """A text without what its readers cannot see, and what was left out, in words."""

    text: str
    notes: tuple[str, ...] = ()


def plain(text: str) -> str:
    """Text without anything that a terminal would obey; line ends and tabs stay."""
    return _CONTROL.sub("", _ANSI.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def one_line(text: str, *, limit: int = 200) -> str:
    """A text as one line to show: nothing invisible, cut where it is too long."""
    line = " ".join(_INVISIBLE.sub("", plain(text)).split())
    return line if len(line) <= limit else f"{line[: max(0, limit - 3)]}..."


def last_lines(text: str, *, count: int = 20, limit: int = 160) -> str:
    """The end of what a program said, to show: lines of it, each cut where it is too long, its indentation kept.

    Of bytes that are no text only that is shown.
    """
    lines = [_INVISIBLE.sub("", line[: 8 * limit]).rstrip() for line in plain(text).strip().splitlines()[-count:]]
    unreadable = sum(line.count(_UNREADABLE) for line in lines)
    if unreadable > _STRAY and unreadable * _STRAY > sum(map(len, lines)):
        shown = (_NO_TEXT if _UNREADABLE in line else line for line in lines)
        lines = [line for line, _ in itertools.groupby(shown)]
    return "\n".join(line if len(line) <= limit else f"{line[: limit - 3]}..." for line in lines)


def reveal(text: str) -> Revealed:
    """Take out what people who read the rendered text would not see: comments, hidden elements, invisible letters."""
    notes = []
    for what, pattern in _HIDDEN:
        text, count = pattern.subn("", text)
        notes.append((what, count))
    text, invisible = _INVISIBLE.subn("", text)
    text, joined = _JOINERS.subn("", text)
    notes.append(("invisible letter", invisible + joined))
    counts: dict[str, int] = {}
    for what, count in notes:
        counts[what] = counts.get(what, 0) + count
    said = (f"{count} {what}{'s' if count > 1 else ''} left out" for what, count in counts.items() if count)
    return Revealed(text=text, notes=tuple(said))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without the secrets that we know, in the usual disguises, and without what looks like a key.

    This catches accidents and lazy tricks, and is no wall: see `scrub`.
    """
    return Scrubber({str(number): secret for number, secret in enumerate(secrets)}).text(text)
