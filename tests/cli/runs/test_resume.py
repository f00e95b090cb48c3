"""`crewcap resume`: what is refused before anything is started; the whole way stands in test_run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.cli.run_home import RunHome, cut_short, driven, utc_now
from tests.workspaces.repos import make_repository

from crewcap.core.budget import ALL, Scope
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.core.questions import Question
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.stores import Limit

ISSUE = Scope("issue:files/fix-login")
SCOPES = ("issue:files/fix-login", "repo:shop", "user:ana", "all")
LONG = Usage(input=1_000, cache_read=99_000, output=2_000)  # a context of 102,000 tokens, which no cache has any more


@pytest.fixture
def user(home: RunHome) -> RunHome:
    """A home whose runs have a repository, and an agent that could be started."""
    make_repository(home.user)
    claude = home.folder / "claude"
    claude.write_text("#!/bin/sh\necho '2.1.330 (Claude Code)'\n")
    claude.chmod(0o755)
    home.config.write_text(
        f'[defaults]\nagent_path = {{ claude = "{claude}" }}\n'
        '[providers.anthropic]\ndialect = "anthropic"\nkey = { env = "NO_SUCH_KEY" }\n'
    )
    return home


def paused(home: RunHome, *, spent: str = "2.85", **fields: Any) -> Run:
    """A run that waits, with a long context."""
    asked = Question(id="q1", asked_at=utc_now(), text="?", choices=("+2.00", "stop"))
    run = home.add(state=RunState.WAITING, question=asked, scopes=SCOPES, **fields)
    home.spend(run, spent, usage=LONG)
    return run


def at_its_cap(home: RunHome, **fields: Any) -> Run:
    return paused(
        home,
        verdict=Verdict.BUDGET_EXHAUSTED,
        reason="paused at the cap",
        cap=Money.usd("1.60"),
        spent="1.45",
        **fields,
    )


def lacks_a_key(home: RunHome, *words: str) -> bool:
    """Whether a command got as far as the provider's key, which comes last and is not there."""
    status, _, err = home.call(*words)
    return status == 4 and "NO_SUCH_KEY" in err


def test_a_run_that_is_on_its_way_does_not_wait(home: RunHome) -> None:
    home.add(state=RunState.QUEUED)
    assert home.refused("resume") == (2, "fix-login.1 does not wait: it is queued")


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED, RunState.STOPPED])
def test_a_run_that_is_over_goes_on_only_where_its_workspace_still_is(home: RunHome, state: RunState) -> None:
    """Work that is on a branch only is another run's beginning."""
    home.add(state=state, commits=1, branch="crewcap/fix-login-1", workspace_removed_at=utc_now())
    status, said = home.refused("resume", "-m", "also cover zero")
    assert status == 2
    assert said.startswith("fix-login.1 has no workspace any more: it was removed on ")
    assert said.endswith("; its branch crewcap/fix-login-1 is kept")


def test_a_run_that_somebody_drives_is_left_to_them(home: RunHome) -> None:
    home.add(state=RunState.RUNNING, **driven())
    assert home.refused("resume", "--add", "2") == (2, "fix-login.1 does not wait: it is running")


def test_a_message_to_a_run_at_work_is_left_for_its_agent(home: RunHome) -> None:
    run = home.add(state=RunState.RUNNING, **driven())
    assert "its agent is told at once" in home.out("resume", "-m", "use the old parser")
    assert home.json("resume", "-m", "and no other") == {"run": "fix-login.1", "result": "told"}
    assert [word.text for word in home.runs.unheard(run.id)] == ["use the old parser", "and no other"]


def test_at_its_cap_a_run_needs_more_money_and_is_told_how_much_at_least(user: RunHome) -> None:
    """Enough for the context once more, at the price of a cold cache: with a cent less it would be refused again."""
    run = at_its_cap(user)
    status, _, err = user.call("resume")
    assert status == 3
    assert err.splitlines()[0].startswith("error: fix-login.1 used $1.45 of $1.60, and its next turn needs up to $0.")
    least = err.splitlines()[1].removeprefix("help: crewcap resume fix-login.1 --add ")
    assert Money.usd("0.10") < Money.usd(least) < Money.usd("0.20")  # beside the 15 cents that are left
    almost = (Money.usd(least) - Money.usd("0.01")).exact()
    status, _, err = user.call("resume", "--add", almost)
    assert (status, err.splitlines()[1]) == (3, f"help: crewcap resume fix-login.1 --add {least}")
    assert user.runs.get(run.id) == run


