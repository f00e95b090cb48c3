"""Budgets on values: scopes, windows of the calendar, and the law of admission."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.ledger_machine import LedgerMachine

from crewcap.core.budget import (
    ALL,
    WINDOWS,
    Balance,
    Refused,
    Scope,
    ScopeError,
    Window,
    admit,
    parse_scope,
    room,
    span_of,
)
from crewcap.core.money import Money

# Zones with midnights that do not exist, come twice, or fall out with a whole day.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "America/Havana", "Asia/Beirut", "Pacific/Apia")

zones = st.sampled_from(ZONES)
windows = st.sampled_from(WINDOWS)
instants = st.integers(1_100_000_000, 2_200_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))
amounts = st.integers(0, 10**12).map(Money)


def balance(limit: str, *, spent: str = "0", uncertain: str = "0", held: str = "0", scope: str = "all") -> Balance:
    return Balance(
        scope=Scope(scope),
        window="day",
        label="2026-11-22@UTC",
        limit=Money.usd(limit),
        spent=Money.usd(spent),
        uncertain=Money.usd(uncertain),
        held=Money.usd(held),
    )


def cap(limit: str, *, spent: str = "0", held: str = "0") -> Balance:
    """A run's own."""
    return replace(balance(limit, spent=spent, held=held, scope="run:r1"), window="total", label="total")


@pytest.mark.parametrize("text", ["all", "repo:acme/shop", "team:core", "issue:files/fix-login", "key:a1", "user:ana"])
def test_a_scope_is_everything_or_a_kind_and_a_name(text: str) -> None:
    assert parse_scope(text) == text


@pytest.mark.parametrize("text", ["", "repo", "repo:", "host:a", "all:x", "team:a b", "team:a\n", "user:'a'", "ALL"])
def test_what_is_not_a_scope_is_refused_with_the_kinds_there_are(text: str) -> None:
    with pytest.raises(ScopeError, match="key, team, user, repo, issue, run, workflow"):
        parse_scope(text)


def test_a_hold_that_fits_every_limit_is_admitted_to_the_last_unit() -> None:
    balances = (balance("1.00", spent="0.20", uncertain="0.30", held="0.10"), balance("25", scope="repo:a"))
    assert admit(Money.usd("0.40"), balances) is None
    assert isinstance(admit(Money.usd("0.400000001"), balances), Refused)


def test_a_refusal_names_the_limit_with_the_least_left() -> None:
    tight, tighter = balance("1.00", spent="0.90"), balance("5.00", spent="4.95", scope="repo:a")
    refused = admit(Money.usd("0.50"), (tight, tighter))
    assert refused == Refused(binding=tighter, needed=Money.usd("0.50"), can_wait=False, balances=(tight, tighter))


def test_a_refusal_can_wait_only_where_every_missing_cent_is_merely_held() -> None:
    held, spent = balance("1.00", held="0.90"), balance("1.00", spent="0.90", scope="repo:a")
    waiting = admit(Money.usd("0.50"), (held,))
    assert waiting is not None
    assert waiting.can_wait
    final = admit(Money.usd("0.50"), (held, spent))
    assert final is not None
    assert not final.can_wait


def test_uncertain_money_is_not_waited_for() -> None:
    refused = admit(Money.usd("0.50"), (balance("1.00", uncertain="0.90"),))
    assert refused is not None
    assert not refused.can_wait


def test_a_limit_below_what_is_spent_leaves_nothing_and_never_less() -> None:
    below = balance("1.00", spent="3.00", held="1.00")
    assert below.left == Money(0)
    assert below.left_when_idle == Money(0)
    assert admit(Money(1), (below,)) is not None


def test_nothing_is_limited_where_no_limit_is() -> None:
    assert admit(Money.usd("1000000"), ()) is None
    assert room(()) is None
    assert room((balance("2.00", held="0.50"), balance("3"))) == Money.usd("1.50")


