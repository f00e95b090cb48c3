"""Making a run's clone: its own repository, whose objects are borrowed from trusted places, without any remote.

Everything here happens before an agent lives, in a folder that nobody else writes. Until the files are there the
clone borrows objects by their real path, and then by the one at which a sandbox shows them: from there on it is the
agent's, and git on the host must not even be able to read it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces.repository import large_files
from crewcap.workspaces.repository.git import LONG_S, Git
from crewcap.workspaces.repository.repositories import Base
from crewcap.workspaces.repository.supplies import Submodule, Supply, seen_inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """Where one repository of a workspace lies, and what it is made of."""

    git: Git
    work: Path  # its files
    git_dir: Path
    objects: Path  # of the mirror it borrows from
    top_objects: Path  # of the mirror of the outermost repository
    objects_inside: str  # where those are seen
    object_format: str
    settings: Mapping[str, str]  # of every repository of the workspace: whose commits, which hooks

    def make(self, *, base: Base, branch: str, supply: Supply) -> None:
        """Everything, with its submodules. No branch = HEAD is detached, as submodules are."""
        self._init(branch)
        self._point(base, branch)
        self._check_out(base, supply)
        for module in supply.modules:
            self._place(module)
        self._configure(supply)
        self._borrow(self._inside(self.objects))

    def _init(self, branch: str) -> None:
        shape = ("--template=", f"--object-format={self.object_format}", f"--initial-branch={branch or 'main'}")
        self.git.run("init", "--quiet", "--bare", *shape, str(self.git_dir))
        self._borrow(str(self.objects))

    def _point(self, base: Base, branch: str) -> None:
        """Where HEAD and its branches are, and how far its history reaches."""
        mirrored = self.objects.parent / "shallow"
        if mirrored.exists():
            (self.git_dir / "shallow").write_bytes(mirrored.read_bytes())
        if not branch:
            (self.git_dir / "HEAD").write_text(f"{base.commit}\n", encoding="ascii")
            return
        remote = [f"refs/remotes/origin/{base.branch}"] if base.branch else []
        for ref in (f"refs/heads/{branch}", *remote):
            self._run("update-ref", ref, base.commit)

    def _check_out(self, base: Base, supply: Supply) -> None:
        """The files, or those of some folders and of the folders on the way to them."""
        elsewhere = {} if self.git_dir.parent == self.work else {"core.worktree": _way(self.git_dir, self.work)}
        _write_settings(self.git_dir, {"core.bare": "false", **elsewhere})
        if supply.extent.paths:
            self._run("sparse-checkout", "set", "--cone", "--", *supply.extent.paths)
        smudged = large_files.settings(str(supply.large)) if supply.large else {}
        words = [word for key, value in smudged.items() for word in ("-c", f"{key}={value}")]
        self._run(*words, "-c", "checkout.workers=0", "reset", "--quiet", "--hard", base.commit)

    def _place(self, module: Submodule) -> None:
        """A submodule, as `git submodule update` would leave it."""
        if module.supply.objects is None:
            return
        work, git_dir = self.work / module.path, self.git_dir / "modules" / module.name
        _refuse_links(self.work, module.path)
        work.mkdir(parents=True, exist_ok=True)
        git_dir.parent.mkdir(parents=True, exist_ok=True)
        (work / ".git").write_text(f"gitdir: {_way(work, git_dir)}\n", encoding="utf-8")
        inner = Clone(
            git=self.git,
            work=work,
            git_dir=git_dir,
            objects=module.supply.objects,
            top_objects=self.top_objects,
            objects_inside=self.objects_inside,
            object_format=self.object_format,
            settings=self.settings,
        )
        inner.make(base=Base(commit=module.supply.commit, branch=""), branch="", supply=module.supply)

    def _configure(self, supply: Supply) -> None:
        """What holds from now on; a submodule is told its address, as a clone would have it."""
        large = large_files.settings(self._inside(supply.large)) if supply.large else {}
        modules = {
            f"submodule.{module.name}.{key}": value
            for module in supply.modules
            for key, value in (("active", "true"), ("url", module.url))
        }
        _write_settings(self.git_dir, {**self.settings, **large, **modules})

    def _borrow(self, objects: str) -> None:
        (self.git_dir / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")

    def _inside(self, real: Path) -> str:
        if real == self.top_objects:
            return self.objects_inside
        return seen_inside(real, objects=self.top_objects, objects_inside=self.objects_inside)

    def _run(self, *words: str) -> None:
        self.git.run(f"--git-dir={self.git_dir}", f"--work-tree={self.work}", *words, limit_s=LONG_S, cwd=self.work)


def _refuse_links(top: Path, path: str) -> None:
    """Every folder on the way is one: nothing of ours is written through a link that a commit brought."""
    place = top
    for part in path.split("/"):
        place /= part
        if os.path.lexists(place) and not stat.S_ISDIR(place.lstat().st_mode):
            raise UnsafeEnvironment(f"the submodule {path} lies behind {place.name}, which is no folder")


def _way(start: Path, end: Path) -> str:
    """From a folder to another one of the same workspace, so that it holds wherever the workspace is seen."""
    common = next(parent for parent in (start, *start.parents) if end == parent or end.is_relative_to(parent))
    up = len(start.relative_to(common).parts)
    return "../" * up + str(end.relative_to(common))


def _write_settings(git_dir: Path, settings: Mapping[str, str]) -> None:
    """Append to a configuration: one write, where `git config` is a process a key."""
    lines = []
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        head, _, sub = section.partition(".")
        lines.append(f"[{head} {_quoted(sub)}]" if sub else f"[{head}]")
        lines.append(f"\t{name} = {_quoted(value)}")
    with (git_dir / "config").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
