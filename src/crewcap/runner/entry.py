"""A new run is written down: from here on it exists, whoever carries it out."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime

from crewcap.agents.find import Found
from crewcap.core.budget import Scope
from crewcap.core.limits import used_up
from crewcap.core.runs import Run, RunId, RunState
from crewcap.errors import MoneyRefused
from crewcap.runner.access import scopes_of
from crewcap.runner.ownership import myself
from crewcap.runner.plan import Plan
from crewcap.runner.start import Order
from crewcap.trackers.issue_text import slug

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_LETTERS, _RANDOM_LETTERS = 10, 10


def write_down(
    order: Order, plan: Plan, found: Found, *, hosted: bool = False, trigger: str = "", is_alone: bool = False
) -> Run:
    """Store a new run of this plan; `AlreadyOpen` and `AlreadyTriggered` carry the one that is there.

    A hosted run is a worker's; any other is ours from its first moment. `MoneyRefused` where a limit of runs or hours
    lets no new one begin now, and nobody would wait for one that may: its key, made later, is what counts.
    """
    if not hosted and (full := _full(order, plan)):
        raise MoneyRefused(f"nothing was started: {full[0]}", help=full[1])
    pid, started = (0, "") if hosted else myself()
    return order.runs.create(
        Run(
            id=RunId(_sortable_id(order.clock())),
            name=slug(plan.issue.key, otherwise="run"),
            issue=plan.issue,
            state=RunState.QUEUED,
            repo=plan.repo,
            repo_path=plan.repo_path,
            base=order.base.commit,
            base_branch=order.base.branch,
            agent=plan.route.agent,
            agent_version=found.version,
            model=plan.route.model,
            because=plan.route.because,
            cap=(plan.wish or plan.cap)
            if hosted
            else plan.cap,  # who may wait is not cut to what is left at this moment
            cap_because=(plan.wish_because or plan.cap_because) if hosted else plan.cap_because,
            wish=plan.wish,
            max_turns=plan.route.max_turns,
            timeout_s=plan.route.timeout_s,
            sandbox=order.sandbox.rung,
            session=str(uuid.uuid4()),
            effort=plan.route.effort,
            created_at=order.clock(),
            owner_pid=pid,
            owner_started=started,
            scopes=_scopes(plan),
            user=plan.user,
            trust=order.trust,
            workflow=plan.workflow,
            priority=plan.priority,
            hours=plan.hours,
            trigger=trigger,
            is_alone=is_alone,
            queued_at=order.clock(),
            hosted=hosted,
        )
    )


def _scopes(plan: Plan) -> tuple[str, ...]:
    """Every scope that the run counts in, but for its own."""
    scopes = _lineage(plan)
    return tuple(scope for scope in scopes if not scope.startswith("run:"))


def _lineage(plan: Plan) -> tuple[Scope, ...]:
    return scopes_of(plan.issue, run="", repo=plan.repo, user=plan.user, teams=plan.teams, workflow=plan.workflow)


def _full(order: Order, plan: Plan) -> tuple[str, str] | None:
    """Which count of runs or hours is used up, in words; none for an issue that has an open run to be gone on with."""
    scopes = _lineage(plan)
    full = [count for count in order.ledger.counts(scopes) if count.kind != "tokens" and not count.left]
    issue = (plan.issue.tracker, plan.issue.key)
    if not full or any(
        (run.issue.tracker, run.issue.key) == issue for run in order.runs.list(limit=1_000, open_only=True)
    ):
        return None
    message, _, help_ = used_up(full[0]).rpartition("; ")
    return message, help_


def _sortable_id(now: datetime) -> str:
    """Milliseconds and chance in letters that nobody confuses: ids sort by time."""
    milliseconds = int(now.timestamp() * 1_000)
    when = "".join(_ALPHABET[(milliseconds >> (5 * place)) & 31] for place in reversed(range(_TIME_LETTERS)))
    return when + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LETTERS))
