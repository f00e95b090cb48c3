"""What a request cost, and the most that it can cost.

Tokens are counted in *disjoint* kinds: a token is fresh input, a cache read, a 5-minute write, a 1-hour write or
output, never two of them (thinking is a part of output, told apart only for reports). A `RateCard` is the price
list of one model at one time with every factor already multiplied in, so the arithmetic here is one sum of
products in whole pico-dollars.

`worst_case` is the heart of the cap. It prices every token of the prompt as if no cache were warm, at the dearest
kind that the request can ask for, at the dearest card that it can meet (tier, geo, a price that changes while the
request runs), and the whole output limit. What is billed can then not be more than what was held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from crewcap.core.money import PICO_PER_NANO, Money
from crewcap.core.quick import quickly_made

Write = Literal["none", "5m", "1h"]
"""The longest-lived cache write that a request asks for."""


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer, in disjoint kinds, and what is billed by the piece."""

    input: int = 0  # neither read from nor written to a cache
    cache_read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    output: int = 0  # thinking included
    thinking: int = 0  # the part of `output` that was thinking; never added to it
    pieces: Mapping[str, int] = field(default_factory=dict)  # "web_search": 2
    apart: Mapping[str, int] = field(default_factory=dict)
    """Tokens counted above that some price lists bill at another price: "input_audio_token": 300."""

    @property
    def prompt(self) -> int:
        """Tokens that were sent, however they were billed."""
        return self.input + self.cache_read + self.write_5m + self.write_1h


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Pico-dollars per token of each kind."""

    input: int
    cache_read: int
    write_5m: int
    write_1h: int
    output: int

    def pico(self, usage: Usage) -> int:
        """Price tokens; pieces are not tokens."""
        return (
            usage.input * self.input
            + usage.cache_read * self.cache_read
            + usage.write_5m * self.write_5m
            + usage.write_1h * self.write_1h
            + usage.output * self.output
        )

    def dearest_input(self, write: Write) -> int:
        """The most that one prompt token can cost when the request asks for this kind of write."""
        if write == "none":
            return max(self.input, self.cache_read)
        longest = self.write_1h if write == "1h" else self.write_5m
        return max(self.input, self.cache_read, self.write_5m, longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Rates for the *whole* request once its prompt is larger than `above` tokens."""

    above: int
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCard:
    """The price list of one model at one time, its factors (geo, speed, discount) multiplied in."""

    provider: str
    model: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()  # by `above`, rising
    per_piece: Mapping[str, int] = field(default_factory=dict)  # pico-dollars each, e.g. "web_search"
    context_window: int | None = None  # tokens; None where nobody published it
    max_output: int | None = None  # tokens
    image_tokens: int = 4_800  # the most that one image can count as
    unpriced: frozenset[str] = frozenset()  # kinds that are sold, but at a price that nobody told: "write_1h"
    id: str = ""  # short hash of everything above, stored with each entry

    def rates_for(self, prompt_tokens: int) -> Rates:
        """The rates that a prompt of this size meets."""
        for tier in reversed(self.tiers):
            if prompt_tokens > tier.above:
                return tier.rates
        return self.rates

    def cost(self, usage: Usage) -> Money:
        """What an answer with this usage costs, rounded up once. An unpriced piece or kind raises `UnknownPrice`."""
        return Money.from_pico(self.pico(usage))

    def pico(self, usage: Usage) -> int:
        """The same in pico-dollars, for bills of several parts that are rounded up once."""
        pico = self.token_pico(usage)
        if usage.pieces:
            pico += self._fees(usage.pieces)
        if self.unpriced:
            self._refuse(kind for kind in self.unpriced if getattr(usage, kind))
        return pico

    def token_pico(self, usage: Usage) -> int:
        """What the tokens alone come to, gaps in the list overlooked: the least that such an answer costs."""
        rates = self.rates_for(usage.prompt)
        pico = rates.pico(usage)
        return pico + self._apart(usage.apart, rates) if usage.apart else pico

    def most(
        self, *, prompt_tokens: int, write: Write, output_tokens: int, apart: frozenset[str] = frozenset()
    ) -> Money:
        """The most that a prompt of at most this size and an answer of at most this size can cost on this card."""
        reachable = self._reachable(prompt_tokens, write)
        pico = [prompt_tokens * self._dearest(each, write, apart) + output_tokens * each.output for each in reachable]
        return Money.from_pico(max(pico))

    def output_that_fits(
        self, money: Money, *, prompt_tokens: int, write: Write, apart: frozenset[str] = frozenset()
    ) -> int:
        """The largest output limit whose worst case is at most `money`; 0 where the prompt alone is dearer."""
        pico = money.nano * PICO_PER_NANO
        return min(
            max(0, (pico - prompt_tokens * self._dearest(rates, write, apart)) // max(1, rates.output))
            for rates in self._reachable(prompt_tokens, write)
        )

    def _dearest(self, rates: Rates, write: Write, apart: frozenset[str]) -> int:
        """The most that one prompt token can cost, what is billed apart included."""
        usual = rates.dearest_input(write)
        return max(usual, *(self.per_piece.get(name, 0) for name in apart)) if apart else usual

    def _apart(self, apart: Mapping[str, int], rates: Rates) -> int:
        """What tokens with a price of their own cost beyond the kind that they were counted as."""
        usual = {name: rates.cache_read if name.startswith("cache_") else rates.input for name in apart}
        return sum(count * (self.per_piece.get(name, usual[name]) - usual[name]) for name, count in apart.items())

    def _reachable(self, prompt_tokens: int, write: Write) -> tuple[Rates, ...]:
        """Every table of rates that a prompt of at most this size may meet."""
        if self.unpriced:
            self._refuse(self.unpriced & {f"write_{write}"})
        if not self.tiers:
            return (self.rates,)
        return (self.rates, *(tier.rates for tier in self.tiers if prompt_tokens > tier.above))

    def _fees(self, pieces: Mapping[str, int]) -> int:
        """Pico-dollars for what is billed by the piece."""
        self._refuse(piece for piece, count in pieces.items() if count and piece not in self.per_piece)
        return sum(count * self.per_piece.get(piece, 0) for piece, count in pieces.items())

    def _refuse(self, unpriced: Iterable[str]) -> None:
        """Whatever nobody priced is refused, by name."""
        name = next(iter(unpriced), None)
        if name is not None:
            raise UnknownPrice(f"{self.provider}/{self.model}", f"a price of {name!r}")


class UnknownPrice(LookupError):
    """Nobody told crewcap what this costs, so it is refused; never booked at zero."""

    def __init__(self, model: str, what: str = "a price", *, nearest: str = "") -> None:
        hint = f"; the nearest known name is {nearest}" if nearest else ""
        super().__init__(f"{what} for {model} is not in the price book{hint}")
        self.model = model
        self.nearest = nearest


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Modifiers:
    """What changes a model's price beside its tokens; from the request when holding, the response when settling."""

    speed: str = "standard"  # or "fast"
    geo: str = "global"  # or "us"
    tier: str = "standard"  # or "batch", "priority", "flex"


class PriceBook(Protocol):
    """Every rate card, by provider, model and date. Built by `crewcap.prices.load`."""

    @property
    def hash(self) -> str:
        """Short hash of the whole table; stored with every entry."""
        ...

    def resolve(self, provider: str, name: str, *, at: datetime) -> str:
        """Turn a short or aliased name (`sonnet`) into the full model id; `UnknownPrice` if there is none."""
        ...

    def card(self, provider: str, model: str, *, at: datetime, modifiers: Modifiers = ...) -> RateCard:
        """The card that a model's answer settles at. `UnknownPrice` when model or modifier has no price."""
        ...

    def reachable(
        self, provider: str, model: str, *, start: datetime, end: datetime, modifiers: Iterable[Modifiers]
    ) -> tuple[RateCard, ...]:
        """Every card that a request may meet: each date in [start, end], each modifier, each model it may mean."""
        ...


def worst_case(cards: Iterable[RateCard], *, prompt_tokens: int, write: Write, output_tokens: int) -> Money:
    """The most that a request can cost on any of the cards it can meet (MONEY 2.6); no card raises `UnknownPrice`."""
    amounts = [card.most(prompt_tokens=prompt_tokens, write=write, output_tokens=output_tokens) for card in cards]
    if not amounts:  # nothing that it can meet has a price: holding nothing would be a way past every budget
        raise UnknownPrice("a request that meets no rate card")
    return max(amounts)
