"""What a run that waits for money probably needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.cli.run_home import RunHome, utc_now

from crewcap.cli.runs.needs import needs
from crewcap.core.estimate import Rest
from crewcap.core.money import Money
from crewcap.core.questions import Question
from crewcap.core.runs import RunState, Verdict

ASKED = Question(
    id="q1",
    asked_at=datetime(2026, 11, 22, tzinfo=UTC),
    text="?",
    choices=("+2.00", "stop"),
    least=Money.usd("0.31"),
    again=Money.usd("0.28"),
)
STILL = Rest(p10=Money.usd("0.12"), p50=Money.usd("0.52"), p90=Money.usd("1.62"), jobs=9)


def test_runs_like_it_say_what_is_still_to_come_and_the_context_is_read_again() -> None:
    said = "about $0.80 more (0.40-1.90), of which re-reading the context $0.28"
    assert needs(ASKED, STILL) == said


def test_less_than_the_next_turn_needs_is_never_said() -> None:
    low = Rest(p10=Money.usd("0.01"), p50=Money.usd("0.02"), p90=Money.usd("0.09"), jobs=9)
    assert needs(ASKED, low) == "about $0.31 more (0.31-0.37), of which re-reading the context $0.28"


def test_without_a_past_it_says_what_is_known_for_sure() -> None:
    assert needs(ASKED, None) == "at least $0.31 more; re-reading the context costs about $0.28"
    assert needs(replace(ASKED, least=Money.usd(0), again=Money.usd(0)), None) == ""


def test_a_run_at_its_cap_learns_from_those_that_went_on(home: RunHome) -> None:
    """Runs that cost less had ended by then, and say nothing; one that was cut at its own cap says too little."""
    for number, costs in enumerate(("0.05", "0.40", "0.60", "0.80", "1.00", "1.40")):
        home.spend(home.add(f"past-{number}", verdict=Verdict.FINISHED), costs)
    home.spend(home.add("cut", RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED), "0.21")
    asked = replace(ASKED, asked_at=utc_now(), least=Money.usd("0.01"))
    run = home.add(
        "now", RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED, reason="paused at the cap", question=asked
    )
    home.spend(run, "0.20")
    assert "needs     about $0.88 more (0.48-1.48), of which re-reading the context $0.28" in home.out("show", run.name)
    said = home.json("show", run.name)
    assert said["question"] == {
        "id": "q1",
        "text": "?",
        "choices": ["+2.00", "stop"],
        "least_usd": "0.010000000",
        "reread_usd": "0.280000000",
        "expires_at": None,
    }
    assert (said["resume"], said["attempt"], said["queued_for"]) == (f"crewcap resume {run.name} --add 2", 1, None)
