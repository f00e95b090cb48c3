"""Plots as SVG, for a page: no script, no font, no picture from elsewhere; colours come from the page's style.

Everything is placed in whole units of a view box, so a drawing is as large as the place that it is put into. Each has a
title and a description for those who do not see it, and every mark tells its own number when it is pointed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from crewcap.core.money import NANO_PER_USD, Money
from crewcap.core.plots import Bars, Course, Month, shortened

WIDTH, HEIGHT = 880, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 30
MOST_SERIES = 5
_MOST_LABELS = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """Where things stand: money from bottom to top, places from left to right."""

    places: int
    most: int  # nano-dollars at the top line

    @classmethod
    def of(cls, places: int, highest: int) -> Frame:
        """With a top line at a round number above everything."""
        step = nice_step(max(1, highest))
        return cls(places, -(-max(1, highest) // step) * step)

    @property
    def ticks(self) -> tuple[int, ...]:
        """The amounts with a line of their own."""
        step = nice_step(self.most)
        return tuple(range(0, self.most + 1, step))

    def y(self, nano: int) -> float:
        """How far from the top."""
        return round(HEIGHT - _BOTTOM - nano * (HEIGHT - _TOP - _BOTTOM) / self.most, 2)

    def x(self, place: float) -> float:
        """How far from the left, of a point among points."""
        return round(_LEFT + place * (WIDTH - _LEFT - _RIGHT) / max(1, self.places - 1), 2)


def nice_step(most: int) -> int:
    """A round step that has at most six of itself in this: 1, 2, 2.5 or 5 times a power of ten."""
    power = 1
    while True:
        for tenths in (10, 20, 25, 50):
            if tenths * power >= 10 and most * 10 <= 6 * tenths * power:
                return tenths * power // 10
        power *= 10


def tick(nano: int) -> str:
    """A round amount in few letters: `$0`, `$2.50`, `$0.025`, `$1,200`."""
    whole, part = divmod(nano, NANO_PER_USD)
    digits = f"{part:09d}".rstrip("0")
    return f"${whole:,}" + (f".{digits.ljust(2, '0')}" if digits else "")


def bars(shown: Bars, *, title: str) -> str:
    """A bar for each label, its parts upon each other."""
    shown = shortened(shown, MOST_SERIES)
    frame = Frame.of(len(shown.bars), max((bar.whole.nano for bar in shown.bars), default=0))
    room = (WIDTH - _LEFT - _RIGHT) / max(1, len(shown.bars))
    width = round(min(46.0, room * 0.72), 2)
    marks = []
    for place, bar in enumerate(shown.bars):
        left = round(_LEFT + room * place + (room - width) / 2, 2)
        so_far = 0
        for series, part in enumerate(bar.parts):
            if part.nano > 0:
                bottom, top = frame.y(so_far), frame.y(so_far + part.nano)
                so_far += part.nano
                height = round(max(0.75, bottom - top - (1 if so_far < bar.whole.nano else 0)), 2)
                said = escape(f"{bar.label}: {shown.series[series]} {part.show()} of {bar.whole.show()}")
                marks.append(
                    f'<rect class="s{series}" x="{left}" y="{top}" width="{width}" height="{height}" rx="1.5">'
                    f"<title>{said}</title></rect>"
                )
    centres = [(_LEFT + room * (place + 0.5), bar.label) for place, bar in enumerate(shown.bars)]
    return _svg(title, _told(shown), [*_grid(frame), *marks, *_labels(_few(centres))])


def month(shown: Month, *, title: str) -> str:
    """Spent so far as a line, its limit, and the fan of where it may end."""
    fan = shown.fan
    highest = [*shown.spent, *((shown.limit,) if shown.limit else ()), *(fan.high if fan else ())]
    frame = Frame.of(len(shown.days), max((amount.nano for amount in highest), default=0))
    marks = list(_grid(frame))
    if fan:
        first = len(shown.days) - len(fan.days)
        marks.append(_area(_points(frame, fan.low, first), _points(frame, fan.high, first)))
        marks.append(_line(_points(frame, fan.middle, first), "middle"))
    if shown.limit:
        marks += _rule(frame, shown.limit, "limit")
    spent = _points(frame, shown.spent)
    marks += [_line(spent, "line"), *_end(spent, shown.spent)]
    marks += _dots(spent, [f"{day:%Y-%m-%d}: {amount.show()}" for day, amount in zip(shown.days, shown.spent)])  # noqa: B905  (days to come have none)
    days = [(frame.x(place), f"{day:%d}") for place, day in enumerate(shown.days)]
    told = f"{shown.spent[-1].show() if shown.spent else '$0'} by the last day"
    return _svg(title, told, [*marks, *_labels(_few(days))])


def course(shown: Course, *, title: str) -> str:
    """A run's cost after each turn, over the band of earlier runs."""
    cap = shown.cap if shown.shows_cap else None
    turns = max(len(shown.costs), len(shown.high), 2)
    highest = max((amount.nano for amount in (*shown.costs, *shown.high, *((cap,) if cap else ()))), default=0)
    frame = Frame.of(turns, highest)
    marks = list(_grid(frame))
    if shown.high:
        marks.append(_area(_points(frame, shown.low), _points(frame, shown.high)))
        marks.append(_line(_points(frame, shown.middle), "middle"))
    if cap:
        marks += _rule(frame, cap, "cap")
    mine = _points(frame, shown.costs)
    marks += [_line(mine, "line"), *_end(mine, shown.costs)]
    marks += _dots(mine, [f"turn {turn}: {amount.show()}" for turn, amount in enumerate(shown.costs, start=1)])
    places = [(frame.x(place), str(place + 1)) for place in range(turns)]
    told = f"{shown.costs[-1].show() if shown.costs else '$0'} after {len(shown.costs)} turns"
    return _svg(title, told, [*marks, *_labels(_few(places))])


