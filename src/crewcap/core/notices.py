"""What people are told without asking: runs that need them or have ended, budgets that are used up.

A notice is told once. Its `once` names what happened, so whoever finds it again (another command, another process)
knows that it was told. A budget's notices are told anew with each window, because the window is in the name; of
several thresholds that were passed in one step everybody is told the highest that they asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Literal, get_args

from crewcap.core.budget import Balance
from crewcap.core.money import Money
from crewcap.core.runs import Run, RunState

Kind = Literal["waiting", "failed", "done", "budget", "forecast", "test"]
WISHES = ("waiting", "failed", "done", "budget 80%", "forecast 100%")
OF_MONEY: frozenset[Kind] = frozenset({"budget", "forecast"})
USUAL_PERCENTS = (50, 80, 100)
LIKELY = Fraction(1, 2)  # of the draws; from there on a forecast is told
_OF_MONEY = re.compile(r"(?P<kind>budget|forecast)(?:\s+(?P<percent>\d{1,3})\s?%)?\Z", re.ASCII)
_MOST_PERCENT = 100
_OWN = ("run:", "key:")  # caps of single runs and keys: a run tells itself when it waits at its cap


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing that somebody wants to be told: `waiting`, or `budget 80%`."""

    kind: Kind
    percents: tuple[int, ...] = ()

    def covers(self, notice: Notice) -> bool:
        """Whether this notice was wished for."""
        return notice.kind == "test" or (
            self.kind == notice.kind and (not self.percents or notice.percent in self.percents)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that happened."""

    once: str
    kind: Kind
    text: str  # one line, what and what to do
    at: datetime
    percent: int = 0  # of a budget

    @property
    def family(self) -> str:
        """What it is about, whatever the percent."""
        return self.once.rpartition("/")[0] if self.percent else self.once


def parse_wish(text: str) -> Wish:
    """Read `waiting`, `budget` (at 50, 80 and 100 %), `budget 80%`; `ValueError` for anything else."""
    words = text.strip().lower()
    if match := _OF_MONEY.match(words):
        percents = (int(match["percent"]),) if match["percent"] else USUAL_PERCENTS
        if all(0 < percent <= _MOST_PERCENT for percent in percents):
            return Wish(kind=match["kind"], percents=percents)  # type: ignore[arg-type]  # one of two words, by the pattern
    elif words in get_args(Kind) and words != "test":
        return Wish(kind=words)  # type: ignore[arg-type]  # just looked up
    raise ValueError(text)


def of_run(run: Run, cost: Money, *, now: datetime) -> Notice | None:
    """What a run's state tells; nothing while it goes on, or where a person stopped it."""
    happened: dict[RunState, tuple[Kind, str]] = {
        RunState.WAITING: ("waiting", f"{run.name} waits: {run.reason}. crewcap show {run.name}"),
        RunState.FAILED: ("failed", f"{run.name} failed: {run.reason}. crewcap show {run.name}"),
        RunState.DONE: (
            "done",
            f"{run.name} is done, {cost.show()} of {run.cap.show()}: {run.reason}. Branch {run.branch}",
        ),
    }
    if run.state not in happened:
        return None
    kind, text = happened[run.state]
    return Notice(once=f"run/{run.id}/{kind}/{run.epoch}", kind=kind, text=text, at=now)


def of_budgets(balances: Iterable[Balance], percents: Sequence[int], *, now: datetime) -> Iterator[Notice]:
    """Budgets that are used to one of these percents; what is only held may come back, and does not count."""
    for balance in balances:
        if balance.scope.startswith(_OWN):
            continue
        used = balance.spent + balance.uncertain
        for percent in percents:
            if balance.limit and 100 * used.nano >= percent * balance.limit.nano:
                left = f", {balance.left_when_idle.show()} left"
                yield Notice(
                    once=f"budget/{balance.scope}/{balance.window}/{balance.label}/{percent}",
                    kind="budget",
                    percent=percent,
                    text=f"{balance.scope} has used {percent} % of its {_budget(balance)}: {used.show()} spent{left}",
                    at=now,
                )


def of_forecast(
    balance: Balance, over: Sequence[tuple[int, Fraction]], *, crosses: date | None, now: datetime
) -> Iterator[Notice]:
    """A budget that will probably be used to a percent before its window ends: (percent, share of the draws)."""
    for percent, share in over:
        if share >= LIKELY:
            when = f", about {crosses}" if crosses is not None and percent == _MOST_PERCENT else ""
            yield Notice(
                once=f"forecast/{balance.scope}/{balance.window}/{balance.label}/{percent}",
                kind="forecast",
                percent=percent,
                text=f"{balance.scope} will probably use {percent} % of its {_budget(balance)}{when}: crewcap forecast",
                at=now,
            )


def _budget(balance: Balance) -> str:
    window = "budget" if balance.window == "total" else f"budget a {balance.window}"
    return f"{window} of {balance.limit.show()}"
