"""House-keeping: what ended runs left is removed, late and truthfully.

    if due(home, now):
        swept = await sweep(house, now=now, retention_s=settings.defaults.retention_s)

What must hold, whatever lies in the state directory and whenever a sweep is killed:

- never of a run that is open or that somebody is at work in: the sweep is the run's one driver meanwhile, and says to
  the store what the run was when it decided;
- never work that is not in the mirror: it is saved there first (`salvage`), or the workspace stays and says why;
- never anything outside of the state directory, and never what is no run of these books;
- the row says that the workspace is removed before it is; it goes to the trash at once and is deleted from there by a
  program that waits for everybody else (`trash`).

What stayed is looked at again after a day, because looking starts a sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gzip
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from crewcap.core.runs import AT_WORK, OPEN_STATES, Run, RunId
from crewcap.errors import CrewcapError
from crewcap.home import Home
from crewcap.logs import cut
from crewcap.runner.house import House
from crewcap.runner.ownership import driving, is_driven
from crewcap.runner.worker.orphans import end_orphans_of
from crewcap.runner.worker.rehearsals import remove_rehearsals
from crewcap.runner.worker.remains import (
    NO_FOLDER,
    NO_RUN,
    TRANSCRIPT,
    aside,
    foreign,
    has_remains,
    is_folder,
    is_over,
    run_folders,
    there,
)
from crewcap.runner.worker.salvage import Brought, bring_home
from crewcap.runner.worker.stale_doors import remove_stale_doors
from crewcap.runner.worker.trash import empty_trash, throw
from crewcap.workspaces.project.prepared import ROOM_BYTES, PreparedTrees

_LOG = logging.getLogger(__name__)
_NOTES, _LOCK = "housekeeping.json", "housekeeping.lock"
_LOG_BYTES = 16 << 20
Tell = Callable[[str, str], None]  # (a run or a folder, why it stays), '' = it is removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did."""

    removed: tuple[str, ...] = ()  # names of the runs whose workspaces went
    kept: Mapping[str, str] = field(default_factory=dict)  # what is past its time and stayed -> why
    saved: tuple[str, ...] = ()  # refs that were made in mirrors
    maintained: tuple[str, ...] = ()  # mirrors that were repacked
    freed_bytes: int = 0
    is_elsewhere: bool = False  # nothing: another process is at it

    @property
    def said(self) -> str:
        """A line for a log; empty where nothing was done."""
        counts = {
            "removed": len(self.removed),
            "kept": len(self.kept),
            "saved": len(self.saved),
            "repacked": len(self.maintained),
            "freed": f"{self.freed_bytes >> 20} MiB" if self.freed_bytes else 0,
        }
        return ", ".join(f"{name} {number}" for name, number in counts.items() if number)


def due(home: Home, now: datetime, *, every: timedelta = timedelta(hours=1)) -> bool:
    """Whether the last sweep was so long ago; a clock that went back does not stop them for ever."""
    try:
        last = datetime.fromisoformat(_notes(home)["swept_at"])
    except (KeyError, TypeError, ValueError):
        return True
    return not timedelta(0) <= now - last < every


def past_retention(home: Home, runs: Sequence[Run], now: datetime, *, retention_s: float) -> list[Run]:
    """Those whose time is over and whose workspaces are there."""
    return [run for run in runs if is_over(run, now, retention_s) and there(home.run(run.id))]


def kept_so_far(home: Home) -> Mapping[str, str]:
    """What the last sweeps let stay, by the name of the run or folder, and why."""
    return {name: str(said["why"]) for name, said in _kept(home).items()}


async def sweep(
    house: House,
    *,
    now: datetime,
    retention_s: float,
    again_after: timedelta = timedelta(days=1),
    tell: Tell = lambda _name, _why: None,
) -> Swept:
    """Remove what is past its time; nothing, where another process is at it. Each is told of as it comes."""
    home = house.home
    with _alone(home) as is_alone:
        if not is_alone:
            return Swept(is_elsewhere=True)
        sweeping = _Sweeping(house=house, now=now, retention_s=retention_s, again_after=again_after, tell=tell)
        for folder in run_folders(home):
            await sweeping.look_at(folder)
        await asyncio.to_thread(sweeping.clear_the_rest)
        freed = await empty_trash(home.root)
        _write_notes(home, {"swept_at": now.isoformat(), "kept": sweeping.kept})
        return Swept(
            removed=tuple(sweeping.removed),
            kept={name: str(said["why"]) for name, said in sweeping.kept.items()},
            saved=tuple(sweeping.saved),
            maintained=sweeping.maintained,
            freed_bytes=freed,
        )


async def sweep_rehearsals(home: Home, *, tell: Tell) -> Swept:
    """All that there is to do where no run ever was."""
    said: dict[str, str] = {}

    def note(name: str, why: str) -> None:
        said[name] = why
        tell(name, why)

    await asyncio.to_thread(remove_rehearsals, home, tell=note)
    freed = await empty_trash(home.root)
    gone = tuple(name for name, why in said.items() if not why)
    return Swept(removed=gone, kept={name: why for name, why in said.items() if why}, freed_bytes=freed)