def _points(frame: Frame, amounts: Sequence[Money], first: int = 0) -> list[tuple[float, float]]:
    return [(frame.x(first + place), frame.y(amount.nano)) for place, amount in enumerate(amounts)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x} {y}" for x, y in points)


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<path class="{kind}" d="{_path(points)}"/>' if points else ""


def _area(low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]]) -> str:
    return f'<path class="band" d="{_path([*high, *reversed(low)])} Z"/>'


def _rule(frame: Frame, amount: Money, name: str) -> Iterator[str]:
    """A level line with its name."""
    y = frame.y(amount.nano)
    yield f'<path class="rule" d="M{_LEFT} {y} H{WIDTH - _RIGHT}"/>'
    yield f'<text class="said" x="{_LEFT + 6}" y="{y - 6}">{escape(name)} {escape(amount.show())}</text>'


def _end(points: Sequence[tuple[float, float]], amounts: Sequence[Money]) -> Iterator[str]:
    """The last point with its number, on the side where there is room."""
    if points:
        x, y = points[-1]
        side = "end" if x > WIDTH / 2 else "start"
        shift = -10 if side == "end" else 10
        yield f'<circle class="end" cx="{x}" cy="{y}" r="4.5"/>'
        yield (
            f'<text class="now" x="{round(x + shift, 2)}" y="{round(max(y - 10, 14), 2)}"'
            f' text-anchor="{side}">{escape(amounts[-1].show())}</text>'
        )


def _dots(points: Sequence[tuple[float, float]], words: Sequence[str]) -> Iterator[str]:
    """Places to point at."""
    for (x, y), said in zip(points, words, strict=True):
        yield f'<circle class="hit" cx="{x}" cy="{y}" r="9"><title>{escape(said)}</title></circle>'


def _grid(frame: Frame) -> Iterator[str]:
    for nano in frame.ticks:
        y = frame.y(nano)
        yield f'<path class="{"base" if nano == 0 else "grid"}" d="M{_LEFT} {y} H{WIDTH - _RIGHT}"/>'
        yield f'<text class="axis" x="{_LEFT - 8}" y="{round(y + 4, 2)}" text-anchor="end">{tick(nano)}</text>'


def _few(places: Sequence[tuple[float, str]]) -> Sequence[tuple[float, str]]:
    """As many labels as can be read."""
    step = -(-len(places) // _MOST_LABELS) or 1
    return places[::step]


def _labels(places: Sequence[tuple[float, str]]) -> Iterator[str]:
    for x, label in places:
        short = label if len(label) <= 14 else f"{label[:13]}…"
        yield f'<text class="axis" x="{round(x, 2)}" y="{HEIGHT - 8}" text-anchor="middle">{escape(short)}</text>'


def _told(shown: Bars) -> str:
    """A drawing of bars in words."""
    whole = Money(sum(bar.whole.nano for bar in shown.bars))
    highest = max(shown.bars, key=lambda bar: bar.whole.nano, default=None)
    most = f"; the most {highest.label} with {highest.whole.show()}" if highest else ""
    return f"{len(shown.bars)} bars, {whole.show()} together{most}"


def _svg(title: str, told: str, marks: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return f"{head}<title>{escape(title)}</title><desc>{escape(told)}</desc>{''.join(marks)}</svg>"
