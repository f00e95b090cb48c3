"""The repository that was named: found on this machine or by its address, and looked at without touching it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from crewcap.errors import CrewcapError, UnsafeEnvironment, UsageError
from crewcap.workspaces.repository.git import Ended, Git
from crewcap.workspaces.repository.repositories import LeftOut, Repository, file_address, is_address, parse_address

_UNDERWAY = {
    "MERGE_HEAD": "a merge",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "CHERRY_PICK_HEAD": "a cherry-pick",
}
_POINTED = re.compile(rb"not a git repository: (?P<where>[^\n]+)")
_PROMISOR = re.compile(r"remote\.(?P<name>.+)\.promisor\ntrue")


def find(git: Git, where: str | Path) -> Repository:
    """The repository at this path (or above it) or address."""
    text = str(where)
    path = Path(text).expanduser().absolute()
    if is_address(text) and not path.exists():
        return parse_address(text)
    if not path.exists():
        raise UsageError(f"{path} does not exist", help="name a git repository with --repo")
    asked = ("--is-bare-repository", "--is-shallow-repository", "--show-object-format", "--git-common-dir")
    found = git.run("-C", str(path), "rev-parse", *asked, fails=True)
    if found.status != 0:
        raise _no_repository(path, found)
    is_bare, is_shallow, object_format, common = found.text.split("\n")
    git_dir = (path / common).resolve()
    top = git_dir if is_bare == "true" else _top(git, path, git_dir)
    return Repository(
        name=(git_dir.parent if git_dir.name == ".git" else git_dir).name.removesuffix(".git") or "repository",
        address=file_address(top),
        protocol="file",
        identity=str(git_dir),
        local=top,
        git_dir=git_dir,
        object_format=object_format,
        is_shallow=is_shallow == "true",
        promisor=_promisor(git, path, git_dir),
    )


def left_out(git: Git, repository: Repository) -> LeftOut:
    """What is not committed in the user's working folder, and so no part of a run."""
    if repository.local is None or repository.local == repository.git_dir:
        return LeftOut()
    there = ("-C", str(repository.local))
    form = ("--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=all", "--untracked-files=normal")
    listed = git.run(*there, "status", *form).stdout.decode("utf-8", "surrogateescape")
    rows = [row for row in listed.split("\0") if row]
    own_dir = Path(git.run(*there, "rev-parse", "--absolute-git-dir").text)
    return LeftOut(
        changed=tuple(row[3:] for row in rows if not row.startswith("??")),
        untracked=tuple(row[3:] for row in rows if row.startswith("??")),
        during=next((words for name, words in _UNDERWAY.items() if (own_dir / name).exists()), ""),
    )


def configured(git: Git, repository: Repository, key: str) -> str:
    """An address or a path that the user's own configuration names, fit to be fetched from; empty = none."""
    if repository.git_dir is None:
        return ""
    value = git.inside(repository.git_dir, "config", "--get", key, fails=True).text
    if value.startswith("file:///"):
        return unquote(value.removeprefix("file://"))
    if value.startswith("/"):
        return value
    try:
        return parse_address(value).address
    except CrewcapError:
        return ""


def _top(git: Git, path: Path, git_dir: Path) -> Path:
    """The working folder that this path is in; a path inside `.git` has none, and stands for the repository."""
    found = git.run("-C", str(path), "rev-parse", "--show-toplevel", fails=True)
    return Path(found.text) if found.status == 0 else git_dir


def _promisor(git: Git, path: Path, git_dir: Path) -> str:
    """The remote that has the objects which a partial clone left there; empty = the clone has all of them."""
    rows = git.inside(git_dir, "config", "--null", "--get-regexp", r"^remote\..*\.promisor$", fails=True).text
    names = [found["name"] for row in rows.split("\0") if (found := _PROMISOR.fullmatch(row))]
    names += git.inside(git_dir, "config", "extensions.partialClone", fails=True).text.split()
    if len(set(names)) > 1:
        raise UsageError(f"{path} is a partial clone of several remotes", help="clone it without --filter")
    return names[0] if names else ""


def _no_repository(path: Path, found: Ended) -> UsageError | UnsafeEnvironment:
    """The error for a path where git finds nothing it would work with."""
    if b"dubious ownership" in found.stderr:
        return UnsafeEnvironment(
            f"the repository at {path} belongs to another user ({path.stat().st_uid})",
            help="run crewcap as that user, or from a clone of your own",
        )
    if pointed := _POINTED.search(found.stderr):
        where = pointed["where"].decode("utf-8", "replace")
        return UsageError(
            f"the .git of {path} is a file that points to {where}, and there is no repository",
            help="moved? run `git worktree repair` in the repository that it belongs to; gone? clone it anew",
        )
    if b"not a git repository" in found.stderr:
        return UsageError(f"{path} is not in a git repository", help="name one with --repo, or make one: git init")
    return UsageError(f"the repository at {path} cannot be read: {found.complaint}", help="git fsck says more")
