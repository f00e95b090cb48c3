"""One audited request: what was said, what that comes to, and what the ledger has; for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crewcap.cli.live.opening import table as labelled
from crewcap.cli.money.report_rows import exact_pico
from crewcap.cli.screen.amounts import table
from crewcap.cli.screen.figures import NARROW, wrap
from crewcap.core.audit import Bill, Item
from crewcap.core.harmless import one_line
from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers
from crewcap.stores import Entry, Movement

_CLOSING = frozenset({"settled", "uncertain", "released"})
_RAW_SHOWN = 2_000  # letters


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One request with everything that its number rests on."""

    number: int
    entry: Entry
    bill: Bill | None  # None where nothing was to be paid, or nobody knows what for
    is_card: bool  # the card that it was settled at is in the price book
    modifiers: Modifiers | None
    movements: Sequence[Movement]

    @property
    def booked(self) -> Money:
        """What was booked when the answer had come: billed, or paid by a plan. What was said later stands beside it."""
        closed = next((step for step in self.movements if step.kind in _CLOSING), None)
        if closed is None:
            return self.entry.notional or self.entry.spent
        return closed.notional or closed.spent

    @property
    def state(self) -> str:
        """How sure the number is."""
        if self.entry.kind == "reconciled":
            return "by word"
        return "uncertain" if self.entry.uncertain else self.entry.kind

    @property
    def is_equal(self) -> bool | None:
        """Whether what was told comes to what was booked; None where that cannot be computed any more."""
        if self.bill is None or not self.booked:
            return None
        same = self.bill.cost == self.booked
        return True if same else None if not self.is_card else False

    @property
    def verdict(self) -> str:
        """The same in a word or some."""
        if self.is_equal is None:
            return "its price list is not known any more" if self.booked else "nothing was settled"
        return "equal" if self.is_equal else f"DIFFERS by {(self.booked - self._cost).exact()}"

    @property
    def _cost(self) -> Money:
        return self.bill.cost if self.bill is not None else Money(0)


def summary(audited: Sequence[Audited], columns: int) -> Iterator[str]:
    """A row for each request."""
    head = ["#", "time", "model", "in", "out", "held", "cost", "state", "computed"]
    keep = range(len(head)) if columns >= 100 else (0, 2, 6, 7, 8) if columns >= NARROW else (0, 6, 8)
    rows = [[head[place] for place in keep]]
    for each in audited:
        entry = each.entry
        cost = entry.spent + entry.uncertain + entry.notional
        row = [
            str(each.number),
            f"{entry.booked_at:%m-%d %H:%M:%S}",
            one_line(entry.model, limit=40),
            f"{entry.usage.prompt:,}",
            f"{entry.usage.output:,}",
            entry.held_at_first.show(),
            cost.exact(),
            each.state,
            {True: "equal", False: "DIFFERS", None: "-"}[each.is_equal],
        ]
        rows.append([row[place] for place in keep])
    right = frozenset(place for place, head_ in enumerate(rows[0]) if head_ in {"#", "in", "out", "held", "cost"})
    yield from table(rows, right=right)


def details(each: Audited, of: int, columns: int) -> Iterator[str]:
    """One request, from the provider's words to the ledger's number."""
    entry = each.entry
    yield from wrap(f"request {each.number} of {of}   {entry.booked_at:%Y-%m-%d %H:%M:%S} UTC", columns, indent="  ")
    yield from labelled(list(_who(each)), columns)
    if each.bill is not None and each.bill.items:
        yield ""
        yield from _bill(each, columns)
    yield ""
    yield from labelled(list(_books(each)), columns)


def _who(each: Audited) -> Iterator[tuple[str, str]]:
    entry, modifiers = each.entry, each.modifiers
    yield "model", f"{one_line(entry.model)} of {one_line(entry.provider)}"
    yield "asked by", f"subagent {one_line(entry.agent)}" if entry.agent else "the main conversation"
    yield "answer", one_line(entry.request_id) or "without an id"
    yield "said", one_line(entry.raw_usage, limit=_RAW_SHOWN) or "nothing of its usage"
    if entry.usage.thinking:
        yield "", f"{entry.usage.thinking:,} of the output were thinking"
    if modifiers is not None:
        yield "priced at", f"{modifiers.speed} speed, {modifiers.geo} region, {modifiers.tier} tier"
    if entry.card:
        known = "" if each.is_card else ", which is not in today's price book: lines use the standard prices of then"
        yield "card", f"{entry.card}{known}; price table {entry.book}"


