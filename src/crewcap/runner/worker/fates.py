"""What a sweep would do with each workspace, touching none: which would go, and why others stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crewcap.core.runs import OPEN_STATES, Run, RunId
from crewcap.home import Home
from crewcap.runner.house import House
from crewcap.runner.ownership import is_driven, is_held
from crewcap.runner.worker.housekeeping import kept_so_far
from crewcap.runner.worker.rehearsals import WHY, left_rehearsals
from crewcap.runner.worker.remains import NO_FOLDER, NO_RUN, foreign, goes_at, is_folder, is_over, run_folders, there


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What would become of one run's workspace."""

    name: str  # of the run; of the folder, where it is no run's
    folder: Path
    goes: bool
    why: str


def fates(house: House, *, now: datetime, retention_s: float) -> Sequence[Fate]:
    """Every workspace that there is: those that would go, then those that stay."""
    found = (*_fates(house, now, retention_s), *fates_of_rehearsals(house.home))
    return sorted(found, key=lambda fate: (not fate.goes, fate.name))


def fates_of_rehearsals(home: Home) -> Sequence[Fate]:
    """What killed ones left goes at once."""
    return [Fate(name=folder.name, folder=folder, goes=True, why=WHY) for folder in left_rehearsals(home)]


def _fates(house: House, now: datetime, retention_s: float) -> Iterator[Fate]:
    known = kept_so_far(house.home)
    for folder in run_folders(house.home):
        run = house.runs.get(RunId(folder.name)) if is_folder(folder) else None
        if run is None:
            why = NO_RUN if is_folder(folder) else NO_FOLDER
            yield Fate(name=folder.name, folder=folder, goes=False, why=why)
        elif there(folder):
            stays = _stays(run, folder, now, retention_s)
            goes = f"ended on {_day(run.ended_at or run.created_at)}"
            if run.name in known:
                goes += f"; last time it stayed: {known[run.name]}"
            yield Fate(name=run.name, folder=folder, goes=not stays, why=stays or goes)


def _stays(run: Run, folder: Path, now: datetime, retention_s: float) -> str:
    """Why; empty where its time is over."""
    if run.state in OPEN_STATES:
        return f"it is {run.state}"
    if not is_over(run, now, retention_s):
        return f"until {_day(goes_at(run, retention_s))}"
    if is_driven(run) or is_held(folder):
        return "somebody is at work in it"
    return foreign(folder)


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"
