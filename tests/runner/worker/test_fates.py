"""What a sweep would do; that it is what a sweep does is shown in `test_housekeeping`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.runner.rig import utc_now
from tests.runner.worker.test_housekeeping import NEW, OLD, RETENTION_S, Yard, locked, yard

from crewcap.core.runs import Run, RunState
from crewcap.runner.worker.fates import Fate, fates

__all__ = ["yard"]  # the fixture


def told(yard: Yard) -> dict[str, Fate]:
    return {fate.name: fate for fate in fates(yard, now=utc_now(), retention_s=RETENTION_S)}


def with_workspace(yard: Yard, key: str, state: RunState = RunState.DONE, **options: object) -> Run:
    run = yard.run(key, state, **options)  # type: ignore[arg-type]  # as they are
    yard.workspace(run).mkdir()
    return run


def test_what_goes_comes_first_with_the_day_on_which_it_ended(yard: Yard) -> None:
    late, fresh = with_workspace(yard, "z-late"), with_workspace(yard, "a-fresh", age=NEW)
    until = utc_now() - NEW + timedelta(seconds=RETENTION_S)
    assert list(told(yard)) == [late.name, fresh.name]
    assert told(yard)[late.name] == Fate(
        name=late.name, folder=yard.folder(late), goes=True, why=f"ended on {utc_now() - OLD:%Y-%m-%d}"
    )
    assert (told(yard)[fresh.name].goes, told(yard)[fresh.name].why) == (False, f"until {until:%Y-%m-%d}")


def test_each_that_stays_says_why(yard: Yard) -> None:
    waits, open_here = with_workspace(yard, "waits", RunState.WAITING), with_workspace(yard, "open")
    (yard.home.root / "runs" / "01FOREIGN").mkdir()
    (yard.home.root / "runs" / "a-link").symlink_to(yard.shop.folder)
    with locked(yard.folder(open_here)):
        assert {name: (fate.goes, fate.why) for name, fate in told(yard).items()} == {
            "01FOREIGN": (False, "it belongs to no run in these books"),
            "a-link": (False, "it is a link or a file, and no run's folder"),
            open_here.name: (False, "somebody is at work in it"),
            waits.name: (False, "it is waiting"),
        }


def test_what_stayed_last_time_is_tried_again_and_says_why_it_stayed(yard: Yard) -> None:
    run = yard.laid_out("lost")
    yard.shop.user.rename(yard.shop.folder / "moved")
    yard.sweep()
    assert told(yard)[run.name].goes
    assert "; last time it stayed: it cannot be looked into: " in told(yard)[run.name].why


def test_looking_changes_nothing(yard: Yard) -> None:
    run = yard.laid_out("clean")
    before = sorted(map(str, Path(yard.home.root).rglob("*")))
    told(yard)
    assert sorted(map(str, Path(yard.home.root).rglob("*"))) == before
    assert yard.stored(run).workspace_removed_at is None


def test_a_run_without_a_workspace_is_not_told_of(yard: Yard) -> None:
    yard.run("gone")
    assert told(yard) == {}
