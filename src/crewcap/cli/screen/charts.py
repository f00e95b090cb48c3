"""Plots in a terminal: bars of blocks, lines of braille; plain letters where the locale has no others.

Every function returns lines that are no wider than they were told. A braille letter has two columns and four rows of
dots, so a plot of 60 by 12 letters has 120 by 48 of them. Colours say nothing that letters do not say as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from crewcap.cli.screen.figures import Screen, columns_of, fit, pad
from crewcap.core.money import Money
from crewcap.core.plots import Bars, Course, Month, shortened

_FILLS = ("█", "▓", "▒", "░", "▚")
_PLAIN_FILLS = ("#", "=", "+", "-", ".")
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_ROWS = 12
_LEAST = 8  # columns


def bars(shown: Bars, screen: Screen) -> Iterator[str]:
    """A bar for each label, of as many parts as it has series; the number stands behind it."""
    shown = shortened(shown, len(_FILLS))
    if not shown.bars:
        return
    fills = _FILLS if screen.is_unicode else _PLAIN_FILLS
    labels = max(columns_of(bar.label) for bar in shown.bars)
    amounts = max(columns_of(bar.whole.show()) for bar in shown.bars)
    label_room = max(4, min(labels, screen.columns // 3))
    room = max(4, screen.columns - label_room - amounts - 4)
    most = max(1, *(bar.whole.nano for bar in shown.bars))
    for bar in shown.bars:
        body = _body([part.nano for part in bar.parts], most, room, fills, screen)
        amount = bar.whole.show()
        yield f"{pad(fit(bar.label, label_room), label_room)}  {body}  {' ' * (amounts - columns_of(amount))}{amount}"
    if len(shown.series) > 1:
        yield from _legend([(fills[place], name) for place, name in enumerate(shown.series)], screen.columns)


def _body(parts: Sequence[int], most: int, room: int, fills: Sequence[str], screen: Screen) -> str:
    """Cells up to each part's end, so that the bar is as long as all of it; a single series ends in eighths."""
    is_fine = len(parts) == 1 and screen.is_unicode
    text, so_far, cells = "", 0, 0
    for place, part in enumerate(parts):
        so_far += part
        end = so_far * room // most
        text += fills[place] * (end - cells)
        cells = end
    if is_fine and (rest := so_far * room * 8 // most - cells * 8):
        text, cells = text + _EIGHTHS[rest], cells + 1
    if so_far and not text:
        text, cells = (_EIGHTHS[1] if screen.is_unicode else fills[0]), 1
    return text + " " * (room - cells)


def _legend(marks: Sequence[tuple[str, str]], columns: int) -> Iterator[str]:
    """What the fills mean, as many in a line as fit."""
    line = ""
    for mark, name in marks:
        word = f"{mark} {name}"
        if line and columns_of(line) + columns_of(word) + 3 > columns:
            yield line
            line = ""
        line = f"{line}   {word}" if line else fit(word, columns)
    yield line


@dataclass(slots=True)
class Canvas:
    """A field of dots, two by four a letter."""

    columns: int
    rows: int
    is_unicode: bool
    _dots: dict[tuple[int, int], int] = field(default_factory=dict)
    _letters: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Dots from left to right."""
        return self.columns * 2

    @property
    def height(self) -> int:
        """Dots from bottom to top."""
        return self.rows * 4

    def dot(self, x: int, y: int, mark: str) -> None:
        """One dot, from the lower left corner; `mark` is its letter where there is no braille."""
        if 0 <= x < self.width and 0 <= y < self.height:
            row, inner = divmod(self.height - 1 - y, 4)
            cell = (row, x // 2)
            self._dots[cell] = self._dots.get(cell, 0) | _DOTS[inner][x % 2]
            self._letters[cell] = mark

    def line(self, points: Sequence[tuple[int, int]], mark: str, *, every: int = 1) -> None:
        """Points joined; `every` leaves dots out."""
        for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
            steps = max(abs(x1 - x0), abs(y1 - y0), 1)
            for step in range(steps + 1):
                if step % every == 0:
                    self.dot(x0 + (x1 - x0) * step // steps, y0 + (y1 - y0) * step // steps, mark)

    def shade(self, low: Sequence[tuple[int, int]], high: Sequence[tuple[int, int]], mark: str) -> None:
        """The area between two lines, in a light pattern."""
        bottom, top = _columns(low), _columns(high)
        for x in sorted(bottom.keys() & top.keys()):
            for y in range(bottom[x], top[x] + 1):
                if (x + y) % 2 == 0 and x % 2 == 0:
                    self.dot(x, y, mark)

    def lines(self) -> Iterator[str]:
        """The rows, from the top."""
        for row in range(self.rows):
            cells = ((row, column) for column in range(self.columns))
            if self.is_unicode:
                yield "".join(chr(0x2800 + self._dots.get(cell, 0)) if cell in self._dots else " " for cell in cells)
            else:
                yield "".join(self._letters.get(cell, " ") for cell in cells)


def _columns(points: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The height of a line above each column of dots."""
    found = dict(points)
    for (x0, y0), (x1, y1) in pairwise(points):
        for x in range(x0, x1):
            found[x] = y0 + (y1 - y0) * (x - x0) // max(1, x1 - x0)
    return found


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value stands on a canvas: places from left to right, money from bottom to top."""

    places: int
    most: int  # nano-dollars
    canvas: Canvas

    def points(self, amounts: Sequence[Money], *, first: int = 0) -> list[tuple[int, int]]:
        """Amounts as dots, the first one at a place."""
        wide, high = self.canvas.width - 1, self.canvas.height - 1
        last = max(1, self.places - 1)
        return [
            ((first + place) * wide // last, amount.nano * high // max(1, self.most))
            for place, amount in enumerate(amounts)
        ]


def month(shown: Month, screen: Screen) -> Iterator[str]:
    """A month so far, with what is allowed in it and where it may end."""
    fan = shown.fan
    highest = [*shown.spent, *((shown.limit,) if shown.limit else ()), *(fan.high if fan else ())]
    most = max(1, *(amount.nano for amount in highest)) if highest else 1
    margin = columns_of(Money(most).show()) + 2
    canvas = Canvas(max(_LEAST, screen.columns - margin) - 1, _ROWS, screen.is_unicode)
    scale = Scale(len(shown.days), most, canvas)
    if fan:
        first = len(shown.days) - len(fan.days)
        canvas.shade(scale.points(fan.low, first=first), scale.points(fan.high, first=first), ":")
        canvas.line(scale.points(fan.middle, first=first), "o", every=3)
    if shown.limit:
        canvas.line(scale.points([shown.limit] * len(shown.days)), "-", every=4)
    canvas.line(scale.points(shown.spent), "*")
    yield from _framed(canvas, most, margin)
    first_day, last_day = f"{shown.days[0]:%d}", f"{shown.days[-1]:%d}"
    yield _axis(first_day, last_day, margin, canvas.columns)


def course(shown: Course, screen: Screen) -> Iterator[str]:
    """A run's cost after each turn, over the band of earlier runs."""
    cap = [shown.cap] if shown.cap and shown.shows_cap else []
    most = max(1, *(amount.nano for amount in (*shown.costs, *shown.high, *cap)))
    margin = columns_of(Money(most).show()) + 2
    canvas = Canvas(max(_LEAST, screen.columns - margin) - 1, _ROWS, screen.is_unicode)
    turns = max(len(shown.costs), len(shown.high), 2)
    scale = Scale(turns, most, canvas)
    if shown.high:
        canvas.shade(scale.points(shown.low), scale.points(shown.high), ":")
        canvas.line(scale.points(shown.middle), "o", every=4)
    for amount in cap:
        canvas.line(scale.points([amount] * turns), "-", every=4)
    canvas.line(scale.points(shown.costs), "*")
    yield from _framed(canvas, most, margin)
    yield _axis("1", f"turn {turns}", margin, canvas.columns)


def _framed(canvas: Canvas, most: int, margin: int) -> Iterator[str]:
    """With amounts at the left: the highest, the middle and nothing."""
    edge = "│" if canvas.is_unicode else "|"
    marks = {0: Money(most).show(), canvas.rows // 2: Money(most // 2).show(), canvas.rows - 1: "$0"}
    for row, text in enumerate(canvas.lines()):
        label = marks.get(row, "")
        yield f"{' ' * (margin - 1 - columns_of(label))}{label} {edge}{text}".rstrip()


def _axis(first: str, last: str, margin: int, columns: int) -> str:
    return " " * (margin + 1) + first + " " * max(1, columns - len(first) - len(last)) + last
