"""`crewcap run --dry-run`: everything that would happen, and nothing that costs."""

from __future__ import annotations

import sys
from dataclasses import replace

from crewcap.cli.context import Call
from crewcap.cli.opening import Opening, lefts_of, opening_lines, table, walls
from crewcap.cli.run_job import Job
from crewcap.cli.screen import Screen, many, span
from crewcap.core.routing import Route
from crewcap.core.runs import Run, RunId, RunState
from crewcap.runner import prompt
from crewcap.settings.hosts import expand
from crewcap.workspaces.ladder import choose


def show_plan(call: Call, job: Job) -> None:
    """Print the plan: route, caps, budgets left, sandbox, hosts, the whole prompt."""
    sandbox = choose(job.plan.sandbox, state=call.home.root)  # type: ignore[arg-type]  # checked by settings and options
    run = _as_it_would_be(call, job, sandbox.rung)
    words = prompt.first(job.plan, run)
    if call.as_json:
        call.emit(_object(job, sandbox.rung, words))
        return
    columns = Screen.of(sys.stdout, call.environ).columns
    opening = Opening(
        run=run,
        agent=f"{job.agent_title} {job.found.version}",
        lefts=lefts_of(job.plan.balances),
        uncommitted=job.left_out.count,
        sandbox=walls(sandbox.rung),
        notes=(*(f"gives up: {loss}" for loss in sandbox.loses), *job.plan.issue.notes, *job.found.notes),
    )
    for line in (*opening_lines(opening, columns), *table(_rows(job), columns), "", words.rstrip()):
        call.out(line)
    call.note("nothing was started and nothing was spent")


def _as_it_would_be(call: Call, job: Job, rung: str) -> Run:
    """The run that would be written down."""
    plan = job.plan
    run = Run(
        id=RunId("dry-run"),
        name=f"{plan.issue.key} (dry run)",
        issue=plan.issue,
        state=RunState.QUEUED,
        repo=plan.repo,
        repo_path=plan.repo_path,
        created_at=call.clock(),
    )
    return replace(
        run,
        base=job.base.commit,
        base_branch=job.base.branch,
        agent_version=job.found.version,
        model=plan.route.model,
        because=plan.route.because,
        cap=plan.cap,
        cap_because=plan.cap_because,
        max_turns=plan.route.max_turns,
        timeout_s=plan.route.timeout_s,
        sandbox=rung,
    )


def _rows(job: Job) -> list[tuple[str, str]]:
    """What the head of a run does not say."""
    plan = job.plan
    hosts = ", ".join(expand(plan.project.hosts)) if plan.project.hosts else "none"
    return [
        ("limits", _limits(plan.route)),
        ("setup", plan.project.setup or "none"),
        ("check", prompt.check_of(plan) or "none is set, so its work will not be checked"),
        ("hosts", f"{hosts} (listed; this version's setup has no network)" if plan.project.hosts else hosts),
        ("estimate", f"no history yet: at most {plan.cap.show()}, which is the cap"),
    ]


def _limits(route: Route) -> str:
    fan_out = route.fan_out
    said = [f"{route.max_turns} turns", span(route.timeout_s), f"{route.max_output:,} output tokens"]
    said += [many(fan_out.agents, "subagent")] if fan_out.agents is not None else []
    said += [f"nested {fan_out.depth} deep"] if fan_out.depth is not None else []
    said += [f"{many(fan_out.concurrent, 'request')} at a time"] if fan_out.concurrent is not None else []
    return ", ".join(said)


def _object(job: Job, rung: str, words: str) -> dict[str, object]:
    plan = job.plan
    return {
        "issue": f"{plan.issue.tracker}/{plan.issue.key}",
        "title": plan.issue.title,
        "repo": plan.repo,
        "base": job.base.commit,
        "agent": plan.route.agent,
        "agent_version": job.found.version,
        "model": plan.route.model,
        "because": plan.route.because,
        "cap_usd": plan.cap.exact(),
        "cap_because": plan.cap_because,
        "max_turns": plan.route.max_turns,
        "max_agents": plan.route.max_agents,
        "max_depth": plan.route.max_depth,
        "max_concurrent": plan.route.max_concurrent,
        "timeout_seconds": plan.route.timeout_s,
        "sandbox": rung,
        "setup": plan.project.setup,
        "check": prompt.check_of(plan),
        "hosts": list(expand(plan.project.hosts)),
        "budgets": [{"scope": b.scope, "window": b.window, "left_usd": b.left.exact()} for b in plan.balances],
        "prompt": words,
    }
