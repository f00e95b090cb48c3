"""`crewcap audit`: from the provider's raw usage to the cost that is shown, line by line."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.audit_rows import Audited, as_object, details, summary
from crewcap.cli.money.books import Books
from crewcap.cli.runs.view import find_one
from crewcap.cli.screen import csv_cells
from crewcap.cli.screen.figures import Screen, many, wrap
from crewcap.core.audit import Bill, bill
from crewcap.core.budget import HoldId, Scope
from crewcap.core.cards import settled_at
from crewcap.core.harmless import one_line
from crewcap.core.money import Money, total
from crewcap.core.pricing import Modifiers, RateCard, UnknownPrice, Usage
from crewcap.errors import UsageError
from crewcap.stores import Entry, Movement

_DIFFERS = 1  # exit status: the answer is no
_CSV = ("number", "hold", "at", "model", "kind", "count", "unit_usd", "usd")


@click.command(epilog="Example: crewcap audit fix-login.1 --request 3")
@click.argument("run", default="")
@click.option("--request", "number", type=click.IntRange(min=1), help="One request, by its number; all its lines.")
@click.option("--csv", "as_csv", is_flag=True, help="Every line of every request as CSV.")
@common
@with_call
def audit(call: Call, /, *, run: str, number: int | None, as_csv: bool) -> None:
    """Compute a run's cost again from what the provider said, and compare it with the ledger.

    RUN is a run's name, or a key: key:ID. Exit status 1 where a number differs.
    """
    title, scope = _asked(call, run)
    audited = look(Books(call=call), scope)
    if number is not None and number > len(audited):
        raise UsageError(f"{title} has {many(len(audited), 'request')}", help=f"crewcap audit {run}".rstrip())
    shown = audited[number - 1 : number] if number else audited
    if call.as_json:
        call.emit(_object(call, scope, audited, shown))
    elif as_csv:
        _csv(call, shown)
    else:
        columns = Screen.of(sys.stdout, call.environ).columns
        call.out("\n".join(_lines(call, title, scope, audited, number, columns)))
    if any(each.is_equal is False for each in audited) or not _agrees(call, scope, audited):
        click.get_current_context().exit(_DIFFERS)


def _asked(call: Call, text: str) -> tuple[str, Scope]:
    if text.startswith("key:"):
        keys = () if call.app.is_new else call.app.ledger.keys()
        if not any(key.id == text.removeprefix("key:") for key in keys):
            raise UsageError(f"there is no key {text.removeprefix('key:')[:60]!r}", help="crewcap key list")
        return text, Scope(text)
    run = find_one(call, text)
    return f"{run.name}  {one_line(run.issue.title)}", Scope(f"run:{run.id}")


def look(books: Books, scope: Scope) -> list[Audited]:
    """Every request of a scope, computed again."""
    app = books.call.app
    steps: dict[HoldId, list[Movement]] = {}
    for step in app.reports.movements(scope):
        steps.setdefault(step.hold, []).append(step)
    entries = app.reports.pages(scope=scope)
    return [_audited(books, number, entry, steps.get(entry.hold, [])) for number, entry in enumerate(entries, start=1)]


def _audited(books: Books, number: int, entry: Entry, movements: Sequence[Movement]) -> Audited:
    """From raw usage to a bill."""
    prices = books.prices_of(entry.provider)
    moments = (entry.booked_at, entry.closed_at, books.call.clock())
    card, modifiers = settled_at(books.call.app.book, prices, entry.model, entry.card, moments, kept=books.kept)
    if card is None or not (entry.spent - entry.corrected or entry.notional):
        made = None
    else:
        made = _bill(books, entry, card, modifiers, moments)
    return Audited(
        number=number,
        entry=entry,
        bill=made,
        is_card=modifiers is not None,
        modifiers=modifiers,
        movements=movements,
    )


def _bill(
    books: Books, entry: Entry, card: RateCard, modifiers: Modifiers | None, moments: Sequence[datetime]
) -> Bill | None:
    """Each sampling on a card of its own where the provider listed several; what the ledger booked, else."""
    from crewcap.wire.again import reread  # noqa: PLC0415  (msgspec is not for --help)

    dialect, _ = books.billed_as(entry.provider)
    reading = reread(dialect, entry.raw_usage, model=entry.model, booked=entry.usage)
    if reading is None or entry.kind != "settled":
        return bill([(card, entry.usage)])
    if not reading.samplings:
        return bill([(card, replace(entry.usage, apart=reading.usage.apart if reading.usage else {}))])
    parts: list[tuple[RateCard, Usage]] = []
    for model, usage in reading.samplings:
        try:
            price_of = books.call.app.book.card
            its = price_of(books.prices_of(entry.provider), model, at=moments[0], modifiers=modifiers or Modifiers())
        except UnknownPrice:
            return None
        parts.append((its, usage))
    return bill(parts)


def _agrees(call: Call, scope: Scope, audited: Sequence[Audited]) -> bool:
    """Whether the requests add up to the ledger's own number."""
    books = call.app.ledger.totals(scope)
    return _cost(audited) == books.spent + books.uncertain


