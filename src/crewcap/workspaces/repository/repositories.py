"""What a repository is called: where git finds it, what its mirror is named, and how our branches are named. No I/O.

Branch names are made by us from an alphabet that means nothing to any shell or path, because git itself accepts
`$(id)`, backticks and semicolons (facts: 4.3).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from crewcap.errors import UsageError

BRANCH_PREFIX = "crewcap"
_SLUG_LENGTH = 40
_NETWORK = ("https", "ssh", "http")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SCP_LIKE = re.compile(r"^(?:[A-Za-z0-9._-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^/:\s-][^:\s]*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository that runs start from."""

    name: str  # the last part of its address, for people
    address: str  # what git fetches from
    protocol: str  # file, https, ssh or http: the only one that git may speak for it
    identity: str  # the same for every way of naming the same repository
    local: Path | None = None  # the user's own copy: its working folder, or the repository itself when bare
    git_dir: Path | None = None  # of the local one, shared by all its worktrees
    object_format: str = "sha1"
    is_shallow: bool = False  # the local one has not all of its history
    promisor: str = ""  # the remote that has what the local one, a partial clone, left there

    @property
    def mirror_name(self) -> str:
        """Folder of its mirror."""
        return f"{slug(self.name)}-{hashlib.sha256(self.identity.encode()).hexdigest()[:12]}.git"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where a run starts."""

    commit: str
    branch: str  # empty when HEAD is detached or a commit was named


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What lies in the user's working folder and is no part of a run, which starts from a commit."""

    changed: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    during: str = ""  # "a merge", "a rebase": what is going on there

    @property
    def count(self) -> int:
        """How many files."""
        return len(self.changed) + len(self.untracked)


def is_address(text: str) -> bool:
    """Whether this is meant as an address of the network rather than as a path."""
    return "://" in text or bool(_SCP_LIKE.match(text))


def parse_address(text: str) -> Repository:
    """A repository on the network; refused where it holds a secret or names a protocol that is not allowed."""
    if scp := _SCP_LIKE.match(text):
        return Repository(name=_last_part(scp["path"]), address=text, protocol="ssh", identity=text.rstrip("/"))
    parts = urlsplit(text)
    if parts.scheme == "file":
        raise UsageError(f"{text}: name the repository by its path", help=parts.path)
    if parts.scheme not in _NETWORK or not parts.hostname or parts.hostname.startswith("-"):
        raise UsageError(
            f"{_shown(text)} is no address that crewcap fetches from", help="use https://, ssh:// or a path"
        )
    if parts.password or (parts.username and parts.scheme != "ssh"):
        raise UsageError(f"{_shown(text)} holds a credential", help="leave it out of the address")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise UsageError(f"{text} is not encrypted", help="use https://")
    return Repository(name=_last_part(parts.path), address=text, protocol=parts.scheme, identity=text.rstrip("/"))


def file_address(path: Path) -> str:
    """A path as git takes it for an address, so that it talks to it like to any other repository."""
    return f"file://{quote(str(path))}"


def at_place(repository: Repository, place: str) -> Repository:
    """The same repository, fetched from another address or path."""
    if place.startswith("/"):
        return replace(repository, address=file_address(Path(place)), protocol="file")
    return replace(repository, address=place, protocol=parse_address(place).protocol)


def slug(text: str) -> str:
    """Lower case letters, digits and single dashes; never empty."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words[:_SLUG_LENGTH].strip("-") or "run"


def next_branch(name: str, *, taken: Iterable[str], at_least: int = 1) -> str:
    """A branch of ours that never was: `crewcap/NAME-N`. Case is ignored, since some file systems do."""
    stem = f"{BRANCH_PREFIX}/{slug(name)}"
    pattern = re.compile(rf"{re.escape(stem)}-(\d+)", re.IGNORECASE)
    numbers = [int(found[1]) for branch in taken if (found := pattern.fullmatch(branch))]
    return f"{stem}-{max([at_least, *(number + 1 for number in numbers)])}"


def check_branch(branch: str) -> str:
    """The name itself, if it is one of ours."""
    if not re.fullmatch(rf"{BRANCH_PREFIX}/[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", branch):
        raise UsageError(f"{branch!r} is not a branch of crewcap's", help=f"they look like {BRANCH_PREFIX}/fix-login-1")
    return branch


def _last_part(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2].removesuffix(".git") or "repository"


def _shown(text: str) -> str:
    """An address without what stands before its @, which may be a secret."""
    return re.sub(r"//[^/@]*@", "//...@", text)
