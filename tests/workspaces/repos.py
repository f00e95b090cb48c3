"""Real repositories for the tests of everything that touches git."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.workspaces.repository.harvest import Harvest, harvest
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base, Repository
from crewcap.workspaces.repository.review import NoChange, Returned, Spurned
from crewcap.workspaces.repository.supplies import NOTHING_MORE, Extent, Supply

PLAIN = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ana",
    "GIT_AUTHOR_EMAIL": "ana@example.invalid",
    "GIT_COMMITTER_NAME": "Ana",
    "GIT_COMMITTER_EMAIL": "ana@example.invalid",
}


def git(folder: Path, *words: str, fails: bool = False, environ: Mapping[str, str] | None = None) -> str:
    """Git as a person would run it in this folder."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env={**PLAIN, **(environ or {})}, capture_output=True, text=True, check=False
    )
    assert fails or done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_repository(folder: Path, *, branch: str = "main") -> Path:
    """A repository with two files and one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "-b", branch)
    (folder / "adder.py").write_text("def add(a, b):\n    return a - b\n")
    (folder / "README").write_text("A small project.\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def add_submodule(folder: Path, url: str, path: str, *, name: str = "") -> None:
    """As a person adds one and commits it."""
    named = ("--name", name) if name else ()
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", *named, url, path)
    git(folder, "commit", "--quiet", "-m", f"with {path}")


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    status: int
    stdout: bytes


@dataclass(frozen=True, kw_only=True)
class Trip:
    """One run, from a user's repository to a branch, without a sandbox around its workspace."""

    mirrors: Mirrors
    repository: Repository
    base: Base
    branch: str
    folder: Path
    supply: Supply = NOTHING_MORE

    @property
    def leftovers(self) -> str:
        """Where the list of what setup left is kept, beside the workspace."""
        return str(self.folder.parent / "leftovers")

    async def perform(self, argv: tuple[str, ...], environ: Mapping[str, str]) -> Said:
        """A command in the workspace."""
        return self._start(argv, environ)

    def _start(self, argv: tuple[str, ...], environ: Mapping[str, str]) -> Said:
        done = subprocess.run(argv, cwd=self.folder, env={**PLAIN, **environ}, capture_output=True, check=False)
        return Said(done.returncode, done.stdout)

    def harvest(self, *, without: tuple[str, ...] = ()) -> Harvest:
        """The half that belongs inside a sandbox, run in the folder itself."""

        objects = str(self.mirrors.objects(self.repository))
        spare = str(self.folder.parent / "spare.git")
        return asyncio.run(
            harvest(
                self.perform,
                base=self.base.commit,
                message="fix: the sum",
                objects=objects,
                spare=spare,
                supply=self.supply,
                without=without,
                leftovers=self.leftovers,
            )
        )

    def receive(self, bundle: bytes) -> Returned | NoChange | Spurned:
        """The host's half."""
        return self.mirrors.receive(self.repository, bundle, base=self.base, branch=self.branch, message="fix: the sum")

    def come_home(self) -> Returned | NoChange | Spurned:
        """Both."""
        return self.receive(self.harvest().bundle)

    def save(self) -> tuple[str, ...] | Spurned:
        """What is done before the workspace goes."""
        return self.mirrors.save(self.repository, self.harvest().bundle, base=self.base, branch=self.branch)

    def mirror_git(self, *words: str, fails: bool = False) -> str:
        """Look into the mirror."""
        return git(self.mirrors.mirror(self.repository), *words, fails=fails)


def set_out(
    mirrors: Mirrors, user: Path, folder: Path, *, objects_inside: str = "", extent: Extent | None = None
) -> Trip:
    """Everything up to the moment in which an agent would start; with an `extent`, what a repository needs beside."""
    repository = mirrors.repository(user)
    base = mirrors.update(repository)
    branch = mirrors.take_branch(repository, "fix the sum", base=base)
    objects = objects_inside or str(mirrors.objects(repository))
    supply = NOTHING_MORE if extent is None else mirrors.supply(repository, base=base, extent=extent)
    mirrors.make_workspace(repository, base=base, branch=branch, folder=folder, objects_inside=objects, supply=supply)
    return Trip(mirrors=mirrors, repository=repository, base=base, branch=branch, folder=folder, supply=supply)
