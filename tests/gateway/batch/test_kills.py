"""A gateway may be killed at any step of a batch: nothing is sent twice, nothing is lost, every cent is found again."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import replace

import pytest
from tests.gateway.batch.conftest import Kennel
from tests.gateway.batch.jobs import Desk

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO
from crewcap.gateway.batch.folder import Folder
from crewcap.simulator.server import Simulator

STEPS = ("planned", "owned", "holding", "held", "posting", "sent", "posted", "ended", "booked", "answered", "settled")
APIS = ("/v1/messages", "/v1/responses", "/v1/chat/completions")


def assert_whole(desk: Desk, simulator: Simulator, job: Folder, *, count: int = 4) -> None:
    """Each prompt answered once, and the books, the meter and the answers agree to the last unit."""
    assert simulator.batches.posted == len(simulator.batches.made) == 1
    assert len(simulator.meter.bills) == count
    totals = desk.totals(job)
    assert (totals.spent, totals.uncertain, totals.held) == (simulator.meter.total(), ZERO, ZERO)
    assert {answer.state for answer in job.answers().values()} == {"succeeded"}
    assert len(job.answers()) == count
    assert desk.holds_nothing()
    assert desk.ledger.batches() == ()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("api", APIS[:2])
def test_a_gateway_killed_at_any_step_is_gone_on_from(
    api: str, step: str, desk: Desk, simulator: Simulator, kennel: Kennel
) -> None:
    job = desk.job(api=api)
    assert kennel.run(desk, simulator, step)
    assert not kennel.run(desk, simulator)
    assert_whole(desk, simulator, job)


@pytest.mark.parametrize("api", APIS[1:])
def test_a_file_that_was_uploaded_is_used(api: str, desk: Desk, simulator: Simulator, kennel: Kennel) -> None:
    job = desk.job(api=api)
    assert kennel.run(desk, simulator, "uploaded")
    assert not kennel.run(desk, simulator)
    assert_whole(desk, simulator, job)


def test_a_job_survives_a_death_at_every_step_in_turn(desk: Desk, simulator: Simulator, kennel: Kennel) -> None:
    """Twelve gateways, one batch; the one after `sent` finds what was posted in the provider's list."""
    job = desk.job()
    for step in STEPS:
        assert kennel.run(desk, simulator, "found" if step == "posted" else step), step
    assert not kennel.run(desk, simulator)
    assert_whole(desk, simulator, job)


@pytest.mark.parametrize("api", APIS[:2])
def test_a_gateway_killed_between_post_and_answer_finds_its_batch(
    api: str, desk: Desk, simulator: Simulator, kennel: Kennel
) -> None:
    """The provider has it, and nobody was told: looking through its list comes before anything is sent again."""
    job = desk.job(api=api)
    kill_while_it_posts(desk, simulator, kennel)
    held = desk.totals(job).held
    assert held > ZERO
    assert not kennel.run(desk, simulator)
    assert_whole(desk, simulator, job)


@pytest.mark.parametrize("accident", ["cut", "error"])
@pytest.mark.parametrize("api", APIS[:2])
def test_a_post_without_a_good_answer_is_looked_for(
    api: str, accident: str, desk: Desk, simulator: Simulator, kennel: Kennel
) -> None:
    simulator.batches.accident = accident  # type: ignore[assignment]  # one of them
    job = desk.job(api=api)
    assert not kennel.run(desk, simulator)
    assert_whole(desk, simulator, job)


@pytest.mark.parametrize("api", APIS[:2])
def test_a_post_that_made_nothing_is_sent_again(api: str, desk: Desk, simulator: Simulator, kennel: Kennel) -> None:
    simulator.batches.accident = "lost"
    job = desk.job(api=api)
    kennel.begin(desk, simulator)
    wait_for(lambda: simulator.batches.posted >= 1)
    simulator.batches.accident = ""
    assert kennel.end() == 0
    assert len(simulator.batches.made) == 1
    assert desk.totals(job).spent == simulator.meter.total()
    assert desk.holds_nothing()


def test_a_batch_of_somebody_else_is_not_taken_for_ours(desk: Desk, simulator: Simulator, kennel: Kennel) -> None:
    """Anthropic's list shows no names: one of the same size and time is watched to its end, and then known."""
    job = desk.job()
    kill_while_it_posts(desk, simulator, kennel)
    strange = add_one_like_it(simulator)
    assert not kennel.run(desk, simulator)
    assert simulator.batches.posted == 1
    assert strange not in {part.batch for part in job.state().parts.values()}
    assert desk.totals(job).spent.nano * 2 == simulator.meter.total().nano  # theirs is billed to the same key
    assert desk.holds_nothing()


def test_what_a_batch_holds_is_charged_while_no_gateway_lives(desk: Desk, simulator: Simulator, kennel: Kennel) -> None:
    """Held is held: neither free, nor uncertain because the gateway is dead."""
    job = desk.job()
    kennel.run(desk, simulator, "posted")
    held = desk.totals(job)
    boot = desk.ledger.start_boot()
    after = desk.totals(job)
    desk.ledger.stop_boot(boot)
    assert (after.held, after.uncertain) == (held.held, ZERO)
    assert held.held > ZERO
    balance = next(each for each in desk.ledger.balances(job.job().key) if each.scope == Scope(f"key:{job.job().key}"))
    assert balance.held == held.held


def kill_while_it_posts(desk: Desk, simulator: Simulator, kennel: Kennel) -> None:
    """The provider has made the batch, and nobody heard of it."""
    simulator.batches.accident = "hang"
    child = kennel.begin(desk, simulator)
    wait_for(lambda: bool(simulator.batches.made))
    os.kill(child, signal.SIGKILL)
    assert kennel.end() == -signal.SIGKILL
    simulator.batches.accident = ""


def add_one_like_it(simulator: Simulator) -> str:
    """One more batch at the provider, like the last one but for its names."""
    last = list(simulator.batches.made.values())[-1]
    items = [(re.sub("crewcap", "another", name), body) for name, body in last.items]
    other = replace(last, id="msgbatch_sim_strange", items=items, results=[], left=len(items), polls=0, ended_at=None)
    simulator.batches.made[other.id] = other
    return other.id


def wait_for(condition: object, limit_s: float = 20) -> None:
    """Wait for what another process does."""
    assert callable(condition)
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
