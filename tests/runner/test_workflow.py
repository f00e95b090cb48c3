"""A run from state to state, with a real repository, real books, a real gateway and a sandboxed agent.

Where a run is killed, the next drive knows nothing but what is stored, as the next process does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import says, script
from tests.runner.fake_agent import FakeAgent, finished, fixes
from tests.runner.rig import CHECK, Killed, Rig, Shop, heard, killed, stepped

from crewcap.core.budget import ALL, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import CountLimit
from crewcap.core.money import Money
from crewcap.core.runs import Check, Run, RunState, Verdict
from crewcap.errors import UnsafeEnvironment
from crewcap.runner.moments import Counted, Ended
from crewcap.runner.process import Site
from crewcap.runner.resuming import resume
from crewcap.runner.tree import Laid, Tree
from crewcap.runner.workflow import Workflow
from crewcap.simulator.script import Script
from crewcap.simulator.troubles import Trouble
from crewcap.stores import Limit

READY = ["say", "ready"]
WRONG = "def add(a, b):\n    return a * b\n"


def play(shop: Shop, act: Callable[[Rig], Awaitable[None]], *starts: Any, **options: Any) -> None:
    """Open a run of this agent and look at it."""

    async def main() -> None:
        async with shop.open(*starts, **options) as rig:
            await act(rig)

    asyncio.run(main())


def keys(shop: Shop) -> tuple[VirtualKey, ...]:
    return shop.ledger.keys()


def ends(run: Run) -> tuple[RunState, Verdict | None]:
    return run.state, run.verdict


# what a run is


def test_an_issue_becomes_a_branch_in_the_users_repository(shop: Shop) -> None:
    """Every step is told and written down; the user's own files are not touched."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert run == rig.stored()
        assert (run.state, run.verdict, run.reason) == (RunState.DONE, Verdict.FINISHED, "the check is green")
        assert (run.commits, run.files_changed, run.lines_added, run.lines_removed) == (1, 1, 1, 1)
        assert (run.check_before.result, run.check_after.result) == ("failed", "passed")
        assert (run.started_at is not None, run.ended_at is not None, run.epoch) == (True, True, 2)
        assert rig.steps() == [
            "workspace: 2 files, branch crewcap/fix-sum-1",
            "check before: 1 failed",
            "check after: 1 passed",
        ]
        states = [text for text in rig.story() if text.split()[0] in list(RunState)]
        assert states == ["preparing", "running", "finishing", "done the check is green"]
        assert [seen.state for seen in rig.reports][-1] == RunState.DONE
        totals = rig.totals()
        assert (run.turns, totals.requests, totals.held) == (2, 2, Money(0))
        assert rig.moments[-2:] == [Counted(spent=totals.spent, held=Money(0), turns=2), Ended(run=run)]
        assert totals.spent > Money(0)
        _was_told_the_task(rig)
        _lived_on_a_key_of_its_own(rig)

    play(shop, act, fixes_for_money(), check=CHECK)
    assert shop.branches() == ["crewcap/fix-sum-1", "main"]
    assert shop.git("show", "crewcap/fix-sum-1:adder.py").endswith("a + b")
    assert shop.git("log", "-1", "--format=%s", "crewcap/fix-sum-1") == "Fix the sum"
    assert (shop.git("status", "--porcelain"), shop.git("branch", "--show-current")) == ("", "main")


def fixes_for_money() -> Any:
    return [["ask"], ["ask"], *fixes()]


def _was_told_the_task(rig: Rig) -> None:
    (order,) = rig.agent.orders
    assert "2 + 2 should be 4." in order.prompt
    assert (order.resume, order.model, order.run) == (False, rig.run.model, rig.run.id)
    assert (order.session, order.cap_usd, order.max_turns) == (rig.run.session, "1.000000000", 40)


def _lived_on_a_key_of_its_own(rig: Rig) -> None:
    """It is dead now, and its limits are in the books."""
    (key,) = rig.shop.ledger.keys()
    assert (key.run, key.max_turns, key.label) == (rig.run.id, 40, "fix-sum.1")
    run, issue = f"run:{rig.run.id}", "issue:prompt/fix-sum"
    assert key.scopes[1:] == (run, issue, "repo:shop", "user:ana", "team:core", "all")
    assert key.revoked_at is not None
    limits = {one.scope: one.limit for one in rig.shop.ledger.all_balances()}
    assert limits == {Scope(run): Money.usd(1), Scope(issue): Money.usd(10)}


