"""What a message costs: the book's card of its time, and nothing where nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.transcripts import Told
from crewcap.prices import Book, load
from crewcap.transcripts.pricing import Pricing

BOOK = load()
NOVEMBER = int(datetime(2026, 11, 2, 12, tzinfo=UTC).timestamp() * 1_000)
_COUNT = st.integers(0, 2_000_000)


def told(model: str = "claude-sonnet-5", **more: Any) -> Told:
    return Told("k", NOVEMBER, "s", "/f", "anthropic", model)._replace(**more)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["claude-sonnet-5", "claude-sonnet-4-5", "claude-haiku-5-5", "claude-opus-4-8"]),
    st.tuples(*[_COUNT] * 5), st.sampled_from(["global", "us"]), st.integers(0, 3), st.integers(0, 20_000),
)  # fmt: skip
def test_it_is_the_cards_own_sum(model: str, counts: tuple[int, ...], geo: str, searches: int, days: int) -> None:
    """The short way of adding up is the card's, whatever tier the prompt meets."""
    kinds = dict(zip(("input", "cache_read", "write_5m", "write_1h", "output"), counts, strict=True))
    one = told(model, geo=geo, searches=searches, at=days * 86_400_000, **kinds)
    at = datetime.fromtimestamp(one.at / 1_000, UTC)
    assert Pricing(BOOK).cost(one) == BOOK.card("anthropic", model, at=at, modifiers=one.modifiers).cost(one.usage)


def test_what_nobody_priced_is_named_and_never_nothing(book: Book) -> None:
    pricing = Pricing(book)
    assert pricing.cost(told("claude-nobody-9", input=5)) is None
    assert pricing.cost(told("claude-haiku-4-5", speed="fast")) is None
    assert pricing.cost(told(geo="mars")) is None
    assert len(pricing.unpriced) == 3


def test_a_price_is_that_of_the_day(book: Book) -> None:
    """Fast mode of Opus 4.7 was taken from sale on 24 July 2026."""
    before = int(datetime(2026, 7, 23, tzinfo=UTC).timestamp() * 1_000)
    fast = told("claude-opus-4-7", speed="fast", input=1_000_000, at=before)
    assert Pricing(book).cost(fast) == Money.usd("30")
    assert Pricing(book).cost(fast._replace(at=NOVEMBER)) is None


def test_a_time_beyond_every_calendar_has_a_price(book: Book) -> None:
    for at in (-(2**62), 2**62, 0):
        assert Pricing(book).cost(told(input=1_000_000, at=at)) == Money.usd("2")
