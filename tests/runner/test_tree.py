"""A run's files: into its workspace, and home again, with real git on both sides."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runner.rig import Shop
from tests.workspaces.repos import git

from crewcap.core.runs import Run
from crewcap.runner.process import Site
from crewcap.runner.tree import Kept, Taken, Tree


class Work:
    """One run's files."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.run = shop, shop.written(shop.plan())
        shop.home.run(self.run.id).mkdir(parents=True)
        self.tree = Tree(mirrors=shop.mirrors, repository=shop.repository)

    @property
    def site(self) -> Site:
        return self.shop.site(self.run)

    @property
    def folder(self) -> Path:
        return self.site.workspace

    def take(self) -> Taken:
        taken = asyncio.run(self.tree.take(self.run))
        self.run = replace(self.run, base=taken.base, base_branch=taken.base_branch, branch=taken.branch)
        return taken

    def lay_out(self) -> int:
        """Everything up to the moment in which an agent would start; how many files there are."""
        self.take()
        return asyncio.run(self.tree.lay_out(self.run, self.site)).files

    def collect(self) -> Kept:
        return asyncio.run(self.tree.collect(self.run, self.site))

    def git(self, *words: str) -> str:
        """Git as the agent runs it."""
        return git(self.folder, *words)

    def mirror(self, *words: str) -> str:
        return git(self.shop.mirrors.mirror(self.shop.repository), *words)


@pytest.fixture
def work(shop: Shop) -> Work:
    return Work(shop)


def test_a_workspace_holds_the_base_commit_on_the_runs_own_branch(work: Work) -> None:
    assert work.lay_out() == 2
    assert (work.run.branch, work.run.base_branch) == ("crewcap/fix-sum-1", "main")
    assert work.run.base == work.shop.git("rev-parse", "main") == work.git("rev-parse", "HEAD")
    assert work.git("branch", "--show-current") == "crewcap/fix-sum-1"
    assert work.site.home.is_dir()


def test_a_branch_is_called_like_its_run_unless_the_name_is_taken(work: Work) -> None:
    work.run = replace(work.run, name="fix-sum.3")
    assert work.take().branch == "crewcap/fix-sum-3"
    assert work.take().branch == "crewcap/fix-sum-3"  # its own, from then on
    work.run = replace(work.run, branch="")
    assert work.take().branch == "crewcap/fix-sum-4"


def test_a_run_starts_where_it_is_told_to(work: Work) -> None:
    work.run = replace(work.run, base="", base_branch="")
    work.shop.git("branch", "old")
    work.shop.git("commit", "--quiet", "--allow-empty", "-m", "later")
    work.tree = replace(work.tree, at="old")
    taken = work.take()
    assert (taken.base, taken.base_branch) == (work.shop.git("rev-parse", "old"), "old")


def test_a_workspace_that_is_there_is_thrown_away_and_made_anew(work: Work) -> None:
    """A run that was cut short before its agent worked has nothing to keep; the user's branch may have moved."""
    work.lay_out()
    first = work.run
    (work.folder / "left").touch()
    work.shop.git("commit", "--quiet", "--allow-empty", "-m", "later")
    assert work.lay_out() == 2
    assert work.run == first
    assert work.git("rev-parse", "HEAD") == first.base
    assert not (work.folder / "left").exists()


def dirty(work: Work) -> None:
    (work.folder / "adder.py").write_text("def add(a, b):\n    return a + b\n")
    (work.folder / "new").write_text("x\n")


def committed(work: Work) -> None:
    dirty(work)
    work.git("add", "adder.py")
    work.git("commit", "--quiet", "-m", "the agent's own")


def broken(work: Work) -> None:
    dirty(work)
    shutil.rmtree(work.folder / ".git")


def wild(work: Work) -> None:
    """Another branch with work, history made anew, and files that can do more than their words say."""
    work.git("checkout", "--quiet", "-b", "side")
    work.git("commit", "--quiet", "--allow-empty", "-m", "side")
    work.git("checkout", "--quiet", "--orphan", "fresh")
    (work.folder / ".github" / "workflows").mkdir(parents=True)
    (work.folder / ".github" / "workflows" / "ci.yml").write_text("on: push\n")
    (work.folder / "link").symlink_to("/etc/passwd")
    work.git("add", ".")
    work.git("commit", "--quiet", "-m", "all new")
    work.git("branch", "-D", "crewcap/fix-sum-1")


WILD = (
    ".github/workflows/ci.yml can do more than its words say (ci)",
    "link can do more than its words say (symlink)",
    "it rewrote history; its tree was taken as one commit",
    "what it committed on another branch was not taken",
)


@pytest.mark.parametrize(
    ("did", "commits", "notes"),
    [
        (committed, 2, ()),
        (broken, 1, ("its repository was broken; its files were taken on top of the base commit",)),
        (wild, 1, WILD),
    ],
)
def test_however_an_agent_leaves_its_work_it_comes_home(
    work: Work, did: Callable[[Work], None], commits: int, notes: tuple[str, ...]
) -> None:
    work.lay_out()
    did(work)
    kept = work.collect()
    assert (kept.commits, kept.files, kept.notes) == (commits, 2, notes)
    assert kept.commit == work.mirror("rev-parse", "crewcap/fix-sum-1")
    assert work.mirror("log", "-1", "--format=%an %s%n%b", "crewcap/fix-sum-1").splitlines() == [
        "crewcap Fix the sum",
        f"Run fix-sum.1, fake with {work.run.model}.",
    ]
    assert work.mirror("merge-base", work.run.base, "crewcap/fix-sum-1") == work.run.base


def test_who_changed_nothing_brings_nothing(work: Work) -> None:
    work.lay_out()
    assert work.collect() == Kept()
    assert "crewcap/fix-sum-1" not in work.mirror("for-each-ref", "--format=%(refname:short)", "refs/heads")


def test_work_that_came_home_is_brought_again_as_the_same_commit(work: Work) -> None:
    work.lay_out()
    dirty(work)
    assert work.collect() == work.collect()


def test_a_branch_is_placed_in_the_users_repository_or_it_is_said_why_not(work: Work) -> None:
    work.lay_out()
    dirty(work)
    work.collect()
    assert asyncio.run(work.tree.publish(work.run)) == ""
    assert work.shop.branches() == ["crewcap/fix-sum-1", "main"]
    shutil.rmtree(work.shop.user)
    assert asyncio.run(work.tree.publish(work.run)) != ""


def test_rules_are_named_as_the_agent_sees_them_also_where_they_are_links(work: Work) -> None:
    work.lay_out()
    assert work.tree.rules(work.site) == ()
    (work.folder / "CLAUDE.md").symlink_to("missing.md")
    (work.folder / "AGENTS.md").touch()
    assert work.tree.rules(work.site) == tuple(
        f"{work.site.layout.workspace}/{name}" for name in ("CLAUDE.md", "AGENTS.md")
    )


def test_a_session_is_known_by_its_name_wherever_the_agent_keeps_it(work: Work) -> None:
    work.lay_out()
    run: Run = work.run
    assert not work.tree.has_session(run, work.site)
    place = work.site.home / ".agent" / "projects" / "x"
    place.mkdir(parents=True)
    (place / "another-session.jsonl").touch()
    assert not work.tree.has_session(run, work.site)
    (place / f"{run.session}.jsonl").touch()
    assert work.tree.has_session(run, work.site)
