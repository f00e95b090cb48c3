"""A run that came to rest goes on: in its session, on its branch, once, and with enough money or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.gateway.conftest import says, script
from tests.runner.fake_agent import FakeAgent, finished, fixes
from tests.runner.rig import CHECK, Rig, Shop, heard, stepped
from tests.runner.test_workflow import READY, WRONG, ends, interrupt, keys, play

from crewcap.core.budget import ALL, Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.errors import MoneyRefused, UsageError
from crewcap.runner.asking import GoingOn, Short, going_on, shortage
from crewcap.runner.resuming import (
    given,
    is_expired,
    queued_again,
    refuse_poor_resume,
    refuse_resume,
    refuse_second_answer,
    resume,
    spent_of,
    within_issue,
)
from crewcap.stores import Limit
from crewcap.stores.run_rows import AlreadyAnswered, AlreadyOpen, Overtaken

BROKE = ["end", {"kind": "api_error", "api_status": 402}]
TWO = Money.usd(2)
LEAST = GoingOn(context=10_000, again=Money.usd("0.04"), least=Money.usd("0.20"))


def again(rig: Rig, **options: Any) -> Run:
    """What a person does with a run that came to rest."""
    return resume(rig.shop.runs, rig.stored(), **{"by": "ana", "hosted": False, **options})


# follow-ups


def test_a_run_that_is_done_goes_on_in_its_session_and_its_work_is_a_second_commit_on_its_branch(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        first = await rig.drive()
        again(rig, message="also cover zero")
        run = await rig.drive()
        assert (*ends(run), run.branch, run.commits, run.attempt) == (
            RunState.DONE,
            Verdict.FINISHED,
            "crewcap/fix-sum-1",
            2,
            2,
        )
        asked, told = rig.agent.orders
        assert (told.prompt, told.resume, told.session) == ("also cover zero", True, asked.session)
        assert rig.steps()[0] == "workspace: as it was left, branch crewcap/fix-sum-1"
        assert not any(step.startswith(("setup", "check before")) for step in rig.steps())
        assert shop.git("rev-parse", "crewcap/fix-sum-1~1") == first.commit

    play(shop, act, fixes(), finished(["write", "zero", ""]), check=CHECK, setup="true")
    assert shop.git("show", "--name-only", "--format=", "crewcap/fix-sum-1") == "zero"
    assert shop.branches() == ["crewcap/fix-sum-1", "main"]


def test_a_message_that_came_when_its_agent_had_ended_is_told_before_the_run_is_done(shop: Shop) -> None:
    """Nobody needs to say it again."""

    async def act(rig: Rig) -> None:
        rig.on(stepped("check after"), lambda workflow: shop.runs.say(workflow.run.id, "say", "also cover zero"))
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        assert [order.prompt for order in rig.agent.orders][1:] == ["also cover zero"]
        assert shop.runs.unheard(rig.run.id) == []

    play(shop, act, fixes(), check=CHECK)


@pytest.mark.parametrize(
    ("first", "plan", "verdict"),
    [
        ([["write", "adder.py", WRONG], READY, ["end", {"kind": "crashed"}]], {}, Verdict.AGENT_ERROR),
        ([["write", "adder.py", WRONG], READY, ["hang"]], {"timeout_s": 1}, Verdict.TIMED_OUT),
    ],
)
def test_a_run_that_failed_goes_on_where_it_was_with_all_of_its_time(
    shop: Shop, first: list[Any], plan: dict[str, Any], verdict: Verdict
) -> None:
    async def act(rig: Rig) -> None:
        assert ends(await rig.drive()) == (RunState.FAILED, verdict)
        shop.runs.save(replace(again(rig), timeout_s=600))
        run = await rig.drive()
        assert (*ends(run), run.seconds_before > 0) == (RunState.DONE, Verdict.FINISHED, True)
        assert rig.agent.orders[1].resume

    play(shop, act, first, fixes(), **plan)


def test_a_stopped_run_goes_on_and_does_not_hear_again_what_stopped_it(shop: Shop) -> None:
    """Not even a second word that came when it had ended already."""

    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), lambda workflow: shop.runs.say(workflow.run.id, "stop"))
        assert ends(await rig.drive()) == (RunState.STOPPED, Verdict.CANCELLED)
        shop.runs.say(rig.run.id, "stop")
        shop.runs.say(rig.run.id, "say", "not so fast")
        again(rig, message="go on")
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)
        assert rig.agent.orders[1].prompt == "not so fast\n\ngo on"
        assert shop.runs.unheard(rig.run.id) == []

    play(shop, act, [["write", "adder.py", WRONG], READY, ["hang"]], fixes(), check=CHECK)


def test_turns_are_given_anew_by_a_person(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        assert ends(await rig.drive()) == (RunState.FAILED, Verdict.TURN_LIMITED)
        again(rig)
        run = await rig.drive()
        assert (*ends(run), run.turns_before, run.turns) == (RunState.DONE, Verdict.FINISHED, 1, 2)
        assert {key.max_turns for key in keys(shop)} == {1}

    play(shop, act, [["ask"], ["ask"], BROKE], [["ask"], *fixes()], max_turns=1)


def test_of_two_who_go_on_with_a_run_one_does(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        done = await rig.drive()
        again(rig, message="one")
        with pytest.raises(Overtaken, match=r"fix-sum\.1 went on meanwhile: it is queued"):
            resume(shop.runs, done, by="ben", hosted=False, message="two", add=TWO)
        assert (rig.stored().attempt, rig.stored().cap) == (2, done.cap)

    play(shop, act, fixes())


def test_a_run_that_is_over_does_not_go_on_beside_a_newer_one_of_its_issue(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        await rig.drive()
        newer = shop.written(rig.plan)
        with pytest.raises(AlreadyOpen, match=newer.name):
            again(rig)

    play(shop, act, fixes())


# answers


def paused(act: Callable[[Rig], None]) -> Callable[[Rig], Any]:
    """Look at a run that came to its cap."""

    async def main(rig: Rig) -> None:
        assert ends(await rig.drive()) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED)
        act(rig)

    return main


def play_paused(shop: Shop, act: Callable[[Rig], None]) -> None:
    play(shop, paused(act), [["ask", 8_000], BROKE], cap=Money.usd("0.001"))


def test_an_answer_raises_the_cap_and_is_kept_with_who_gave_it(shop: Shop) -> None:
    def act(rig: Rig) -> None:
        run = again(rig, add=TWO)
        assert (run.state, run.cap, run.cap_because) == (RunState.QUEUED, Money.usd("2.001"), "raised by $2.00")
        assert run.question is not None
        assert (run.question.answer, run.question.answered_by) == ("+2.00", "ana")
        assert (run.verdict, run.reason, run.waits_for, run.end) == (None, "", "", None)

    play_paused(shop, act)


def test_a_question_is_answered_once(shop: Shop) -> None:
    def act(rig: Rig) -> None:
        waiting = rig.stored()
        again(rig, add=TWO)
        with pytest.raises(AlreadyAnswered, match=r"was answered already: '\+2.00' by ana"):
            resume(shop.runs, waiting, add=Money.usd(5), by="ben", hosted=False)
        with pytest.raises(AlreadyAnswered):
            resume(shop.runs, waiting, add=TWO, by="ben", hosted=False)  # it went on: this would be a second one
        assert rig.stored().cap == Money.usd("2.001")

    play_paused(shop, act)


def test_an_answer_that_was_cut_off_is_carried_through_by_who_says_the_same_or_nothing(shop: Shop) -> None:
    """Killed between the answer and the queue; another amount is another answer, and came too late."""

    def act(rig: Rig) -> None:
        waiting = rig.stored()
        assert waiting.question is not None
        shop.runs.answer(waiting.id, waiting.question.id, "+2", by="ana")
        assert given(rig.stored()) == TWO
        for much in (Money.usd(5), ZERO):
            with pytest.raises(AlreadyAnswered):
                refuse_second_answer(rig.stored(), much)
        with pytest.raises(AlreadyAnswered):
            again(rig, add=Money.usd(5), by="ben")
        refuse_second_answer(rig.stored(), TWO)
        run = again(rig, add=given(rig.stored()), by="ben")
        assert (run.cap, run.attempt) == (Money.usd("2.001"), 2)
        assert run.question is not None
        assert run.question.answered_by == "ana"

    play_paused(shop, act)


def test_who_pauses_without_a_lack_of_money_goes_on_without_more(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(heard("ready"), interrupt)
        run = await rig.drive()
        assert (*ends(run), run.waits_for) == (RunState.WAITING, Verdict.CANCELLED, "answer")
        assert run.question is not None
        assert (run.question.choices, run.question.least) == (("go on", "stop"), ZERO)
        cost = going_on(shop.ledger, run, rig.plan.card)
        refuse_poor_resume(
            run, ZERO, spent=spent_of(shop.ledger, run), cost=cost, short=shortage(shop.ledger, run, cost.least)
        )
        assert again(rig).cap == run.cap
        assert ends(await rig.drive()) == (RunState.DONE, Verdict.FINISHED)

    play(shop, act, [["ask"], ["write", "adder.py", WRONG], READY, ["hang"]], fixes())


def test_with_what_it_asks_for_a_paused_run_goes_on_and_ends(shop: Shop) -> None:
    """Both parts are in one ledger, under one cap."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.reason, run.waits_for) == (
            RunState.WAITING,
            Verdict.BUDGET_EXHAUSTED,
            "paused at the cap",
            "answer",
        )
        assert run.question is not None
        before, amount = rig.totals().spent, Money.usd(run.question.choices[0][1:])
        assert amount >= run.question.least > ZERO
        refuse_poor_resume(run, amount, spent=before, cost=going_on(shop.ledger, run, rig.plan.card), short=None)
        again(rig, add=amount)
        run = await rig.drive()
        assert (*ends(run), rig.answers()) == (RunState.DONE, Verdict.FINISHED, ["status 200"])
        assert rig.totals().spent > before > ZERO

    starts = [*[["ask", 16_000]] * 12, BROKE], [["ask", 8_000], *fixes()]
    play(shop, act, *starts, cap=Money.usd(1), provider=script(says(20_000)))


