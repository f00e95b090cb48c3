"""What the three proofs that a hold covers its cost have in common: texts, prices, and what clamping promises."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

from hypothesis import strategies as st

from crewcap import prices
from crewcap.core.asks import Ask
from crewcap.core.holding import clamp_for, hold_for, least_output
from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Rates, Tier

TIMES = int(os.environ.get("CREWCAP_TIMES", "1"))
"""How often the proofs are tried, in times of what one `make test` does; `make torture` says 40."""

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TEXT = st.one_of(st.text('aé漢🙂\\"\n\x00', max_size=40), st.sampled_from(["", "word " * 500, "漢" * 300, "\n" * 200]))

rates = st.builds(
    Rates,
    input=st.integers(0, 9_000_000),
    cache_read=st.integers(0, 9_000_000),
    write_5m=st.integers(0, 9_000_000),
    write_1h=st.integers(0, 9_000_000),
    output=st.integers(0, 90_000_000),
)
"""No order among prices is assumed: a read may be dearer than a write."""


@st.composite
def price_lists(draw: st.DrawFn, per_piece: Mapping[str, int], *, max_output: int | None = None) -> RateCard:
    """Any price list with these fees, its long-context tier dearer or cheaper than its base."""
    return RateCard(
        provider="p",
        model="m",
        rates=draw(rates),
        tiers=(Tier(above=draw(st.integers(0, 60_000)), rates=draw(rates)),),
        per_piece=per_piece,
        context_window=200_000,
        max_output=max_output,
    )


@cache
def book() -> prices.Book:
    """The prices that are shipped."""
    return prices.load()


def clamped(ask: Ask, cards: Sequence[RateCard], room: Money, *, asked: int) -> int | None:
    """The limit that a request is lowered to, which makes its hold fit and stays useful; None where none does."""
    limit, least = clamp_for(ask, cards, room), least_output(ask, asked)
    if limit is None:
        assert hold_for(ask, cards, least) > room
        return None
    assert least <= limit <= asked
    assert hold_for(ask, cards, limit) <= room
    return limit