def test_without_a_check_the_work_is_kept_and_the_run_says_that_nobody_checked_it(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (run.state, run.reason, run.check_after.result) == (
            RunState.DONE,
            "not checked: no check is set",
            "not_run",
        )
        assert rig.steps()[-1] == "check after: not checked: no check is set for this repository"

    play(shop, act, fixes())


def test_a_run_that_changes_nothing_is_an_end_of_its_own(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.commits) == (RunState.FAILED, Verdict.NO_CHANGES, 0)

    play(shop, act, finished())
    assert shop.branches() == ["main"]


def test_what_the_agent_says_is_kept_and_its_raw_lines_too(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        await rig.drive()
        assert "run pytest" in rig.story()
        assert "said hello \x1b[31mred" not in rig.story()
        assert "said hello  [31mred" in rig.story()
        lines = (rig.folder / "agent.jsonl").read_text().splitlines()
        assert lines[0] == "not json"
        assert len(lines) == 4

    play(
        shop,
        act,
        finished(["raw", "not json\n"], ["say", "hello \x1b[31mred"], ["act", "run", "pytest", "c1"]),
    )


# setup and checks


def test_a_setup_that_fails_ends_the_run_before_any_key_is_made(shop: Shop) -> None:
    """Nobody pays for an agent in a workspace in which it cannot work."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.FAILED, Verdict.SETUP_FAILED)
        assert run.reason == "setup `echo no such package; exit 3` failed (exit 3): no such package"
        assert (rig.agent.orders, shop.ledger.keys()) == ([], ())
        assert "setup said: no such package" in rig.story()

    play(shop, act, fixes(), setup="echo no such package; exit 3")


def test_a_setup_without_an_end_is_ended(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert run.reason == "setup `echo waiting; sleep 60` failed (ran out of time): waiting"

    play(shop, act, fixes(), setup="echo waiting; sleep 60", options={"setup_s": 0.2})


@pytest.mark.parametrize(
    ("commands", "where"),
    [
        ({"setup": "echo waiting; sleep 60"}, "in its setup `echo waiting; sleep 60`"),
        ({"check": "echo waiting; sleep 60"}, "before its agent began, with its check"),
    ],
)
def test_setup_and_first_check_are_part_of_the_time_of_a_run(shop: Shop, commands: dict[str, str], where: str) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.FAILED, Verdict.TIMED_OUT)
        assert run.reason == f"its time, 1 s, was up {where}; nothing was spent"
        assert (rig.agent.orders, shop.ledger.keys()) == ([], ())

    play(shop, act, fixes(), timeout_s=1, **commands)


def test_a_check_that_met_a_limit_says_which(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert run.check_before.summary == "1 failed; it says that a file reached its limit on file size (4 GiB)"

    play(shop, act, fixes(), check="echo '1 failed'; echo 'big: File too large' >&2; exit 1")


def test_a_check_without_an_end_is_red_and_its_last_words_are_kept(shop: Shop) -> None:
    """Whoever made it hang sees where."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.FAILED, Verdict.CHECK_FAILED)
        assert (run.check_after.summary, run.check_after.tail) == ("ran out of time", "test_login ...")
        assert "exit -1000" not in "".join(rig.story())

    check = "test ! -e slow || { echo 'test_login ...'; exec sleep 60; }"
    play(shop, act, finished(["write", "slow", ""]), check=check, options={"check_s": 0.3, "fix_attempts": 0})


def test_a_red_check_goes_back_into_the_session_and_a_green_one_ends_it(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.fixes, run.epoch) == (RunState.DONE, Verdict.FINISHED, 1, 3)
        first, second = rig.agent.orders
        assert (first.resume, second.resume) == (False, True)
        assert first.session == second.session
        assert first.key != second.key
        assert "is red (1 failed) after your work" in second.prompt
        assert "This is attempt 1." in second.prompt
        assert "check after: red; back to the agent (1 of 2)" in rig.steps()
        assert all(key.revoked_at is not None for key in keys(shop))

    play(shop, act, finished(["write", "adder.py", WRONG]), fixes(), check=CHECK)


def test_a_check_that_stays_red_goes_back_twice_and_no_more(shop: Shop) -> None:
    """The work is kept on its branch all the same."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.reason, run.fixes) == (RunState.FAILED, Verdict.CHECK_FAILED, "the check is red", 2)
        assert len(rig.agent.orders) == 3
        assert "This is attempt 2." in rig.agent.orders[-1].prompt

    play(shop, act, finished(["write", "adder.py", WRONG]), check=CHECK)
    assert "crewcap/fix-sum-1" in shop.branches()


# how an agent may end


def test_an_agent_that_dies_is_quoted(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.reason) == (RunState.FAILED, Verdict.AGENT_ERROR, "out of memory")

    play(shop, act, [["complain", "out of memory"], ["exit", 9]])


def test_an_agent_whose_time_is_up_is_ended_and_its_work_is_kept(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.reason, run.commits) == (
            RunState.FAILED,
            Verdict.TIMED_OUT,
            "its time was up",
            1,
        )
        assert run.cut == "timeout"

    play(shop, act, [["write", "adder.py", WRONG], READY, ["hang"]], timeout_s=3)


def test_an_agent_without_a_sign_of_life_is_ended(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.cut) == (RunState.FAILED, Verdict.TIMED_OUT, "stalled")
        assert run.reason == "it showed no sign of life for too long"

    play(shop, act, [READY, ["hang"]], options={"silent_s": 0.1})


def test_at_its_cap_a_run_waits_with_its_work_on_a_branch(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.reason) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED, "paused at the cap")
        assert rig.answers() == ["status 402"]
        assert (run.commits, rig.totals().spent) == (1, Money(0))

    ends_broke = ["end", {"kind": "api_error", "api_status": 402}]
    play(
        shop,
        act,
        [["write", "adder.py", WRONG], ["ask", 8_000], ends_broke],
        cap=Money.usd("0.001"),
    )
    assert "crewcap/fix-sum-1" in shop.branches()


def test_a_refusal_that_did_not_matter_does_not_stop_a_green_run(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        assert rig.totals().refused == 1

    play(shop, act, finished(["write", "adder.py", "a + b"], ["ask", 8_000]), cap=Money.usd("0.001"), check=CHECK)


def test_agents_beyond_a_routes_limit_are_refused_and_the_run_says_so(shop: Shop) -> None:
    """It is no matter of money, so the run goes on."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.FAILED, Verdict.NO_CHANGES)
        assert rig.answers() == ["status 200", "status 402", "status 200"]
        told = "1 request was refused: this run may have 1 agents beside its main conversation and has 1"
        assert run.agents == told
        assert f"agents: {told}" in rig.steps()

    play(shop, act, finished(["ask", 100, "a"], ["ask", 100, "b"], ["ask"]), max_agents=1)


def test_a_run_of_a_frozen_provider_waits_and_says_why(shop: Shop) -> None:
    """It is not the run's fault (MONEY 6)."""
    spent = "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.WAITING, Verdict.PROVIDER_ERROR)
        assert "specified API usage limits" in run.reason

    limited = ["end", {"kind": "api_error", "api_status": 402}]
    play(shop, act, [["ask"], ["ask"], limited], provider=refusing(spent))


def refusing(message: str) -> Script:
    return script(says(refuse=Trouble(status=400, kind="invalid_request_error", message=message)))


# the way home


def test_a_branch_that_the_user_moved_is_left_alone_and_the_run_is_done(shop: Shop) -> None:
    """The work is in the mirror, where diff and checkout find it."""

    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), lambda _: take_the_name(shop))
        run = await rig.drive()
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        assert any(
            step.startswith("branch: crewcap/fix-sum-1 is in the mirror only: crewcap/fix-sum-1 has commits of its own")
            for step in rig.steps()
        )

    play(shop, act, finished(READY, ["write", "adder.py", "a + b"]))
    assert shop.git("log", "-1", "--format=%s", "crewcap/fix-sum-1") == "mine"


