"""`crewcap price reprice`: what past requests would have cost by today's prices, and the corrections that book it."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.books import Books
from crewcap.cli.screen import csv_cells
from crewcap.cli.screen.amounts import table
from crewcap.cli.screen.figures import NARROW, Screen, many, wrap
from crewcap.cli.screen.period import Period, period_options, read_period
from crewcap.core import reprice
from crewcap.core.budget import Balance
from crewcap.core.cards import Kept
from crewcap.core.harmless import one_line
from crewcap.core.money import Money
from crewcap.core.reprice import LEFT_OUT, LeftOut, Line, Repriced
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.prices.again import Again

_AT_ONCE = 500  # corrections in one transaction: no request waits long for it
_TOLD_EVERY = 20_000  # requests
_LONGEST_WORD = 500
_CSV = ("day", "model", "requests", "booked_usd", "today_usd", "difference_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Every request of a period at today's prices."""

    requests: int
    differ: Sequence[Repriced]
    left_out: Counter[LeftOut]
    lines: Sequence[Line]


@click.command(
    "reprice",
    epilog="Example: crewcap price reprice --since 2026-11-01 --apply --word 'ana: new price of Opus from 1 Nov'",
)
@period_options
@click.option("--model", default="", help="Only requests to models whose name has this in it.")
@click.option("--apply", "is_real", is_flag=True, help="Book the differences; without it they are only shown.")
@click.option("--word", default="", metavar="TEXT", help="Who says so, and why; kept with every correction.")
@click.option("--csv", "as_csv", is_flag=True, help="One row a day and model as CSV.")
@common
@with_call
def reprice_(
    call: Call, *, since: str, until: str, tz: str, model: str, is_real: bool, word: str, as_csv: bool
) -> None:
    """Price closed requests again by today's table, each at its own date, and show what differs.

    With --apply each difference is booked as a correction beside its request, in the request's own windows; entries
    stay as they are, and doing it again books nothing. What a plan paid, what is uncertain and what was closed by word
    is left alone.
    """
    word = _checked(word, is_real=is_real)
    period = read_period(since, until, tz, now=call.clock(), default_zone=call.app.served.timezone)
    found, again = _look(call, period, model)
    booked = _book(call, found, again, word) if is_real else None
    over = _over(call) if booked else []
    if call.as_json:
        call.emit(_object(call, found, booked, over))
    elif as_csv:
        text = io.StringIO()
        csv_cells.write(text, _CSV, (_cells(line) for line in found.lines))
        call.out(text.getvalue(), end="")
    else:
        columns = Screen.of(sys.stdout, call.environ).columns
        call.out("\n".join(_words(call, found, booked, over, columns)))


def _checked(word: str, *, is_real: bool) -> str:
    said = one_line(word, limit=_LONGEST_WORD).strip()
    if is_real and not said:
        raise UsageError("a correction needs a word", help="say who and why: --word 'ana: new price of Opus'")
    return said


def _look(call: Call, period: Period, model: str) -> tuple[_Found, Again]:
    """Price every request; how far it is is told where there are many."""
    from crewcap.prices.again import Again  # noqa: PLC0415  (msgspec is not for --help)

    books = Books(call=call)
    again = Again(book=call.app.book, kept=books.kept, billed_as=books.billed_as)
    differ: list[Repriced] = []
    left_out: Counter[LeftOut] = Counter()
    requests = 0
    entries = () if books.is_new else call.app.reports.pages(since=period.since, until=period.until)
    for entry in entries:
        if model not in entry.model:
            continue
        requests += 1
        if requests % _TOLD_EVERY == 0:
            call.note(f"{requests:,} requests priced again, {len(differ):,} differ")
        priced = again.price(entry)
        if isinstance(priced, Repriced):
            differ += [priced] if priced.difference else []
        elif priced is not None:
            left_out[priced] += 1
    lines = reprice.lines(differ, zone=period.zone)
    return _Found(requests=requests, differ=differ, left_out=left_out, lines=lines), again


