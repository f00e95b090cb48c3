"""A run that `crewcap serve` carries out: handed over, then followed as its story is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from crewcap.cli.context import Call
from crewcap.cli.logs import follow
from crewcap.cli.run import exit_status
from crewcap.cli.run_view import as_json, totals_of
from crewcap.core.runs import OPEN_STATES, Run, RunState
from crewcap.runner import entry, jobs
from crewcap.runner.jobs import Job
from crewcap.runner.person import login_here
from crewcap.runner.worker.fencing import LEFT, TIMES, living
from crewcap.runner.worker.presence import serving
from crewcap.workspaces.sandbox.ladder import choose


def is_served(call: Call) -> bool:
    """Whether somebody else carries out this home's runs: a `crewcap serve` here, or a worker on its Postgres."""
    if serving(call.home) is not None:
        return True
    if not call.app.served.store_url or call.app.is_new:
        return False
    return any(version != LEFT for version in living(call.app.runs, dead_after_s=TIMES.dead_after_s).values())


def hand_over(call: Call, job: Job) -> int:
    """Write the run down for whoever serves, and follow it; the exit status is the one it would have here."""
    sandbox = choose(job.plan.sandbox, state=call.home.root)  # type: ignore[arg-type]  # checked by settings and options
    order = jobs.make_order(call.app, job, sandbox, tell=lambda _: None, keys={})
    run = entry.write_down(order, job.plan, job.found, hosted=True)
    call.note(f"{run.name}  handed to the crewcap serve of this home; Ctrl-C pauses it, twice leaves it alone")
    return follow_hosted(call, run)


def follow_hosted(call: Call, run: Run) -> int:
    """Follow to the end, or to where it waits."""
    with _pausing(call, run):
        ended = follow(call, run, until_rest=True)
    if call.as_json:
        call.emit(as_json(call, ended, totals_of(call, ended)))
    if ended.state in OPEN_STATES - {RunState.WAITING}:
        return 0  # it goes on without us
    return exit_status(ended)


@contextmanager
def _pausing(call: Call, run: Run) -> Iterator[None]:
    """Ctrl-C pauses the run, as it does in the foreground; the second one leaves it alone and ends us."""
    asked = threading.Event()

    def pause(number: int, frame: object) -> None:
        del frame
        if asked.is_set():
            call.note(f"{run.name} goes on: crewcap logs -f {run.name}, or crewcap stop {run.name}")
            raise SystemExit(128 + number)
        asked.set()
        call.app.runs.say(run.id, "pause", by=login_here())
        call.note(f"{run.name} is asked to pause")

    before = signal.signal(signal.SIGINT, pause)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
