"""Values of a run without secrets."""

from __future__ import annotations

from crewcap.core.runs import AgentEnd, Check, RunState, Said
from crewcap.core.scrub import Scrubber
from crewcap.runner.scrubbed import scrubbed

FILTER = Scrubber({"TOKEN": "tok-5f2a9c81d0e7"})


def test_every_text_inside_a_value_is_filtered() -> None:
    check = Check(result="failed", summary="1 failed", seconds=1.5, tail="tok-5f2a9c81d0e7")
    assert scrubbed(check, FILTER) == Check(result="failed", summary="1 failed", seconds=1.5, tail="[secret removed]")
    assert scrubbed(("a", AgentEnd(kind="finished", message="tok-5f2a9c81d0e7")), FILTER) == (
        "a",
        AgentEnd(kind="finished", message="[secret removed]"),
    )


def test_what_holds_none_is_the_same_value() -> None:
    said = Said(text="hello")
    assert scrubbed(said, FILTER) is said
    assert scrubbed(RunState.DONE, FILTER) is RunState.DONE
    assert scrubbed(None, FILTER) is None