# refusals


@pytest.mark.parametrize(
    ("add", "enough"), [("0", "0.15"), ("0.14", "0.15"), ("0.1499", "0.15"), ("0.15", ""), ("5", "")]
)
def test_too_little_is_refused_with_the_least_that_would_do(shop: Shop, add: str, enough: str) -> None:
    run = replace(shop.written(shop.plan()), state=RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED)
    fields: dict[str, Any] = {"spent": Money.usd("0.95"), "cost": LEAST, "short": None}
    if not enough:
        refuse_poor_resume(run, Money.usd(add), **fields)
        return
    with pytest.raises(MoneyRefused, match=r"its next turn needs up to \$0.20 to be sent") as refused:
        refuse_poor_resume(run, Money.usd(add), **fields)
    assert refused.value.help == f"crewcap resume fix-sum.1 --add {enough}"


def test_a_run_with_nothing_left_is_refused_even_where_nobody_knows_what_it_needs(shop: Shop) -> None:
    run = replace(shop.written(shop.plan()), state=RunState.STOPPED)
    nothing = GoingOn(context=0, again=ZERO, least=ZERO)
    with pytest.raises(MoneyRefused) as refused:
        refuse_poor_resume(run, ZERO, spent=Money.usd(1), cost=nothing, short=None)
    assert refused.value.help == "crewcap resume fix-sum.1 --add 0.01"
    refuse_poor_resume(run, ZERO, spent=Money.usd("0.99"), cost=nothing, short=None)


