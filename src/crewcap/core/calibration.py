"""Which cap a kind of work should have, from what it has cost so far.

The usual rule is twice the average. Costs of agents are skewed, so it cuts one good job in eight where they spread
widely; the larger of twice the average and one and a half times the 95th percentile cuts one in thirty to forty
(simulated in facts/costs.md C1). Better than either is to look: `replay` says what a cap would have done to the jobs
that there were.

Only runs teach: of what a program did on a key nobody knows whether it did what was asked, or what it would have cost.
Where no run was good, nothing speaks for a cap: the one that such runs would give pauses the next good one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crewcap.core.history import Job, mean, quantile
from crewcap.core.money import Money, total

PILOT = 10  # runs before anything is learnt from them
ENOUGH = 30  # before a rate of a few per cent means anything
START = Money.usd("5.00")
START_TURNS = 10
CUT_RATES = (1, 2, 5)  # per cent of good jobs
_CENT = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a cap would have done."""

    cap: Money
    good: int
    good_cut: int  # good jobs that it would have ended
    bad_cut: int
    wasted: Money  # paid for good jobs up to the cap, for nothing
    saved: Money  # not paid for the others beyond it


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A cap for one kind of work, and what speaks for it."""

    jobs: int  # runs that it rests on
    good: int  # of them
    cap: Money | None  # None where none of them was good
    turns: int | None = None  # of a pilot
    average: Money | None = None  # where nothing was seen
    p95: Money | None = None
    usual: Replay | None = None  # twice the average
    robust: Replay | None = None  # max(2 x average, 1.5 x p95)
    by_rate: tuple[tuple[int, Replay], ...] = ()  # per cent of good jobs cut -> the smallest such cap
    censored: int = 0  # jobs that a cap had cut: they would have cost more

    @property
    def is_pilot(self) -> bool:
        """Too little was seen to learn from."""
        return self.turns is not None


def suggest(past: Sequence[Job]) -> Suggestion:
    """A cap for runs like these."""
    over = teaching(past)
    costs = [job.cost for job in over]
    seen = Suggestion(
        jobs=len(over),
        good=sum(job.is_good for job in over),
        cap=None,
        average=mean(costs) if costs else None,
        p95=quantile(costs, 95) if costs else None,
        censored=sum(job.was_cut for job in over),
    )
    if seen.jobs < PILOT:
        return replace(seen, cap=START, turns=START_TURNS)
    return _learnt(over, seen) if seen.good else seen


def teaching(past: Sequence[Job]) -> tuple[Job, ...]:
    """Those that caps are learnt from: runs that are over."""
    return tuple(job for job in past if job.is_run and job.is_over)


def _learnt(over: Sequence[Job], seen: Suggestion) -> Suggestion:
    costs = [job.cost for job in over]
    average, p95 = mean(costs), quantile(costs, 95)
    usual = _cents(Money(2 * average.nano))
    robust = _cents(max(Money(2 * average.nano), Money(p95.nano * 3 // 2)))
    rates = CUT_RATES if len(over) >= ENOUGH else ()
    return replace(
        seen,
        cap=robust,
        usual=replay(over, usual),
        robust=replay(over, robust),
        by_rate=tuple((rate, replay(over, cap_for(over, rate))) for rate in rates),
    )


def replay(past: Sequence[Job], cap: Money) -> Replay:
    """What this cap would have done to these jobs."""
    cut = [job for job in past if job.cost > cap]
    good_cut = sum(job.is_good for job in cut)
    return Replay(
        cap=cap,
        good=sum(job.is_good for job in past),
        good_cut=good_cut,
        bad_cut=len(cut) - good_cut,
        wasted=Money(good_cut * cap.nano),
        saved=total(job.cost - cap for job in cut if not job.is_good),
    )


def cap_for(past: Sequence[Job], rate: int) -> Money:
    """The smallest cap (in whole cents) that cuts at most so many per cent of the good jobs."""
    costs = sorted(job.cost for job in past if job.is_good) or sorted(job.cost for job in past)
    allowed = len(costs) * rate // 100
    return _cents(costs[len(costs) - 1 - allowed])


def _cents(amount: Money) -> Money:
    """Up to the next cent: a cap is something that people say."""
    return Money(-(-amount.nano // _CENT) * _CENT)
