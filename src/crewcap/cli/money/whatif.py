"""`crewcap whatif`: what was paid for, done otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.past import entries_of, read_since, zone_of
from crewcap.cli.screen.amounts import folded, read_amount, room, table
from crewcap.cli.screen.figures import many, nearest
from crewcap.core import savings, whatif
from crewcap.core.bundles import at, quarter_of
from crewcap.core.money import Money, total
from crewcap.core.pricing import Modifiers, RateCard, UnknownPrice
from crewcap.core.report import Spending
from crewcap.core.whatif import Scenario
from crewcap.errors import UsageError
from crewcap.stores import Entry

if TYPE_CHECKING:
    from crewcap.prices import Book

_KNOWN = ("opus", "sonnet", "haiku")
_FEES = (("Pro", "20"), ("Max 5x", "100"), ("Max 20x", "200"))  # a month and person, as the vendor lists them
_PLANS = "that its limits of use do not bind, and one person"


@click.command("whatif", epilog="Example: crewcap whatif --model haiku --since 30d")
@click.option("--model", "models", multiple=True, metavar="M", help="Everything on this model.")
@click.option("--route", "routes", multiple=True, metavar="FROM=TO", help="Only one model's requests on another.")
@click.option("--batch", is_flag=True, help="Everything in batches.")
@click.option("--cache", "lifetime", type=click.Choice(["5m", "1h"]), help="Every cache kept for so long.")
@click.option("--no-fast", is_flag=True, help="Nothing in fast mode.")
@click.option("--fee", metavar="USD", help="Break-even of a plan with this fee a month.")
@click.option("--since", metavar="D", default="30d", show_default=True, help="How far back: 30d, or 2026-11-01.")
@common
@with_call
def whatif_(
    call: Call,
    *,
    models: tuple[str, ...],
    routes: tuple[str, ...],
    batch: bool,
    lifetime: savings.Lifetime | None,
    no_fast: bool,
    fee: str | None,
    since: str,
) -> None:
    """What the requests so far would have cost: on another model, in batches, with other caches, under a plan.

    With no option all of them. Each supposes the same tokens, which another model does not use: a bound to try out.
    """
    began = read_since(since, call.clock(), zone_of(call))
    entries = [entry for entry in entries_of(call, since=began) if not entry.notional]
    wanted = [*(_model(call, entries, name) for name in models), *(_route(call, entries, text) for text in routes)]
    wanted += [_batch(call, entries)] if batch else []
    wanted += [_lasting(_caches(call, entries), lifetime)] if lifetime else []
    wanted += [_standard(call, entries)] if no_fast else []
    fees = [("a plan", read_amount(fee, "--fee"))] if fee else []
    if not wanted and not fees:
        wanted, fees = list(_all(call, entries)), [(name, Money.usd(amount)) for name, amount in _FEES]
    paid = total(entry.spent + entry.uncertain for entry in entries)
    monthly = _monthly(paid, entries, began, call.clock())
    if call.as_json:
        call.emit(_object(paid, len(entries), wanted, fees, monthly))
        return
    for line in folded(_words(paid, entries, wanted, fees, monthly), room(call.environ)):
        call.out(line)


def _all(call: Call, entries: Sequence[Entry]) -> Iterator[Scenario]:
    """Everything that can be said without being asked; what would have changed nothing is left out."""
    found = [whatif.without_caching(entries, lambda entry: _card(call, entry)), _batch(call, entries)]
    caches = _caches(call, entries)
    found += [_standard(call, entries), _lasting(caches, "5m"), _lasting(caches, "1h")]
    for name in _KNOWN:
        try:
            found.append(_model(call, entries, name))
        except UsageError:
            continue
    yield from (each for each in found if each.difference)


def _model(call: Call, entries: Sequence[Entry], name: str) -> Scenario:
    """All of it on another model."""
    provider, model = _resolved(call, name)
    return whatif.reprice(f"everything on {model}", entries, lambda entry: _card(call, entry, provider, model))


def _route(call: Call, entries: Sequence[Entry], text: str) -> Scenario:
    """One model's requests on another; the others stay as they were."""
    here, _, there = text.partition("=")
    if not here or not there:
        raise UsageError(f"--route {text!r} is no FROM=TO", help="--route opus=sonnet")
    provider, model = _resolved(call, there)
    mine = [entry for entry in entries if here in entry.model]
    if not mine:
        known = ", ".join(sorted({entry.model for entry in entries})) or "none"
        raise UsageError(f"no request went to a model like {here!r}", help=f"models seen: {known}")
    return whatif.reprice(f"{here} on {model}", mine, lambda entry: _card(call, entry, provider, model))


def _batch(call: Call, entries: Sequence[Entry]) -> Scenario:
    return whatif.reprice(
        "everything in batches",
        entries,
        lambda entry: _card(call, entry, tier="batch"),
        supposes="the same tokens and cache hits, and that nobody waits for the answer",
    )


def _standard(call: Call, entries: Sequence[Entry]) -> Scenario:
    """Without fast mode."""
    fast = [entry for entry in entries if whatif.modifiers_of(entry.raw_usage).speed == "fast"]
    return whatif.reprice("no fast mode", fast, lambda entry: _card(call, entry, speed="standard"))


@dataclass(frozen=True, slots=True)
class _Caches:
    """What the caches of some requests did, and what these requests cost."""

    report: savings.CacheReport
    paid: Money
    requests: int
    unseen: int  # requests of which nothing is known of their conversation