def _cost(audited: Sequence[Audited]) -> Money:
    return total(each.entry.spent + each.entry.uncertain for each in audited)


def _lines(
    call: Call, title: str, scope: Scope, audited: Sequence[Audited], number: int | None, columns: int
) -> Iterator[str]:
    yield title
    if number:
        yield from details(audited[number - 1], len(audited), columns)
        return
    if not audited:
        yield "no request of it is closed"
        return
    yield from summary(audited, columns)
    books = call.app.ledger.totals(scope)
    known = [each for each in audited if each.is_equal is not None]
    same = sum(each.is_equal is True for each in known)
    said = [f"computed again: {same:,} of {len(known):,} equal to the last unit"]
    if len(known) < len(audited):
        said.append(f"{len(audited) - len(known):,} cost nothing, are uncertain, or have a price list that is gone")
    yield from wrap("; ".join(said), columns, indent="  ")
    verdict = "equal" if _agrees(call, scope, audited) else "DIFFERS"
    cost = books.spent + books.uncertain
    yield from wrap(f"sum of requests {_cost(audited).exact()}, ledger {cost.exact()}: {verdict}", columns, indent="  ")
    if books.uncertain:
        yield from wrap(f"{books.uncertain.exact()} of it is uncertain: no answer told its cost", columns, indent="  ")
    if books.held:
        yield from wrap(f"{books.held.exact()} more is reserved for requests in flight", columns, indent="  ")


def _csv(call: Call, shown: Sequence[Audited]) -> None:
    text = io.StringIO()
    csv_cells.write(text, _CSV, _rows(shown))
    call.out(text.getvalue(), end="")


def _rows(shown: Sequence[Audited]) -> Iterator[Sequence[str]]:
    """A row for each line of a bill, and one for its rounding; those of a request add up to what was booked."""
    from crewcap.cli.money.report_rows import exact_pico  # noqa: PLC0415

    for each in shown:
        entry = each.entry
        head = (str(each.number), entry.hold, entry.booked_at.isoformat(), entry.model)
        items = each.bill.items if each.bill is not None and each.is_equal else ()
        for item in items:
            yield (*head, item.kind, str(item.count), exact_pico(item.unit_pico), exact_pico(item.pico))
        first = entry.spent - entry.corrected
        rest = (first + entry.notional).nano * 1_000 - sum(item.pico for item in items)
        if rest:
            yield (*head, "rounding up" if items else "not told apart", "", "", exact_pico(rest))
        if entry.corrected:
            yield (*head, "corrected by other prices", "", "", exact_pico(entry.corrected.nano * 1_000))
        if entry.uncertain:
            yield (*head, "uncertain", "", "", exact_pico(entry.uncertain.nano * 1_000))


def _object(call: Call, scope: Scope, audited: Sequence[Audited], shown: Sequence[Audited]) -> dict[str, object]:
    books = call.app.ledger.totals(scope)
    return {
        "scope": scope,
        "requests": [as_object(each) for each in shown],
        "sum_usd": _cost(audited).exact(),
        "ledger_usd": (books.spent + books.uncertain).exact(),
        "uncertain_usd": books.uncertain.exact(),
        "held_usd": books.held.exact(),
        "equal": _agrees(call, scope, audited),
    }
