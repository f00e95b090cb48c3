"""What was paid for before, a job at a time: what forecasts, caps and estimates learn from.

A job is a run, or everything that a key did without one (`crewcap exec`, a key of a person's own). Its cost is the sum
of its requests, so the jobs of a period add up to what the ledger says of it, to the last unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from crewcap.core.budget import KeyId, Scope
from crewcap.core.money import ZERO, Money, total
from crewcap.core.report import Spending
from crewcap.core.runs import OPEN_STATES, Run, Verdict

NO_WORKFLOW = "run"  # the one that `crewcap run` starts by hand
_GOOD = frozenset({Verdict.FINISHED})


class Kept(Spending, Protocol):
    """A closed request with the key that sent it."""

    @property
    def key(self) -> KeyId: ...  # noqa: D102  (a field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work and what it cost."""

    name: str  # of the run, or the key's id
    workflow: str
    model: str  # on which most of the money went
    repo: str
    at: datetime  # of its first request
    cost: Money
    requests: int
    is_run: bool  # else what a program did on a key
    is_over: bool  # nothing more will be added to it
    is_good: bool  # a run that did what was asked, as far as anybody knows; of a key nobody knows
    was_cut: bool = False  # at its cap: without it, it would have cost more


class Outlay(NamedTuple):
    """What a key had from one model in a stretch of time, added up."""

    run: str  # empty where the key is of none
    key: KeyId
    model: str
    at: datetime  # of the key's first closed request in it
    requests: int
    nano: int  # spent and uncertain


def jobs(entries: Iterable[Kept], runs: Iterable[Run]) -> tuple[Job, ...]:
    """All jobs, oldest first. A run that cost nothing is none: it never reached a model."""
    outlays, scopes = [], {}
    for entry in entries:
        nano = entry.spent.nano + entry.uncertain.nano
        outlays.append(Outlay(entry.run, entry.key, entry.model, entry.booked_at, 1, nano))
        scopes[entry.key] = entry.scopes
    workflow_of, repo_of = ({key: _named(each, kind) for key, each in scopes.items()} for kind in ("workflow", "repo"))
    return jobs_of(outlays, runs, workflow_of=workflow_of, repo_of=repo_of)


def jobs_of(
    outlays: Iterable[Outlay], runs: Iterable[Run], *, workflow_of: Mapping[KeyId, str], repo_of: Mapping[KeyId, str]
) -> tuple[Job, ...]:
    """The same from sums, and from what keys are called."""
    known: dict[str, Run] = {run.id: run for run in runs}
    parts: dict[tuple[str, str], list[Outlay]] = {}
    for outlay in outlays:
        parts.setdefault((outlay.run, "" if outlay.run else outlay.key), []).append(outlay)
    made = (_job(known.get(run or key), members, workflow_of, repo_of) for (run, key), members in parts.items())
    return tuple(sorted((job for job in made if job.cost), key=lambda job: (job.at, job.name)))


def runs_among(past: Iterable[Job]) -> tuple[Job, ...]:
    """Those that are runs."""
    return tuple(job for job in past if job.is_run)


def keys_among(past: Iterable[Job]) -> tuple[Job, ...]:
    """What programs did on keys, without a run."""
    return tuple(job for job in past if not job.is_run)


def workflows(past: Iterable[Job]) -> dict[str, tuple[Job, ...]]:
    """Jobs by workflow, the dearest first."""
    found: dict[str, list[Job]] = {}
    for job in past:
        found.setdefault(job.workflow, []).append(job)
    by_cost = sorted(found, key=lambda name: (-total(job.cost for job in found[name]).nano, name))
    return {name: tuple(found[name]) for name in by_cost}


def mean(costs: Sequence[Money]) -> Money:
    """The average, to the nano-dollar below; zero of nothing."""
    return Money(total(costs).nano // len(costs)) if costs else ZERO


def quantile(costs: Sequence[Money], percent: int) -> Money:
    """The smallest cost that at least so many of a hundred do not exceed (nearest rank)."""
    if not costs:
        return ZERO
    rank = max(1, -(-percent * len(costs) // 100))
    return sorted(costs)[rank - 1]


def _job(
    run: Run | None, members: Sequence[Outlay], workflow_of: Mapping[KeyId, str], repo_of: Mapping[KeyId, str]
) -> Job:
    first = min(members, key=lambda member: member.at)
    return Job(
        name=run.name if run else first.run or first.key,
        workflow=workflow_of.get(first.key) or NO_WORKFLOW,
        model=_dearest(members),
        repo=run.repo if run else repo_of.get(first.key, ""),
        at=first.at,
        cost=Money(sum(member.nano for member in members)),
        requests=sum(member.requests for member in members),
        is_run=bool(first.run),
        is_over=run.state not in OPEN_STATES if run else not first.run,
        is_good=run is not None and run.verdict in _GOOD,
        was_cut=run is not None and run.verdict == Verdict.BUDGET_EXHAUSTED,
    )


def _named(scopes: Iterable[Scope], kind: str) -> str:
    """The name behind the first scope of this kind."""
    wanted = f"{kind}:"
    return next((scope.removeprefix(wanted) for scope in scopes if scope.startswith(wanted)), "")


def _dearest(members: Sequence[Outlay]) -> str:
    costs: dict[str, int] = {}
    for member in members:
        costs[member.model] = costs.get(member.model, 0) + member.nano
    return max(costs, key=lambda model: (costs[model], model))
