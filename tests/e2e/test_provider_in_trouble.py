"""Answers that break, stay away or say no: the ledger is at or above the provider's meter, never below."""

from __future__ import annotations

import pytest
from tests.e2e.bench import SCRIPTS, Bench
from tests.e2e.conftest import Setting

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.simulator.log import Record

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]

TROUBLES = {  # what a prompt asks for -> the script's step
    "be cut off": "cut",
    "say nothing": "cut-at-once",
    "fall silent": "silent",
    "do not answer": "no-answer",
    "fail midway": "error",
    "be overloaded": "storm",
}
UNBILLED = "be overloaded"


@pytest.fixture(scope="module")
def troubled(shared_bench: Setting) -> Bench:
    """One machine on which a run meets each trouble, all at the same time through one gateway."""
    machine = shared_bench(SCRIPTS / "trouble.toml")
    machine.configure(gateway='idle = "1s"\nretry_for = "4s"')
    going = [machine.start("run", "-p", f"Please {trouble}.") for trouble in TROUBLES]
    assert [each.end().status for each in going] == [1] * len(going)
    machine.simulator.idle_in_thread(60)
    return machine


def run_of(machine: Bench, trouble: str) -> Run:
    return machine.run(f"please-{trouble.replace(' ', '-')}.1")


def answers_to(machine: Bench, trouble: str) -> list[Record]:
    """What the provider answered to one of the runs, told apart by the first thing that was said."""
    answers = machine.simulator.log.messages()
    conversations = {record.conversation for record in answers if record.step == TROUBLES[trouble]}
    return [record for record in answers if record.conversation in conversations]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_ledger_is_never_below_the_meter(troubled: Bench, trouble: str) -> None:
    """What was sent and not proved to be free stays charged."""
    run = run_of(troubled, trouble)
    with troubled.ledger() as books:
        totals = books.totals(Scope(f"run:{run.id}"))
    billed = sum((record.billed for record in answers_to(troubled, trouble)), ZERO)
    assert totals.spent + totals.uncertain >= billed
    assert totals.held.nano == 0
    assert (billed > ZERO) == (totals.uncertain > ZERO) == (trouble != UNBILLED)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_was_answered_whole_is_booked_exactly(troubled: Bench, trouble: str) -> None:
    run = run_of(troubled, trouble)
    whole = [record.billed for record in answers_to(troubled, trouble) if record.ending == "complete"]
    with troubled.ledger() as books:
        entries = books.entries(scope=Scope(f"run:{run.id}"))
    assert sorted(whole) == sorted(entry.spent for entry in entries if entry.kind == "settled")


@pytest.mark.parametrize(
    ("trouble", "verdict"),
    [
        ("be cut off", Verdict.NO_CHANGES),
        ("say nothing", Verdict.PROVIDER_ERROR),
        ("fail midway", Verdict.NO_CHANGES),
        ("do not answer", Verdict.PROVIDER_ERROR),
        ("be overloaded", Verdict.PROVIDER_ERROR),
    ],
)
def test_the_run_says_what_came_of_it(troubled: Bench, trouble: str, verdict: Verdict) -> None:
    """The agent falls back to an answer in one piece where it can, and there it had nothing to change."""
    assert run_of(troubled, trouble).verdict == verdict


def test_the_books_are_sound_after_all_of_that(troubled: Bench) -> None:
    assert troubled.verify() == ()
    assert troubled.charged() >= troubled.metered()


@pytest.mark.parametrize(
    ("said", "words"),
    [("authentication", "does not accept its key"), ("credit_balance", "credit balance is too low")],
)
def test_a_run_waits_while_the_providers_key_is_out_of_order(bench: Setting, said: str, words: str) -> None:
    """It is no fault of the run's; one request was enough to know, and it was free."""
    machine = bench("errors")
    machine.crewcap("run", "-p", f"refuse {said}")
    run = machine.run()
    assert (run.state, run.verdict) == (RunState.WAITING, Verdict.PROVIDER_ERROR)
    assert words in run.reason
    assert len(machine.simulator.log.messages()) == 1
    assert machine.charged() == machine.metered() == ZERO


def test_a_run_waits_after_an_incident_and_so_does_the_next_until_somebody_has_looked(bench: Setting) -> None:
    """Each run here has a gateway of its own: what the first one saw is known to the second, by the books."""
    machine = bench("fix-login", lie="dearer-model")
    machine.crewcap("run", "-p", "Fix the login.")
    first = machine.run()
    assert (first.state, first.verdict) == (RunState.WAITING, Verdict.PROVIDER_ERROR)
    assert "broke what holds rest on" in first.reason
    asked = len(machine.simulator.log.messages())
    assert asked == 1
    machine.simulator.lie = ""
    machine.crewcap("run", "-p", "Fix another login.")
    assert machine.run().state == RunState.WAITING
    assert len(machine.simulator.log.messages()) == asked
    assert "dearer price" in machine.crewcap("ledger", "thaw").out
    assert machine.crewcap("ledger", "thaw", "anthropic", "--word", "looked").status == 0
    machine.crewcap("resume", machine.run().name)
    assert machine.run().state == RunState.DONE
    assert machine.charged() >= machine.metered()
