"""From a user's repository to a workspace, and back to a branch in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.workspaces.repos import Trip, git, make_repository, set_out

from crewcap.errors import UnsafeEnvironment, UsageError
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import LeftOut
from crewcap.workspaces.repository.review import NoChange, Returned


def test_a_run_starts_from_the_commit_that_head_stands_for(mirrors: Mirrors, user: Path) -> None:
    base = mirrors.update(mirrors.repository(user))
    assert (base.commit, base.branch) == (git(user, "rev-parse", "HEAD"), "main")


def test_a_repository_is_found_from_a_folder_below_it(mirrors: Mirrors, user: Path) -> None:
    (user / "deep" / "er").mkdir(parents=True)
    found = mirrors.repository(user / "deep" / "er")
    assert (found.local, found.name) == (user, "shop")


def test_a_detached_head_is_a_base_without_a_branch(mirrors: Mirrors, user: Path) -> None:
    git(user, "checkout", "--quiet", "--detach")
    git(user, "commit", "--quiet", "--allow-empty", "-m", "on no branch")
    base = mirrors.update(mirrors.repository(user))
    assert (base.commit, base.branch) == (git(user, "rev-parse", "HEAD"), "")


def test_a_base_can_be_named_as_branch_tag_or_commit(mirrors: Mirrors, user: Path) -> None:
    first = git(user, "rev-parse", "HEAD")
    git(user, "tag", "-a", "v1", "-m", "one")
    git(user, "commit", "--quiet", "--allow-empty", "-m", "second")
    repository = mirrors.repository(user)
    assert mirrors.update(repository, at="v1").commit == first
    assert mirrors.update(repository, at=first[:8]).commit == first
    assert mirrors.update(repository, at="main").branch == "main"


@pytest.mark.parametrize("name", ["nope", "--upload-pack=touch /tmp/x", "$(id)", "-"])
def test_a_base_that_does_not_exist_is_refused_with_the_names_that_do(mirrors: Mirrors, user: Path, name: str) -> None:
    with pytest.raises(UsageError) as refused:
        mirrors.update(mirrors.repository(user), at=name)
    assert "main" in refused.value.help


def test_a_linked_worktree_has_its_own_head_and_its_repositorys_mirror(
    mirrors: Mirrors, user: Path, tmp_path: Path
) -> None:
    git(user, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    git(tmp_path / "side", "commit", "--quiet", "--allow-empty", "-m", "aside")
    side, main = mirrors.repository(tmp_path / "side"), mirrors.repository(user)
    assert mirrors.mirror(side) == mirrors.mirror(main)
    assert mirrors.update(side).branch == "side"
    assert mirrors.update(main).branch == "main"


def test_a_bare_repository_and_a_path_with_spaces_will_do(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(user), "a b%20ü.git")
    repository = mirrors.repository(tmp_path / "a b%20ü.git")
    assert repository.name == "a b%20ü"
    assert mirrors.update(repository).branch == "main"
    assert mirrors.left_out(repository) == LeftOut()


class TestWhatIsNotFitIsRefused:
    """Each with one clear line."""

    def test_a_path_that_does_not_exist(self, mirrors: Mirrors, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="does not exist"):
            mirrors.repository(tmp_path / "nowhere")

    def test_a_folder_that_is_no_repository(self, mirrors: Mirrors, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is not in a git repository"):
            mirrors.repository(tmp_path)

    def test_an_empty_repository(self, mirrors: Mirrors, tmp_path: Path) -> None:
        git(tmp_path, "init", "--quiet", "empty")
        with pytest.raises(UsageError, match="has no commit yet"):
            mirrors.update(mirrors.repository(tmp_path / "empty"))

    def test_an_unborn_branch_beside_others(self, mirrors: Mirrors, user: Path) -> None:
        git(user, "checkout", "--quiet", "--orphan", "fresh")
        with pytest.raises(UsageError, match="the branch that shop is on has no commit yet"):
            mirrors.update(mirrors.repository(user))

    def test_a_git_file_that_leads_nowhere(self, mirrors: Mirrors, tmp_path: Path) -> None:
        (tmp_path / "lost").mkdir()
        (tmp_path / "lost" / ".git").write_text("gitdir: /nonexistent/there\n")
        with pytest.raises(UsageError, match="points to /nonexistent/there, and there is no repository") as refused:
            mirrors.repository(tmp_path / "lost")
        assert "git init" not in refused.value.help

    def test_no_git_at_all(self, tmp_path: Path) -> None:
        mirrors = Mirrors(tmp_path / "mirrors", environ={"PATH": str(tmp_path)})
        with pytest.raises(UnsafeEnvironment, match="git is not installed"):
            mirrors.repository(tmp_path)

    def test_a_git_that_is_too_old(self, tmp_path: Path) -> None:
        old = tmp_path / "git"
        old.write_text("#!/bin/sh\necho git version 2.20.1\n")
        old.chmod(0o755)
        with pytest.raises(UnsafeEnvironment, match=r"git version 2\.20\.1 is too old"):
            Mirrors(tmp_path / "mirrors", environ={"PATH": str(tmp_path)}).repository(tmp_path)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user's")
    def test_a_repository_of_another_user(self, mirrors: Mirrors, user: Path) -> None:
        for path in (user, *user.rglob("*")):
            os.chown(path, 61_100, 61_100)
        with pytest.raises(UnsafeEnvironment, match="belongs to another user"):
            mirrors.repository(user)

    def test_a_branch_where_ours_would_lie(self, mirrors: Mirrors, user: Path) -> None:
        git(user, "branch", "crewcap")
        repository = mirrors.repository(user)
        with pytest.raises(UsageError, match="in the way"):
            mirrors.take_branch(repository, "x", base=mirrors.update(repository))


def test_uncommitted_files_are_named_because_they_are_no_part_of_a_run(mirrors: Mirrors, user: Path) -> None:
    (user / "README").write_text("changed\n")
    (user / "new file").write_text("new\n")
    left = mirrors.left_out(mirrors.repository(user))
    assert left == LeftOut(changed=("README",), untracked=("new file",))
    assert left.count == 2


def test_a_merge_that_is_under_way_is_named(mirrors: Mirrors, user: Path) -> None:
    git(user, "checkout", "--quiet", "-b", "other")
    (user / "README").write_text("theirs\n")
    git(user, "commit", "--quiet", "-am", "theirs")
    git(user, "checkout", "--quiet", "main")
    (user / "README").write_text("ours\n")
    git(user, "commit", "--quiet", "-am", "ours")
    git(user, "merge", "other", fails=True)
    assert mirrors.left_out(mirrors.repository(user)).during == "a merge"


def test_looking_at_a_repository_takes_none_of_its_locks(mirrors: Mirrors, user: Path) -> None:
    """A person may be at work there; a lock left by a killed git must not stop a run either."""
    (user / ".git" / "index.lock").touch()
    (user / "README").write_text("changed\n")
    assert mirrors.left_out(mirrors.repository(user)).changed == ("README",)


class TestBranchNames:
    """`crewcap/NAME-N`, made of letters that mean nothing to a shell, and never used twice."""

    def test_the_number_rises_with_every_name_that_was_ever_given(self, mirrors: Mirrors, user: Path) -> None:
        repository = mirrors.repository(user)
        base = mirrors.update(repository)
        names = [mirrors.take_branch(repository, "Fix Login!", base=base) for _ in range(3)]
        assert names == ["crewcap/fix-login-1", "crewcap/fix-login-2", "crewcap/fix-login-3"]

    def test_branches_of_the_users_repository_count_whatever_their_case(self, mirrors: Mirrors, user: Path) -> None:
        git(user, "branch", "crewcap/FIX-login-7")
        repository = mirrors.repository(user)
        assert mirrors.take_branch(repository, "fix login", base=mirrors.update(repository)) == "crewcap/fix-login-8"

    def test_a_caller_may_ask_for_a_number_to_begin_with(self, mirrors: Mirrors, user: Path) -> None:
        repository = mirrors.repository(user)
        base = mirrors.update(repository)
        assert mirrors.take_branch(repository, "x", base=base, at_least=4) == "crewcap/x-4"

    @pytest.mark.parametrize(
        "title",
        [
            "$(id)",
            "`id`",
            '"; id; "',
            "a\nb\0c",
            "\u202e rtl",
            "x" * 10_000,
            "🦊🦊",
            "",
            "--upload-pack=x",
            "../../etc",
        ],
    )
    def test_no_title_leaves_the_alphabet(self, mirrors: Mirrors, user: Path, title: str) -> None:
        repository = mirrors.repository(user)
        branch = mirrors.take_branch(repository, title, base=mirrors.update(repository))
        assert re.fullmatch(r"crewcap/[a-z0-9-]{1,40}-1", branch)


class TestWorkspace:
    """A clone of its own, which borrows objects and has no way back."""

    def test_it_holds_the_base_commit_on_the_runs_branch(self, trip: Trip) -> None:
        assert git(trip.folder, "rev-parse", "HEAD") == trip.base.commit
        assert git(trip.folder, "symbolic-ref", "--short", "HEAD") == trip.branch
        assert git(trip.folder, "status", "--porcelain") == ""
        assert git(trip.folder, "diff", "--stat", "origin/main") == ""

    def test_it_has_no_remote_no_hook_and_no_object_of_its_own(self, trip: Trip) -> None:
        assert git(trip.folder, "remote") == ""
        assert not (trip.folder / ".git" / "hooks").exists()
        assert git(trip.folder, "count-objects") == "0 objects, 0 kilobytes"
        assert git(trip.folder, "config", "core.hooksPath") == "/dev/null"

    def test_it_says_how_many_files_it_has(self, mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
        repository = mirrors.repository(user)
        base = mirrors.update(repository)
        made = mirrors.make_workspace(
            repository, base=base, branch="crewcap/x-1", folder=tmp_path / "w", objects_inside="/base/objects"
        )
        assert made.files == 2
        assert (tmp_path / "w/.git/objects/info/alternates").read_text() == "/base/objects\n"

    def test_the_host_cannot_read_it_once_it_is_the_agents(self, mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
        """Its objects are named by the path at which a sandbox shows them."""
        repository = mirrors.repository(user)
        base = mirrors.update(repository)
        mirrors.make_workspace(
            repository, base=base, branch="crewcap/x-1", folder=tmp_path / "w", objects_inside="/base/objects"
        )
        assert git(tmp_path / "w", "cat-file", "-e", base.commit, fails=True) == ""
        done = subprocess.run(["git", "log"], cwd=tmp_path / "w", capture_output=True, check=False)
        assert done.returncode != 0

    def test_objects_are_readable_to_the_runs_user_whatever_the_umask(self, user: Path, tmp_path: Path) -> None:
        """A closed umask of the operator must not lock the agent out of the base commit."""
        program = (
            "import os, sys; from pathlib import Path; os.umask(0o077);"
            "from crewcap.workspaces.repository.mirrors import Mirrors;"
            "m = Mirrors(Path(sys.argv[1]), environ=os.environ); r = m.repository(sys.argv[2]); m.update(r)"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "mirrors"), str(user)], check=True)
        objects = [path for path in (tmp_path / "mirrors").glob("*.git/objects/**/*") if path.is_file()]
        assert objects
        assert all(path.stat().st_mode & 0o004 for path in objects)


class TestHandover:
    """A branch in the user's own repository, and nothing else of theirs."""

    def test_a_branch_is_placed_without_touching_the_working_folder(self, trip: Trip, user: Path) -> None:
        (trip.folder / "adder.py").write_text("def add(a, b):\n    return a + b\n")
        (user / "README").write_text("I am editing this\n")
        before = (git(user, "status", "--porcelain"), git(user, "rev-parse", "HEAD"))
        came = trip.come_home()
        assert isinstance(came, Returned)
        assert trip.mirrors.publish(trip.repository, trip.branch).where == user
        assert git(user, "rev-parse", trip.branch) == came.commit
        assert (git(user, "status", "--porcelain"), git(user, "rev-parse", "HEAD")) == before
        assert not (user / ".git" / "FETCH_HEAD").exists()

    def test_work_that_came_back_is_had_again_from_the_mirror_or_from_the_users_branch(
        self, trip: Trip, tmp_path: Path
    ) -> None:
        """Another machine's mirror has it as soon as the branch was placed; a branch that went on is another work."""
        (trip.folder / "adder.py").write_text("def add(a, b):\n    return a + b\n")
        came = trip.come_home()
        assert isinstance(came, Returned)
        elsewhere = Mirrors(tmp_path / "elsewhere", environ=os.environ)
        there = elsewhere.repository(trip.repository.local or "")
        assert trip.mirrors.have_work(trip.repository, trip.branch, commit=came.commit)
        assert not elsewhere.have_work(there, trip.branch, commit=came.commit)
        trip.mirrors.publish(trip.repository, trip.branch)
        assert not elsewhere.have_work(there, trip.branch, commit="0" * 40)
        assert elsewhere.have_work(there, trip.branch, commit=came.commit)
        assert git(elsewhere.mirror(there), "rev-parse", trip.branch) == came.commit

    def test_no_hook_of_the_repository_runs(self, trip: Trip, user: Path, tmp_path: Path) -> None:
        for hook in ("reference-transaction", "post-checkout", "post-receive", "update", "pre-receive", "post-merge"):
            file = user / ".git" / "hooks" / hook
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-{hook}\n")
            file.chmod(0o755)
        (trip.folder / "new").write_text("x")
        trip.come_home()
        trip.mirrors.publish(trip.repository, trip.branch)
        trip.mirrors.checkout(trip.repository, trip.branch, tmp_path / "there")
        assert list(tmp_path.glob("ran-*")) == []

    def test_a_branch_that_moved_on_there_is_left_alone(self, trip: Trip, user: Path) -> None:
        (trip.folder / "new").write_text("x")
        trip.come_home()
        trip.mirrors.publish(trip.repository, trip.branch)
        git(user, "checkout", "--quiet", trip.branch)
        git(user, "commit", "--quiet", "--allow-empty", "-m", "mine")
        git(user, "checkout", "--quiet", "main")
        mine = git(user, "rev-parse", trip.branch)
        (trip.folder / "newer").write_text("y")
        trip.come_home()
        refused = trip.mirrors.publish(trip.repository, trip.branch)
        assert "has commits of its own" in refused.reason
        assert git(user, "rev-parse", trip.branch) == mine

    def test_a_branch_that_is_checked_out_there_is_left_alone(self, trip: Trip, user: Path) -> None:
        (trip.folder / "new").write_text("x")
        trip.come_home()
        trip.mirrors.publish(trip.repository, trip.branch)
        git(user, "checkout", "--quiet", trip.branch)
        (trip.folder / "newer").write_text("y")
        trip.come_home()
        assert "checked out" in trip.mirrors.publish(trip.repository, trip.branch).reason
        assert git(user, "status", "--porcelain") == ""

    def test_people_get_a_linked_worktree_of_their_own_repository(self, trip: Trip, user: Path, tmp_path: Path) -> None:
        (trip.folder / "new").write_text("x")
        trip.come_home()
        trip.mirrors.checkout(trip.repository, trip.branch, tmp_path / "there")
        assert (tmp_path / "there" / "new").read_text() == "x"
        assert str(tmp_path / "there") in git(user, "worktree", "list")
        assert git(tmp_path / "there", "symbolic-ref", "--short", "HEAD") == trip.branch

    def test_a_folder_with_something_in_it_is_not_written_to(self, trip: Trip, user: Path) -> None:
        (trip.folder / "new").write_text("x")
        trip.come_home()
        with pytest.raises(UsageError, match="exists already"):
            trip.mirrors.checkout(trip.repository, trip.branch, user)

    def test_a_diff_is_made_of_the_mirror_alone(self, trip: Trip) -> None:
        (trip.folder / "adder.py").write_text("def add(a, b):\n    return a + b\n")
        came = trip.come_home()
        assert isinstance(came, Returned)
        shutil.rmtree(trip.folder)
        patch = trip.mirrors.diff(trip.repository, base=trip.base.commit, tip=came.commit)
        assert b"-    return a - b\n+    return a + b\n" in patch
        table = trip.mirrors.diff(trip.repository, base=trip.base.commit, tip=came.commit, stat=True)
        assert b"1 file changed, 1 insertion(+), 1 deletion(-)" in table
        assert b"fix: the sum" in trip.mirrors.log(trip.repository, base=trip.base.commit, tip=came.commit)


def test_what_a_killed_git_left_locked_is_swept(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    """Whoever holds the mirror's lock is alone there, so a lock file of git's is a leftover."""
    trip = set_out(mirrors, user, tmp_path / "w1")
    mirror = mirrors.mirror(trip.repository)
    (mirror / "packed-refs.lock").touch()
    (mirror / f"refs/crewcap/taken/{trip.branch}.lock").touch()
    (mirror.parent / f"{mirror.name}.scratch-dead").mkdir()
    again = set_out(mirrors, user, tmp_path / "w2")
    assert again.branch == "crewcap/fix-the-sum-2"
    assert isinstance(again.come_home(), NoChange)
    assert not (mirror.parent / f"{mirror.name}.scratch-dead").exists()


def test_two_repositories_of_one_name_have_two_mirrors(mirrors: Mirrors, user: Path, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "elsewhere" / "shop")
    assert mirrors.mirror(mirrors.repository(user)) != mirrors.mirror(mirrors.repository(other))