def _bill(each: Audited, columns: int) -> Iterator[str]:
    """The lines, their sum, and the one rounding."""
    bill = each.bill
    assert bill is not None  # noqa: S101  (documents: the caller looked)
    models = {item.model for item in bill.items}
    if columns < NARROW:
        for item in bill.items:
            said = f"{_name(item, models)}: {item.count:,} x ${_unit(item)} = {exact_pico(item.pico)}"
            yield from wrap(said, columns, indent="  ")
        yield from wrap(f"sum: {exact_pico(bill.pico)}", columns, indent="  ")
        yield from wrap(f"rounded up: {bill.cost.exact()}", columns, indent="  ")
        yield from wrap(f"ledger: {each.booked.exact()}, {each.verdict}", columns, indent="  ")
        return
    rows = [("", "count", "a million", "dollars", "")]
    rows += [
        (_name(item, models), f"{item.count:,}", f"${_unit(item)}", exact_pico(item.pico), "") for item in bill.items
    ]
    rows.append(("sum", "", "", exact_pico(bill.pico), ""))
    rows.append(("rounded up to a nano-dollar", "", "", f"{bill.cost.exact()}   ", ""))
    rows.append(("the ledger's number", "", "", f"{each.booked.exact()}   ", each.verdict))
    if each.entry.corrected:
        rows.append(("corrected by other prices", "", "", f"{each.entry.corrected.exact()}   ", ""))
        rows.append(("what it costs now", "", "", f"{each.entry.spent.exact()}   ", f"card {each.entry.card_now}"))
    yield from (f"  {row}" for row in table(rows, right=frozenset({1, 2, 3})))


def _name(item: Item, models: set[str]) -> str:
    return item.kind if len(models) == 1 else f"{item.kind} ({one_line(item.model)})"


def _unit(item: Item) -> str:
    """The price of a million tokens, or of one piece, with the decimals that it has."""
    scale = 10**6 if item.is_token else 1
    whole, part = divmod(item.unit_pico * scale, 10**12)
    digits = f"{part:012d}".rstrip("0").ljust(2, "0")
    return f"{whole:,}.{digits}" + ("" if item.is_token else " each")


def _books(each: Audited) -> Iterator[tuple[str, str]]:
    """Hold, settlement, release, and what was said later."""
    for step in each.movements:
        yield step.kind, f"{step.at:%H:%M:%S}  {_moved(step)}{f', {one_line(step.reason)}' if step.reason else ''}"
    for note in each.entry.notes:
        yield "note", one_line(note)
    if each.entry.incident:
        yield "incident", one_line(each.entry.incident)


def _moved(step: Movement) -> str:
    moved = {"held": step.held, "uncertain": step.uncertain, "spent": step.spent, "notional": step.notional}
    words = [f"{name} {'+' if amount.nano > 0 else ''}{amount.exact()}" for name, amount in moved.items() if amount]
    return ", ".join(words) or "nothing moved"


def as_object(each: Audited) -> dict[str, object]:
    """One request for machines."""
    entry, bill = each.entry, each.bill
    return {
        "number": each.number,
        "hold": entry.hold,
        "at": entry.booked_at.isoformat(),
        "model": entry.model,
        "provider": entry.provider,
        "agent": entry.agent or None,
        "request_id": entry.request_id or None,
        "raw_usage": _raw(entry.raw_usage),
        "card": entry.card or None,
        "card_known": each.is_card,
        "price_table": entry.book,
        "modifiers": {name: getattr(each.modifiers, name) for name in ("speed", "geo", "tier")}
        if each.modifiers
        else None,
        "lines": [_line(item) for item in bill.items] if bill else [],
        "sum_usd": exact_pico(bill.pico) if bill else None,
        "rounded_usd": bill.cost.exact() if bill else None,
        "ledger_usd": each.booked.exact(),
        "equal": each.is_equal,
        "state": each.state,
        "spent_usd": entry.spent.exact(),
        "corrected_usd": entry.corrected.exact(),
        "corrected_card": entry.card_now or None,
        "uncertain_usd": entry.uncertain.exact(),
        "notional_usd": entry.notional.exact(),
        "movements": [_movement(step) for step in each.movements],
        "notes": list(entry.notes),
        "reason": entry.reason or None,
        "incident": entry.incident or None,
    }


def _line(item: Item) -> dict[str, object]:
    return {
        "model": item.model,
        "kind": item.kind,
        "count": item.count,
        "unit_usd": exact_pico(item.unit_pico),
        "usd": exact_pico(item.pico),
    }


def _movement(step: Movement) -> dict[str, object]:
    return {
        "kind": step.kind,
        "at": step.at.isoformat(),
        "held_usd": step.held.exact(),
        "uncertain_usd": step.uncertain.exact(),
        "spent_usd": step.spent.exact(),
        "notional_usd": step.notional.exact(),
        "status": step.status or None,
        "reason": step.reason or None,
    }


def _raw(text: str) -> Any:
    """The provider's words as an object where they are one."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
