"""`crewcap run` in its own process: what it puts together before it starts, and the screen beside it while it goes."""

from __future__ import annotations

from collections.abc import Callable

from crewcap import logs
from crewcap.cli.context import Call
from crewcap.cli.live.run_screen import RunScreen
from crewcap.cli.runs.room import require_room
from crewcap.core.runs import Issue, Run, RunState
from crewcap.gateway import process
from crewcap.gateway.assemble import key_variables
from crewcap.runner import entry, jobs, start
from crewcap.runner.jobs import Job
from crewcap.runner.moments import Moment
from crewcap.runner.named_places import wrong_tools
from crewcap.runner.ownership import is_driven
from crewcap.runner.plan import Asked
from crewcap.settings.price_lists import check_price_lists
from crewcap.stores.run_rows import AlreadyOpen
from crewcap.trackers import Tracker
from crewcap.workspaces.sandbox.ladder import choose


def prepare(call: Call, issue: Issue, tracker: Tracker, asked: Asked, *, repo: str | None) -> Job:
    """Plan a run, where there is room for one and the books believe the clock."""
    _refuse_unfit(call)
    job = jobs.prepare(call.app, issue, tracker, asked, repo=repo)
    if not call.app.served.store_url:  # where books are shared another machine, with other tools, may carry it out
        for error in wrong_tools(job.settings, job.plan.repo, environ=call.environ, state=call.home.root):
            raise error
    return job


def prepare_again(call: Call, run: Run) -> Job:
    """The same for a run that is there already."""
    _refuse_unfit(call)
    return jobs.prepare_again(call.app, run)


def make_order(call: Call, job: Job, tell: Callable[[Moment], None]) -> start.Order:
    """What the run is carried out with: the sandbox is chosen, and the provider's keys leave our own environment."""
    logs.aside(call.home.logs)
    sandbox = choose(job.plan.sandbox, state=call.home.root)  # type: ignore[arg-type]  # checked by settings and options
    process.make_unreadable()
    keys = process.forget(key_variables(job.settings))
    start.guard_keys(job.settings, sandbox, is_spoken=job.plan.sandbox == "unconfined")
    return jobs.make_order(call.app, job, sandbox, tell=tell, keys=keys)


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


def _refuse_unfit(call: Call) -> None:
    check_price_lists(call.app.settings, lambda: call.app.book.lists)
    require_room(call.home, floor_bytes=call.app.settings.defaults.disk_floor_bytes)
    call.refuse_doubtful_clock()


def _open_or_new(call: Call, order: start.Order, job: Job) -> Run:
    """A run that was cut short is gone on with; one that is driven, waits or is of another repository is left alone."""
    try:
        return entry.write_down(order, job.plan, job.found)
    except AlreadyOpen as already:
        is_elsewhere = already.run.repo_path != job.plan.repo_path
        if is_elsewhere or is_driven(already.run) or already.run.state == RunState.WAITING:
            raise
        call.note(f"{already.run.name} was cut short while {already.run.state}; going on with it")
        return already.run
