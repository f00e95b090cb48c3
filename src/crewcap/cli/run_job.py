"""Everything that `crewcap run` puts together before it starts, and the screen beside it while it goes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.agents.find import Found
from crewcap.cli.context import Call
from crewcap.cli.grounds import find_around, plan_for
from crewcap.cli.opening import walls
from crewcap.cli.room import require_room
from crewcap.cli.run_screen import RunScreen
from crewcap.core.runs import Issue, Run, RunState
from crewcap.gateway import process
from crewcap.gateway.assemble import key_variables
from crewcap.runner import prompt, start
from crewcap.runner.account import account
from crewcap.runner.fitting import OWNER
from crewcap.runner.moments import Moment
from crewcap.runner.ownership import is_driven
from crewcap.runner.person import login_here
from crewcap.runner.plan import Asked, Plan
from crewcap.runner.reach import contacted, loosened
from crewcap.runner.report import markdown
from crewcap.settings.models import Settings
from crewcap.stores import Totals
from crewcap.stores.run_rows import AlreadyOpen
from crewcap.trackers import Tracker
from crewcap.trackers.files import Files
from crewcap.trackers.prompts import Prompts
from crewcap.workspaces.egress.log import NAME, read_log
from crewcap.workspaces.repository.repositories import Base, LeftOut, Repository
from crewcap.workspaces.sandbox.ladder import choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One `crewcap run`, ready to start."""

    plan: Plan
    settings: Settings
    repository: Repository
    base: Base
    left_out: LeftOut
    found: Found
    agent_title: str  # "Claude Code"
    tracker: Tracker


def prepare(call: Call, issue: Issue, tracker: Tracker, asked: Asked, *, repo: str | None) -> Job:
    """Find the repository, read its own settings, plan, and find the agent; nothing is started."""
    require_room(call.home)
    call.refuse_doubtful_clock()
    found = find_around(call, issue, repo)
    plan = plan_for(call, found, issue, asked)
    adapter = start.adapter_of(plan)
    return Job(
        plan=plan,
        settings=found.settings,
        repository=found.repository,
        base=found.base,
        left_out=_but_for(issue, found.repository, call.app.mirrors.left_out(found.repository)),
        found=start.find_agent(found.settings, adapter, call.environ),
        agent_title=adapter.title,
        tracker=tracker,
    )


def make_order(call: Call, job: Job, tell: Callable[[Moment], None]) -> start.Order:
    """What the run is carried out with: the sandbox is chosen, and the provider's keys leave our own environment."""
    sandbox = choose(job.plan.sandbox, state=call.home.root)  # type: ignore[arg-type]  # checked by settings and options
    spoken = job.plan.sandbox == "unconfined"
    names = key_variables(job.settings)
    process.make_unreadable()
    held = process.forget(names)
    start.guard_keys(job.settings, sandbox, is_spoken=spoken)
    return start.Order(
        home=call.home,
        config_path=call.config_path,
        settings=job.settings,
        environ={**call.environ, **held},
        ledger=call.app.ledger,
        runs=call.app.runs,
        clock=call.clock,
        sandbox=sandbox,
        mirrors=call.app.mirrors,
        repository=job.repository,
        base=job.base,
        trust=OWNER,
        tell=tell,
        report=_reporter(call, job, tuple(held.values())),
    )


def _but_for(issue: Issue, repository: Repository, left_out: LeftOut) -> LeftOut:
    """Without the issue's own file, which is read as it stands, and which our report makes uncommitted."""
    top = repository.local or Path("/")
    changed = tuple(name for name in left_out.changed if str(top / name) != issue.source)
    untracked = tuple(name for name in left_out.untracked if str(top / name) != issue.source)
    return replace(left_out, changed=changed, untracked=untracked)


def prepare_again(call: Call, run: Run) -> Job:
    """A run that is there already, ready to go on: its own issue, model and cap, whatever routes say by now."""
    asked = Asked(
        agent=run.agent,
        model=run.model,
        effort=run.effort,
        cap=run.cap,
        max_turns=run.max_turns,
        timeout_s=run.timeout_s,
        sandbox=run.sandbox,
        login=login_here(),
    )
    tracker: Tracker = Files(Path.cwd()) if run.issue.tracker == "files" else Prompts()
    job = prepare(call, replace(run.issue, cap=None), tracker, asked, repo=run.repo_path)
    return replace(job, plan=replace(job.plan, issue=run.issue))


async def drive(call: Call, job: Job, *, again: Callable[[], Run] | None = None, say: str = "") -> Run:
    """Take a run to its end: this one, else the issue's open one that nobody drives any more, else a new one."""
    screen = RunScreen(call)
    order = make_order(call, job, screen.feed)
    async with start.gateway_of(order, book=lambda: call.app.book.hash) as gateway:
        run = again() if again is not None else _open_or_new(call, order, job)
        screen.begin(job, run, order.sandbox)
        ended = await start.carry_out(order, job.plan, run, job.found, gateway=gateway, say=say)
    screen.close(ended)
    return ended


def _open_or_new(call: Call, order: start.Order, job: Job) -> Run:
    """A run that was cut short is gone on with; one that is driven, waits or is of another repository is left alone."""
    try:
        return start.write_down(order, job.plan, job.found)
    except AlreadyOpen as already:
        is_elsewhere = already.run.repo_path != job.plan.repo_path
        if is_elsewhere or is_driven(already.run) or already.run.state == RunState.WAITING:
            raise
        call.note(f"{already.run.name} was cut short while {already.run.state}; going on with it")
        return already.run


def _reporter(call: Call, job: Job, secrets: Collection[str]) -> Callable[[Run, Totals], None]:
    """Where the run's report goes: back to where its issue came from, from the ledger, without our secrets."""

    def report(run: Run, totals: Totals) -> None:
        del totals  # the account reads them itself, with more
        now = call.clock()
        books = account(
            call.app.ledger, call.app.book, run, issue_cap=job.plan.issue_cap, now=now, cache_turns=call.app.cache_turns
        )
        text = markdown(
            run,
            books,
            now=now,
            check=prompt.check_of(job.plan),
            told=prompt.first(job.plan, run),
            reach=(
                f"sandbox: {walls(run.sandbox, job.plan.project)}",
                *loosened(job.plan.project),
                *contacted(read_log(call.home.run(run.id) / NAME)),
            ),
            secrets=secrets,
        )
        job.tracker.report(run.issue, run=run.name, text=text)

    return report
