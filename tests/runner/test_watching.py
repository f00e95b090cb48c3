"""The watch over a run while its agent works, with real books, a real gateway and a sandboxed agent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.runner.fake_agent import fixes
from tests.runner.rig import Rig, Shop, utc_now
from tests.runner.test_workflow import ends, play

from crewcap.core.runs import Remark, Run, RunEvent, RunState, Verdict, move
from crewcap.core.watch_rules import Rule, RuleName, Rules
from crewcap.gateway.front.fanout import Seen
from crewcap.gateway.lifeline import Lifeline
from crewcap.runner.doors import LastingDoors
from crewcap.runner.watching import MOST_FAILURES, changed_since
from crewcap.settings.keysource import KeySource
from crewcap.stores.sqlite.runs import SqliteRuns

AGAIN = "read adder.py 8 times with the same answer, turn 1"


def rounds(number: int, *, what: str = "adder.py", first: int = 0) -> list[list[Any]]:
    """Tool calls that all say the same."""
    calls = [f"c{first + each}" for each in range(number)]
    return [deed for call in calls for deed in (["act", "read", what, call], ["answer", call, "3 lines"])]


def looping(number: int) -> list[list[Any]]:
    """An agent that asks once, and then does one thing again and again, until somebody ends it."""
    return [["ask"], *rounds(number), ["hang"]]


def rules(**changes: Rule) -> Rules:
    """The usual ones, some of them changed."""
    usual = Rules()
    names: dict[RuleName, Rule] = {**usual.by_name, **changes}  # type: ignore[dict-item]  # rules by their names
    return replace(usual, by_name=names)


def test_an_agent_that_goes_in_circles_is_paused_with_evidence_and_can_go_on(shop: Shop) -> None:
    """Work, session and workspace are kept; who resumes it tells the agent why it was paused."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.WAITING, Verdict.RUNAWAY)
        assert run.reason == f"paused by the watch: {AGAIN}"
        assert run.runaway == AGAIN
        assert run.watched == (
            Remark(rule="repeats", action="note", words=AGAIN.replace("8", "3"), turn=1),
            Remark(rule="repeats", action="pause", words=AGAIN, turn=1),
        )
        assert [step for step in rig.steps() if step.startswith("watch")] == [
            f"watch: {AGAIN.replace('8', '3')}",
            f"watch: paused: {AGAIN}",
        ]
        assert f"watch: paused: {AGAIN}" in rig.story()
        assert "agent ended: cut short, paused by the watch" in rig.story()
        rig.shop.runs.save(replace(run, state=move(run.state, RunEvent.RESUME), verdict=None, reason="", cut=""))
        again = await rig.drive()
        assert ends(again) == (RunState.DONE, Verdict.FINISHED)
        assert again.runaway == ""
        assert again.watched == run.watched  # the story of a run is not forgotten
        assert AGAIN in rig.agent.orders[-1].prompt
        assert rig.agent.orders[-1].session == rig.agent.orders[0].session

    play(shop, act, looping(8), fixes())


def test_a_rule_that_stops_ends_the_run_and_keeps_its_work(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.STOPPED, Verdict.RUNAWAY)
        assert run.reason == f"stopped by the watch: {AGAIN}"
        assert run.commits == 1

    options = {"watch": rules(repeats=Rule(action="stop", note_at=3, act_at=8))}
    play(shop, act, [["write", "notes.md", "so far\n"], *looping(8)], options=options)


@pytest.mark.parametrize("action", ["note", "off"])
def test_a_rule_that_may_only_note_ends_nothing(shop: Shop, action: Any) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        assert [remark.action for remark in run.watched] == (["note", "note"] if action == "note" else [])

    options = {"watch": rules(repeats=Rule(action=action, note_at=3, act_at=8))}
    play(shop, act, [*rounds(12), *fixes()], options=options)


def test_a_persons_word_is_above_the_watchs(shop: Shop) -> None:
    """Who says stop while the watch pauses has stopped it."""

    async def act(rig: Rig) -> None:
        rig.on(lambda moment: "watch" in repr(moment), lambda _: shop.runs.say(rig.run.id, "stop"))
        run = await rig.drive()
        assert ends(run) == (RunState.STOPPED, Verdict.CANCELLED)
        assert run.runaway == ""

    play(shop, act, looping(8))


def test_requests_and_refusals_are_seen_in_the_books(shop: Shop) -> None:
    """A model's context that is nearly full is noted even when the agent has ended meanwhile."""

    async def act(rig: Rig) -> None:
        assert rig.plan.card is not None
        rig.plan = replace(rig.plan, card=replace(rig.plan.card, context_window=10))
        run = await rig.drive()
        (remark,) = run.watched
        assert (remark.rule, remark.action, remark.turn) == ("context", "note", 1)
        assert "full" in remark.words
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)

    play(shop, act, [["ask"], *fixes()])


class Forgetful(SqliteRuns):
    """A store that cannot list its runs."""

    def list(self, *, limit: int = 50, open_only: bool = False) -> Sequence[Run]:
        del limit, open_only
        raise ZeroDivisionError


