"""`crewcap usage show`: what was imported, grouped; nothing is read but the index."""

from __future__ import annotations

import csv
import io
import sys
from typing import get_args

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.past import zone_of
from crewcap.cli.screen.figures import Screen
from crewcap.cli.usage.commands import usage
from crewcap.cli.usage.importing import KINDS, Desk, agents_option, row_object, since_option, start_of, table_of
from crewcap.core.usage_rows import IN_TIME, Grouping, UsageRow, rows, whole
from crewcap.errors import UsageError

_BY = get_args(Grouping)


@usage.command(epilog="Example: crewcap usage show --by repo --since 30d")
@click.option("--by", type=click.Choice(_BY), default="month", show_default=True, help="What a row is.")
@since_option
@agents_option
@click.option("--tz", metavar="ZONE", help="Whose midnights count; the settings' time zone by default.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
@common
@with_call
def show(call: Call, *, by: Grouping, since: str | None, agents: tuple[str, ...], tz: str | None, as_csv: bool) -> None:
    """Imported usage by day, week, month, model, repository, session or agent, at list prices.

    A cost with `?` has messages that nobody priced; they are in no sum.
    """
    if as_csv and call.as_json:
        raise UsageError("--csv and --json cannot both be", help="leave one of them out")
    zone = zone_of(call, tz)
    start = start_of(call, since, tz)
    desk = Desk(call)
    desk.price_again()
    sums = desk.sums(since=start, agents=agents, by_time=by in IN_TIME, by_session=by == "session")
    found = rows(sums, by=by, zone=zone)
    if call.as_json:
        call.emit([row_object(row, by) for row in found])
    elif as_csv:
        call.out(_csv(found, by), end="")
    elif not found:
        call.out("nothing imported yet: crewcap usage import")
    else:
        screen = Screen.of(sys.stdout, call.environ)
        call.out("\n".join(screen.lines(table_of(by, [*found, whole(sums)], screen))))


def _csv(found: tuple[UsageRow, ...], by: Grouping) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([by, "messages", "unpriced_messages", "cost_usd", *KINDS])
    for row in found:
        counts = [getattr(row.usage, kind) for kind in KINDS]
        writer.writerow([_harmless(row.key), row.messages, row.unpriced, row.cost.exact(), *counts])
    return text.getvalue()


def _harmless(text: str) -> str:
    """A cell that a spreadsheet takes for text: names come from transcripts."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
