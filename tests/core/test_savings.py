"""What prompt caches did, from rows and bills: what was sent again, and which lifetime would cost less."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crewcap.core.budget import HoldId, KeyId, Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import RateCard, Rates, Usage
from crewcap.core.savings import FORGOTTEN, CacheReport, CacheTurn, again, lines, report

RATES = Rates(input=2_000_000, cache_read=100_000, write_5m=2_500_000, write_1h=4_000_000, output=10_000_000)
CARD = RateCard(provider="anthropic", model="m", rates=RATES)
START = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = 60_000


@dataclass(frozen=True, kw_only=True)
class Bill:
    """A closed request."""

    hold: HoldId
    usage: Usage
    run: str = "r1"
    scopes: tuple[Scope, ...] = ()
    model: str = "m"
    provider: str = "anthropic"
    spent: Money = ZERO
    uncertain: Money = ZERO
    notional: Money = ZERO
    booked_at: datetime = START + timedelta(0)


def turn(number: int, *, gap_ms: int | None = 1_000, kept: int = 0, **said: object) -> CacheTurn:
    made = CacheTurn(hold=HoldId(f"h{number}"), run="r1", key=KeyId("k"), conversation="c", gap_ms=gap_ms, kept=kept)
    return CacheTurn(**{**{name: getattr(made, name) for name in made.__slots__}, **said})


def reported(turns: list[CacheTurn], *usages: Usage, card: RateCard | None = CARD) -> CacheReport:
    bills = [Bill(hold=HoldId(f"h{number}"), usage=usage) for number, usage in enumerate(usages)]
    return report(turns, bills, card_of=lambda _: card)


def test_what_is_written_again_costs_the_difference_to_reading_it() -> None:
    """Written tokens first, at the lifetime that they were written for; the rest as plain input."""
    assert again(Usage(write_5m=10_000), RATES, 8_000) == Money.from_pico(8_000 * 2_400_000)
    assert again(Usage(write_1h=10_000), RATES, 8_000) == Money.from_pico(8_000 * 3_900_000)
    assert again(Usage(write_5m=1_000, input=500), RATES, 8_000) == Money.from_pico(1_000 * 2_400_000 + 500 * 1_900_000)


def test_breaks_are_summed_and_the_dearest_is_named() -> None:
    dear = turn(1, kept=50_000, lost=40_000, cost=Money.usd("0.10"), broke="system, character 1,204")
    cheap = turn(2, kept=50_000, lost=2_000, cost=Money.usd("0.01"), broke="message 9, character 3")
    found = reported([turn(0, gap_ms=None), dear, cheap])
    assert (found.conversations, found.breaks, found.lost, found.cost) == (1, 2, 42_000, Money.usd("0.11"))
    assert found.dearest == dear
    (line,) = lines(found)
    assert line.startswith("the cached prefix broke 2 times (at system, character 1,204): 42,000 tokens were sent ")
    assert line.endswith("again, for $0.11 more than reading them")


def test_a_cache_that_forgot_by_itself_is_not_blamed_on_the_request() -> None:
    found = reported([turn(1, kept=9_000, lost=9_000, cost=Money.usd("0.02"), broke=FORGOTTEN)])
    assert lines(found)[0].startswith("the cached prefix broke once (nothing in the request changed): 9,000 tokens")
    unknown = reported([turn(1, kept=9_000, lost=9_000, cost=Money.usd("0.02"))])
    assert lines(unknown)[0].startswith("the cached prefix broke once: 9,000 tokens")


def test_pauses_longer_than_five_minutes_make_an_hour_cheaper() -> None:
    """Three pauses of ten minutes: every five-minute cache had to be written again."""
    usages = [Usage(write_5m=50_000), *[Usage(write_5m=50_000 + 1_000 * n) for n in (1, 2, 3)]]
    turns = [turn(0, gap_ms=None), *[turn(n, gap_ms=10 * MINUTE, kept=49_000 + 1_000 * n) for n in (1, 2, 3)]]
    found = reported(turns, *usages)
    assert found.cost_5m == Money.from_pico(206_000 * 2_500_000)
    assert found.cost_1h == Money.from_pico(53_000 * 4_000_000 + (50_000 + 51_000 + 52_000) * 100_000)
    assert found.cheaper == ("1h", found.cost_5m - found.cost_1h)
    (line,) = lines(found)
    assert line == "by its pauses, caches of 1 hour would have cost $0.2877 less than those of 5 minutes"


def test_short_pauses_make_five_minutes_cheaper() -> None:
    usages = [Usage(write_1h=50_000), Usage(cache_read=50_000, write_1h=1_000)]
    found = reported([turn(0, gap_ms=None), turn(1, kept=50_000)], *usages)
    assert found.written_for == "1h"
    assert found.cheaper == ("5m", Money.from_pico(51_000 * 1_500_000))
    assert "caches of 5 minutes would have cost $0.0765 less than those of 1 hour" in lines(found)[0]


def test_what_broke_is_written_again_whatever_the_lifetime() -> None:
    usages = [Usage(write_5m=50_000), Usage(cache_read=10_000, write_5m=41_000)]
    found = reported([turn(0, gap_ms=None), turn(1, kept=50_000, lost=40_000)], *usages)
    assert found.cost_5m == Money.from_pico((50_000 + 41_000) * 2_500_000 + 10_000 * 100_000)


def test_there_is_no_advice_where_prices_or_lifetimes_are_not_known() -> None:
    """A price that is gone, a provider whose caches live otherwise, cents that nobody misses."""
    usages = [Usage(write_5m=50_000), Usage(write_5m=50_000)]
    turns = [turn(0, gap_ms=None), turn(1, gap_ms=10 * MINUTE, kept=50_000)]
    openai = RateCard(provider="openai", model="m", rates=RATES)
    assert lines(reported(turns, *usages, card=None)) == lines(reported(turns, *usages, card=openai)) == ()
    small = [Usage(write_5m=500), Usage(write_5m=500)]
    assert lines(reported(turns, *small)) == ()
    assert lines(CacheReport()) == ()
