"""How a run is looked up and shown: the JSON object that INTERFACE promises, and the words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, tzinfo

from crewcap.cli.context import Call
from crewcap.cli.screen.when import in_zone, shown
from crewcap.core.budget import Scope
from crewcap.core.harmless import one_line
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.core.questions import resume_command
from crewcap.core.runs import OPEN_STATES, Run, RunState
from crewcap.errors import UsageError
from crewcap.runner.ownership import LOCAL, is_driven
from crewcap.stores import Totals

KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")


def find_one(call: Call, text: str) -> Run:
    """The run that a user means: a name, a unique prefix, the long id, or nothing for the latest."""
    found = [] if call.app.is_new else call.app.runs.find(text)
    if not found:
        what = f"no run is named {text!r}" if text else "there is no run yet"
        raise UsageError(f"{what} in {call.home.root}", help="crewcap runs lists them; crewcap run starts one")
    if len(found) > 1:
        names = ", ".join(run.name for run in found[:5])
        raise UsageError(f"{text!r} fits {len(found)} runs: {names}", help="say more of the name")
    return found[0]


def is_cut_short(run: Run) -> bool:
    """Whether the process that drove this run was ended before the run was; a run that waits has none.

    Of a run that another machine's worker drives, nobody here can tell.
    """
    if run.hosted and run.worker != LOCAL:
        return False
    return run.state in OPEN_STATES - {RunState.WAITING} and run.owner_pid > 0 and not is_driven(run)


def totals_of(call: Call, run: Run) -> Totals:
    """What the ledger knows of a run."""
    return call.app.ledger.totals(Scope(f"run:{run.id}"))


def cost_of(totals: Totals) -> Money:
    """What is shown as cost: spent and uncertain (MONEY 1)."""
    return totals.spent + totals.uncertain


def cache_hit(usage: Usage) -> float:
    """The share of the prompt that came from the cache, 0 to 1."""
    return round(usage.cache_read / usage.prompt, 4) if usage.prompt else 0.0


def wall_seconds(run: Run, now: datetime) -> float:
    """How long it took, or has taken so far."""
    if run.started_at is None:
        return 0.0
    return round(((run.ended_at or now) - run.started_at).total_seconds(), 3)


def standing(run: Run, zone: tzinfo) -> str:
    """Why a run stands and waits, and until when, in words; empty where nobody knows, or it does not."""
    if run.state == RunState.WAITING:
        return in_zone(one_line(run.reason), zone)
    if run.state != RunState.QUEUED:
        return ""
    opens = f"it opens at {shown(run.opens_at, zone)}" if run.opens_at else ""
    place = f"place {run.position} in the queue" if run.position else ""
    return "; ".join(filter(None, (in_zone(one_line(run.queued_for), zone), place, opens)))


def asked_json(run: Run) -> Mapping[str, object] | None:
    """What a run asks, while it does."""
    asked = run.question
    if run.state != RunState.WAITING or asked is None or not asked.is_open:
        return None
    return {
        "id": asked.id,
        "text": asked.text,
        "choices": list(asked.choices),
        "least_usd": asked.least.exact(),
        "reread_usd": asked.again.exact(),
        "expires_at": asked.expires_at.isoformat() if asked.expires_at else None,
    }


def standing_json(run: Run) -> Mapping[str, object]:
    """Why it does not go on, as far as it does not."""
    return {
        "attempt": run.attempt,
        "queued_for": run.queued_for or None,
        "position": run.position or None,
        "opens_at": run.opens_at.isoformat() if run.opens_at else None,
        "waits_for": run.waits_for or None,
        "question": asked_json(run),
    }


def as_json(call: Call, run: Run, totals: Totals) -> Mapping[str, object]:
    """The object of `run` and `show`; fields are only ever added."""
    from crewcap.cli.live.closing import claimed_by  # noqa: PLC0415  (not for --help)

    cost, claimed = cost_of(totals), claimed_by(run)
    left = max(0, (run.cap - cost - totals.held).nano)
    return {
        "run": run.name,
        "run_id": run.id,
        "issue": f"{run.issue.tracker}/{run.issue.key}",
        "title": run.issue.title,
        "state": run.state.value,
        "verdict": run.verdict.value if run.verdict else None,
        "reason": run.reason,
        "agent": run.agent,
        "agent_version": run.agent_version,
        "model": run.model,
        "because": run.because,
        "cost_usd": cost.exact(),
        "claimed_usd": claimed.exact() if claimed is not None else None,
        "uncertain_usd": totals.uncertain.exact(),
        "held_usd": totals.held.exact(),
        "cap_usd": run.cap.exact(),
        "cap_because": run.cap_because,
        "left_usd": Money(left).exact(),
        "turns": totals.requests,
        "refused": totals.refused,
        "branch": run.branch or None,
        "base": run.base or None,
        "commit": run.commit or None,
        "commits": run.commits,
        "withheld": run.withheld or None,
        "merge": run.merge or None,
        "check": {"before": asdict(run.check_before), "after": asdict(run.check_after)},
        "api_seconds": round(totals.busy.total_seconds(), 3),
        "agent_seconds": run.agent_seconds,
        "wall_seconds": wall_seconds(run, call.clock()),
        "files_changed": run.files_changed,
        "lines_added": run.lines_added,
        "lines_removed": run.lines_removed,
        "tokens": {kind: getattr(totals.usage, kind) for kind in KINDS},
        "cache_hit": cache_hit(totals.usage),
        "sandbox": run.sandbox,
        "repo": run.repo,
        "workspace": str(call.home.run(run.id) / "workspace"),
        "workspace_removed_at": run.workspace_removed_at.isoformat() if run.workspace_removed_at else None,
        "session": run.session,
        "resume": resume_command(run) if run.state == RunState.WAITING or is_cut_short(run) else None,
        **standing_json(run),
        "watch": [asdict(remark) for remark in run.watched],
        "created_at": run.created_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
    }
