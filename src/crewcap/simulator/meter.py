"""The provider's meter: what was billed, exactly, by an arithmetic of its own.

It shares the price book's rates with the ledger and nothing else: tokens by kind times pico-dollars, summed, rounded
up to a nano-dollar once per answer. Two books that agree to the last unit were therefore added up twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crewcap.core.keys import shown
from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Usage

KINDS = ("input", "cache_read", "write_5m", "write_1h", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One billed answer."""

    at: datetime
    request: str
    key: str = field(repr=False)
    model: str
    session: str
    usage: Usage
    amount: Money


class Meter:
    """Every bill since the start or the last reset."""

    def __init__(self) -> None:
        self.bills: list[Bill] = []

    def bill(self, bill: Bill) -> None:
        """Book one answer."""
        self.bills.append(bill)

    def total(self, *, key: str | None = None, model: str | None = None, session: str | None = None) -> Money:
        """What was billed in all, or for one key, model or agent session."""
        return Money(
            sum(
                bill.amount.nano
                for bill in list(self.bills)
                if key in {None, bill.key} and model in {None, bill.model} and session in {None, bill.session}
            )
        )

    @property
    def by_key(self) -> Mapping[str, Money]:
        """What was billed to each API key."""
        return _grouped((bill.key, bill) for bill in list(self.bills))

    @property
    def by_model(self) -> Mapping[str, Money]:
        """What was billed for each model."""
        return _grouped((bill.model, bill) for bill in list(self.bills))

    @property
    def by_session(self) -> Mapping[str, Money]:
        """What was billed to each agent session, as agents name theirs in a header."""
        return _grouped((bill.session, bill) for bill in list(self.bills))

    @property
    def tokens(self) -> Mapping[str, int]:
        """Billed tokens by kind."""
        return {kind: sum(getattr(bill.usage, kind) for bill in list(self.bills)) for kind in KINDS}

    def reset(self) -> None:
        """Back to zero."""
        self.bills.clear()

    def as_json(self) -> dict[str, Any]:
        """Everything above for /_control/stats; keys show their last characters only."""
        return {
            "total_usd": self.total().exact(),
            "answers": len(self.bills),
            "keys": [{"key": shown(key), "billed_usd": amount.exact()} for key, amount in self.by_key.items()],
            "models": {model: amount.exact() for model, amount in self.by_model.items()},
            "sessions": {session: amount.exact() for session, amount in self.by_session.items()},
            "tokens": dict(self.tokens),
        }


def price(card: RateCard, usage: Usage) -> Money:
    """What an answer costs on a card: the meter's own sum, not the ledger's."""
    prompt = sum(getattr(usage, kind) for kind in KINDS if kind != "output")
    rates = card.rates
    for tier in card.tiers:
        if prompt > tier.above:
            rates = tier.rates
    pico = sum(getattr(usage, kind) * getattr(rates, kind) for kind in KINDS)
    pico += sum(count * card.per_piece.get(piece, 0) for piece, count in usage.pieces.items())
    nano, rest = divmod(pico, 1_000)
    return Money(nano + (1 if rest else 0))


def _grouped(pairs: Any) -> dict[str, Money]:
    sums: defaultdict[str, int] = defaultdict(int)
    for name, bill in pairs:
        sums[name] += bill.amount.nano
    return {name: Money(nano) for name, nano in sums.items()}
