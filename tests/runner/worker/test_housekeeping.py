"""What ended runs left goes late and truthfully: never a live run's, never unsaved work, never outside of the state."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tests.runner.rig import ISSUE, Shop, utc_now
from tests.workspaces.repos import git

from crewcap.core.runs import Run, RunId, RunState
from crewcap.prices import Book
from crewcap.runner.ownership import myself
from crewcap.runner.worker.fates import fates
from crewcap.runner.worker.housekeeping import Swept, due, kept_so_far, past_retention, sweep
from crewcap.runner.worker.trash import in_trash
from crewcap.settings.models import Settings
from crewcap.workspaces.repository.repositories import Base

RETENTION_S = 86_400.0
OLD, NEW = timedelta(days=2), timedelta(hours=1)
_S = RunState
WAYS: Mapping[RunState, tuple[RunState, ...]] = {
    _S.QUEUED: (),
    _S.PREPARING: (_S.PREPARING,),
    _S.RUNNING: (_S.PREPARING, _S.RUNNING),
    _S.FINISHING: (_S.PREPARING, _S.RUNNING, _S.FINISHING),
    _S.WAITING: (_S.PREPARING, _S.RUNNING, _S.FINISHING, _S.WAITING),
    _S.DONE: (_S.PREPARING, _S.RUNNING, _S.FINISHING, _S.DONE),
    _S.FAILED: (_S.FAILED,),
    _S.STOPPED: (_S.STOPPED,),
}
ENDED = (_S.DONE, _S.FAILED, _S.STOPPED)


@dataclass(kw_only=True)
class Yard:
    """A home with runs in it that have ended or have not; the `House` that a sweep is given."""

    shop: Shop

    @property
    def home(self) -> Any:
        return self.shop.home

    @property
    def settings(self) -> Settings:
        return self.shop.settings

    @property
    def runs(self) -> Any:
        return self.shop.runs

    @property
    def ledger(self) -> Any:
        return self.shop.ledger

    @property
    def mirrors(self) -> Any:
        return self.shop.mirrors

    @property
    def book(self) -> Book:
        return self.shop.book

    config_path = None
    cache_turns: Any = None

    @property
    def environ(self) -> Mapping[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.shop.folder)}

    @property
    def clock(self) -> Callable[[], datetime]:
        return utc_now

    @cached_property
    def base(self) -> Base:
        base: Base = self.mirrors.update(self.shop.repository)
        return base

    def run(self, key: str, state: RunState = _S.DONE, *, age: timedelta = OLD, **changes: Any) -> Run:
        """A run in this state, with a folder; `lay_out` gives it a workspace."""
        fresh: Run = self.runs.create(
            Run(
                id=RunId(f"01RUN{time.monotonic_ns()}"),
                name=key,
                issue=replace(ISSUE, key=key),
                state=RunState.QUEUED,
                repo="shop",
                repo_path=str(self.shop.user),
                sandbox="unconfined",
                is_prepared=True,
                created_at=utc_now() - age,
                **changes,
            )
        )
        ended = utc_now() - age if state in ENDED else None
        for step in WAYS[state]:
            fresh = replace(fresh, state=step, ended_at=ended if step == state else None)
            self.runs.save(fresh)
        self.folder(fresh).mkdir(parents=True)
        return fresh

    def laid_out(self, key: str, state: RunState = _S.STOPPED, **options: Any) -> Run:
        """The same, with the workspace that its agent had."""
        branch = self.mirrors.take_branch(self.shop.repository, key, base=self.base)
        run = self.run(key, state, branch=branch, base=self.base.commit, base_branch="main", **options)
        self.mirrors.make_workspace(
            self.shop.repository,
            base=self.base,
            branch=branch,
            folder=self.workspace(run),
            objects_inside=str(self.mirrors.objects(self.shop.repository)),
        )
        (self.folder(run) / "home").mkdir()
        return run

    def folder(self, run: Run) -> Path:
        path: Path = self.home.run(run.id)
        return path

    def workspace(self, run: Run) -> Path:
        return self.folder(run) / "workspace"

    def sweep(self, *, now: datetime | None = None) -> Swept:
        return asyncio.run(sweep(self, now=now or utc_now(), retention_s=RETENTION_S))

    def stored(self, run: Run) -> Run:
        found: Run | None = self.runs.get(run.id)
        assert found is not None
        return found

    def story(self, run: Run) -> list[str]:
        return [event.text for event in self.runs.story(run.id)]

    def mirror_git(self, *words: str) -> str:
        return git(self.mirrors.mirror(self.shop.repository), *words)

    def saved(self, run: Run) -> list[str]:
        return self.mirror_git("for-each-ref", "--format=%(refname)", f"refs/crewcap/saved/{run.branch}/").split()


@pytest.fixture
def yard(shop: Shop) -> Yard:
    _ = shop.repository
    return Yard(shop=shop)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Somebody drives it, or has a shell open in it."""
    descriptor = os.open(folder / "driver.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def test_what_has_been_brought_home_goes_and_the_row_says_when(yard: Yard) -> None:
    run = yard.laid_out("clean")
    (yard.folder(run) / "agent.jsonl").write_bytes(b"it said this\n" * 1_000)
    (yard.folder(run) / ".gone-0123456789abcdef" / "in").mkdir(parents=True)
    now = utc_now()
    swept = yard.sweep(now=now)
    assert (swept.removed, dict(swept.kept), swept.saved) == ((run.name,), {}, ())
    assert swept.freed_bytes > 0
    assert yard.stored(run).workspace_removed_at == now
    assert yard.story(run)[-1] == f"workspace removed on {now:%Y-%m-%d}"
    assert sorted(path.name for path in yard.folder(run).iterdir()) == ["agent.jsonl.gz", "driver.lock", "processes"]
    assert gzip.decompress((yard.folder(run) / "agent.jsonl.gz").read_bytes()).count(b"\n") == 1_000
    assert list(in_trash(yard.home.root)) == []
    assert yard.sweep().removed == ()


def test_fifty_layouts(yard: Yard) -> None:
    """Of every state, age and owner only what ended long ago and belongs to nobody goes."""
    pid, started = myself()
    with_owner = {"owner_pid": pid, "owner_started": started}
    runs = {}
    for state, age, held in itertools.product(RunState, (OLD, NEW), ("nobody", "a driver", "a lock")):
        key = f"{state}-{age.days}-{held}".replace(" ", "-")
        run = yard.run(key, state, age=age, **(with_owner if held == "a driver" else {}))
        yard.workspace(run).mkdir()
        (yard.workspace(run) / "work").write_text("x")
        runs[state, age, held] = run
    outside = yard.shop.folder / "outside"
    (outside / "workspace").mkdir(parents=True)
    (outside / "workspace" / "work").write_text("x")
    top = yard.home.root / "runs"
    (top / "01FOREIGN" / "workspace").mkdir(parents=True)
    (top / "linked").symlink_to(outside)
    (top / "a-file").write_text("x")
    links = {name: yard.run(f"link-{name}") for name in ("workspace", "home")}
    for name, run in links.items():
        (yard.folder(run) / name).symlink_to(outside / "workspace")
    with _all_locked(yard.folder(run) for (_, _, held), run in runs.items() if held == "a lock"):
        foretold = fates(yard, now=utc_now(), retention_s=RETENTION_S)
        swept = yard.sweep()
    assert {fate.name for fate in foretold if fate.goes} == set(swept.removed)
    everything = {run.name for run in (*runs.values(), *links.values())} | {"01FOREIGN", "linked", "a-file"}
    assert {fate.name for fate in foretold} == everything
    gone = {key for key, run in runs.items() if not yard.workspace(run).exists()}
    assert gone == {(state, OLD, "nobody") for state in ENDED}
    assert set(swept.removed) == {runs[key].name for key in gone}
    assert (outside / "workspace" / "work").read_text() == "x"
    assert {name for name in swept.kept if not name.endswith(".1")} == {"01FOREIGN", "linked", "a-file"}
    assert all("is a link" in swept.kept[run.name] for run in links.values())
    driven = [runs[state, OLD, "a lock"].name for state in ENDED]
    assert all("driven by another process" in swept.kept[name] for name in driven)
    assert (len(runs), len(list(top.iterdir()))) == (48, 53)


@contextmanager
def _all_locked(folders: Iterator[Path]) -> Iterator[None]:
    held = [locked(folder) for folder in folders]
    for each in held:
        each.__enter__()
    try:
        yield
    finally:
        for each in held:
            each.__exit__(None, None, None)


def _uncommitted(folder: Path) -> None:
    (folder / "new.py").write_text("work\n")


def _committed(folder: Path) -> None:
    _uncommitted(folder)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "nobody fetched it")


