"""House-keeping by hand: what is said of it. What a sweep does and spares is in `tests/runner/worker`."""

from __future__ import annotations

import fcntl
import os
from datetime import timedelta

import pytest
from tests.cli.run_home import RunHome, utc_now

from crewcap.core.runs import Run, RunState


def with_workspace(home: RunHome, key: str, state: RunState = RunState.DONE, *, days: int = 90) -> Run:
    """Nothing was ever laid out in it: a sandbox is not needed to look for work."""
    run = home.add(key, state, **({"ended_at": utc_now() - timedelta(days=days)} if state == RunState.DONE else {}))
    folder = home.home.run(run.id) / "workspace"
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(bytes(3 << 20))
    return run


@pytest.fixture
def three(home: RunHome) -> tuple[Run, Run, Run]:
    late, fresh = with_workspace(home, "late"), with_workspace(home, "fresh", days=1)
    return late, fresh, with_workspace(home, "live", RunState.RUNNING)


def test_a_dry_run_says_what_would_go_and_why_each_other_one_stays(home: RunHome, three: tuple[Run, Run, Run]) -> None:
    late, fresh, live = three
    said = home.out("workspace", "sweep", "--dry-run").splitlines()
    assert [line.split()[:3] for line in said[:3]] == [
        ["would", "go", late.name],
        ["stays", fresh.name, "3"],
        ["stays", live.name, "3"],
    ]
    assert said[0].endswith(f"3 MiB, ended on {late.ended_at:%Y-%m-%d}")
    assert said[2].endswith("it is running")
    assert said[3] == "1 of 3 would go, 3 MiB"
    assert home.out("workspace").splitlines() == home.out("workspaces", "list").splitlines() == said
    assert all((home.home.run(run.id) / "workspace").exists() for run in three)


def test_for_machines_each_workspace_has_its_size_and_its_reason(home: RunHome, three: tuple[Run, Run, Run]) -> None:
    said = home.json("workspace", "sweep", "--dry-run")
    assert said == {"dry_run": True, "workspaces": home.json("workspace", "list")}
    assert [each["run"] for each in said["workspaces"] if each["goes"]] == [three[0].name]
    assert all(each["bytes"] >= 3 << 20 for each in said["workspaces"])
    assert {each["run"]: each["folder"] for each in said["workspaces"]}[three[1].name] == str(
        home.home.run(three[1].id)
    )


def test_a_sweep_removes_what_was_foretold_and_no_more(home: RunHome, three: tuple[Run, Run, Run]) -> None:
    late, fresh, live = three
    assert home.out("workspace", "sweep").splitlines() == [f"removed   {late.name}", "1 workspace removed, 3 MiB freed"]
    assert not (home.home.run(late.id) / "workspace").exists()
    assert all((home.home.run(run.id) / "workspace").exists() for run in (fresh, live))
    assert home.out("workspace", "sweep") == "0 workspaces removed, 0 MiB freed\n"
    assert home.json("show", late.name)["workspace_removed_at"]


def test_older_than_frees_more_and_never_an_open_run(home: RunHome, three: tuple[Run, Run, Run]) -> None:
    late, fresh, live = three
    said = home.json("workspace", "sweep", "--older-than", "1h")
    assert (said["dry_run"], sorted(said["removed"])) == (False, sorted([late.name, fresh.name]))
    assert said["freed_bytes"] >= 6 << 20
    assert (home.home.run(live.id) / "workspace").exists()


def test_what_stays_is_said_with_its_reason(home: RunHome) -> None:
    (home.home.root / "runs" / "01FOREIGN").mkdir(parents=True)
    home.add()
    first, last = home.out("workspace", "sweep").splitlines()
    assert first == "stays     01FOREIGN             it belongs to no run in these books"
    assert last.startswith("0 workspaces removed")
    assert home.json("workspace", "sweep")["kept"] == {"01FOREIGN": "it belongs to no run in these books"}


def test_two_never_sweep_at_once(home: RunHome, three: tuple[Run, Run, Run]) -> None:
    lock = os.open(home.home.root / "housekeeping.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        assert home.refused("workspace", "sweep") == (1, "another process is keeping this house just now")
    finally:
        os.close(lock)
    assert (home.home.run(three[0].id) / "workspace").exists()


@pytest.mark.parametrize("time", ["3", "soon", "-1h", "0s", "400d"])
def test_a_time_that_is_none_is_refused(home: RunHome, time: str) -> None:
    home.add()
    status, said = home.refused("workspace", "sweep", "--older-than", time)
    assert status == 2
    assert said.startswith("--older-than: ")


def test_a_house_without_runs_has_nothing_to_sweep(home: RunHome) -> None:
    assert home.out("workspace", "sweep") == "0 workspaces removed, 0 MiB freed\n"
    assert home.out("workspace", "sweep", "--dry-run") == "0 of 0 would go, 0 MiB\n"
    assert home.json("workspace") == []
    assert home.home.is_new


def test_a_narrow_screen_breaks_its_lines(
    home: RunHome, three: tuple[Run, Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, home.out("workspace").splitlines())) <= 40
    assert three
