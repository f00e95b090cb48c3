"""What a run that comes to wait asks for, waits for, and would cost to go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from tests.gateway.conftest import says, script
from tests.runner.fake_agent import fixes
from tests.runner.rig import NOW, Rig, Shop
from tests.runner.test_workflow import ends, play, refusing

from crewcap.core.budget import ALL, Scope
from crewcap.core.limits import CountLimit
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import RunState, Verdict
from crewcap.runner.asking import GoingOn, Short, at_its_cap, enough, going_on, question_of, shortage, waits_for
from crewcap.stores import Limit

BROKE = ["end", {"kind": "api_error", "api_status": 402}]
ASKS = [*[["ask", 16_000]] * 12, BROKE]
COST = GoingOn(context=100_000, again=Money.usd("0.28"), least=Money.usd("0.50"))
OFFERS = (Money.usd(2), Money.usd(5))
OPENS = datetime(2026, 11, 23, tzinfo=UTC)
DAY = Short(words="all has $0.00 left of $5.00 this day", remedy="crewcap budget set all day 6", opens_at=OPENS)
LIFE = Short(words="issue:x has $0.00 left of $5.00", remedy="crewcap budget set issue:x total 6")


def limited(shop: Shop, scope: str, window: Any, amount: str) -> None:
    shop.ledger.set_limit(Limit(scope=Scope(scope), window=window, amount=Money.usd(amount), source="command"))


def test_at_its_own_cap_a_run_waits_for_an_answer(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (*ends(run), run.reason) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED, "paused at the cap")
        assert (run.waits_for, run.opens_at) == ("answer", None)
        assert run.question is not None
        assert (run.question.choices, run.question.add) == (("+2.00", "+5.00", "stop"), "2")
        assert run.question.text.startswith("$0.9")
        assert "; its next request needs $" in run.question.text
        assert "; going on reads its context again for about $" in run.question.text

    play(shop, act, ASKS, cap=Money.usd(1), provider=script(says(20_000)))


def test_where_the_days_budget_is_used_up_a_run_names_it_and_waits_for_the_next_day(shop: Shop) -> None:
    """Nobody needs to answer, and more money for the run would change nothing."""

    async def act(rig: Rig) -> None:
        limited(shop, ALL, "day", "1")
        run = await rig.drive()
        assert ends(run) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED)
        assert run.reason.startswith("paused at a limit that it shares: all has $0.0")
        assert " left of $1.00 this day; it opens at 20" in run.reason
        assert run.waits_for == "money"
        assert run.opens_at is not None
        assert run.opens_at > run.created_at
        assert run.question is not None
        assert (run.question.choices, run.question.add, run.question.least) == (("go on", "stop"), "", ZERO)

    play(shop, act, ASKS, cap=Money.usd(9), provider=script(says(20_000)))


def test_where_its_issues_lifetime_is_used_up_somebody_must_raise_that(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        limited(shop, "issue:prompt/fix-sum", "total", "1")
        run = await rig.drive()
        assert run.reason.startswith("paused at a limit that it shares: issue:prompt/fix-sum has $0.0")
        assert "; crewcap budget set issue:prompt/fix-sum total 1." in run.reason
        assert (run.waits_for, run.opens_at) == ("answer", None)

    play(shop, act, ASKS, cap=Money.usd(9), provider=script(says(20_000)))


def test_where_tokens_of_a_day_are_used_up_a_run_waits_for_the_next_one(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        shop.ledger.set_count(CountLimit(scope=ALL, kind="tokens", window="day", value=20_000, source="command"))
        run = await rig.drive()
        assert ends(run) == (RunState.WAITING, Verdict.BUDGET_EXHAUSTED)
        assert run.question is not None
        tomorrow = datetime.combine(run.question.asked_at.date() + timedelta(days=1), time(), UTC)
        assert run.reason.startswith("paused at a limit that it shares: all has used 16,0")
        assert " of its 20,000 tokens this day (" in run.reason
        assert (
            f", and this request may need {going_on(shop.ledger, run, rig.plan.card).tokens:,}; it opens" in run.reason
        )
        assert (run.waits_for, run.opens_at) == ("money", tomorrow)
        assert (run.question.choices, run.question.least) == (("go on", "stop"), ZERO)  # money would change nothing
        cost = going_on(shop.ledger, run, rig.plan.card)
        assert shortage(shop.ledger, run, cost.least, tokens=cost.tokens) is not None
        shop.ledger.set_count(CountLimit(scope=ALL, kind="tokens", window="day", value=40_000, source="command"))
        assert shortage(shop.ledger, run, cost.least, tokens=cost.tokens) is None

    play(shop, act, ASKS, cap=Money.usd(9), provider=script(says(20_000)))


def test_a_run_whose_provider_is_frozen_waits_for_that(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (run.waits_for, run.question is not None) == ("provider", True)

    spent = "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."
    play(shop, act, [["ask"], ["ask"], BROKE], provider=refusing(spent))


def test_a_run_that_sent_nothing_knows_of_no_context(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        assert going_on(shop.ledger, rig.run, rig.plan.card) == GoingOn(context=0, again=ZERO, least=ZERO)

    play(shop, act, fixes())


def test_the_context_is_read_again_at_the_price_of_writing_it(shop: Shop) -> None:
    """After a pause no cache has it; the turn itself needs room for the least answer on top."""

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        cost = going_on(shop.ledger, run, rig.plan.card)
        thinking = going_on(shop.ledger, run, rig.plan.card, thinking=4_000)
        (entry,) = shop.ledger.entries(scope=Scope(f"run:{run.id}"))
        assert cost.context == entry.usage.prompt + entry.usage.output
        assert ZERO < cost.again < cost.least < thinking.least
        assert going_on(shop.ledger, run, None) == GoingOn(context=0, again=ZERO, least=ZERO)

    play(shop, act, [["ask"], *fixes()])


@pytest.mark.parametrize(
    ("verdict", "short", "expected"),
    [
        (Verdict.PROVIDER_ERROR, None, "provider"),
        (Verdict.CANCELLED, None, "answer"),
        (Verdict.RUNAWAY, None, "answer"),
        (Verdict.BUDGET_EXHAUSTED, None, "answer"),
        (Verdict.BUDGET_EXHAUSTED, DAY, "money"),
        (Verdict.BUDGET_EXHAUSTED, LIFE, "answer"),
        (Verdict.BUDGET_EXHAUSTED, replace(LIFE, is_held=True), "money"),
    ],
)
def test_what_comes_back_by_itself_needs_no_answer(verdict: Verdict, short: Short | None, expected: str) -> None:
    assert waits_for(verdict, short) == expected


@pytest.mark.parametrize(
    ("verdict", "spent", "short", "choices", "least"),
    [
        (Verdict.BUDGET_EXHAUSTED, "0.90", None, ("+2.00", "+5.00", "stop"), "0.40"),
        (Verdict.BUDGET_EXHAUSTED, "3.50", None, ("+5.00", "stop"), "3"),
        (Verdict.BUDGET_EXHAUSTED, "8.75", None, ("+9.00", "stop"), "8.25"),
        (Verdict.BUDGET_EXHAUSTED, "0.10", DAY, ("go on", "stop"), "0"),
        (Verdict.CANCELLED, "0.10", None, ("go on", "stop"), "0"),
        (Verdict.CANCELLED, "0.90", None, ("+2.00", "+5.00", "stop"), "0.40"),
    ],
)
def test_only_what_would_be_enough_is_offered(
    shop: Shop, verdict: Verdict, spent: str, short: Short | None, choices: tuple[str, ...], least: str
) -> None:
    run = shop.written(shop.plan())  # with a cap of a dollar
    asked = question_of(
        run, verdict, COST, offers=OFFERS, spent=Money.usd(spent), now=NOW, expires_s=3_600, short=short
    )
    assert (asked.choices, asked.least, asked.again) == (choices, Money.usd(least), COST.again)
    assert (asked.asked_at, asked.expires_at) == (NOW, NOW + timedelta(hours=1))
    assert asked.text.endswith("; going on reads its context again for about $0.28")


def test_each_pause_asks_with_an_id_of_its_own(shop: Shop) -> None:
    run = shop.written(shop.plan())
    asked = [
        question_of(run, Verdict.CANCELLED, COST, offers=OFFERS, spent=ZERO, now=NOW, expires_s=0) for _ in range(2)
    ]
    assert asked[0].id != asked[1].id
    assert asked[0].expires_at is None


def test_a_cap_is_used_up_when_the_next_turn_has_no_room_in_it(shop: Shop) -> None:
    run = shop.written(shop.plan())
    half = Money.usd("0.50")
    assert (at_its_cap(run.cap, half, half), at_its_cap(run.cap, Money(half.nano + 1), half)) == (False, True)
    assert (at_its_cap(run.cap, Money.usd(1), ZERO), at_its_cap(run.cap, half, ZERO)) == (True, False)


@pytest.mark.parametrize(("amount", "said"), [("0.10", "0.10"), ("0.100000001", "0.11"), ("12", "12.00")])
def test_an_amount_that_is_enough_is_rounded_up(amount: str, said: str) -> None:
    assert enough(Money.usd(amount)) == said