def _elsewhere(folder: Path) -> None:
    git(folder, "switch", "--quiet", "-c", "another")
    _committed(folder)
    git(folder, "switch", "--quiet", "-")


def _broken(folder: Path) -> None:
    _uncommitted(folder)
    (folder / ".git" / "HEAD").write_text("nonsense")


@pytest.mark.parametrize("lie", [_uncommitted, _committed, _elsewhere, _broken])
def test_work_that_nobody_fetched_is_saved_first(yard: Yard, lie: Callable[[Path], None]) -> None:
    """Under a ref of its own in the mirror; the run's branch and row stay as they were, and its story says where."""
    run = yard.laid_out("unfetched")
    lie(yard.workspace(run))
    swept = yard.sweep()
    (ref,) = yard.saved(run)
    assert (swept.removed, swept.saved) == ((run.name,), (ref,))
    assert yard.mirror_git("show", f"{ref}:new.py") == "work"
    assert any(
        text.endswith(f"git fetch {yard.mirrors.mirror(yard.shop.repository)} {ref}") for text in yard.story(run)
    )
    assert yard.stored(run).commit == ""
    git(yard.shop.user, "fetch", "--quiet", str(yard.mirrors.mirror(yard.shop.repository)), ref)


def test_what_a_mirror_cannot_take_keeps_its_workspace_and_says_why(yard: Yard) -> None:
    run = yard.laid_out("nested")
    (yard.workspace(run) / "theirs").mkdir()
    git(yard.workspace(run) / "theirs", "init", "--quiet")
    (yard.workspace(run) / "theirs" / "work").write_text("x")
    swept = yard.sweep()
    assert swept.removed == ()
    assert (
        dict(swept.kept) == {run.name: "it holds files in repositories of their own: theirs"} == kept_so_far(yard.home)
    )
    assert (yard.workspace(run) / "theirs" / "work").exists()
    assert yard.stored(run).workspace_removed_at is None


