"""From the books to plots: spend by day and model, the month so far, a run beside those before it; and their words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from crewcap.cli.money.books import IN_TIME, Books, Dimension
from crewcap.cli.screen import charts
from crewcap.cli.screen.figures import Screen, many, wrap
from crewcap.cli.screen.period import Period
from crewcap.core.budget import ALL, Scope, span_of
from crewcap.core.bundles import Line
from crewcap.core.harmless import one_line
from crewcap.core.money import ZERO, Money
from crewcap.core.plots import Bars, Course, Fan, Month, Stack, course, running
from crewcap.core.runs import OPEN_STATES, Run

if TYPE_CHECKING:
    from crewcap.cli.money.report import Report

_MOST_BARS = 62  # of a calendar: two months of days
_EARLIER = 60  # runs that make a band
_LOOKED_AT = 400  # runs among which they are looked for


def bars_of(by: Sequence[Dimension], lines: Sequence[Line]) -> Bars:
    """A report's rows as bars; a second dimension is what each is made of, its dearest member first."""
    sums: dict[str, int] = {}
    for line in lines:
        name = line.keys[1] if len(by) > 1 else "cost"
        sums[name] = sums.get(name, 0) + line.cost.nano
    series = tuple(sorted(sums, key=lambda name: -sums[name])) or ("cost",)
    stacks = []
    for label in dict.fromkeys(line.keys[0] for line in lines):
        mine = [line for line in lines if line.keys[0] == label]
        amounts = {line.keys[1] if len(by) > 1 else "cost": line.cost for line in mine}
        stacks.append(Stack(label=one_line(label), parts=tuple(amounts.get(name, ZERO) for name in series)))
    kept = stacks[-_MOST_BARS:] if by[0] in IN_TIME else stacks
    return Bars(series=tuple(map(one_line, series)), bars=tuple(kept))


def every_day(bars: Bars, *, until: date) -> Bars:
    """Days without spend between those with some: a plot that leaves them out lies about the pace."""
    if not bars.bars:
        return bars
    known = {stack.label: stack for stack in bars.bars}
    first, last = date.fromisoformat(bars.bars[0].label), max(until, date.fromisoformat(bars.bars[-1].label))
    days = [f"{first + timedelta(days=number):%Y-%m-%d}" for number in range((last - first).days + 1)][-_MOST_BARS:]
    nothing = tuple(ZERO for _ in bars.series)
    return Bars(series=bars.series, bars=tuple(known.get(day, Stack(label=day, parts=nothing)) for day in days))


def report_bars(made: Report, *, now: datetime) -> Bars:
    """The bars of a report, without holes in the calendar."""
    bars = bars_of(made.by, made.lines)
    if made.by[0] != "day":
        return bars
    end = made.period.until - timedelta(microseconds=1) if made.period.until else now
    return every_day(bars, until=min(end, now).astimezone(made.period.zone).date())


def report_plot(made: Report, screen: Screen, *, now: datetime) -> Iterator[str]:
    """A report in the terminal."""
    yield from wrap(f"{' by '.join(made.by)}, {made.period.words()}", screen.columns, indent="  ")
    if not made.lines:
        yield "nothing was spent"
        return
    yield from charts.bars(report_bars(made, now=now), screen)


def month_of(books: Books, zone: ZoneInfo, now: datetime, *, fan: Fan | None = None) -> Month:
    """The month so far, and its limit where `all` has one."""
    span = span_of("month", now, zone, zone.key)
    period = Period(since=span.starts_at, until=None, zone=zone)
    first = span.starts_at.astimezone(zone).date()
    after = span.ends_at.astimezone(zone).date()
    days = tuple(first + timedelta(days=number) for number in range((after - first).days))
    spent = {line.keys[0]: line.cost for line in books.lines(("day",), period)}
    today = now.astimezone(zone).date()
    amounts = [spent.get(f"{day:%Y-%m-%d}", ZERO) for day in days if day <= today]
    return Month(label=f"{first:%Y-%m}", days=days, spent=running(amounts), limit=_limit(books), fan=fan)


def _limit(books: Books) -> Money | None:
    if books.is_new:
        return None
    balances = books.call.app.ledger.all_balances()
    return next((each.limit for each in balances if each.scope == ALL and each.window == "month"), None)


def month_plot(shown: Month, screen: Screen) -> Iterator[str]:
    """The month in the terminal."""
    so_far = shown.spent[-1] if shown.spent else ZERO
    of_limit = f" of {shown.limit.show()}" if shown.limit else ""
    fan = shown.fan
    ends = (
        f", probably {fan.middle[-1].show()} ({fan.low[-1].show()} to {fan.high[-1].show()}) at its end" if fan else ""
    )
    yield from wrap(f"{shown.label}  {so_far.show()}{of_limit}{ends}", screen.columns, indent="  ")
    yield from charts.month(shown, screen)


def course_of(books: Books, run: Run) -> Course:
    """A run beside earlier ones of its workflow: those of the same repository where it has none."""
    app = books.call.app
    earlier = [
        each
        for each in app.runs.list(limit=_LOOKED_AT)
        if each.id != run.id and each.repo == run.repo and each.created_at < run.created_at and _is_over(each)
    ]
    costs = [_costs(books, each) for each in earlier[:_EARLIER]]
    return course(f"{run.name}  {one_line(run.issue.title)}", _costs(books, run), costs, cap=run.cap or None)


def _is_over(run: Run) -> bool:
    return run.state not in OPEN_STATES


def _costs(books: Books, run: Run) -> list[Money]:
    """What each turn cost, in the order in which they were held."""
    return [each.spent + each.uncertain for each in books.call.app.ledger.entries(scope=Scope(f"run:{run.id}"))]


def course_words(shown: Course) -> str:
    """`fix-login.1: $0.25 after 8 turns; 31 earlier runs: $0.10 to $0.90`."""
    cost = shown.costs[-1].show() if shown.costs else ZERO.show()
    said = f"{shown.label}: {cost} after {many(len(shown.costs), 'turn')}"
    if not shown.high:
        return f"{said}; too few earlier runs for a band ({shown.runs})"
    low, high = shown.low[-1].show(), shown.high[-1].show()
    return f"{said}; eight of ten of {shown.runs} earlier runs here ended between {low} and {high}"


def course_plot(shown: Course, screen: Screen) -> Iterator[str]:
    """A run's course in the terminal."""
    yield from wrap(course_words(shown), screen.columns, indent="  ")
    if shown.costs:
        yield from charts.course(shown, screen)
    marks = ["* this run" if not screen.is_unicode else "line this run"]
    if shown.high:
        marks.append(f"{'shade' if screen.is_unicode else ':'} eight of ten earlier runs")
    if shown.cap and shown.shows_cap:
        marks.append(f"dashes cap {shown.cap.show()}")
    yield from wrap(", ".join(marks), screen.columns, indent="  ")
