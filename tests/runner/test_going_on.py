"""What is said to a run while its agent works, and what becomes of it when its gateway or its driver goes."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.gateway.conftest import script
from tests.runner.fake_agent import FakeAgent, finished, fixes
from tests.runner.rig import CHECK, Rig, Shop, heard, killed, stepped
from tests.runner.test_workflow import READY, WRONG, ends, play

from crewcap.core.runs import Run, RunState, Verdict
from crewcap.gateway.client import GatewayHandle
from crewcap.runner.doors import Doors
from crewcap.runner.resuming import resume
from crewcap.runner.workflow import Workflow


def says(text: str) -> Any:
    """Somebody leaves a message for the run."""
    return lambda workflow: workflow.record.tools.runs.say(workflow.run.id, "say", text, by="ana")


# messages in flight


def test_a_message_reaches_the_agent_in_its_live_session(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), says("use the\nold parser"))
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        assert "message: told to the agent: use the\nold parser" in rig.steps()
        assert "said told: use the old parser" in rig.story()
        assert (len(rig.agent.orders), shop.runs.unheard(rig.run.id)) == (1, [])

    play(shop, act, FakeAgent([READY, ["listen"], *fixes()], can_be_told=True))


def test_several_messages_are_told_in_the_order_in_which_they_were_said(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), says("one"))
        rig.on(heard("told: one"), says("two"))
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        told = [step for step in rig.steps() if step.startswith("message")]
        assert told == ["message: told to the agent: one", "message: told to the agent: two"]

    play(shop, act, FakeAgent([READY, ["listen"], ["listen"], *fixes()], can_be_told=True))


def test_an_agent_that_cannot_be_told_is_told_at_its_next_start(shop: Shop) -> None:
    """The run is not done before it was."""

    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), says("also cover zero"))
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        assert [order.prompt for order in rig.agent.orders][1:] == ["also cover zero"]

    play(shop, act, [READY, *fixes()], fixes())


def test_a_message_that_nobody_was_told_outlives_its_driver(shop: Shop) -> None:
    """Killed before the agent could hear it: the next driver tells it."""

    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), says("also cover zero"))
        rig.on(heard("later"), killed)
        await rig.drive_until_killed()
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        assert rig.agent.orders[1].prompt == "also cover zero"
        assert shop.runs.unheard(rig.run.id) == []

    play(shop, act, [READY, ["say", "later"], ["hang"]], fixes())


def test_a_stop_that_its_driver_did_not_live_to_see_through_is_heard_by_the_next(shop: Shop) -> None:
    """No agent is started for it."""

    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), killed)
        await rig.drive_until_killed()
        shop.runs.say(rig.run.id, "stop")
        run = await rig.drive()
        assert (*ends(run), run.commits) == (RunState.STOPPED, Verdict.CANCELLED, 1)
        assert (len(rig.agent.orders), shop.runs.unheard(run.id)) == (1, [])

    play(shop, act, [["write", "adder.py", WRONG], READY, ["hang"]], fixes())


def test_a_pause_by_word_is_one_by_hand(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), lambda workflow: shop.runs.say(workflow.run.id, "pause"))
        run = await rig.drive()
        assert (*ends(run), run.cut, run.waits_for) == (RunState.WAITING, Verdict.CANCELLED, "paused", "answer")

    play(shop, act, [READY, ["hang"]])


# a driver that leaves


def leave(workflow: Workflow) -> None:
    workflow.leave()


def test_a_driver_that_leaves_ends_its_agent_and_decides_nothing(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), leave)
        run = await rig.drive()
        assert (run.state, run.verdict, run.cut, run.ended_at) == (RunState.RUNNING, None, "left", None)
        assert all(key.revoked_at is not None for key in shop.ledger.keys())  # noqa: SIM118  (a ledger is no mapping)
        run = await rig.drive()
        assert (*ends(run), run.cut) == (RunState.DONE, Verdict.FINISHED, "")
        assert rig.agent.orders[1].resume
        assert rig.agent.orders[1].prompt.endswith("Continue where you were.")

    play(shop, act, [["write", "half", ""], READY, ["hang"]], fixes(), check=CHECK)


def test_a_driver_that_leaves_while_the_work_is_checked_sees_the_check_through(shop: Shop) -> None:
    """Work is not called unchecked because its driver had somewhere to go."""

    async def act(rig: Rig) -> None:
        rig.on(lambda _: rig.stored().state == RunState.FINISHING, leave)
        run = await rig.drive()
        assert (*ends(run), run.check_after.result) == (RunState.DONE, Verdict.FINISHED, "passed")

    play(shop, act, fixes(), check=CHECK)


# a workspace that is gone


async def paused_with_work(rig: Rig) -> Run:
    """A run that waits, with something on its branch, and whose workspace and session are gone then."""
    rig.on(heard("ready"), lambda workflow: workflow.record.tools.runs.say(workflow.run.id, "pause"))
    run = await rig.drive()
    assert (run.state, run.commits) == (RunState.WAITING, 1)
    for name in ("workspace", "home"):
        shutil.rmtree(rig.folder / name)
    return resume(rig.shop.runs, run, by="ana", hosted=False)


def another_mirror(shop: Shop, run: Run) -> None:
    """As another machine has it that never worked on this run."""
    shutil.rmtree(shop.home.mirrors)
    shop.mirrors.update(shop.repository, at=run.base)


HALF = [["write", "half", "of it\n"], READY, ["hang"]]


@pytest.mark.parametrize("where", ["in the mirror", "in the user's repository"])
def test_a_run_whose_workspace_is_gone_goes_on_from_what_it_had_committed(shop: Shop, where: str) -> None:
    """Lost on this machine, or never there: another machine's mirror begins empty."""

    async def act(rig: Rig) -> None:
        before = await paused_with_work(rig)
        if where == "in the user's repository":
            another_mirror(shop, before)
        run = await rig.drive()
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        told = f"workspace: goes on from its work so far, commit {before.commit[:12]} of {run.branch}"
        assert any(step.startswith(told) for step in rig.steps())
        assert shop.git("show", f"{run.branch}:half") == "of it"
        assert shop.git("show", f"{run.branch}:adder.py").endswith("a + b")
        assert shop.git("merge-base", "--is-ancestor", before.commit, run.branch) == ""
        assert (run.commits, run.check_before.result) == (2, "failed")  # that of its base, as before
        words = rig.agent.orders[1].prompt
        assert (rig.agent.orders[1].resume, "2 + 2 should be 4." in words) == (False, True)
        assert f"`git log -p {run.base[:12]}..` shows them" in words

    play(shop, act, HALF, fixes(), check=CHECK)