def take_the_name(shop: Shop) -> None:
    shop.git("checkout", "--quiet", "-b", "crewcap/fix-sum-1")
    shop.git("commit", "--quiet", "--allow-empty", "-m", "mine")
    shop.git("checkout", "--quiet", "main")


def test_a_report_that_cannot_be_written_is_a_note_and_no_end(shop: Shop) -> None:
    """Work that was paid for goes on."""

    def refuse(run: Run, totals: object) -> None:
        del totals
        raise UnsafeEnvironment(f"the report of {run.name} could not be written")

    async def act(rig: Rig) -> None:
        assert ends(await rig.drive(report=refuse)) == (RunState.DONE, Verdict.FINISHED)
        assert "the report could not be written: the report of fix-sum.1 could not be written" in rig.story()

    play(shop, act, fixes())


# Ctrl-C, and somebody else's word


def interrupt(workflow: Workflow) -> None:
    workflow.interrupt()


def twice(workflow: Workflow) -> None:
    workflow.interrupt()
    workflow.interrupt()


def by_another_process(workflow: Workflow) -> None:
    workflow.record.tools.runs.say(workflow.run.id, "stop", by="ben")


@pytest.mark.parametrize("word", [interrupt, by_another_process])
def test_before_the_agent_works_a_word_ends_the_run(shop: Shop, word: Callable[[Workflow], None]) -> None:
    async def act(rig: Rig) -> None:
        rig.on(stepped("workspace"), word)
        run = await rig.drive()
        assert (*ends(run), run.reason) == (
            RunState.STOPPED,
            Verdict.CANCELLED,
            "interrupted before it could cost anything",
        )
        assert (rig.agent.orders, rig.moments[-1]) == ([], Ended(run=run))

    play(shop, act, fixes(), setup="sleep 60")


