"""A run that another process drives, told as if we had been there."""

from __future__ import annotations

from tests.cli.run_home import RunHome, driven

from crewcap.cli.live.retold import Retold, told_before
from crewcap.core.money import Money
from crewcap.core.runs import Acted, Answered, RunState
from crewcap.runner.moments import Heard, Stepped


def test_a_story_becomes_moments_once_and_in_its_order(home: RunHome) -> None:
    """A call is over when something else is told; what the agent only said is not shown in the foreground either."""
    run = home.add(state=RunState.RUNNING, **driven())
    home.spend(run, "0.25")
    retold = Retold(home.runs, home.ledger, run.id)
    assert (retold.count().spent, retold.count().turns) == (Money.usd("0.25"), 1)
    for kind, text in (
        ("state", "running"),
        ("step", "check before: 2 passed: one: two"),
        ("agent", "said reading now"),
        ("agent", "read src/a b.py"),
        ("agent", "run pytest: -q"),
        ("note", "setup said: long words"),
        ("note", "attempt 2: the one before ended without an end"),
        ("step", "agent ended: finished: done"),
    ):
        home.runs.log(run.id, kind, text)
    told = list(retold.news())
    assert told[0] == Stepped(name="check before", text="2 passed: one: two")
    deeds = [moment.event for moment in told if isinstance(moment, Heard)]
    assert [(event.verb, event.what) for event in deeds if isinstance(event, Acted)] == [
        ("read", "src/a b.py"),
        ("run", "pytest: -q"),
    ]
    assert [type(event) for event in deeds] == [Acted, Answered, Acted]
    assert told[-1] == Stepped(name="note", text="attempt 2: the one before ended without an end")
    assert {moment.spent for moment in told if isinstance(moment, Heard)} == {Money.usd("0.25")}
    assert list(retold.news()) == []


def test_what_was_told_before_it_was_gone_on_with_is_history(home: RunHome) -> None:
    run = home.add(state=RunState.RUNNING, **driven())
    home.runs.log(run.id, "step", "workspace: 2 files")
    assert told_before(home.runs, run.id) == 0
    home.runs.log(run.id, "state", "resumed by kim with a cap of $5.00")
    home.runs.log(run.id, "step", "setup: reused")
    story = home.runs.story(run.id, after=told_before(home.runs, run.id))
    assert [event.text for event in story] == ["setup: reused"]
