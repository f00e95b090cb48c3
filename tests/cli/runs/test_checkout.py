"""`crewcap checkout`: a run's branch as a git worktree of the user's own repository."""

from __future__ import annotations

from tests.cli.run_home import RunHome
from tests.workspaces.repos import git

from crewcap.core.runs import Run, RunState


def test_the_branch_is_in_a_folder_of_its_own(home: RunHome) -> None:
    run = home.finished()
    status, out, err = home.call("checkout")
    made = home.folder / "fix-login-1"
    assert (status, out) == (0, f"{run.branch} is in {made}\n")
    assert err == f"when you are done: git worktree remove {made}\n"
    assert "a + b" in (made / "adder.py").read_text()
    assert git(made, "branch", "--show-current") == run.branch
    assert git(home.user, "branch", "--show-current") == "main"


def test_the_folder_can_be_named_and_must_be_free(home: RunHome) -> None:
    run = home.finished()
    look = home.folder / "deep" / "look"
    assert home.json("checkout", "fix-login.1", str(look)) == {
        "run": "fix-login.1",
        "branch": run.branch,
        "folder": str(look),
    }
    assert home.refused("checkout", "fix-login.1", str(look)) == (2, f"{look} exists already")


def test_a_branch_that_people_deleted_comes_back_from_the_mirror(home: RunHome) -> None:
    run = home.finished()
    git(home.user, "branch", "-D", run.branch)
    home.out("checkout", "fix-login.1", "again")
    assert "a + b" in (home.folder / "again" / "adder.py").read_text()


def test_a_run_without_work_says_why(home: RunHome) -> None:
    home.add(state=RunState.STOPPED)
    assert home.refused("checkout") == (2, "fix-login.1 has no work to check out (stopped)")


def test_a_branch_that_holds_a_secret_stays_out_of_the_repository_until_that_is_asked_for(home: RunHome) -> None:
    home.finished(withheld="its commits hold the value of a secret (STRIPE)")
    said = "fix-login.1 is not put into your repository: its commits hold the value of a secret (STRIPE)"
    assert home.refused("checkout") == (2, said)
    assert not (home.folder / "fix-login-1").exists()
    home.out("checkout", "fix-login.1", "--with-secrets")
    assert (home.folder / "fix-login-1").is_dir()


def _with_a_branch_of_the_users_own(home: RunHome) -> Run:
    """The user's branch of the run's name goes another way than the run's work."""
    run = home.finished()
    git(home.user, "branch", "-f", run.branch, git(home.user, "commit-tree", "main^{tree}", "-p", "main", "-m", "mine"))
    return run


def test_the_runs_own_work_is_handed_over_where_the_user_has_a_branch_of_that_name(home: RunHome) -> None:
    run = _with_a_branch_of_the_users_own(home)
    mine = git(home.user, "rev-parse", run.branch)
    status, out, err = home.call("checkout")
    made = home.folder / "fix-login-1"
    assert (status, out) == (0, f"{run.branch}-run is in {made}\n")
    why = f"{run.branch} has commits of its own in {home.user}, and that one stays as it is"
    assert err.splitlines()[0] == f"{run.branch}-run is the run's own work: {why}"
    assert git(made, "rev-parse", "HEAD") == run.commit
    assert git(home.user, "rev-parse", run.branch) == mine
    git(home.user, "worktree", "remove", str(made))
    assert home.json("checkout")["branch"] == f"{run.branch}-run"  # a second time it is there already


def test_it_is_refused_where_the_other_name_is_taken_too(home: RunHome) -> None:
    run = _with_a_branch_of_the_users_own(home)
    git(home.user, "branch", f"{run.branch}-run", run.branch)
    said = f"{run.branch} and {run.branch}-run both have commits of their own in {home.user}"
    assert home.refused("checkout") == (2, said)
    assert not (home.folder / "fix-login-1").exists()
