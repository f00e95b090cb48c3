"""What a run that comes to wait asks for, and what going on will cost at least.

Three kinds of wait. Where its own cap is used up, or a person or the watch paused it, it asks a person. Where a limit
that it shares with others is used up, or its provider's key is out of order, nobody needs to answer: it goes on by
itself when that has passed. Going on means that the model reads the whole context again, and by then no cache has it:
that price is said before anybody decides.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from crewcap.core.budget import Balance, Scope
from crewcap.core.limits import used_up
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import UnknownPrice, Usage
from crewcap.core.questions import Question
from crewcap.core.runs import Run, Verdict, Waits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from crewcap.core.pricing import RateCard
    from crewcap.stores import Ledger

_FLOOR = 1_024  # output tokens: the least that a request is clamped to (MONEY 5)
_PAD = 256 + 1_024 + 500  # prompt tokens that a hold counts on top (MONEY 2.2, 2.3)
_WORDS = 1_024  # prompt tokens, at most, that a refused request grows by: what it was told, and our word to go on
_COUNTED_PERCENT = 103  # of a counted prompt, which a hold rests on
_CENT, _DOLLAR = 10_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingOn:
    """What the first turn after a pause costs."""

    context: int  # tokens
    again: Money  # to read them once more
    least: Money  # that must be free in every scope for the turn to be sent at all
    tokens: int = 0  # that must be free wherever tokens are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """A limit that a run shares with others, and that has no room for its next turn."""

    words: str
    remedy: str  # a command
    opens_at: datetime | None = None  # None = it does not by itself
    is_held: bool = False  # by requests in flight: it may come back at any time

    @property
    def comes_back(self) -> bool:
        """Whether nobody needs to do anything about it."""
        return self.opens_at is not None or self.is_held

    @property
    def said(self) -> str:
        """In a sentence, with when it opens."""
        opens = f"; it opens at {self.opens_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.opens_at else ""
        return self.words + opens

    @property
    def told(self) -> str:
        """The same, with what to do about it where something must be done."""
        return self.said if self.comes_back else f"{self.said}; {self.remedy}"


def going_on(ledger: Ledger, run: Run, card: RateCard | None, *, thinking: int = 0) -> GoingOn:
    """By the newest request of the run's main conversation; where it was refused, by what the gateway said of it."""
    reckoned = _reckoned(ledger, run, card, thinking)
    said = ledger.needed(Scope(f"run:{run.id}"), model=run.model)
    if card is None or not said:
        return reckoned
    try:
        return replace(reckoned, least=said + card.cost(Usage(write_5m=_WORDS)))
    except UnknownPrice:
        return replace(reckoned, least=said)


def _reckoned(ledger: Ledger, run: Run, card: RateCard | None, thinking: int) -> GoingOn:
    """By the newest request that was answered; nothing where there is none or it has no price."""
    mine = [entry for entry in ledger.entries(scope=Scope(f"run:{run.id}")) if not entry.agent and entry.usage.prompt]
    if card is None or not mine:
        return GoingOn(context=0, again=ZERO, least=ZERO)
    newest = mine[-1].usage
    context = newest.prompt + newest.output
    first = Usage(write_5m=context * _COUNTED_PERCENT // 100 + _PAD, output=_FLOOR + thinking)
    tokens = first.prompt + first.output
    try:
        again, least = card.cost(Usage(write_5m=context)), card.cost(first)
    except UnknownPrice:
        again, least = ZERO, ZERO
    return GoingOn(context=context, again=again, least=least, tokens=tokens)


def _short_of(balances: Sequence[Balance], scopes: Sequence[str], least: Money) -> Balance | None:
    """The shared limit, if one, that lets not even a first turn through: the one with the least left."""
    shared = [each for each in balances if each.scope in scopes and each.left < max(least, Money(1))]
    return min(shared, key=lambda balance: balance.left, default=None)


def shortage(ledger: Ledger, run: Run, least: Money, *, tokens: int = 0) -> Short | None:
    """What, of all that it shares with others, has no room for a next turn; None where everything has."""
    shared = tuple(Scope(scope) for scope in run.scopes if scope != f"run:{run.id}")
    for count in ledger.counts(shared):
        if count.kind == "tokens" and count.left < max(tokens, 1):
            message, _, remedy = used_up(count, tokens if count.left else 0).rpartition("; ")
            said, _, _ = message.partition("; it opens at ")
            return Short(words=said, remedy=remedy.removeprefix("raise it with: "), opens_at=count.resets_at)
    short = _short_of(ledger.all_balances(), shared, least)
    return None if short is None else _short(short, least)


def _short(balance: Balance, least: Money) -> Short:
    window = "" if balance.window == "total" else f" this {balance.window}"
    used = balance.spent.nano + balance.uncertain.nano + balance.held.nano
    return Short(
        words=f"{balance.scope} has {balance.left.show()} left of {balance.limit.show()}{window}",
        remedy=f"crewcap budget set {balance.scope} {balance.window} {enough(Money(used + max(least.nano, 1)))}",
        opens_at=None if balance.window == "total" else balance.resets_at,
        is_held=bool(balance.held),
    )


def at_its_cap(cap: Money, spent: Money, least: Money) -> bool:
    """Whether what is left of its own cap is less than a next turn."""
    return (cap - spent).nano < max(least.nano, 1)


def waits_for(verdict: Verdict, short: Short | None) -> Waits:
    """What a run that is paused with this verdict waits for; `short` where it is a shared limit that paused it."""
    if verdict == Verdict.PROVIDER_ERROR:
        return "provider"
    return "money" if short is not None and short.comes_back else "answer"


def question_of(
    run: Run,
    verdict: Verdict,
    cost: GoingOn,
    *,
    offers: Sequence[Money],
    spent: Money,
    now: datetime,
    expires_s: int,
    short: Short | None = None,
) -> Question:
    """The question of this pause, with an id of its own."""
    at_cap = verdict == Verdict.BUDGET_EXHAUSTED and short is None
    missing = Money(max(0, (spent + cost.least - run.cap).nano)) if short is None else ZERO
    text = f"{spent.show()} of {run.cap.show()} is spent" if at_cap else short.told if short else "it was paused"
    more = f"; its next request needs {missing.show()} more" if missing else ""
    again = f"; going on reads its context again for about {cost.again.show()}" if cost.again else ""
    return Question(
        id=secrets.token_hex(4),
        asked_at=now,
        text=text + more + again,
        choices=(*(_amounts(offers, missing) if at_cap or missing else ("go on",)), "stop"),
        least=missing,
        again=cost.again,
        expires_at=now + timedelta(seconds=expires_s) if expires_s else None,
    )


def enough(amount: Money) -> str:
    """Dollars and cents that are enough."""
    cents = -(-amount.nano // _CENT)
    return f"{cents // 100}.{cents % 100:02d}"


def _amounts(offers: Sequence[Money], missing: Money) -> tuple[str, ...]:
    """What is offered, as far as it would do; else the next whole dollar that does."""
    fitting = [offer for offer in offers if offer >= missing]
    return tuple(f"+{enough(offer)}" for offer in fitting or [Money(-(-missing.nano // _DOLLAR) * _DOLLAR)])
