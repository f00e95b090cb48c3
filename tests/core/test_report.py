"""Spend grouped by anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import RateCard, Rates, Usage
from crewcap.core.report import GROUPINGS, Grouping, Parts, Row, add_up, filled, parts, rows, total, what_if

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CARD = RateCard(
    provider="anthropic",
    model="m",
    rates=Rates(input=2_000_000, cache_read=200_000, write_5m=2_500_000, write_1h=4_000_000, output=10_000_000),
)


@dataclass(frozen=True)
class Spent:
    """An entry of a store, as far as reports look."""

    spent: Money
    scopes: tuple[Scope, ...] = ()
    run: str = ""
    model: str = "m"
    provider: str = "anthropic"
    uncertain: Money = ZERO
    notional: Money = ZERO
    usage: Usage = field(default_factory=Usage)
    booked_at: datetime = NOON


def usd(amount: str) -> Money:
    return Money.usd(amount)


def scopes(*names: str) -> tuple[Scope, ...]:
    return tuple(Scope(name) for name in names)


ENTRIES = (
    Spent(usd("0.10"), scopes("run:r1", "issue:files/a", "repo:acme/shop", "team:core", "user:ana", "all"), run="r1"),
    Spent(usd("0.50"), scopes("run:r2", "issue:files/b", "repo:acme/shop", "all"), run="r2", model="n"),
    Spent(usd("0.20"), scopes("key:k1", "all"), uncertain=usd("0.05"), booked_at=NOON - timedelta(days=1)),
)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("day", ["2026-11-21", "2026-11-22"]),
        ("week", ["2026-W47"]),
        ("month", ["2026-11"]),
        ("run", ["r2", "(none)", "r1"]),
        ("issue", ["files/b", "(none)", "files/a"]),
        ("repo", ["acme/shop", "(none)"]),
        ("team", ["(none)", "core"]),
        ("user", ["(none)", "ana"]),
        ("model", ["n", "m"]),
        ("workflow", ["(none)"]),
    ],
)
def test_calendar_comes_in_its_order_and_all_else_dearest_first(by: Grouping, keys: list[str]) -> None:
    """What belongs to nothing is a row of its own; nothing is left out."""
    assert [row.key for row in rows(ENTRIES, by=by, zone=UTC)] == keys


def test_a_row_is_the_sum_of_its_requests() -> None:
    one, other = rows(ENTRIES, by="repo", zone=UTC)
    assert one == Row(key="acme/shop", requests=2, spent=usd("0.60"))
    assert (other.requests, other.spent, other.uncertain, other.cost) == (1, usd("0.20"), usd("0.05"), usd("0.25"))


def test_a_day_is_the_zones_day() -> None:
    """Half past eleven at night in London is the next day in Berlin."""
    late = Spent(usd("1"), booked_at=datetime(2026, 11, 22, 23, 30, tzinfo=UTC))
    assert rows([late], by="day", zone=UTC)[0].key == "2026-11-22"
    assert rows([late], by="day", zone=ZoneInfo("Europe/Berlin"))[0].key == "2026-11-23"


@given(
    st.lists(
        st.builds(
            Spent,
            spent=st.integers(0, 10**12).map(Money),
            uncertain=st.integers(0, 10**9).map(Money),
            run=st.sampled_from(("", "r1", "r2")),
            model=st.sampled_from(("m", "n")),
            booked_at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        ),
        max_size=12,
    ),
    st.sampled_from(GROUPINGS),
)
def test_every_grouping_adds_up_to_the_same_to_the_last_unit(entries: list[Spent], by: Grouping) -> None:
    made = rows(entries, by=by, zone=UTC)
    whole = total(entries)
    assert sum(row.cost.nano for row in made) == whole.cost.nano
    assert sum(row.requests for row in made) == len(entries)


def test_usages_add_up_with_their_pieces() -> None:
    first = Usage(input=1, cache_read=2, write_5m=3, write_1h=4, output=5, thinking=2, pieces={"web_search": 1})
    assert add_up([first, first]) == Usage(
        input=2, cache_read=4, write_5m=6, write_1h=8, output=10, thinking=4, pieces={"web_search": 2}
    )
    assert add_up([]) == Usage()


def test_money_is_shared_out_by_kind_and_caching_is_weighed() -> None:
    """The example of the last block: 3.1k in, 41k written, 412k read, 6.2k out at Sonnet 5 rates."""
    usage = Usage(input=3_100, write_5m=41_000, cache_read=412_000, output=6_200, thinking=2_000)
    spent = CARD.cost(usage)
    assert spent == usd("0.2531")
    found = parts([Spent(spent, usage=usage)], card_of=lambda _: CARD)
    assert found == Parts(
        input=usd("0.0062"),
        cache_write=usd("0.1025"),
        cache_read=usd("0.0824"),
        output=usd("0.0620"),
        thinking=usd("0.0200"),
        without_caching=usd("0.9742"),
    )
    assert found.saved == usd("0.7211")


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5))
def test_the_parts_add_up_to_what_the_ledger_booked(spent: int, read: int, fresh: int, output: int) -> None:
    """A factor (region, speed) makes the real card dearer than the one we look at; the sum stays the ledger's."""
    usage = Usage(input=fresh, cache_read=read, output=output)
    found = parts([Spent(Money(spent), usage=usage)], card_of=lambda _: CARD)
    assert (found.input + found.cache_read + found.cache_write + found.output + found.other).nano == spent


def test_a_request_whose_card_is_gone_is_other() -> None:
    found = parts([Spent(usd("0.10"), usage=Usage(input=5))], card_of=lambda _: None)
    assert (found.other, found.saved) == (usd("0.10"), ZERO)


def test_the_same_tokens_on_another_card() -> None:
    entries = [Spent(usd("1"), usage=Usage(input=1_000_000)), Spent(usd("1"), usage=Usage(output=1_000_000))]
    assert what_if(entries, CARD) == usd("12")


@pytest.mark.parametrize(
    ("part", "whole", "cells"),
    [(0, 100, 0), (1, 1_000, 1), (8, 100, 2), (50, 100, 10), (99, 100, 20), (500, 100, 20), (0, 0, 0), (1, 0, 20)],
)
def test_a_bar_shows_what_is_not_nothing_and_never_runs_over(part: int, whole: int, cells: int) -> None:
    assert filled(part, whole, 20) == cells
