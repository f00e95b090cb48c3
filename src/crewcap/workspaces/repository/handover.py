"""Showing a run's work to people: as a branch in their own repository, as a patch, as a working tree beside theirs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import UsageError
from crewcap.workspaces.repository.git import FETCH, LONG_S, Git
from crewcap.workspaces.repository.repositories import Repository, check_branch, file_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Whether a branch is now in the user's own repository, and why not if it is not."""

    where: Path | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOut:
    """A linked working tree, and the branch that it is of; why it has another name, where it has one."""

    folder: Path
    branch: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """From a trusted mirror to people."""

    git: Git
    mirror: Path
    repository: Repository

    def publish(self, branch: str) -> Published:
        """Place the branch in the user's own repository: that one ref, forward only; their working folder stays."""
        ref, git_dir = f"refs/heads/{check_branch(branch)}", self.repository.git_dir
        if git_dir is None:
            return Published(where=None, reason=f"{self.repository.name} is not on this machine")
        place = (*FETCH, file_address(self.mirror), f"{ref}:{ref}")
        done = self.git.inside(git_dir, *place, fails=True, limit_s=LONG_S)
        if done.status == 0:
            return Published(where=self.repository.local)
        moved = b"non-fast-forward" in done.stderr
        return Published(
            where=None,
            reason=f"{branch} has commits of its own in {self.repository.local}" if moved else done.complaint,
        )

    def diff(self, *, base: str, tip: str, stat: bool = False) -> bytes:
        """What a run changed, as a patch or as a table of files."""
        form = ("--stat=100", "--summary") if stat else ("--patch", "--find-renames")
        return self._look("diff", *form, base, tip)

    def log(self, *, base: str, tip: str) -> bytes:
        """Its commits, a line each, the newest first."""
        return self._look("log", "--format=%h %s", f"{base}..{tip}")

    def changes(self, *, base: str, tip: str) -> tuple[bytes, tuple[str, ...]]:
        """Each commit's words and all that it changed, as text even where it is none; and every path it touched."""
        said = self._look("log", "--patch", "--text", "--no-renames", "--format=%B", f"{base}..{tip}")
        touched = self._look("log", "--name-only", "--no-renames", "-z", "--format=", f"{base}..{tip}")
        return said, tuple(dict.fromkeys(os.fsdecode(path).strip("\n") for path in touched.split(b"\0") if path))

    def file(self, *, at: str, path: str) -> bytes | None:
        """One file of a commit; None where it has none."""
        found = self.git.inside(self.mirror, "cat-file", "blob", f"{at}:{path}", fails=True)
        return found.stdout if found.status == 0 else None

    def sizes(self, *, at: str) -> tuple[int, ...]:
        """Bytes of every file of a commit; submodules and links to elsewhere are none."""
        rows = self.git.inside(self.mirror, "ls-tree", "-r", "-l", "-z", at).stdout.split(b"\0")
        return tuple(int(size) for row in rows if (size := row.partition(b"\t")[0].split(b" ")[-1]).isdigit())

    def tracked(self, *, at: str) -> dict[str, str]:
        """Path -> mode and object of everything in a commit, as git lists it; submodules have mode 160000."""
        listed = self.git.inside(self.mirror, "ls-tree", "-r", "-z", "--full-tree", at).stdout
        rows = (row.partition(b"\t") for row in listed.split(b"\0") if row)
        return {os.fsdecode(path): what.decode("ascii") for what, _, path in rows}

    def checkout(self, branch: str, folder: Path) -> CheckedOut:
        """A linked working tree: of the user's own repository, or of the mirror where they have none here."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists already", help="name another folder: crewcap checkout RUN FOLDER")
        owner = self.repository.git_dir or self.mirror
        name, reason = self._handed_over(check_branch(branch), self.repository.git_dir)
        made = self.git.inside(owner, "worktree", "add", "--quiet", "--", str(folder), name, fails=True, limit_s=LONG_S)
        if made.status != 0:
            raise UsageError(
                f"no working tree of {name} could be made: {made.complaint}",
                help="git worktree list shows those that are there; git worktree remove FOLDER takes one away",
            )
        return CheckedOut(folder=folder, branch=name, reason=reason)

    def _handed_over(self, branch: str, git_dir: Path | None) -> tuple[str, str]:
        """The branch that holds the run's work, and why it is another one where people's own has its name."""
        if git_dir is None:
            return branch, ""
        published = self.publish(branch)
        work = self._tip(self.mirror, branch)
        if self._tip(git_dir, branch) in {"", work} or not work:
            return branch, ""  # what it was refused for shows later, if the branch is not there at all
        spare = f"{branch}-run"
        fetch = (*FETCH, file_address(self.mirror), f"refs/heads/{branch}:refs/heads/{spare}")
        self.git.inside(git_dir, *fetch, fails=True, limit_s=LONG_S)  # what counts is what stands there then
        if self._tip(git_dir, spare) != work:
            raise UsageError(
                f"{branch} and {spare} both have commits of their own in {self.repository.local}",
                help=f"git -C {self.repository.local} branch -m {spare} another-name, then crewcap checkout again",
            )
        return spare, published.reason

    def _tip(self, place: Path, branch: str) -> str:
        """The commit of a branch; nothing where there is none."""
        asked = ("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
        return self.git.inside(place, *asked, fails=True).text

    def _look(self, what: str, *rest: str) -> bytes:
        return self.git.inside(self.mirror, what, "--no-color", "--no-ext-diff", "--no-textconv", *rest, "--").stdout