@dataclass(slots=True, kw_only=True)
class _Sweeping:
    """One sweep on its way."""

    house: House
    now: datetime
    retention_s: float
    again_after: timedelta
    tell: Tell
    removed: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    maintained: tuple[str, ...] = ()
    kept: dict[str, dict[str, str]] = field(default_factory=dict)

    async def look_at(self, folder: Path) -> None:
        """One folder below `runs`."""
        if not is_folder(folder):
            self._keep(folder.name, NO_FOLDER)
            return
        run = self.house.runs.get(RunId(folder.name))
        if run is None:
            self._keep(folder.name, NO_RUN)
        elif is_over(run, self.now, self.retention_s) and has_remains(folder) and not self._stays(run):
            await self._remove_of(run, folder)

    def clear_the_rest(self) -> None:
        """Everything else that nobody uses any more. It blocks."""
        house, home = self.house, self.house.home
        remove_rehearsals(home, tell=self._tell_rehearsal)
        remove_stale_doors(self.now)
        cut(home.logs / "gateway.log", most_bytes=_LOG_BYTES)  # of gateways that commands started: they append to it
        PreparedTrees(home.prepared, house.clock).sweep(ROOM_BYTES)
        if not any(run.state in AT_WORK or is_driven(run) for run in house.runs.list(limit=1_000, open_only=True)):
            with contextlib.suppress(CrewcapError):  # a damaged mirror is told of by the run that needs it
                self.maintained = house.mirrors.maintain()

    async def _remove_of(self, run: Run, folder: Path) -> None:
        """A run whose time is over: as its one driver, so that nobody goes on with it meanwhile."""
        try:
            with driving(run, folder):
                fresh = self.house.runs.get(run.id)
                if fresh is None or fresh.state in OPEN_STATES or is_driven(fresh):
                    return
                await asyncio.to_thread(end_orphans_of, folder, self.house.runs)
                await self._remove(fresh, folder)
        except (CrewcapError, OSError) as error:
            self._keep(run.name, str(error))
        except Exception:  # noqa: BLE001  (what an agent left must not keep the house from being swept)
            _LOG.exception("the workspace of %s could not be removed", run.name)
            self._keep(run.name, "it could not be removed; the log says more")

    async def _remove(self, run: Run, folder: Path) -> None:
        left = there(folder)
        if strange := foreign(folder):
            self._keep(run.name, strange)
            return
        brought = await bring_home(self.house, run) if "workspace" in left else Brought()
        if brought.saved:
            self._tell_saved(run, brought)
        if brought.left:
            self._keep(run.name, brought.left)
            return
        if left and run.workspace_removed_at is None:
            self.house.runs.save(replace(run, workspace_removed_at=self.now), was=run)
            self.house.runs.log(run.id, "note", f"workspace removed on {self.now.astimezone(UTC):%Y-%m-%d}")
        await asyncio.to_thread(self._throw_away, run, folder, left)

    def _throw_away(self, run: Run, folder: Path, left: Sequence[str]) -> None:
        """Into the trash with it; what the agent said is kept, small. It blocks."""
        for name in (*left, *aside(folder)):
            if why := throw(self.house.home.root, ("runs", folder.name), name):
                self._keep(run.name, f"its {name}: {why}")
                return
        _compress(folder / TRANSCRIPT)
        if left:
            self.removed.append(run.name)
            self.tell(run.name, "")

    def _tell_saved(self, run: Run, brought: Brought) -> None:
        """How to come by it, in the run's story."""
        for ref in brought.saved:
            words = f"saved from its workspace, into the mirror alone: git fetch {brought.mirror} {ref}"
            self.house.runs.log(run.id, "note", words)
        self.saved += brought.saved

    def _tell_rehearsal(self, name: str, why: str) -> None:
        if why:
            self._keep(name, why)
        else:
            self.removed.append(name)
            self.tell(name, "")

    def _stays(self, run: Run) -> bool:
        """Whether it was looked at lately, and had to stay."""
        known = _kept(self.house.home).get(run.name)
        if known is None:
            return False
        with contextlib.suppress(ValueError, TypeError):
            if timedelta(0) <= self.now - datetime.fromisoformat(known["at"]) < self.again_after:
                self.kept[run.name] = dict(known)
                return True
        return False

    def _keep(self, name: str, why: str) -> None:
        self.kept[name] = {"why": why, "at": self.now.isoformat()}
        self.tell(name, why)


def _compress(transcript: Path) -> None:
    """To about a tenth, whole or not at all."""
    if not transcript.is_file() or transcript.is_symlink():
        return
    packed = transcript.with_name(f"{transcript.name}.gz")
    fresh = packed.with_name(f"{packed.name}.new")
    with transcript.open("rb") as said, gzip.open(fresh, "wb") as out:
        shutil.copyfileobj(said, out)
    fresh.rename(packed)
    transcript.unlink()


# --- what is remembered -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[bool]:
    """Whether nobody else sweeps here."""
    descriptor = os.open(home.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_alone = True
        except BlockingIOError:
            is_alone = False
        yield is_alone
    finally:
        os.close(descriptor)


def _notes(home: Home) -> Mapping[str, Any]:
    try:
        notes = json.loads((home.root / _NOTES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _kept(home: Home) -> Mapping[str, Mapping[str, str]]:
    kept = _notes(home).get("kept")
    return {name: said for name, said in kept.items() if "why" in said} if isinstance(kept, dict) else {}


def _write_notes(home: Home, notes: Mapping[str, Any]) -> None:
    fresh = home.root / f"{_NOTES}.new"
    fresh.write_text(json.dumps(notes), encoding="utf-8")
    fresh.rename(home.root / _NOTES)