def test_a_watch_that_fails_is_a_line_in_the_story(shop: Shop) -> None:
    """Work that was paid for goes on without it."""
    _ = shop.ledger

    async def act(rig: Rig) -> None:
        forgetful = Forgetful(rig.shop.home, clock=utc_now)
        run = await rig.drive(runs=forgetful)
        forgetful.close()
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        assert any("the watch failed" in line for line in rig.story())

    play(shop, act, [["ask"], *fixes()])


class Unlucky(Rules):
    """Rules that cannot be read."""

    def __getitem__(self, name: RuleName) -> Rule:
        raise ZeroDivisionError


def test_a_defect_of_the_watch_ends_no_run(shop: Shop) -> None:
    """Whatever it is fed: the agent's lines, and the last requests after its end."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert ends(run) == (RunState.DONE, Verdict.FINISHED)
        first, last = (line for line in rig.story() if "the watch failed" in line)
        assert first.endswith("it looks again")
        assert last.endswith("the run goes on without it")

    play(shop, act, [["ask"], *rounds(MOST_FAILURES), *fixes()], options={"watch": Unlucky()})


class Fickle(SqliteRuns):
    """A store that cannot list its runs at first."""

    times = 0

    def list(self, *, limit: int = 50, open_only: bool = False) -> Sequence[Run]:
        self.times += 1
        if self.times == 1:
            raise ZeroDivisionError
        return super().list(limit=limit, open_only=open_only)


def test_a_watch_that_failed_once_looks_again_and_pauses_a_runaway(shop: Shop) -> None:
    """One bad moment is no reason to be without a watch for the rest of the night."""
    _ = shop.ledger

    async def act(rig: Rig) -> None:
        fickle = Fickle(rig.shop.home, clock=utc_now)
        run = await rig.drive(runs=fickle)
        fickle.close()
        assert ends(run) == (RunState.WAITING, Verdict.RUNAWAY)
        assert sum("the watch failed" in line for line in rig.story()) == 1

    play(shop, act, looping(8))


class Asked(LastingDoors):
    """Says when the watch has asked for the first time."""

    def __init__(self, lifeline: Lifeline) -> None:
        super().__init__(lifeline)
        self.first = asyncio.Event()

    async def fan_out(self, run: str) -> Seen:
        try:
            return await super().fan_out(run)
        finally:
            self.first.set()


def test_a_run_that_waits_for_a_gateway_is_watched_when_there_is_one(shop: Shop) -> None:
    """The watch asks from the start on how many agents there are; before there is a gateway nobody can say it."""

    async def act(rig: Rig) -> None:
        lifeline = Lifeline(rig.shop.home)
        doors = Asked(lifeline)
        driven = asyncio.ensure_future(rig.drive(doors=doors))
        await asyncio.wait([driven, asyncio.ensure_future(doors.first.wait())], return_when=asyncio.FIRST_COMPLETED)
        assert not driven.done()
        keeping = asyncio.ensure_future(lifeline.keep())
        assert ends(await driven) == (RunState.WAITING, Verdict.RUNAWAY)
        keeping.cancel()
        assert not any("the watch failed" in line for line in rig.story())

    play(shop, act, looping(8))


def test_evidence_holds_no_secret_that_was_lent_to_the_run(shop: Shop) -> None:
    """It quotes the agent, and the agent can read what it was lent."""
    shop.environ = {"SHOP_TOKEN": "lent-canary-4711"}

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        (remark,) = run.watched
        assert remark.words == "read [secret removed] 3 times with the same answer, turn 0"
        assert "canary" not in repr((run, rig.story(), rig.steps()))

    lent = {"TOKEN": KeySource("env", "SHOP_TOKEN")}
    play(shop, act, [*rounds(4, what="lent-canary-4711"), *fixes()], secrets=lent)


# whether a workspace changed


def test_a_workspace_has_changed_when_a_file_was_written_after_the_look(tmp_path: Path) -> None:
    old = tmp_path / "src" / "a.py"
    old.parent.mkdir()
    old.write_text("a")
    before = old.stat().st_ctime_ns
    assert changed_since(tmp_path, before - 1)
    assert not changed_since(tmp_path, before)
    os.utime(old, (1, 1))  # whoever sets back the clock of a file has changed it
    assert changed_since(tmp_path, before)


def test_caches_of_tools_and_gits_own_files_are_no_work(tmp_path: Path) -> None:
    names = (".git", "__pycache__", "node_modules")
    for name in names:
        (tmp_path / name).mkdir()
    for name in names:
        (tmp_path / name / "x").write_text("x")
    assert not changed_since(tmp_path, 0)
    (tmp_path / "x").write_text("x")
    assert changed_since(tmp_path, 0)


def test_a_workspace_that_cannot_be_read_has_changed_for_all_we_know(tmp_path: Path) -> None:
    assert changed_since(tmp_path / "gone", 0)