def test_a_cap_that_a_budget_had_cut_is_what_was_asked_for_when_it_goes_on(shop: Shop) -> None:
    cut = replace(shop.written(shop.plan()), state=RunState.WAITING, cap=Money.usd("0.02"), wish=Money.usd(1))
    refuse_poor_resume(cut, ZERO, spent=ZERO, cost=LEAST, short=None)
    assert queued_again(cut, "go on").cap == Money.usd(1)
    assert queued_again(cut, "+0.50").cap == Money.usd("1.50")


def test_no_more_is_added_than_the_issues_budget_lets_the_run_spend(shop: Shop) -> None:
    """A figure that is mistyped would only make a queue wait for ever."""
    run = replace(shop.written(shop.plan()), state=RunState.WAITING)
    issue = Scope(f"issue:{run.issue.scope_name}")
    shop.ledger.set_limit(Limit(scope=issue, window="total", amount=Money.usd(3), source="command"))
    assert within_issue(shop.ledger, run, Money.usd(2_000_000)) == Money.usd(2)
    assert within_issue(shop.ledger, run, Money.usd("0.40")) == Money.usd("0.40")
    shop.ledger.set_limit(Limit(scope=issue, window="total", amount=Money.usd(1), source="command"))
    with pytest.raises(MoneyRefused) as refused:
        within_issue(shop.ledger, run, TWO)
    said = "fix-sum.1: nothing of $2.00 is added: its cap of $1.00 is all that its issue's budget leaves"
    stands = f"({issue} has $1.00 left of $1.00)"
    assert (refused.value.message, refused.value.help) == (f"{said} {stands}", f"crewcap budget set {issue} total 3.00")
    assert within_issue(shop.ledger, run, ZERO) == ZERO  # nobody asked for more
    shop.ledger.set_limit(Limit(scope=issue, window="total", amount=Money.usd(3), source="command"))
    assert within_issue(shop.ledger, run, TWO) == TWO  # the command that was named is enough


