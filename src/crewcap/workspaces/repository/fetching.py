"""Bringing one commit into a mirror, with all that it follows from: from whatever clone the user has.

The whole history of one commit is fetched, no other branch and no tag. A depth would have git answer "no common
ancestor" inside, and objects that come when they are asked for (`--filter`) cannot come to an agent without a network.

A *shallow* clone gives the history that it has, and the mirror notes where that ends, as every workspace then does.
A *partial* clone has all commits and few contents: what its remote has is fetched from there first, so that the clone
itself only has to give what nobody else has.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crewcap.errors import UsageError
from crewcap.workspaces.repository.finding import configured
from crewcap.workspaces.repository.git import FETCH, LONG_S, Git, GitFailed
from crewcap.workspaces.repository.repositories import Repository, at_place


def fetch_commit(git: Git, repository: Repository, mirror: Path, commit: str, *, ref: str) -> None:
    """Have it in the mirror under this name; the caller holds the mirror's lock."""
    if repository.promisor:
        _fetch_promised(git, repository, mirror, commit)
    _fetch(git, repository, mirror, commit, ref)
    if git.inside(mirror, "rev-parse", "--verify", "--quiet", ref, fails=True).status != 0:
        raise GitFailed(f"git fetch: {commit[:12]} did not come")  # git only warns of a shallow one


def _fetch(git: Git, repository: Repository, mirror: Path, commit: str, ref: str) -> None:
    """A server that gives no commit by its hash gives its branches, and the commit may be on one of them."""
    where = (f"--git-dir={mirror}", *FETCH, *_depth(repository, mirror), repository.address)
    done = git.run(*where, f"+{commit}:{ref}", protocol=repository.protocol, limit_s=LONG_S, fails=True)
    if done.status == 0:
        return
    if b"unadvertised object" not in done.stderr:
        raise GitFailed(f"git fetch: {done.complaint}")
    names = ("+refs/heads/*:refs/crewcap/theirs/heads/*", "+refs/tags/*:refs/crewcap/theirs/tags/*")
    git.run(*where, *names, protocol=repository.protocol, limit_s=LONG_S)
    git.inside(mirror, "update-ref", ref, commit)


def _depth(repository: Repository, mirror: Path) -> tuple[str, ...]:
    """A mirror's history ends where the clone's does, and grows when that has grown."""
    if repository.is_shallow:
        return ("--update-shallow",)
    return ("--unshallow",) if (mirror / "shallow").exists() else ()


def _fetch_promised(git: Git, repository: Repository, mirror: Path, commit: str) -> None:
    """What a partial clone's remote has of this commit's history, from that remote."""
    address = configured(git, repository, f"remote.{repository.promisor}.url")
    if not address:
        raise UsageError(
            f"{repository.name} is a partial clone, and the address of its remote {repository.promisor!r} is none that"
            " crewcap fetches from",
            help="clone it without --filter",
        )
    origin = replace(at_place(repository, address), promisor="")
    for known in _known_there(git, repository, commit):
        ref = f"refs/crewcap/bases/{known}"
        if git.inside(mirror, "rev-parse", "--verify", "--quiet", ref, fails=True).status != 0:
            _fetch(git, origin, mirror, known, ref)


def _known_there(git: Git, repository: Repository, commit: str) -> list[str]:
    """The newest commits of a history that the remote has, as far as the clone has heard."""
    asked = ("rev-list", "--boundary", commit, "--not", f"--remotes={repository.promisor}")
    listed = git.inside(repository.git_dir, *asked).text.split() if repository.git_dir else []
    return [line[1:] for line in listed if line.startswith("-")] if listed else [commit]
