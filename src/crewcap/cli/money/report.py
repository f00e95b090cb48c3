"""`crewcap report`: what was spent, by anything."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.books import IN_TIME, Books, Dimension, DimensionType, makeup_of
from crewcap.cli.money.report_rows import (
    CSV_HEAD,
    STATES,
    as_object,
    csv_row,
    kinds_line,
    legend,
    makeup_line,
    makeup_object,
    markdown,
    table,
)
from crewcap.cli.prices.table import table_hash
from crewcap.cli.screen import csv_cells
from crewcap.cli.screen.figures import Screen, wrap
from crewcap.cli.screen.period import Period, period_options, read_period
from crewcap.core.bundles import Line, add_up, top
from crewcap.core.makeup import Makeup
from crewcap.errors import UsageError
from crewcap.stores import OTHERS

if TYPE_CHECKING:
    from crewcap.core.plots import Fan

_MOST_ROWS = 40  # that people are shown of what has no order in time, unless they ask for more


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a report shows."""

    by: tuple[Dimension, ...]
    period: Period
    lines: tuple[Line, ...]
    whole: Line
    makeup: Makeup
    book: str


@click.command(epilog="Example: crewcap report month --by model --since 2026-11")
@click.argument("dimension", type=DimensionType(), default="day")
@click.option("--by", "second", type=DimensionType(), help="A second dimension, within the first.")
@click.option("--top", "number", type=click.IntRange(min=1), help="The dearest so many; all others are one row.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
    help="How rows are written.",
)
@click.option("--csv", "as_csv", is_flag=True, help="The same as --format csv.")
@click.option("--plot", is_flag=True, help="As a plot, where there is one: by day, week, month or model.")
@click.option("--html", "page", metavar="FILE", help="Write a page with the plot and the table, for a browser.")
@period_options
@common
@with_call
def report(
    call: Call,
    /,
    *,
    dimension: Dimension,
    second: Dimension | None,
    number: int | None,
    form: str,
    as_csv: bool,
    plot: bool,
    page: str | None,
    **period: str,
) -> None:
    """Report spend by day, week, month, run, issue, repo, team, user, model, agent, workflow or phase.

    Rows of any report add up to the same total, to the last unit. A number without a letter is measured.
    """
    form = "csv" if as_csv else "json" if call.as_json else form
    by: tuple[Dimension, ...] = (dimension, *((second,) if second else ()))
    if len(set(by)) < len(by):
        raise UsageError(f"--by {second} is what the report is by already", help="name another one, or leave it out")
    made = make(Books(call=call), by, _period(call, **period), number=number or _fewer(by, form, plot=plot))
    if page:
        from crewcap.cli.screen.page import report_page  # noqa: PLC0415  (only who asks for a page)

        report_page(call, made, page, fan=_fan(call, by))
    elif plot:
        _plot(call, made)
    else:
        _say(call, made, form)


def make(books: Books, by: tuple[Dimension, ...], period: Period, *, number: int | None = None) -> Report:
    """Read the books and put the rows in order."""
    lines = books.lines(by, period, top=number)
    return Report(
        by=by,
        period=period,
        lines=lines if not number or any(line.keys[0] == OTHERS for line in lines) else top(lines, number),
        whole=add_up(lines),
        makeup=makeup_of(books.call, period=period),
        book=table_hash(books.call.app),
    )


def _period(call: Call, since: str, until: str, tz: str) -> Period:
    return read_period(since, until, tz, now=call.clock(), default_zone=call.app.settings.timezone)


def _plot(call: Call, made: Report) -> None:
    """In the terminal; by month, the month so far and where it may end stand first."""
    from crewcap.cli.money.plots import month_of, month_plot, report_plot  # noqa: PLC0415  (only who asks for a plot)

    screen = Screen.of(sys.stdout, call.environ)
    if fan := _fan(call, made.by):
        so_far = month_of(Books(call=call), made.period.zone, call.clock(), fan=fan)
        call.out("\n".join((*month_plot(so_far, screen), "")))
    call.out("\n".join(report_plot(made, screen, now=call.clock())))


def _fan(call: Call, by: Sequence[str]) -> Fan | None:
    """Where the month may end, for a report by month; none where nothing was paid for yet."""
    if by[0] != "month":
        return None
    from crewcap.cli.money.forecast import month_fan  # noqa: PLC0415  (only here)
    from crewcap.core.plots import Fan  # noqa: PLC0415

    drawn = month_fan(call)
    return Fan.of(drawn.band()) if drawn else None


def _fewer(by: Sequence[str], form: str, *, plot: bool) -> int | None:
    """A table for people ends somewhere; what machines read, and calendars, do not."""
    return _MOST_ROWS if form in {"table", "md"} and not plot and not IN_TIME & set(by) else None


def _say(call: Call, made: Report, form: str) -> None:
    if form == "json":
        call.emit(as_json(made))
    elif form == "csv":
        text = io.StringIO()
        csv_cells.write(text, (*made.by, *CSV_HEAD), ((*line.keys, *csv_row(line)) for line in made.lines))
        call.out(text.getvalue(), end="")
    elif form == "md":
        call.out("\n".join(markdown(made.lines, made.whole, by=made.by)))
    else:
        call.out("\n".join(in_words(made, Screen.of(sys.stdout, call.environ).columns)))


def as_json(made: Report) -> dict[str, object]:
    """The report for machines."""
    return {
        "by": list(made.by),
        "since": made.period.since.isoformat() if made.period.since else None,
        "until": made.period.until.isoformat() if made.period.until else None,
        "timezone": made.period.zone_name,
        "rows": [as_object(line, made.by) for line in made.lines],
        "total": as_object(made.whole, ()),
        "input_parts": makeup_object(made.makeup),
        "states": STATES,
        "price_table": made.book,
    }


def in_words(made: Report, columns: int) -> Iterator[str]:
    """The report for people."""
    head = f"{' by '.join(made.by)}, {made.period.words()}"
    yield from wrap(head, columns, indent="  ")
    if not made.lines:
        yield "nothing was spent"
        return
    rows = list(table(made.lines, made.whole, by=made.by, columns=columns))
    yield from rows
    below = [f"went for: {kinds_line(made.whole.costs)}"] if made.whole.spent else []
    if made.makeup.whole:
        below.append(f"prompts were, estimated: {makeup_line(made.makeup)}")
    below.append("; ".join((*legend("\n".join((*rows, *below)), made.whole), f"price table {made.book[:8]}")))
    for line in below:
        yield from wrap(line, columns, indent="  ")
