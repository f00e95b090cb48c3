"""A small price book with figures of its own, so that the simulator's arithmetic is tested against known rates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from crewcap.core.pricing import Modifiers, RateCard, Rates, Tier, UnknownPrice

PLAIN = Modifiers()


def _card(model: str, usd_per_mtok: tuple[str, ...], *, tiers: tuple[Tier, ...] = ()) -> RateCard:
    pico = [int(float(rate) * 1_000_000) for rate in usd_per_mtok]
    rates = Rates(input=pico[0], cache_read=pico[1], write_5m=pico[2], write_1h=pico[3], output=pico[4])
    return RateCard(provider="anthropic", model=model, rates=rates, tiers=tiers, context_window=200_000)


_CHEAP_LONG = Rates(input=500_000, cache_read=50_000, write_5m=625_000, write_1h=1_000_000, output=2_500_000)
_CARDS = {
    "claude-sonnet-5": _card("claude-sonnet-5", ("2", "0.2", "2.5", "4", "10")),
    "claude-sonnet-4-6": _card("claude-sonnet-4-6", ("3", "0.3", "3.75", "6", "15")),
    "claude-opus-5": _card("claude-opus-5", ("5", "0.5", "6.25", "10", "25")),
    "claude-haiku-5-5": _card(
        "claude-haiku-5-5",
        ("0.1", "0.01", "0.125", "0.2", "0.5"),
        tiers=(Tier(above=100_000, rates=_CHEAP_LONG),),
    ),
}


@dataclass(frozen=True, slots=True)
class KnownPrices:
    """Four models; `us` costs a tenth more and `fast` twice as much."""

    hash: str = "test"

    def models(self, provider: str) -> Iterable[str]:
        return tuple(_CARDS) if provider == "anthropic" else ()

    def resolve(self, provider: str, name: str, *, at: datetime) -> str:
        return self.card(provider, name, at=at).model

    def card(self, provider: str, model: str, *, at: datetime, modifiers: Modifiers = PLAIN) -> RateCard:
        del at
        if model not in _CARDS or modifiers.tier != "standard":
            raise UnknownPrice(f"{provider}/{model}")
        card = _CARDS[model]
        factor = (11 if modifiers.geo == "us" else 10) * (2 if modifiers.speed == "fast" else 1)
        rates = Rates(
            input=card.rates.input * factor // 10,
            cache_read=card.rates.cache_read * factor // 10,
            write_5m=card.rates.write_5m * factor // 10,
            write_1h=card.rates.write_1h * factor // 10,
            output=card.rates.output * factor // 10,
        )
        return RateCard(
            provider=provider, model=model, rates=rates, tiers=card.tiers, context_window=card.context_window
        )

    def reachable(
        self, provider: str, model: str, *, start: datetime, end: datetime, modifiers: Iterable[Modifiers]
    ) -> tuple[RateCard, ...]:
        del end
        return tuple(self.card(provider, model, at=start, modifiers=each) for each in modifiers)
