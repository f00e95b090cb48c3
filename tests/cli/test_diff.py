"""`crewcap diff`: what a run changed, read from the trusted mirror."""

from __future__ import annotations

import shutil

from tests.cli.run_home import RunHome

from crewcap.core.runs import RunState


def test_the_patch_is_what_git_can_apply(home: RunHome) -> None:
    run = home.finished()
    patch = home.out("diff")
    assert "-    return a - b\n+    return a + b\n" in patch
    said = home.json("diff")
    assert said == {"run": "fix-login.1", "base": run.base, "commit": run.commit, "diff": patch}


def test_a_table_of_files_is_shorter(home: RunHome) -> None:
    home.finished()
    assert home.out("diff", "--stat").splitlines()[0].split() == ["adder.py", "|", "2", "+-"]


def test_it_is_the_runs_work_and_not_what_lies_in_its_workspace(home: RunHome) -> None:
    home.finished()
    shutil.rmtree(home.folder / "workspace")
    assert "return a + b" in home.out("diff")


def test_a_run_that_kept_nothing_says_why(home: RunHome) -> None:
    home.add(state=RunState.FAILED, reason="it ended without a change")
    assert home.refused("diff") == (2, "fix-login.1 changed nothing that was kept (it ended without a change)")
