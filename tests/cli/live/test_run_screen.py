"""A run's screen: the head, what happens, and the last block; for machines one object."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.cli.run_home import RunHome
from tests.cli.runs.test_show import PROMISED

from crewcap.cli.context import Call, make_call
from crewcap.cli.live.opening import Opening
from crewcap.cli.live.run_screen import RunScreen
from crewcap.core.runs import RunState, Verdict
from crewcap.runner.moments import Stepped


@pytest.fixture
def call(home: RunHome) -> Iterator[Call]:
    made = make_call({"home": str(home.home.root), "config": str(home.config)})
    yield made
    made.close()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_story_is_the_result_for_people_and_stands_beside_it_for_machines(
    home: RunHome, call: Call, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    run = home.add("fix", verdict=Verdict.FINISHED)
    home.spend(run, "0.25")
    call.as_json = as_json
    screen = RunScreen(call)
    screen.open(Opening(run=run, agent="Claude Code 2.1.330"), ["all"])
    screen.feed(Stepped(name="workspace", text="2 files"))
    screen.close(run)
    said = capsys.readouterr()
    story = (said.err if as_json else said.out).splitlines()
    assert story[0] == "fix.1   About fix"
    assert "  0:00  workspace       2 files" in story
    assert any(line.startswith("done   $0.25 of $3.00") for line in story)
    assert "  left      today $24.75" in story
    if as_json:
        assert set(json.loads(said.out)) >= PROMISED


def test_a_run_that_is_left_alone_has_no_last_block(
    home: RunHome, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = RunScreen(call)
    run = home.add("fix", RunState.RUNNING)
    screen.open(Opening(run=run, agent="Claude Code 2.1.330"), [])
    screen.leave()
    assert capsys.readouterr().out.splitlines()[0] == "fix.1   About fix"
    assert not screen.is_drawn, "nothing is drawn anew in a pipe"