def _book(call: Call, found: _Found, again: Again, word: str) -> int:
    """Book every difference; how many were. The cards that they rest on are kept first."""
    made = reprice.corrections(found.differ, word=word, table=call.app.book.hash)
    if not made:
        return 0
    now = call.clock()
    used = {each.card for each in made}
    cards = [
        Kept(card=card, modifiers=modifiers, book=call.app.book.hash, at=now)
        for id_, (card, modifiers) in again.met.items()
        if id_ in used
    ]
    call.app.price_notes.keep(cards)
    booked = 0
    for start in range(0, len(made), _AT_ONCE):
        booked += sum(call.app.ledger.correct_many(made[start : start + _AT_ONCE]))
        if len(made) > _AT_ONCE:
            call.note(f"{booked:,} of {len(made):,} corrections booked")
    return booked


def _over(call: Call) -> list[Balance]:
    """Limits that are exceeded now: corrections are booked whatever they say."""
    return [each for each in call.app.ledger.all_balances() if each.spent + each.uncertain > each.limit]


def _words(call: Call, found: _Found, booked: int | None, over: Sequence[Balance], columns: int) -> Iterator[str]:
    if found.lines:
        yield from _table(found.lines, columns)
    else:
        yield f"no difference: {many(found.requests, 'request')} cost the same by today's table {call.app.book.hash}"
    for reason, number in found.left_out.most_common():
        yield from wrap(f"left as they are: {number:,}, {LEFT_OUT[reason]}", columns, indent="  ")
    if booked is not None:
        yield from _booked(found, booked, over, columns)
    elif found.lines:
        yield from wrap("nothing is booked yet; to book it: the same with --apply --word TEXT", columns, indent="  ")


def _booked(found: _Found, booked: int, over: Sequence[Balance], columns: int) -> Iterator[str]:
    if found.differ:
        yield from wrap(f"booked: {many(booked, 'correction')}", columns, indent="  ")
    if booked < len(found.differ):
        missed = len(found.differ) - booked
        said = f"{missed:,} changed while this ran and were left alone; run it again"
        yield from wrap(said, columns, indent="  ")
    for each in over:
        said = f"over its limit now: {each.scope} ({each.label}), {_spent(each)} of {each.limit.show()}"
        yield from wrap(said, columns, indent="  ")


def _table(lines: Sequence[Line], columns: int) -> Iterator[str]:
    head = ("day", "model", "requests", "booked", "today", "difference")
    keep = range(len(head)) if columns >= NARROW else (0, 5)
    rows = [head]
    for line in (*lines, reprice.whole(lines)):
        name = one_line(line.model, limit=40)
        amounts = (line.before.show(), line.after.show(), _signed(line.difference))
        rows.append((line.day, name, f"{line.requests:,}", *amounts))
    kept = [tuple(row[place] for place in keep) for row in rows]
    right = frozenset(place for place, name in enumerate(kept[0]) if name not in {"day", "model"})
    yield from table(kept, right=right)


def _spent(balance: Balance) -> str:
    return (balance.spent + balance.uncertain).show()


def _signed(amount: Money) -> str:
    return f"+{amount.show()}" if amount > Money(0) else amount.show()


def _cells(line: Line) -> tuple[str, ...]:
    amounts = (line.before.exact(), line.after.exact(), line.difference.exact())
    return (line.day, line.model, str(line.requests), *amounts)


def _object(call: Call, found: _Found, booked: int | None, over: Sequence[Balance]) -> dict[str, object]:
    whole = reprice.whole(found.lines)
    return {
        "table": call.app.book.hash,
        "requests": found.requests,
        "differ": len(found.differ),
        "booked_usd": whole.before.exact(),
        "today_usd": whole.after.exact(),
        "difference_usd": whole.difference.exact(),
        "lines": [
            dict(zip(_CSV, (line.day, line.model, line.requests, *_cells(line)[3:]), strict=True))
            for line in found.lines
        ],
        "left_out": [
            {"reason": reason, "requests": number, "text": LEFT_OUT[reason]}
            for reason, number in found.left_out.most_common()
        ],
        "corrections": booked,
        "over_limit": [
            {
                "scope": each.scope,
                "window": each.label,
                "spent_usd": (each.spent + each.uncertain).exact(),
                "limit_usd": each.limit.exact(),
            }
            for each in over
        ],
    }
