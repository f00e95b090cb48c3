"""`crewcap stop`: end a run and keep its work; with --all, every run that is open, and its money first.

Whoever drives a run is told by a word in the books. With --all the keys of all open runs are revoked before that, so
the gateway refuses their next request in the transaction that would have granted it; and once more after it, because a
start of an agent may have made a key meanwhile. It looks for words between making a key and using it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.view import find_one
from crewcap.core.runs import AT_WORK, OPEN_STATES, Run, RunEvent, RunId, RunState, Verdict, move
from crewcap.errors import UsageError
from crewcap.runner.access import end_keys
from crewcap.runner.ownership import LOCAL, is_driven
from crewcap.runner.person import login_here

Result = Literal["stopped", "asked to stop", "at its end already"]

_MOST = 10_000


@click.command(epilog="Example: crewcap stop --all")
@click.argument("run", default="")
@click.option("--all", "everything", is_flag=True, help="Every run that is not at its end, its money first.")
@common
@with_call
def stop(call: Call, *, run: str, everything: bool) -> None:
    """Stop a run: its agent ends, its branch, session and workspace are kept.

    With --all the gateway refuses every open run's next request from that moment on, queued runs never start, and the
    others are told to end. Schedules go on.
    """
    if everything:
        _stop_all(call)
        return
    chosen = find_one(call, run)
    if chosen.state not in OPEN_STATES:
        raise UsageError(f"{chosen.name} is at its end: {chosen.state}", help="crewcap runs --open lists the others")
    _say(call, [(chosen, stop_one(call, chosen))])


def _stop_all(call: Call) -> None:
    runs = [] if call.app.is_new else call.app.runs.list(limit=_MOST, open_only=True)
    open_ids = {run.id for run in runs}
    _revoke(call, open_ids)
    stopped = [(run, stop_one(call, run)) for run in runs]
    _revoke(call, open_ids)
    _say(call, stopped)
    if not stopped:
        call.note("nothing is open")
    elif not call.as_json:
        call.out(_sum(stopped))
    for line in _what_goes_on(call):
        call.note(line)


def _revoke(call: Call, runs: Collection[RunId]) -> None:
    """No further request of these runs is granted."""
    if not runs:
        return
    for key in call.app.ledger.keys():  # noqa: SIM118  (a ledger is no mapping)
        if key.run in runs and key.revoked_at is None:
            call.app.ledger.revoke_key(key.id)


def stop_one(call: Call, run: Run) -> Result:
    """Tell whoever drives it, or close the book on a run that nobody drives, as it stands now."""
    from crewcap.stores.run_rows import AlreadyAnswered, Overtaken  # noqa: PLC0415  (not for --help)

    while run.state in OPEN_STATES:
        if _is_heard(call, run):
            call.app.runs.say(run.id, "stop", by=login_here())
            return "asked to stop"
        try:
            _close(call, run)
        except (Overtaken, AlreadyAnswered) as other:
            run = other.run
            continue
        return "stopped"
    return "at its end already"


def _is_heard(call: Call, run: Run) -> bool:
    """Whether somebody drives the run, or will, before it is looked at again.

    One that waits has nobody, though the process that drove it may be alive and drive others.
    """
    if (run.state in AT_WORK or (run.state == RunState.QUEUED and not run.hosted)) and is_driven(run):
        return True
    if not run.hosted or run.state not in AT_WORK:
        return False
    from crewcap.cli.runs.hosted import is_served  # noqa: PLC0415  (heavy, and seldom)

    return run.worker not in {"", LOCAL} or is_served(call)


def _close(call: Call, run: Run) -> None:
    """The run at its end; `Overtaken` where somebody else moved it first."""
    end_keys(call.app.ledger, run)
    if run.state == RunState.WAITING and run.question is not None and run.question.is_open:
        run = call.app.runs.answer(run.id, run.question.id, "stop", by=login_here())
    if run.state == RunState.RUNNING:
        finishing = replace(run, state=move(run.state, RunEvent.FINISH))
        call.app.runs.save(finishing, was=run)
        run = finishing
    stopped = replace(
        run,
        state=move(run.state, RunEvent.STOP),
        verdict=run.verdict or Verdict.CANCELLED,
        reason=run.reason or "stopped by hand",
        ended_at=call.clock(),
    )
    call.app.runs.save(stopped, was=run)
    call.app.runs.log(run.id, "state", "stopped by hand")


def _say(call: Call, stopped: Sequence[tuple[Run, Result]]) -> None:
    """A line for each."""
    if call.as_json:
        call.emit([{"run": run.name, "result": result} for run, result in stopped])
        return
    for run, result in stopped:
        kept = "its work is kept" + (f" on branch {run.branch}" if run.commits else "")
        call.out(f"{run.name}  {result}; {kept}")


def _sum(stopped: Sequence[tuple[Run, Result]]) -> str:
    """`3 runs: 2 stopped, 1 asked to stop; none of them is granted another request`."""
    from crewcap.cli.screen.figures import many  # noqa: PLC0415  (not for --help)

    counted = Counter(result for _, result in stopped)
    parts = ", ".join(f"{number} {result}" for result, number in counted.items())
    return f"{many(len(stopped), 'run')}: {parts}; none of them is granted another request"


def _what_goes_on(call: Call) -> Iterator[str]:
    """Schedules make new runs for as long as somebody serves."""
    from crewcap.runner.worker.presence import serving  # noqa: PLC0415  (not for --help)

    found = serving(call.home)
    names = ", ".join(schedule.name for schedule in call.app.settings.schedules) if found is not None else ""
    if found is not None and names:
        pid = f" (process {found.pid})" if found.pid else ""
        yield f"schedules go on ({names}); to end them too, end crewcap serve{pid}"