def test_a_run_begins_anew_where_its_work_is_not_to_be_had_and_says_so(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        before = await paused_with_work(rig)
        another_mirror(shop, before)
        shop.git("branch", "-D", before.branch)
        run = await rig.drive()
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        work = f"its work so far, commit {before.commit[:12]} of {run.branch}"
        assert f"workspace: begins anew, without {work}: shop does not have it" in rig.steps()
        assert (run.commits, "You worked on this task before" in rig.agent.orders[1].prompt) == (1, False)

    play(shop, act, HALF, fixes(), check=CHECK)


# a gateway that ends


class Replaced(Doors):
    """Doors of whichever gateway stands now."""

    def __init__(self, first: GatewayHandle) -> None:
        self.gateway = self.next = first

    @property
    def is_lost(self) -> bool:
        return self.next is not self.gateway

    async def ready(self) -> None:
        self.gateway = self.next


def test_a_run_whose_gateway_ends_goes_on_with_the_next_one_in_its_session(shop: Shop) -> None:
    """What it had written is there, what it spent stays spent, and nobody is asked anything."""

    async def main() -> None:
        async with AsyncExitStack() as first, AsyncExitStack() as second:
            old = await first.enter_async_context(shop.gateway(script()))
            plan = shop.plan(check=CHECK)
            agent = FakeAgent([["ask"], ["write", "half", ""], READY, ["hang"]], finished(["ask"], *fixes()))
            rig = Rig(shop=shop, agent=agent, gateway=old, run=shop.written(plan), plan=plan, options={})
            doors = Replaced(old)

            async def replace_gateway() -> None:
                await first.aclose()
                doors.next = await second.enter_async_context(shop.gateway(script()))

            tasks: list[asyncio.Task[None]] = []
            rig.on(heard("ready"), lambda _: tasks.append(asyncio.create_task(replace_gateway())))
            async with asyncio.timeout(60):
                run = await rig.drive(doors=doors)
            assert tasks[0].done()
            assert (*ends(run), run.turns, run.epoch) == (RunState.DONE, Verdict.FINISHED, 2, 3)
            assert "gateway: it ended; the agent goes on in its session as soon as there is one again" in rig.steps()
            assert agent.orders[1].resume
            assert rig.totals().held.nano == 0
            assert shop.git("show", "--name-only", "--format=", run.branch).splitlines() == ["adder.py", "half"]

    asyncio.run(main())


def test_a_message_to_a_run_whose_gateway_ends_is_not_lost(shop: Shop) -> None:
    """It was to be told with a start that came to nothing."""

    async def act(rig: Rig) -> None:
        doors = Replaced(rig.gateway)
        gone = replace(rig.gateway, control=rig.gateway.control.with_name("gone.sock"))
        doors.gateway = doors.next = gone

        class Returning(Replaced):
            """Found again at the second door."""

            tries = 0

            async def ready(self) -> None:
                self.tries += 1
                self.gateway = gone if self.tries == 1 else rig.gateway
                self.next = rig.gateway

        run = await rig.drive(doors=Returning(gone), say="also cover zero")
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        assert [order.prompt[-15:] for order in rig.agent.orders] == ["also cover zero"]

    play(shop, act, fixes(), check=CHECK)


@pytest.mark.parametrize("word", ["stop", "pause"])
def test_a_word_is_heard_while_there_is_no_gateway(shop: Shop, word: Any) -> None:
    async def act(rig: Rig) -> None:
        rig.on(stepped("gateway"), lambda workflow: shop.runs.say(workflow.run.id, word))

        class Never(Replaced):
            is_lost = True

        run = await rig.drive(doors=Never(rig.gateway))
        assert run.state == {"stop": RunState.STOPPED, "pause": RunState.WAITING}[word]

    play(shop, act, [["write", "half", ""], READY, ["hang"]])


# somebody else's signal


def test_an_agent_that_somebody_else_ends_goes_on_in_its_session(shop: Shop) -> None:
    """As a machine does that shuts down: the run has not failed, and nobody is asked anything."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.cut) == (RunState.DONE, Verdict.FINISHED, "")
        assert "agent: a signal of somebody else's ended it; it goes on in its session" in rig.steps()
        assert [order.resume for order in rig.agent.orders] == [False, True]

    play(shop, act, [["write", "half", ""], ["be_killed"]], fixes())


def test_an_agent_that_is_ended_again_and_again_is_believed_in_the_end(shop: Shop) -> None:
    """Each start of it costs money."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), len(rig.agent.orders)) == (RunState.FAILED, Verdict.AGENT_ERROR, 4)
        assert run.reason == "ended by SIGTERM"

    play(shop, act, [["be_killed"]])


def test_a_driver_that_is_told_to_end_with_its_agent_leaves_the_run_where_it_is(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), leave)
        run = await rig.drive()
        assert run.state == RunState.RUNNING

    play(shop, act, [READY, ["be_killed"]])