def test_what_is_kept_stays_free_of_a_runs_own_cap_and_of_nothing_else() -> None:
    """The final slice: it is no part of what is needed, and a wider budget or a run's daily one knows nothing of it."""
    keep = Money.usd("0.30")
    run, repo = cap("1.00", spent="0.50"), balance("0.40", scope="repo:a")
    assert admit(Money.usd("0.20"), (run, repo), keep=keep) is None
    refused = admit(Money.usd("0.25"), (run, repo), keep=keep)
    assert refused == Refused(
        binding=run, needed=Money.usd("0.25"), can_wait=False, balances=(run, repo), kept=Money.usd("0.30")
    )
    assert admit(Money.usd("0.25"), (run, repo)) is None
    assert room((run, repo), keep=keep) == Money.usd("0.20")
    assert room((cap("0.20"),), keep=keep) == Money(0)
    assert admit(keep, (balance("0.30", scope="run:r1"),), keep=keep) is None
    held = admit(Money.usd("0.25"), (cap("1.00", held="0.50"),), keep=keep)
    assert held is not None
    assert held.can_wait


@given(amounts, st.lists(st.tuples(amounts, amounts, amounts, amounts), max_size=5))
def test_the_law_holds_for_all_amounts(amount: Money, rows: list[tuple[Money, Money, Money, Money]]) -> None:
    """No hold is admitted that takes spent + uncertain + held over any limit; every other one is.

    A hold of nothing at all takes no balance anywhere, so it is admitted even over a limit that was lowered.
    """
    balances = [
        Balance(scope=ALL, window="total", label="total", limit=a, spent=b, uncertain=c, held=d) for a, b, c, d in rows
    ]
    fits = all(b + c + d + amount <= a for a, b, c, d in rows)
    assert (admit(amount, balances) is None) == (fits or not amount)


@given(windows, instants, zones)
def test_every_instant_lies_in_its_window_and_windows_follow_each_other(
    window: Window, at: datetime, zone: str
) -> None:
    """No instant is outside its window, and there is neither gap nor overlap between a window and the next one."""
    info = ZoneInfo(zone)
    span = span_of(window, at, info, zone)
    assert span.starts_at <= at < span.ends_at
    if window == "total":
        assert span.label == "total"
        return
    following = span_of(window, span.ends_at, info, zone)
    assert following.starts_at == span.ends_at
    assert following.label != span.label
    last = span_of(window, span.ends_at - timedelta(microseconds=1), info, zone)
    assert last == span == span_of(window, span.starts_at, info, zone)


@pytest.mark.parametrize(
    ("window", "at", "zone", "label", "hours"),
    [
        ("day", "2026-11-22T12:00Z", "UTC", "2026-11-22@UTC", 24),
        ("day", "2026-11-22T23:30Z", "Europe/Berlin", "2026-11-23@Europe/Berlin", 24),
        ("day", "2026-03-29T12:00Z", "Europe/Berlin", "2026-03-29@Europe/Berlin", 23),
        ("day", "2026-10-25T12:00Z", "Europe/Berlin", "2026-10-25@Europe/Berlin", 25),
        ("week", "2026-11-22T12:00Z", "UTC", "2026-W47@UTC", 168),
        ("week", "2027-01-01T12:00Z", "UTC", "2026-W53@UTC", 168),
        ("month", "2026-12-31T23:30Z", "Europe/Berlin", "2027-01@Europe/Berlin", 744),
        ("month", "2028-02-29T12:00Z", "UTC", "2028-02@UTC", 696),
        ("month", "2026-03-31T12:00Z", "Europe/Berlin", "2026-03@Europe/Berlin", 743),
    ],
)
def test_windows_are_those_of_the_calendar(window: Window, at: str, zone: str, label: str, hours: int) -> None:
    """Days of 23 and 25 hours, leap days, ISO weeks and month ends by the zone's own midnights."""
    span = span_of(window, datetime.fromisoformat(at), ZoneInfo(zone), zone)
    assert span.label == label
    assert span.ends_at - span.starts_at == timedelta(hours=hours)
    assert span.starts_at.utcoffset() == timedelta(0)


TestModelLife = LedgerMachine.TestCase
TestModelLife.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
