"""What transcripts told, in rows: any grouping adds up to the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.core.transcripts import Sum
from crewcap.core.usage_rows import GROUPINGS, Grouping, UsageRow, moment, rows, whole

EVENING = int(datetime(2026, 11, 20, 23, 30, tzinfo=UTC).timestamp() * 1_000)


def some(**more: Any) -> Sum:
    said: dict[str, Any] = {
        "agent": "claude", "model": "m", "provider": "p", "modifiers": Modifiers(), "repo": "shop", "session": "s",
        "bucket_ms": EVENING, "is_sub": False, "messages": 1, "unpriced": 0, "cost": Money(5), "usage": Usage(output=2),
        "first_ms": EVENING, "last_ms": EVENING,
    }  # fmt: skip
    return Sum(**(said | more))


SUMS = (some(), some(repo="", cost=Money(9)), some(agent="codex", session="", model="", unpriced=1, cost=Money(0)))


@pytest.mark.parametrize("by", GROUPINGS)
def test_rows_add_up(by: Grouping) -> None:
    found = rows(SUMS, by=by)
    assert sum(row.cost.nano for row in found) == whole(SUMS).cost.nano == 14
    assert sum(row.messages for row in found) == 3


def test_what_belongs_to_nothing_is_a_row_and_the_dearest_comes_first() -> None:
    assert [(row.key, row.cost.nano) for row in rows(SUMS, by="repo")] == [("(none)", 9), ("shop", 5)]


def test_a_day_is_that_of_the_zone() -> None:
    assert [row.key for row in rows([some()], by="day")] == ["2026-11-20"]
    assert [row.key for row in rows([some()], by="day", zone=ZoneInfo("Europe/Berlin"))] == ["2026-11-21"]


def test_nothing_is_a_row_of_nothing() -> None:
    assert (rows([], by="day"), whole([])) == ((), UsageRow(key="total"))


@pytest.mark.parametrize("at", [-(2**62), 0, 2**62])
def test_any_time_is_some_moment(at: int) -> None:
    assert 1970 <= moment(at).year <= 9_999
