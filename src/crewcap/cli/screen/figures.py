"""How things are shown, each in one way: money in bars, time, tokens, shares; and what a terminal can take.

Everything here returns text. `Screen` knows how wide the terminal is, whether it takes colour, redrawing and letters
beyond ASCII; `fit` and `wrap` count columns as a terminal does, where a wide letter takes two.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

from crewcap.core.money import Money
from crewcap.core.report import filled

Colour = Literal["green", "yellow", "red", "dim", "bold"]
"""Green only for a passed check, yellow for waiting, red for money or safety."""

INDENT = 12  # columns before what a row of the head or of the last block says
NARROW = 60  # below this many columns everything is said shorter
PIPED_COLUMNS = 80
_CODES = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}


def bar(part: Money | int, whole: Money | int, width: int = 20) -> str:
    """`[##..................]`, in ASCII everywhere: a part that is not nothing shows."""
    cells = filled(_number(part), _number(whole), width)
    return f"[{'#' * cells}{'.' * (width - cells)}]"


def percent(part: Money | int, whole: Money | int) -> str:
    """`8 %`, `0.4 %`: never zero for what is not nothing, never 100 for what is not whole."""
    done, all_ = _number(part), _number(whole)
    if all_ <= 0 or done == 0:
        return "0 %" if done == 0 else "100 %"
    tenths = max(1, done * 1_000 // all_)
    return f"{tenths / 10:.1f} %" if tenths < 10 else f"{tenths // 10} %"


def nearest(part: Money | int, whole: Money | int) -> str:
    """The nearest percent, of what is compared and not of what is used up; half less what rounding took is `50 %`."""
    done, all_ = _number(part), _number(whole)
    if not 0 < all_ <= 100 * done:
        return percent(part, whole)
    rounded = (200 * done + all_) // (2 * all_)
    return f"{rounded if done >= all_ else min(99, rounded)} %"


def duration(seconds: float) -> str:
    """A clock that runs: `0:02`, `22:40`, `1:02:03`."""
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3_600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """A stretch of time as a setting says it: `45m`, `1h30m`, `90s`."""
    whole = max(0, int(seconds))
    parts = ((whole // 3_600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def count(number: int) -> str:
    """A number of tokens: `850`, `6.2k`, `41k`, `1.2M`."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            tenths = number * 10 // unit
            return f"{tenths // 10}.{tenths % 10}{name}" if tenths < 100 else f"{tenths // 10}{name}"
    return str(number)


def many(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def columns_of(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return sum(_columns(letter) for letter in text)


def fit(text: str, columns: int) -> str:
    """A text cut to so many columns, with a mark where it was cut."""
    if columns_of(text) <= columns:
        return text
    kept, used = [], 0
    mark = "..." if columns > 6 else ""
    for letter in text:
        if used + _columns(letter) > columns - len(mark):
            break
        kept.append(letter)
        used += _columns(letter)
    return "".join(kept) + mark


def wrap(text: str, columns: int, *, indent: str = "") -> list[str]:
    """A text in lines of at most so many columns, broken between words; a word that is too long is cut."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else (indent if lines else "") + word
        if line and columns_of(longer) > columns:
            lines.append(line)
            longer = indent + word
        line = fit(longer, columns)
    return [*lines, line] if line else lines


def fold(line: str, columns: int) -> list[str]:
    """A line as it is, or broken before a word, with the rest below what the line says."""
    parts = []
    while columns_of(line) > columns:
        place = line.rfind(" ", INDENT, max(0, len(fit(line, columns)) - 2))
        if place <= INDENT or not line[:place].strip():
            break
        parts.append(line[:place].rstrip())
        line = " " * INDENT + line[place:].lstrip()
    return [*parts, fit(line, columns)]


def pad(text: str, columns: int) -> str:
    """A text with blanks behind it, up to so many columns."""
    return text + " " * max(0, columns - columns_of(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the place can take that we write to."""

    columns: int = PIPED_COLUMNS
    rows: int = 0  # 0 = there is no end to them
    is_terminal: bool = False  # redrawn, and people are looking
    has_colour: bool = False
    is_unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Screen:
        """A stream and its environment: NO_COLOR, TERM, COLUMNS, the encoding."""
        is_tty = _is_tty(stream)
        dumb = environ.get("TERM", "") in {"", "dumb"}
        encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").replace("_", "")
        return cls(
            columns=_width(stream, environ) if is_tty else _said(environ) or PIPED_COLUMNS,
            rows=_height(stream) if is_tty else 0,
            is_terminal=is_tty and not dumb,
            has_colour=is_tty and not dumb and not environ.get("NO_COLOR"),
            is_unicode=encoding.startswith("utf"),
        )

    def paint(self, text: str, colour: Colour | None) -> str:
        """A text in a colour, where there are colours."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour and self.has_colour and text else text

    def shown(self, text: str) -> str:
        """A text in the letters that can be shown."""
        return text if self.is_unicode else text.encode("ascii", "replace").decode()

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Lines that are not wider than the terminal; a pipe has no width, it takes what comes."""
        shown = [self.shown(line).rstrip() for line in lines]
        return [part for line in shown for part in fold(line, self.columns)] if self.is_terminal else shown


def _number(amount: Money | int) -> int:
    return amount.nano if isinstance(amount, Money) else amount


def _columns(letter: str) -> int:
    """Columns of one letter: none for what combines, two for wide ones."""
    if unicodedata.combining(letter) or unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _is_tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _said(environ: Mapping[str, str]) -> int:
    """$COLUMNS, if it is a number that makes sense."""
    word = environ.get("COLUMNS", "")
    return min(int(word), 1_000) if word.isascii() and word.isdigit() and int(word) >= 10 else 0


def _width(stream: TextIO, environ: Mapping[str, str]) -> int:
    if said := _said(environ):
        return said
    try:
        return os.get_terminal_size(stream.fileno()).columns or PIPED_COLUMNS
    except (OSError, ValueError):
        return PIPED_COLUMNS


def _height(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).lines
    except (OSError, ValueError):
        return 0