def _caches(call: Call, entries: Sequence[Entry]) -> _Caches:
    """Those of all requests whose conversations the gateway saw: of runs, and of programs on keys of their own."""
    runs = dict.fromkeys(entry.run for entry in entries if entry.run)
    keys = dict.fromkeys(entry.key for entry in entries if not entry.run)
    turns = [turn for run in runs for turn in call.app.cache_turns.of_run(run)]
    turns += [turn for key in keys for turn in call.app.cache_turns.of_key(key)]
    told = {turn.hold for turn in turns}
    mine = [entry for entry in entries if entry.hold in told]
    report = savings.report(turns, mine, card_of=lambda entry: _card(call, entry))
    paid = total(entry.spent + entry.uncertain for entry in mine)
    return _Caches(report, paid, requests=len(mine), unseen=len(entries) - len(mine))


def _lasting(caches: _Caches, lifetime: savings.Lifetime) -> Scenario:
    """All caches for five minutes, or for an hour, by the pauses that there really were."""
    return Scenario(
        name={"5m": "5-minute caches", "1h": "1-hour caches"}[lifetime],
        cost=caches.paid + caches.report.difference(lifetime),
        instead_of=caches.paid,
        requests=caches.requests,
        supposes="the same tokens and the same pauses"
        + (f"; {many(caches.unseen, 'request')} not seen in a conversation, and left as paid" if caches.unseen else ""),
    )


def _resolved(call: Call, name: str) -> tuple[str, str]:
    """A model by its short or full name, at whichever provider lists it."""
    nearest = ""
    for provider in call.app.book.providers:
        try:
            return provider, call.app.book.resolve(provider, name, at=call.clock())
        except UnknownPrice as error:
            nearest = nearest or error.nearest
    hint = f"did you mean {nearest}?" if nearest else "crewcap price list shows every model that has one"
    raise UsageError(f"no price list knows a model {name!r}", help=hint)


def _card(
    call: Call, entry: Spending, provider: str = "", model: str = "", *, tier: str = "", speed: str = ""
) -> RateCard | None:
    """The card that a request would have met; None where nobody sells that."""
    said = whatif.modifiers_of(getattr(entry, "raw_usage", ""))
    modifiers = (
        Modifiers(speed=speed or said.speed, geo=said.geo, tier=tier or said.tier)
        if not model
        else Modifiers(geo=said.geo)
    )
    book = call.app.book
    return _card_at(book, provider or entry.provider, model or entry.model, quarter_of(entry.booked_at), modifiers)


@lru_cache(65_536)
def _card_at(book: Book, provider: str, model: str, quarter: int, modifiers: Modifiers) -> RateCard | None:
    """The card of a quarter of an hour: prices change at the beginning of one at the earliest."""
    try:
        return book.card(provider, model, at=at(quarter), modifiers=modifiers)
    except UnknownPrice:
        return None


def _monthly(paid: Money, entries: Sequence[Entry], began: datetime, now: datetime) -> Money:
    """The same use for thirty days."""
    first = min((entry.booked_at for entry in entries), default=now)
    seconds = max(86_400, int((now - max(began, first)).total_seconds()))
    return Money(paid.nano * 30 * 86_400 // seconds)


def _words(
    paid: Money, entries: Sequence[Entry], wanted: Sequence[Scenario], fees: Sequence[tuple[str, Money]], monthly: Money
) -> Iterator[str]:
    yield f"paid   {paid.show()} for {many(len(entries), 'request')}"
    rows = [(f"  {each.name}", each.cost.show(), _against(each)) for each in wanted]
    yield from table(rows, right=frozenset({1}))
    for each in (each for each in wanted if each.left_out):
        yield f"  {each.name}: without {many(each.left_out, 'request')} that no price is known for there"
    yield from (f"  supposed: {words}" for words in dict.fromkeys(each.supposes for each in wanted))
    for name, fee in fees if entries else ():
        share = whatif.breaks_even(monthly, fee)
        if share is None:
            yield f"  {name} at {fee.show()} a month: dearer than this use, {monthly.show()} a month"
        else:
            use = f"{float(share * 100):.0f} % of this use ({monthly.show()} a month)"
            yield f"  {name} at {fee.show()} a month: pays from {use}"
    if fees and entries:
        yield f"  supposed of a plan: {_PLANS}; fees as published, check yours"


def _against(each: Scenario) -> str:
    if not each.requests:
        return "concerns no request"
    more = "more" if each.difference.nano > 0 else "less"
    by = Money(abs(each.difference.nano))
    return f"{by.show()} ({nearest(by, each.instead_of)}) {more}" if by else "the same"


def _object(
    paid: Money, requests: int, wanted: Sequence[Scenario], fees: Sequence[tuple[str, Money]], monthly: Money
) -> dict[str, object]:
    return {
        "paid_usd": paid.exact(),
        "requests": requests,
        "scenarios": [
            {
                "name": each.name,
                "cost_usd": each.cost.exact(),
                "instead_of_usd": each.instead_of.exact(),
                "difference_usd": each.difference.exact(),
                "requests": each.requests,
                "left_out": each.left_out,
                "supposes": each.supposes,
            }
            for each in wanted
        ],
        "plans": [
            {
                "name": name,
                "fee_usd": fee.exact(),
                "month_usd": monthly.exact(),
                "pays_from": round(float(share), 4)
                if (share := whatif.breaks_even(monthly, fee)) is not None
                else None,
                "supposes": _PLANS,
            }
            for name, fee in fees
        ],
    }
