"""Who carries out runs without anybody at the keyboard: a `crewcap serve` of this home, or workers on its Postgres."""

from __future__ import annotations

from crewcap.cli.context import Call
from crewcap.cli.runs.view import is_cut_short
from crewcap.core.runs import AT_WORK, Run
from crewcap.runner.ownership import LOCAL, is_driven
from crewcap.runner.worker.presence import serving


def is_served(call: Call, run: Run | None = None) -> bool:
    """Whether somebody else carries out this home's runs: a `crewcap serve` here, or a worker on its Postgres.

    A run that a command drove so far has its workspace here, where no worker elsewhere finds it.
    """
    is_ours = run is not None and not run.hosted
    return serving(call.home) is not None or (not is_ours and workers_elsewhere(call) > 0)


def place_here(call: Call) -> str:
    """Where this home's workers stand; with books in a file there is but one place."""
    from crewcap.runner.worker.fencing import place_at  # noqa: PLC0415  (only with a database)

    return place_at(call.home) if call.app.served.store_url else ""


def workers_elsewhere(call: Call) -> int:
    """How many workers are alive on this home's Postgres, wherever they are; none where its books are a file."""
    if not call.app.served.store_url or call.app.is_new:
        return 0
    from crewcap.runner.worker.fencing import LEFT, TIMES, living  # noqa: PLC0415  (only with a database)

    found = living(call.app.runs, dead_after_s=TIMES.dead_after_s)
    return sum(version != LEFT for version in found.values())


def outliving(call: Call, run: Run) -> int:
    """The process of a worker that has a run still, though the `crewcap serve` that started it has ended; 0 = none.

    It ends by itself within seconds, but where it stands still. Of a worker on another machine nobody here can tell.
    """
    is_here = run.hosted and run.worker == LOCAL and run.state in AT_WORK and is_driven(run)
    return run.owner_pid if is_here and not is_served(call) else 0


def is_stranded(call: Call, run: Run) -> bool:
    """Whether whoever drove a run is gone and nobody goes on with it by themselves; a serve starts another worker."""
    return is_cut_short(run) and not (run.hosted and is_served(call))
