"""Buckets are exact in whole numbers, and what has no room is said in words with its remedy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crewcap.core.budget import ALL, Busy, CountKind, RateKind, Scope
from crewcap.core.limits import (
    COUNT_KINDS,
    LARGEST_COUNT,
    LARGEST_RATE,
    PARTS,
    RATE_KINDS,
    Bucket,
    CountBalance,
    bounds,
    busy_message,
    used_up,
)

MINUTE = 60_000_000
values = st.integers(1, LARGEST_RATE)
levels = st.integers(-(10**18), 10**18)
lapses = st.integers(0, 10 * MINUTE)


@given(values, levels, st.lists(lapses, max_size=5))
def test_it_makes_no_difference_how_often_a_bucket_is_looked_at(value: int, level: int, looks: list[int]) -> None:
    bucket, at = Bucket(min(level, value * PARTS), 0), 0
    for lapse in looks:
        at += lapse
        bucket = bucket.filled(value, at)
    assert bucket == Bucket(min(level, value * PARTS), 0).filled(value, at)
    assert bucket.level <= value * PARTS


@given(values, levels, st.sampled_from(["tpm", "rpm"]))
def test_the_wait_that_is_told_is_the_wait_to_the_microsecond(value: int, level: int, kind: RateKind) -> None:
    bucket = Bucket(min(level, value * PARTS), 0)
    wait = round(bucket.wait_s(kind, value) * 1_000_000)
    assume(wait < 10**12)  # below that, seconds in a float tell microseconds apart
    assert bucket.filled(value, wait).wait_s(kind, value) == 0
    if wait > 0:
        assert bucket.filled(value, wait - 1).wait_s(kind, value) > 0


def test_a_minute_fills_a_bucket_and_nothing_fills_it_further() -> None:
    empty = Bucket(0, 0)
    assert [empty.filled(1_000, MINUTE * minutes // 2).left for minutes in (0, 1, 2, 3)] == [0, 500, 1_000, 1_000]
    assert Bucket.full(1_000, 0) == Bucket(1_000 * PARTS, 0)
    assert Bucket(-1, 0).left == -1  # a debt, however small


def test_a_clock_that_was_set_back_fills_nothing_and_goes_on() -> None:
    bucket = Bucket(0, 8 * MINUTE).filled(60, 0)
    assert bucket == Bucket(0, 0)
    assert bucket.filled(60, MINUTE // 60).left == 1


@pytest.mark.parametrize("kind", [*RATE_KINDS, *COUNT_KINDS])
def test_no_rate_of_nothing_and_no_limit_beyond_all_sense(kind: RateKind) -> None:
    expected = (1, LARGEST_RATE) if kind in RATE_KINDS else (0, LARGEST_COUNT)
    assert bounds(kind) == expected


def count(**fields: object) -> CountBalance:
    plain = {
        "scope": Scope("team:core"),
        "kind": "runs",
        "window": "day",
        "label": "2026-11-22@UTC",
        "limit": 40,
        "used": 40,
        "resets_at": datetime(2026, 11, 23, tzinfo=UTC),
    }
    return CountBalance(**{**plain, **fields})  # type: ignore[arg-type]  # a test's shorthand


def test_a_count_that_is_used_up_says_by_whom_when_it_opens_and_what_raises_it() -> None:
    assert used_up(count()) == (
        "team:core has used 40 of its 40 runs this day (2026-11-22@UTC); it opens at 2026-11-23 00:00 UTC; "
        "raise it with: crewcap budget set team:core runs/day NUMBER"
    )
    assert used_up(count(kind="tokens", limit=5_000_000, used=4_990_000), 66_000).startswith(
        "team:core has used 4,990,000 of its 5,000,000 tokens this day (2026-11-22@UTC), "
        "and this request may need 66,000;"
    )
    assert used_up(count(kind="hours", window="total", label="total", limit=8, used=28_900, resets_at=None)) == (
        "team:core has used 8.0 of its 8 hours; raise it with: crewcap budget set team:core hours/total NUMBER"
    )


def test_what_is_left_of_a_count_is_in_its_unit_and_never_below_nothing() -> None:
    assert (count(used=38).left, count(used=50).left) == (2, 0)
    hours = count(kind="hours", limit=8, used=3_600)
    assert (hours.most, hours.left) == (8 * 3_600, 7 * 3_600)


def test_a_rate_without_room_is_named() -> None:
    kinds: tuple[RateKind | CountKind, ...] = (*RATE_KINDS, "tokens")
    said = [busy_message(Busy(scope=ALL, kind=kind, limit=1_000, retry_after_s=1)) for kind in kinds]
    assert said == [
        "all has no token left of its 1,000 a minute",
        "all has no request left of its 1,000 a minute",
        "all has 1,000 requests in flight, and may have no more at once",
        "all has the rest of its 1,000 tokens held by requests in flight",
    ]