def test_a_run_that_was_paused_by_hand_with_money_left_is_not_asked_for_more(user: RunHome) -> None:
    """What stops it here is that no key is at hand, which is looked for when everything else is in order."""
    run = paused(user, spent="0.10", verdict=Verdict.CANCELLED, reason="paused by you; everything is kept")
    assert lacks_a_key(user, "resume")
    assert user.runs.get(run.id) == run  # what cannot begin is not answered either


def test_a_shared_limit_that_is_used_up_is_named_with_when_it_opens(user: RunHome) -> None:
    """More money for the run would change nothing."""
    run = at_its_cap(user)
    user.ledger.set_limit(Limit(scope=ALL, window="day", amount=Money.usd("1.46"), source="command"))
    status, _, err = user.call("resume", "--add", "5")
    assert status == 3
    said, remedy = err.splitlines()
    assert said.startswith("error: fix-login.1: all has $0.01 left of $1.46 this day; it opens at ")
    assert remedy.startswith("help: crewcap budget set all day ")
    assert Money.usd(remedy.split()[-1]) > Money.usd("1.46")
    assert user.runs.get(run.id) == run


def test_what_reading_again_costs_is_said_by_who_pays_it_alone(user: RunHome) -> None:
    """Not before the answer was taken, which is not as long as its gateway is not there."""
    at_its_cap(user)
    status, _, err = user.call("resume", "--add", "2")
    assert status == 4
    assert "is read again" not in err


def test_who_answers_second_is_told_who_was_first(user: RunHome) -> None:
    run = at_its_cap(user)
    user.runs.answer(run.id, "q1", "stop", by="ben")
    status, _, err = user.call("resume", "--add", "2")
    assert (status, "error: fix-login.1 was answered already: 'stop' by ben" in err) == (2, True)


@pytest.mark.parametrize(("amount", "says"), [("0", "a cap of 0"), ("-1", "-1"), ("5,00", "'5,00'"), ("nan", "'nan'")])
def test_more_money_is_an_amount(home: RunHome, amount: str, says: str) -> None:
    home.add(state=RunState.WAITING)
    status, said = home.refused("resume", "--add", amount)
    assert status == 2
    assert says in said


def test_a_run_that_was_cut_short_is_not_refused_for_its_state(home: RunHome) -> None:
    """Only for its money; the whole way stands in tests/e2e/test_kills."""
    run = home.add(state=RunState.RUNNING, **cut_short())
    for _ in range(3):
        home.spend(run, "1.10")
    assert home.refused("resume") == (3, "fix-login.1 would have nothing to spend")
    assert home.json("show")["resume"] == "crewcap resume fix-login.1"


@pytest.mark.parametrize("state", [RunState.WAITING, RunState.RUNNING])
def test_no_cap_goes_past_what_the_issues_budget_leaves(user: RunHome, state: RunState) -> None:
    fields = cut_short() if state == RunState.RUNNING else {}
    run = user.add(state=state, cap=Money.usd(3), scopes=SCOPES, **fields)
    user.ledger.set_limit(Limit(scope=ISSUE, window="total", amount=Money.usd(3), source="command"))
    status, _, err = user.call("resume", "--add", "2")
    said = "fix-login.1: nothing of $2.00 is added: its cap of $3.00 is all that its issue's budget leaves"
    stands = f"({ISSUE} has $3.00 left of $3.00)"
    assert (status, err.splitlines()) == (
        3,
        [f"error: {said} {stands}", f"help: crewcap budget set {ISSUE} total 5.00"],
    )
    assert user.runs.get(run.id) == run


@pytest.mark.parametrize("state", [RunState.DONE, RunState.WAITING, RunState.RUNNING])
@pytest.mark.parametrize("words", ["", " \n"])
def test_a_message_without_words_pays_for_no_turn(user: RunHome, state: RunState, words: str) -> None:
    run = user.add(state=state, **(driven() if state == RunState.RUNNING else {}))
    assert user.refused("resume", "-m", words) == (2, "the message is empty")
    assert user.runs.get(run.id) == run
    assert not user.runs.unheard(run.id)


def test_nobody_is_asked_twice_when_an_answer_was_not_carried_out(user: RunHome) -> None:
    """The answer of a process that was killed half-way is enough money for the next one, too."""
    run = at_its_cap(user)
    told = user.runs.answer(run.id, "q1", "+2.00", by="ana")
    assert lacks_a_key(user, "resume")
    user.runs.save(replace(told, workspace_removed_at=utc_now() - timedelta(days=1)))
    assert "no workspace any more" in user.refused("resume")[1]
