"""A new run is written down, whoever carries it out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.runner.rig import Shop, utc_now
from tests.runner.test_start import FOUND

from crewcap.core.budget import ALL
from crewcap.core.limits import CountLimit
from crewcap.core.money import Money
from crewcap.core.runs import Run, RunState
from crewcap.errors import MoneyRefused
from crewcap.runner.entry import write_down
from crewcap.runner.ownership import myself
from crewcap.runner.start import Order
from crewcap.stores.run_rows import AlreadyOpen, AlreadyTriggered
from crewcap.workspaces.sandbox.unconfined import Unconfined

Write = Callable[..., Run]


@pytest.fixture
def write(shop: Shop) -> Write:
    """Write down a run of the usual plan."""
    _ = shop.repository
    order = Order(
        home=shop.home,
        config_path=None,
        settings=shop.settings,
        environ={"PATH": os.environ["PATH"]},
        ledger=shop.ledger,
        runs=shop.runs,
        clock=utc_now,
        sandbox=Unconfined(),
        mirrors=shop.mirrors,
        repository=shop.repository,
        base=shop.mirrors.update(shop.repository),
        trust="owner",
        tell=lambda _: None,
        report=lambda _run, _totals: None,
    )

    def written(*, key: str = "fix-sum", **options: Any) -> Run:
        plan = shop.plan()
        money = {name: options.pop(name) for name in ("cap", "cap_because", "wish", "wish_because") if name in options}
        plan = replace(plan, issue=replace(plan.issue, key=key), **money)
        return write_down(order, plan, FOUND, **options)

    return written


def test_a_run_of_a_command_is_ours_from_its_first_moment(write: Write) -> None:
    run = write()
    assert ((run.owner_pid, run.owner_started), run.hosted, run.state) == (myself(), False, RunState.QUEUED)
    assert run.scopes == ("issue:prompt/fix-sum", "repo:shop", "user:ana", "team:core", "all")
    assert (run.trust, run.attempt, run.agent_version) == ("owner", 1, FOUND.version)


def test_a_hosted_run_is_nobodys_until_a_worker_takes_it(write: Write) -> None:
    run = write(hosted=True)
    assert (run.owner_pid, run.owner_started, run.hosted) == (0, "", True)


def test_one_trigger_starts_one_run(write: Write) -> None:
    """A tick of a schedule that two workers see, or one that was killed before it noted that."""
    run = write(trigger="schedule:nightly@2026-11-22T02:00Z", hosted=True)
    with pytest.raises(AlreadyTriggered) as caught:
        write(key="another", trigger="schedule:nightly@2026-11-22T02:00Z", hosted=True)
    assert caught.value.run == run
    assert write(key="a-third", hosted=True).name != run.name


def test_an_issue_has_one_open_run(write: Write) -> None:
    run = write()
    with pytest.raises(AlreadyOpen) as caught:
        write()
    assert caught.value.run == run


def test_ids_sort_by_the_time_at_which_runs_were_written_down(write: Write) -> None:
    runs = [write(key=f"issue-{number}", hosted=True) for number in range(3)]
    assert sorted(run.id[:10] for run in runs) == [run.id[:10] for run in runs]
    assert len({run.id for run in runs}) == 3


def test_where_no_run_may_begin_a_command_writes_none_and_a_worker_lets_it_wait(shop: Shop, write: Write) -> None:
    shop.ledger.set_count(CountLimit(scope=ALL, kind="runs", window="day", value=0, source="command"))
    with pytest.raises(MoneyRefused, match=r"nothing was started: all has used 0 of its 0 runs this day"):
        write()
    assert shop.runs.list() == []
    assert write(hosted=True).state == RunState.QUEUED


def test_who_may_wait_is_not_cut_to_what_is_left_at_this_moment(write: Write) -> None:
    """A command is told what binds now; a queued run may start on a fresh budget, and is admitted by its own wish."""
    bound = {"cap": Money.usd("0.02"), "cap_because": "all that is left", "wish": Money.usd(1), "wish_because": "yours"}
    now = write(key="now", **bound)
    later = write(key="later", hosted=True, **bound)
    assert [(run.cap, run.cap_because, run.wish) for run in (now, later)] == [
        (Money.usd("0.02"), "all that is left", Money.usd(1)),
        (Money.usd(1), "yours", Money.usd(1)),
    ]
