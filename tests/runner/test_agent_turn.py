"""One start of an agent in a real sandbox, from its first line to its last; the workflow's tests have the rest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.sandboxes import ground
from tests.runner.fake_agent import PROGRAM, Deeds, FakeAgent, finished

from crewcap.agents import LaunchOrder
from crewcap.core.likeness import likeness
from crewcap.core.runs import Acted, AgentEnd, AgentEvent, Answered, Cut, Other, Said
from crewcap.runner.agent_turn import Company, Patience, work
from crewcap.runner.ownership import start_time
from crewcap.runner.process import Site
from crewcap.workspaces import Child, Outlet


class Turn:
    """One start, and what was heard of it."""

    def __init__(self, site: Site, transcript: Path) -> None:
        self.site, self.transcript = site, transcript
        self.heard: list[AgentEvent] = []
        self.children: list[Child] = []
        self.ended: list[Child] = []
        self.hurry = asyncio.Event()
        self.words: list[str] = []  # what there is to say into the session
        self.told: list[str] = []  # what of it was said
        self.can_be_told = False
        self.asked: Cut = ""
        self.on: Callable[[AgentEvent], None] = lambda _: None
        self.on_start: Callable[[Child], None] = lambda _: None

    def play(self, *deeds: list[Any], total_s: float = 60.0, silent_s: float = 60.0) -> tuple[AgentEnd, Cut]:
        return asyncio.run(self._play(list(deeds), Patience(total_s=total_s, silent_s=silent_s, hurry=self.hurry)))

    async def _play(self, deeds: Deeds, patience: Patience) -> tuple[AgentEnd, Cut]:
        agent, layout = FakeAgent(deeds, remembers=False, can_be_told=self.can_be_told), self.site.layout
        launch = agent.launch(
            LaunchOrder(
                binary=layout.binary,
                prompt="...",
                model="m",
                session="s",
                home=layout.home,
                workspace=layout.workspace,
                gateway_url="",
                key="ccap-fake",
                run="r1",
            )
        )
        return await work(
            self.site,
            agent,
            launch,
            gateway=Outlet(socket=self.transcript.with_name("no.sock"), port=8787),
            transcript=self.transcript,
            patience=patience,
            company=Company(
                began=self._began,
                ended=self.ended.append,
                hear=self._hear,
                asked=lambda: self.asked,
                advice=self._advice,
            ),
        )

    async def _advice(self) -> AsyncGenerator[str, None]:
        for words in self.words:
            yield words
            self.told.append(words)

    def _began(self, child: Child) -> None:
        self.children.append(child)
        self.on_start(child)

    def _hear(self, event: AgentEvent) -> None:
        self.heard.append(event)
        self.on(event)


@pytest.fixture
def turn(tmp_path: Path) -> Iterator[Turn]:
    with ground("unconfined") as made:
        layout = replace(made.layout, binary=str(PROGRAM))
        site = Site(
            sandbox=made.sandbox,
            layout=layout,
            uid=made.uid,
            workspace=made.workspace,
            home=made.home,
            objects=made.objects,
            binary=PROGRAM,
        )
        yield Turn(site, tmp_path / "agent.jsonl")


def test_every_line_is_heard_in_order_and_kept_as_it_came(turn: Turn) -> None:
    end, cut = turn.play(
        ["say", "hello"],
        ["act", "run", "pytest", "c1"],
        ["answer", "c1", "9 passed"],
        ["raw", "\x1b[31mno JSON\n\n"],
        ["end", {"kind": "finished", "turns": 3}],
        ["raw", "without an end"],
    )
    assert (end, cut) == (AgentEnd(kind="finished", turns=3), "")
    assert turn.ended == turn.children
    assert turn.heard == [
        Said(text="hello"),
        Acted(verb="run", what="pytest", call="c1", likeness=likeness("run", "pytest")),
        Answered(call="c1", summary="9 passed", likeness=likeness("9 passed")),
        Other(kind="noise"),
        Other(kind="noise"),
        AgentEnd(kind="finished", turns=3),
        Other(kind="noise"),
    ]
    lines = turn.transcript.read_bytes().splitlines()
    assert json.loads(lines[0]) == {"say": "hello"}
    assert lines[3:5] == [b"\x1b[31mno JSON", b""]


def test_a_second_start_is_written_below_the_first(turn: Turn) -> None:
    turn.play(["say", "one"])
    turn.play(["say", "two"])
    assert [json.loads(line)["say"] for line in turn.transcript.read_bytes().splitlines()] == ["one", "two"]


def test_an_agent_that_dies_is_quoted_with_the_end_of_its_complaints(turn: Turn) -> None:
    end, cut = turn.play(["complain", "x" * 400 + " no memory"], ["exit", 9])
    assert (end.kind, cut) == ("crashed", "")
    assert end.message.endswith("x no memory")
    assert len(end.message) == 300


def test_an_agent_that_can_be_told_hears_the_advice_and_then_that_no_more_will_come(turn: Turn) -> None:
    """Its input stays open until it says how it ended: a real agent waits for another message until then."""
    turn.words, turn.can_be_told = ["wrap\nup"], True
    end, cut = turn.play(["listen"], ["end", {"kind": "finished"}], ["listen"])
    assert (end.kind, cut) == ("finished", "")
    assert [event for event in turn.heard if isinstance(event, Said)] == [
        Said(text="told: wrap\nup"),
        Said(text="nobody will say more"),
    ]


def test_an_agent_that_cannot_be_told_is_told_nothing(turn: Turn) -> None:
    """Its input is closed behind its task."""
    turn.words = ["wrap up"]
    turn.play(*finished(["listen"]))
    assert turn.heard[0] == Said(text="nobody will say more")


def test_an_agent_that_only_closes_its_output_is_waited_for_until_its_time_is_up(turn: Turn) -> None:
    end, cut = turn.play(["close_output"], ["hang"], total_s=0.3)
    assert (end.kind, cut) == ("crashed", "timeout")


def test_an_agent_that_still_speaks_is_not_silent(turn: Turn) -> None:
    assert turn.play(*finished(["say", "a"], ["say", "b"]), silent_s=30.0)[1] == ""


def test_who_is_in_a_hurry_does_not_wait_for_an_agent_whose_time_is_up_either(turn: Turn) -> None:
    turn.on = lambda _: turn.hurry.set()

    async def hurried() -> tuple[AgentEnd, Cut]:
        deeds: Deeds = [["ignore", "SIGINT", "SIGTERM"], ["say", "ready"], ["hang"]]
        async with asyncio.timeout(8):  # of the twenty seconds that a polite end may take
            return await turn._play(deeds, Patience(total_s=0.1, silent_s=60.0, hurry=turn.hurry))

    assert asyncio.run(hurried())[1] == "timeout"


def fail(_: object) -> None:
    """A screen that cannot be written, a full disk."""
    raise OSError(28, "no space left on device")


@pytest.mark.parametrize("moment", ["on", "on_start"])
def test_whatever_goes_wrong_with_us_no_agent_works_on_unseen(turn: Turn, moment: str) -> None:
    setattr(turn, moment, fail)
    deeds: Deeds = [["say", "ready"], ["hang"]]
    with pytest.raises(OSError, match="no space left"):
        turn.play(*deeds)
    (child,) = turn.children
    assert start_time(child.pid) == ""