def test_a_shared_limit_names_itself_and_when_it_opens(shop: Shop) -> None:
    run = replace(shop.written(shop.plan()), state=RunState.WAITING)
    shop.ledger.set_limit(Limit(scope=ALL, window="day", amount=Money.usd("0.10"), source="command"))
    short = shortage(shop.ledger, run, LEAST.least)
    assert isinstance(short, Short)
    with pytest.raises(MoneyRefused, match=r"all has \$0.10 left of \$0.10 this day; it opens at \d{4}-") as refused:
        refuse_poor_resume(run, TWO, spent=ZERO, cost=LEAST, short=short)
    assert refused.value.help == "crewcap budget set all day 0.20"
    assert shortage(shop.ledger, run, Money.usd("0.10")) is None


def test_a_lifetime_limit_that_is_used_up_opens_never(shop: Shop) -> None:
    run = shop.written(shop.plan())
    issue = Scope("issue:prompt/fix-sum")
    shop.ledger.set_limit(Limit(scope=issue, window="total", amount=Money.usd("0.10"), source="command"))
    short = shortage(shop.ledger, run, LEAST.least)
    assert short is not None
    assert (short.comes_back, short.told) == (
        False,
        f"{issue} has $0.10 left of $0.10; crewcap budget set {issue} total 0.20",
    )


def test_a_run_whose_workspace_is_gone_is_refused_with_what_is_kept(shop: Shop) -> None:
    run = replace(shop.written(shop.plan()), state=RunState.DONE, branch="crewcap/fix-sum-1", commits=1)
    with pytest.raises(UsageError, match=r"has no workspace any more: it was removed; its branch crewcap/fix-sum-1 is"):
        refuse_resume(run, has_workspace=False)
    refuse_resume(run, has_workspace=True)
    with pytest.raises(UsageError, match=r"does not wait: it is running"):
        refuse_resume(replace(run, state=RunState.RUNNING), has_workspace=True)


def test_a_question_that_nobody_answered_expires(shop: Shop) -> None:
    def act(rig: Rig) -> None:
        run = rig.stored()
        assert run.question is not None
        assert run.question.expires_at is not None
        end = run.question.expires_at
        assert end - run.question.asked_at == timedelta(days=14)
        assert (is_expired(run, end - timedelta(seconds=1)), is_expired(run, end)) == (False, True)
        assert not is_expired(again(rig, add=TWO), end)

    play_paused(shop, act)


def test_a_word_before_its_agent_goes_on_stops_a_run_that_has_worked(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        await rig.drive()
        again(rig)
        shop.runs.say(rig.run.id, "stop")
        run = await rig.drive()
        assert (*ends(run), run.reason, run.commits) == (
            RunState.STOPPED,
            Verdict.CANCELLED,
            "interrupted before its agent went on",
            1,
        )
        assert len(rig.agent.orders) == 1

    play(shop, act, FakeAgent(fixes()))