def test_once_pauses_the_agent_and_everything_is_kept(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), interrupt)
        run = await rig.drive()
        assert (*ends(run), run.cut) == (RunState.WAITING, Verdict.CANCELLED, "paused")
        assert (run.reason, run.commits) == ("paused by you; everything is kept", 1)
        assert run.check_after.result == "not_run"
        assert rig.steps()[-1] == "check after: not checked: interrupted"
        assert "agent ended: cut short, paused" in rig.story()
        assert rig.site.workspace.exists()

    play(shop, act, [["write", "adder.py", WRONG], READY, ["hang"]])
    assert "crewcap/fix-sum-1" in shop.branches()


def test_twice_ends_an_agent_that_does_not_listen_at_once(shop: Shop) -> None:
    """Both presses may come before anybody has looked."""

    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), twice)
        async with asyncio.timeout(8):  # of the twenty seconds that a polite end may take
            run = await rig.drive()
        assert (*ends(run), run.cut) == (RunState.STOPPED, Verdict.CANCELLED, "stopped")

    play(shop, act, [["ignore", "SIGINT", "SIGTERM"], READY, ["hang"]])


def test_the_second_press_ends_an_agent_that_is_only_being_paused(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), interrupt)
        rig.on(heard("not yet"), interrupt)
        async with asyncio.timeout(8):
            run = await rig.drive()
        assert (*ends(run), run.cut) == (RunState.STOPPED, Verdict.CANCELLED, "stopped")

    play(shop, act, [["not_yet", "not yet"], READY, ["hang"]])


def test_another_process_stops_the_agent(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), by_another_process)
        run = await rig.drive()
        assert (*ends(run), run.reason) == (RunState.STOPPED, Verdict.CANCELLED, "stopped; its work so far is kept")

    play(shop, act, [READY, ["hang"]])


