"""`crewcap run --dry-run`: everything that would happen, and nothing that costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from crewcap.cli.context import Call
from crewcap.cli.live.opening import Opening, lefts_of, opening_lines, table, walls
from crewcap.cli.money.estimate import estimate_object, estimate_of, estimate_words
from crewcap.cli.screen.figures import Screen, many, span
from crewcap.core.routing import Route
from crewcap.core.runs import Run, RunId, RunState
from crewcap.errors import CrewcapError
from crewcap.runner import prompt
from crewcap.runner.fitting import Plot, find_fittings, site_of
from crewcap.runner.grounds import grounds_of
from crewcap.runner.jobs import Job
from crewcap.runner.reach import loosened
from crewcap.settings.hosts import expand
from crewcap.settings.values import show_size
from crewcap.workspaces import Limits, Sandbox
from crewcap.workspaces.sandbox.ladder import choose


def show_plan(call: Call, job: Job) -> None:
    """Print the plan: route, caps, budgets left, sandbox, hosts, the whole prompt."""
    sandbox = choose(job.plan.sandbox, state=call.home.root)  # type: ignore[arg-type]  # checked by settings and options
    run = _as_it_would_be(call, job, sandbox.rung)
    words = prompt.first(job.plan, run)
    if call.as_json:
        call.emit(_object(job, sandbox.rung, words) | {"estimate": estimate_object(estimate_of(call, job.plan))})
        return
    columns = Screen.of(sys.stdout, call.environ).columns
    opening = Opening(
        run=run,
        agent=f"{job.agent_title} {job.found.version}",
        lefts=lefts_of(job.plan.balances),
        uncommitted=job.left_out.count,
        sandbox=walls(sandbox.rung, job.plan.project),
        notes=(
            *(f"gives up: {loss}" for loss in sandbox.loses),
            *loosened(sandbox.rung, job.plan.project),
            *job.plan.issue.notes,
            *job.found.notes,
        ),
    )
    estimated = ("estimate", estimate_words(estimate_of(call, job.plan)))
    rows = [*_rows(job), estimated, *_fitted(call, job, sandbox)]
    for line in (*opening_lines(opening, columns), *table(rows, columns), "", words.rstrip()):
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
        ("hosts", hosts),
    ]


def _fitted(call: Call, job: Job, sandbox: Sandbox) -> Iterator[tuple[str, str]]:
    """What of this machine would be shown inside; what is wanted and missing is said, and refuses nothing here."""
    grounds = grounds_of(call.app, job.settings, sandbox)
    plot = Plot(
        repo=job.plan.repo,
        repository=job.repository,
        base=job.base,
        project=job.plan.project,
        folder=call.home.run("dry-run"),
        uid=0,
        binary=Path(job.found.path),
    )
    site = site_of(grounds, plot)
    try:
        toolchains, others = find_fittings(grounds, plot, site)
    except CrewcapError as error:
        yield "missing", f"{error.message}; {error.help}"
        return
    yield from (("tools", text) for text in toolchains.said)
    yield from (("inside", text) for text in others.said)
    yield "machine", ", ".join(_sizes(site.limits))


def _sizes(limits: Limits) -> Iterator[str]:
    """What a run may use, as settings spell it."""
    for name, value in (("memory", limits.memory_bytes), ("disk", limits.disk_bytes)):
        if value is not None:
            yield f"{name} {show_size(value)}"
    if limits.cpus is not None:
        yield many(limits.cpus, "processor")
    if limits.processes is not None:
        yield f"{limits.processes:,} processes"


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
