"""The provider's meter is exact, and adds up on its own."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Rates, Tier, Usage
from crewcap.simulator.meter import Bill, Meter, price

NOW = datetime(2026, 11, 22, tzinfo=UTC)
tokens = st.integers(0, 300_000)
usages = st.builds(Usage, input=tokens, cache_read=tokens, write_5m=tokens, write_1h=tokens, output=tokens)
pico = st.integers(0, 80_000_000)
rates = st.builds(Rates, input=pico, cache_read=pico, write_5m=pico, write_1h=pico, output=pico)


def card(base: Rates, long: Rates) -> RateCard:
    return RateCard(provider="p", model="m", rates=base, tiers=(Tier(above=100_000, rates=long),))


@settings(max_examples=100, deadline=None)
@given(usage=usages, base=rates, long=rates)
def test_two_arithmetics_agree_to_the_last_unit(usage: Usage, base: Rates, long: Rates) -> None:
    """The ledger's and the provider's are written apart; a mistake in one is a difference between the books."""
    assert price(card(base, long), usage) == card(base, long).cost(usage)


def test_a_part_of_a_nano_dollar_is_billed_as_a_whole_one() -> None:
    odd = Rates(input=1, cache_read=0, write_5m=0, write_1h=0, output=0)
    assert price(card(odd, odd), Usage(input=1_001)) == Money(2)
    assert price(card(odd, odd), Usage(input=1_000)) == Money(1)


def bill(nano: int, key: str = "sk-ant-fake-0123456789-abcd", model: str = "m", session: str = "s") -> Bill:
    usage = Usage(input=nano, output=1)
    return Bill(at=NOW, request="r", key=key, model=model, session=session, usage=usage, amount=Money(nano))


def test_totals_can_be_had_by_key_model_and_session() -> None:
    meter = Meter()
    for each in (bill(5), bill(7, key="other-key"), bill(11, model="n", session="t")):
        meter.bill(each)
    assert meter.total() == Money(23)
    assert meter.total(key="other-key") == meter.by_key["other-key"] == Money(7)
    assert meter.by_model == {"m": Money(12), "n": Money(11)}
    assert meter.by_session == {"s": Money(12), "t": Money(11)}
    assert meter.tokens == {"input": 23, "cache_read": 0, "write_5m": 0, "write_1h": 0, "output": 3}
    meter.reset()
    assert meter.total() == Money(0)


def test_no_key_is_shown() -> None:
    meter = Meter()
    meter.bill(bill(5))
    assert "0123456789" not in f"{meter.as_json()}{meter.bills}"
    assert meter.as_json()["keys"] == [{"key": "key(…abcd)", "billed_usd": "0.000000005"}]