class _StoppedMeanwhile:
    """Books in which somebody stops the run between its looks: right before its key is there."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rig.shop.ledger, name)

    def add_key(self, key: VirtualKey, *, cap: Money | None) -> None:
        self._rig.shop.runs.say(self._rig.run.id, "stop", by="ben")
        self._rig.shop.ledger.add_key(key, cap=cap)


def test_a_key_that_was_made_while_somebody_stopped_the_run_is_never_used(shop: Shop) -> None:
    """`stop --all` revokes what keys there are; one that is made in the same moment is ended by whoever made it."""

    async def act(rig: Rig) -> None:
        run = await rig.drive(ledger=_StoppedMeanwhile(rig))
        assert ends(run) == (RunState.STOPPED, Verdict.CANCELLED)
        assert (rig.agent.orders, rig.totals().requests) == ([], 0)
        (key,) = rig.shop.ledger.keys()
        assert key.revoked_at is not None

    play(shop, act, fixes())


def test_a_check_is_not_waited_for(shop: Shop) -> None:
    """The work is on its branch, and the run says that it was not checked."""

    async def act(rig: Rig) -> None:
        rig.on(lambda moment: isinstance(moment, Counted) and rig.stored().commits > 0, interrupt)
        run = await rig.drive()
        assert (*ends(run), run.check_after) == (RunState.WAITING, Verdict.CANCELLED, Check(result="not_run"))

    play(shop, act, finished(["write", "new", ""]), check="test ! -e new || exec sleep 60")
    assert "crewcap/fix-sum-1" in shop.branches()


# a second start


def test_half_a_workspace_is_thrown_away_and_made_anew_from_the_same_commit(shop: Shop) -> None:
    """The user's branch may have moved meanwhile."""

    async def act(rig: Rig) -> None:
        rig.on(stepped("setup"), killed)
        half = await rig.drive_until_killed()
        (rig.site.workspace / "adder.py").unlink()
        (rig.site.workspace / ".git" / "index.lock").touch()
        shop.git("commit", "--quiet", "--allow-empty", "-m", "later")
        run = await rig.drive()
        assert (*ends(run), run.base) == (RunState.DONE, Verdict.FINISHED, half.base)
        assert rig.steps()[1].startswith("setup: touch made: done in ")
        assert rig.steps()[2] == "check before: exit 1"

    play(shop, act, fixes(), setup="touch made", check="test -e made && grep -q 'a + b' adder.py")


class KilledWhileLayingOut(Tree):
    """The process dies when the workspace is about to be made."""

    async def lay_out(self, run: Run, site: Site) -> Laid:
        del run, site
        raise Killed


def test_a_branch_that_was_taken_is_the_runs_also_after_a_kill(shop: Shop) -> None:
    """Its number is not used up by a start that came to nothing."""

    async def act(rig: Rig) -> None:
        with pytest.raises(Killed):
            await rig.drive(tree=KilledWhileLayingOut(mirrors=shop.mirrors, repository=shop.repository))
        assert rig.stored().branch == "crewcap/fix-sum-1"
        run = await rig.drive()
        assert (run.state, run.branch) == (RunState.DONE, "crewcap/fix-sum-1")
        assert shop.branches() == ["crewcap/fix-sum-1", "main"]

    play(shop, act, fixes())


def test_an_agent_that_was_killed_with_us_goes_on_in_its_session_on_a_new_key(shop: Shop) -> None:
    """What it wrote is still there, what it spent stays spent, and its old key is dead."""

    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), killed)
        half = await rig.drive_until_killed()
        assert (half.state, [key.revoked_at for key in keys(shop)]) == (RunState.RUNNING, [None])
        run = await rig.drive()
        assert (*ends(run), run.turns) == (RunState.DONE, Verdict.FINISHED, 2)
        assert all(key.revoked_at is not None for key in keys(shop))
        again = rig.agent.orders[1]
        assert (again.resume, again.prompt.endswith("Continue where you were.")) == (True, True)
        assert shop.git("show", "--name-only", "--format=", run.branch).splitlines() == ["adder.py", "half"]

    play(
        shop,
        act,
        [["ask"], ["write", "half", "x"], READY, ["hang"]],
        finished(["ask"], ["write", "adder.py", "a + b"]),
    )


def test_an_agent_that_left_no_session_is_told_the_task_again_and_what_was_added(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), killed)
        await rig.drive_until_killed()
        assert ends(await rig.drive(say="also cover zero")) == (RunState.DONE, Verdict.FINISHED)
        again = rig.agent.orders[1]
        assert not again.resume
        assert "2 + 2 should be 4." in again.prompt
        assert again.prompt.endswith("also cover zero")

    play(shop, act, FakeAgent([READY, ["hang"]], fixes(), remembers=False))