def test_a_file_that_git_will_not_add_keeps_its_workspace_too(yard: Yard) -> None:
    run = yard.laid_out("refused")
    (yard.workspace(run) / "git~1").write_text("work\n")
    (yard.workspace(run) / "locked").write_text("work\n")
    (yard.workspace(run) / "locked").chmod(0)
    swept = yard.sweep()
    assert (swept.removed, dict(swept.kept)) == ((), {run.name: "it holds files that git could not read or add: git~1"})
    assert yard.mirror_git("show", f"{yard.saved(run)[0]}:locked") == "work"


def test_what_had_to_stay_is_looked_at_again_after_a_day(yard: Yard) -> None:
    run = yard.laid_out("nested")
    nested = yard.workspace(run) / "theirs"
    nested.mkdir()
    git(nested, "init", "--quiet")
    yard.sweep()
    (nested / ".git").rename(yard.shop.folder / "away")
    assert run.name in yard.sweep().kept
    assert yard.sweep(now=utc_now() + timedelta(days=1, minutes=1)).removed == (run.name,)


def test_a_repository_that_is_gone_keeps_its_workspaces(yard: Yard) -> None:
    """Nothing can be saved for it, so nothing is thrown away."""
    run = yard.laid_out("lost")
    yard.shop.user.rename(yard.shop.folder / "moved")
    swept = yard.sweep()
    assert swept.removed == ()
    assert swept.kept[run.name].startswith("it cannot be looked into: ")
    assert yard.workspace(run).exists()


def test_who_went_on_with_a_run_meanwhile_keeps_its_workspace(yard: Yard) -> None:
    """The row is changed only where it is what it was."""
    run = yard.laid_out("wanted")

    class Wanted:
        """The store, in which somebody resumes the run while its workspace is looked into."""

        def __getattr__(self, name: str) -> Any:
            return getattr(yard.shop.runs, name)

        def save(self, new: Run, **options: Any) -> None:
            yard.shop.runs.save(replace(run, state=_S.QUEUED, ended_at=None))
            yard.shop.runs.save(new, **options)

    class Busy(Yard):
        @property
        def runs(self) -> Any:
            return Wanted()

    swept = asyncio.run(sweep(Busy(shop=yard.shop), now=utc_now(), retention_s=RETENTION_S))
    assert (swept.removed, list(swept.kept)) == ((), [run.name])
    assert yard.workspace(run).exists()
    assert (yard.stored(run).state, yard.stored(run).workspace_removed_at) == (_S.QUEUED, None)


def test_a_sweep_that_was_killed_is_finished_by_the_next(yard: Yard) -> None:
    """After the row was written, and after the workspace was in the trash."""
    run = yard.laid_out("half")
    yard.runs.save(replace(run, workspace_removed_at=utc_now()))
    (yard.home.root / "trash" / "0123-workspace" / "in").mkdir(parents=True)
    assert yard.sweep().removed == (run.name,)
    assert list(in_trash(yard.home.root)) == []


def test_two_never_sweep_at_once(yard: Yard) -> None:
    run = yard.laid_out("clean")
    descriptor = os.open(yard.home.root / "housekeeping.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert yard.sweep() == Swept(is_elsewhere=True)
    os.close(descriptor)
    assert yard.sweep().removed == (run.name,)


def test_it_is_due_once_an_hour_and_after_a_clock_that_went_back(yard: Yard) -> None:
    now = utc_now()
    assert due(yard.home, now)
    yard.sweep(now=now)
    assert [due(yard.home, now + timedelta(minutes=minutes)) for minutes in (0, 59, 60, -1)] == [
        False,
        False,
        True,
        True,
    ]
    for text in ("", "[]", json.dumps({"swept_at": 3})):
        (yard.home.root / "housekeeping.json").write_text(text)
        assert due(yard.home, now)


def test_who_only_looks_is_told_what_is_past_its_time(yard: Yard) -> None:
    old, new = yard.laid_out("old"), yard.laid_out("new", age=NEW)
    listed = yard.runs.list()
    assert [run.name for run in past_retention(yard.home, listed, utc_now(), retention_s=RETENTION_S)] == [old.name]
    assert yard.workspace(new).exists()


def test_an_unknown_run_is_no_reason_to_stop(yard: Yard) -> None:
    """What one folder holds does not keep the others from being swept."""
    run = yard.laid_out("clean")
    (yard.home.run(RunId("00AAA")) / "workspace").mkdir(parents=True)
    assert yard.sweep().removed == (run.name,)
