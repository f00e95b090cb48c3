"""What `status` knows, as values; how it is shown is in `test_status`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.cli.run_home import RunHome, cut_short, driven, utc_now

from crewcap.cli.context import make_call
from crewcap.cli.night.picture import Picture, look, ticks_of
from crewcap.core.budget import ALL
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Run, RunState
from crewcap.runner.ownership import myself
from crewcap.serve.claim import claim
from crewcap.stores import Limit, Tick

WORKERS: dict[str, Any] = {"hosted": True, "worker": "local"}
SCHEDULE = '[[schedules]]\nname = "{name}"\ncron = "{cron}"\nrepo = "shop"\nprompt = "look"\n'


def picture(home: RunHome, *, hours: int = 12) -> Picture:
    call = make_call({"home": str(home.home.root), "config": str(home.config)})
    try:
        return look(call, utc_now() - timedelta(hours=hours))
    finally:
        call.close()


@pytest.fixture
def served(home: RunHome) -> Iterator[None]:
    pid, started = myself()
    with claim(home.home):
        home.home.serve_note.write_text(json.dumps({"pid": pid, "started": started}))
        yield


def names(runs: Any) -> list[str]:
    return [run.name for run in runs]


def everything(home: RunHome) -> dict[str, Run]:
    """One run of each kind, as a night leaves them."""
    return {
        "asks": home.add("asks", RunState.WAITING, waits_for="answer", **WORKERS),
        "rests": home.add("rests", RunState.WAITING, waits_for="provider", **WORKERS),
        "cut": home.add("cut", RunState.RUNNING, **cut_short()),
        "live": home.add("live", RunState.RUNNING, **driven()),
        "queued": home.add("queued", RunState.QUEUED, started_at=None, **WORKERS),
        "done": home.add("done"),
        "old": home.add("old", ended_at=utc_now() - timedelta(days=3)),
    }


def test_each_run_is_in_one_place(home: RunHome) -> None:
    """Without a serve nobody goes on with what would go on by itself: that needs somebody, too."""
    everything(home)
    seen = picture(home)
    assert sorted(names(seen.waiting)) == ["asks.1", "cut.1", "rests.1"]
    assert (names(seen.resting), names(seen.live), names(seen.queued)) == ([], ["live.1"], ["queued.1"])
    assert (names(seen.ended), seen.idle, seen.is_served) == (["done.1"], 1, False)


@pytest.mark.usefixtures("served")
def test_beside_a_serve_what_goes_on_by_itself_needs_nobody(home: RunHome) -> None:
    everything(home)
    seen = picture(home)
    assert sorted(names(seen.waiting)) == ["asks.1", "cut.1"]
    assert (names(seen.resting), seen.idle, seen.is_served) == (["rests.1"], 0, True)


def test_how_far_back_it_looks_is_said(home: RunHome) -> None:
    everything(home)
    assert names(picture(home, hours=24 * 7).ended) == ["old.1", "done.1"]


def test_the_queue_is_in_its_order_and_those_nobody_looked_at_come_last(home: RunHome) -> None:
    for key, position in (("third", 0), ("second", 2), ("first", 1)):
        home.add(key, RunState.QUEUED, position=position, **WORKERS)
    assert names(picture(home).queued) == ["first.1", "second.1", "third.1"]


def test_money_is_that_of_the_open_and_of_the_ended_runs_apart(home: RunHome) -> None:
    done, live = home.add("done"), home.add("live", RunState.RUNNING, **driven())
    home.spend(done, "0.40")
    home.spend(live, "0.10")
    seen = picture(home)
    assert (seen.ended_cost, seen.worst_case) == (Money.usd("0.40"), Money.usd("2.90"))
    assert seen.totals[live.id].spent == Money.usd("0.10")
    assert done.id not in seen.totals


def test_budgets_of_single_runs_keys_and_issues_are_no_part_of_it(home: RunHome) -> None:
    home.add("live", RunState.RUNNING, **driven())
    home.ledger.set_limit(Limit(scope=ALL, window="day", amount=Money.usd(9), source="command"))
    assert {balance.scope for balance in picture(home).balances} == {ALL}


def test_a_house_without_runs_is_an_empty_picture(home: RunHome) -> None:
    seen = picture(home)
    assert (seen.waiting, seen.live, seen.ended, seen.ticks, seen.skipped) == ([], [], [], (), [])
    assert (seen.ended_cost, seen.worst_case, seen.idle, seen.presence) == (ZERO, ZERO, 0, None)


# schedules


def test_schedules_come_soonest_first(home: RunHome) -> None:
    home.config.write_text(
        f'[repos.shop]\nurl = "{home.user}"\n'
        + SCHEDULE.format(name="nightly", cron="0 2 * * *")
        + SCHEDULE.format(name="often", cron="*/10 * * * *")
    )
    call = make_call({"home": str(home.home.root), "config": str(home.config)})
    now = datetime(2026, 11, 22, 12, 3, tzinfo=UTC)
    assert ticks_of(call, now) == [
        (datetime(2026, 11, 22, 12, 10, tzinfo=UTC), "often"),
        (datetime(2026, 11, 23, 2, tzinfo=UTC), "nightly"),
    ]
    call.close()


@pytest.mark.parametrize(
    ("hours_ago", "then_ran", "is_told"),
    [(1, False, True), (30, False, True), (30, True, False), (1, True, True)],
)
def test_a_tick_that_started_nothing_is_told_if_it_is_news_or_the_newest(
    home: RunHome, *, hours_ago: int, then_ran: bool, is_told: bool
) -> None:
    """Since then, or with none after it: a schedule that has not run for days stays in sight."""
    home.config.write_text(f'[repos.shop]\nurl = "{home.user}"\n' + SCHEDULE.format(name="nightly", cron="0 2 * * *"))
    run, at = home.add(), utc_now() - timedelta(hours=hours_ago)
    home.runs.note_tick(Tick(schedule="nightly", at=at - timedelta(days=1), note="first seen"))
    home.runs.note_tick(Tick(schedule="nightly", at=at, note="left out: it is at work"))
    if then_ran:
        home.runs.note_tick(Tick(schedule="nightly", at=at + timedelta(minutes=30), run=run.id))
    assert [tick.note for tick in picture(home).skipped] == (["left out: it is at work"] if is_told else [])


def test_when_a_schedule_was_first_seen_is_no_tick(home: RunHome) -> None:
    home.config.write_text(f'[repos.shop]\nurl = "{home.user}"\n' + SCHEDULE.format(name="nightly", cron="0 2 * * *"))
    home.add()
    home.runs.note_tick(Tick(schedule="nightly", at=utc_now(), note="first seen"))
    assert picture(home).skipped == []