def test_turns_that_were_used_are_not_given_again(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), killed)
        await rig.drive_until_killed()
        run = await rig.drive()
        newest, oldest = sorted(keys(shop), key=lambda key: key.max_turns or 0)
        assert (oldest.max_turns, newest.max_turns) == (3, 1)
        assert rig.answers() == ["status 200", "status 402"]
        assert (*ends(run), run.turns) == (RunState.FAILED, Verdict.TURN_LIMITED, 3)
        assert run.reason == "it used all of its 3 turns"

    limited = ["end", {"kind": "api_error", "api_status": 402}]
    play(shop, act, [["ask"], ["ask"], READY, ["hang"]], [["ask"], ["ask"], limited], max_turns=3)


def test_work_that_was_fetched_already_is_not_fetched_into_a_second_branch(shop: Shop) -> None:
    """Killed between the agent's end and the check's."""

    async def act(rig: Rig) -> None:
        rig.on(stepped("check after"), killed)
        half = await rig.drive_until_killed()
        assert (half.state, half.commits) == (RunState.FINISHING, 1)
        run = await rig.drive()
        assert (*ends(run), run.commit, run.commits) == (RunState.DONE, Verdict.FINISHED, half.commit, 1)
        assert len(rig.agent.orders) == 1

    play(shop, act, fixes())
    assert shop.branches() == ["crewcap/fix-sum-1", "main"]


def test_a_run_whose_gateway_is_gone_stays_open_to_be_gone_on_with(shop: Shop) -> None:
    """Nothing is lost but what the agent had not yet written."""

    async def act(rig: Rig) -> None:
        rig.gateway = replace(rig.gateway, control=Path("/nonexistent/control.sock"))
        with pytest.raises(UnsafeEnvironment, match="is gone"):
            await rig.drive()
        assert rig.stored().state == RunState.RUNNING

    play(shop, act, fixes())


# a person's word, and more money


async def red(rig: Rig) -> None:
    """As if an agent had worked, its check were red, and it were at work again when all was killed."""
    rig.on(stepped("check before"), killed)
    run = await rig.drive_until_killed()
    (rig.site.workspace / "adder.py").write_text(WRONG)
    (rig.site.home / f"{run.session}.jsonl").touch()
    failed = Check(result="failed", summary="1 failed", tail="test_login failed")
    shop = rig.shop
    shop.runs.save(replace(run, state=RunState.RUNNING, fixes=1, check_after=failed))


def test_a_red_check_goes_back_also_after_a_kill(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        await red(rig)
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        assert "is red (1 failed) after your work" in rig.agent.orders[0].prompt
        assert "test_login failed" in rig.agent.orders[0].prompt

    play(shop, act, fixes(), check=CHECK)


def test_a_resumed_run_is_told_what_a_person_says_once_and_then_hears_of_its_check(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        await red(rig)
        run = await rig.drive(say="also cover zero")
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        told, again = (order.prompt for order in rig.agent.orders)
        assert told == "also cover zero"
        assert "is red (1 failed) after your work" in again

    play(shop, act, finished(["write", "adder.py", WRONG]), fixes(), check=CHECK)


def test_a_higher_cap_is_in_force_before_the_agent_starts_again(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        shop.ledger.set_limit(
            Limit(scope=Scope(f"run:{rig.run.id}"), window="total", amount=Money.usd("0.001"), source="run")
        )
        await rig.drive()
        assert rig.answers() == ["status 200"]

    play(shop, act, finished(["ask", 8_000]))


def test_a_run_that_gets_no_key_waits_and_goes_on_when_there_is_room_again(shop: Shop) -> None:
    """Two began at once and one run is left: nothing of the other was started, and resuming it is all it takes."""

    async def act(rig: Rig) -> None:
        shop.ledger.set_count(CountLimit(scope=ALL, kind="runs", window="day", value=0, source="command"))
        run = await rig.drive()
        assert ends(run) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED)
        assert run.reason.startswith("all has used 0 of its 0 runs this day (")
        assert [key for key in shop.ledger.keys() if key.run == run.id] == []  # noqa: SIM118  (a ledger is no mapping)
        shop.ledger.set_count(CountLimit(scope=ALL, kind="runs", window="day", value=1, source="command"))
        resume(shop.runs, run, by="ana", hosted=False)
        assert (await rig.drive()).state == RunState.DONE

    play(shop, act, finished(["write", "adder.py", "a + b"]), check=CHECK)
