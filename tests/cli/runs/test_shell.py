"""`crewcap shell` where there is nothing to open; what it does in a sandbox is in `tests/e2e/test_shell.py`."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.cli.run_home import RunHome

from crewcap.core.runs import RunState, Verdict

REMOVED = datetime(2026, 11, 25, 3, tzinfo=UTC)


def test_a_workspace_that_was_removed_is_told_with_the_day_and_the_way_round(home: RunHome) -> None:
    run = home.finished(workspace_removed_at=REMOVED)
    status, _, err = home.call("shell")
    assert status == 2
    assert err.splitlines() == [
        f"error: fix-login.1's workspace was removed on 2026-11-25; its work is on the branch {run.branch}",
        "help: crewcap checkout fix-login.1",
    ]
    shown = home.out("show")
    assert "workspace removed on 2026-11-25; the branch is kept" in shown
    assert "crewcap checkout fix-login.1" in shown
    assert home.json("show")["workspace_removed_at"] == REMOVED.isoformat()


def test_one_without_work_has_no_branch_to_look_at(home: RunHome) -> None:
    home.add(branch="crewcap/fix-login-1", workspace_removed_at=REMOVED)
    assert home.refused("shell") == (2, "fix-login.1's workspace was removed on 2026-11-25; it had committed nothing")


def test_a_run_that_ended_before_it_had_a_workspace_says_so(home: RunHome) -> None:
    home.add(state=RunState.STOPPED, verdict=Verdict.CANCELLED)
    assert home.refused("shell") == (2, "fix-login.1 has no workspace: it ended before one was made")
