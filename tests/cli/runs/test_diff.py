"""`crewcap diff`: what a run changed, read from the trusted mirror."""

from __future__ import annotations

import shutil

import pytest
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


HELD = "its commits hold the value of a secret (STRIPE); the branch stays in crewcap's own mirror"


def lend(home: RunHome) -> None:
    """The run's repository has a secret, whose value stands in its work: the name of a file."""
    (home.folder / "stripe").write_text("adder.py")
    (home.folder / "stripe").chmod(0o600)
    home.config.write_text(
        f'[repos.shop]\nurl = "{home.user}"\nsecrets = {{ STRIPE = {{ file = "{home.folder}/stripe" }} }}\n'
    )


@pytest.mark.parametrize("form", [(), ("--json",), ("--stat",)])
def test_a_secret_in_its_commits_is_taken_out_and_that_is_said(home: RunHome, form: tuple[str, ...]) -> None:
    home.finished(withheld=HELD)
    lend(home)
    status, out, err = home.call("diff", *form)
    assert (status, err) == (0, f"fix-login.1: {HELD}; known values are taken out here\n")
    assert "adder.py" not in out
    assert "[secret removed]" in out
    assert "adder.py" in home.out("diff", "--with-secrets")


def test_a_secret_that_cannot_be_read_again_is_not_shown_by_accident(home: RunHome) -> None:
    """It was changed meanwhile: nothing here knows what stands in the commits."""
    home.finished(withheld=HELD)
    lend(home)
    (home.folder / "stripe").write_text("another-value")
    status, said = home.refused("diff")
    assert (status, said) == (2, f"fix-login.1 is not shown: {HELD}, and what was lent cannot be read again as it was")
