"""Trusted mirrors: one bare repository for each repository that runs start from, which no agent can ever write.

In a mirror, `refs/crewcap/bases/COMMIT` keeps every commit that a run started from, `refs/crewcap/taken/BRANCH` every
branch name that was ever given away, `refs/heads/crewcap/...` the branches that came back. Whoever changes a mirror
holds its lock; what a killed process left there is swept by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import UnsafeEnvironment, UsageError
from crewcap.workspaces.repository.authorship import Authorship
from crewcap.workspaces.repository.clones import Clone
from crewcap.workspaces.repository.fetching import fetch_commit
from crewcap.workspaces.repository.finding import find, left_out
from crewcap.workspaces.repository.git import Git, GitFailed
from crewcap.workspaces.repository.handover import CheckedOut, Handover, Published
from crewcap.workspaces.repository.intake import MOST_BYTES, Intake, sweep
from crewcap.workspaces.repository.large_files import LargeFile
from crewcap.workspaces.repository.large_store import LargeStore
from crewcap.workspaces.repository.maintenance import MOST_LOOSE, maintain
from crewcap.workspaces.repository.merging import Merge, try_merge
from crewcap.workspaces.repository.repositories import (
    BRANCH_PREFIX,
    Base,
    LeftOut,
    Repository,
    check_branch,
    next_branch,
)
from crewcap.workspaces.repository.review import NoChange, Returned, Spurned
from crewcap.workspaces.repository.signing import Signer
from crewcap.workspaces.repository.supplier import Supplier
from crewcap.workspaces.repository.supplies import NOTHING_MORE, Extent, Supply

_BASES, _TAKEN = f"refs/{BRANCH_PREFIX}/bases", f"refs/{BRANCH_PREFIX}/taken"
_OURS = f"refs/heads/{BRANCH_PREFIX}"
_MIRROR_SETTINGS = {"core.hooksPath": "/dev/null", "gc.auto": "0", "maintenance.auto": "false"}
_WORKSPACE_SETTINGS = {**_MIRROR_SETTINGS, "advice.detachedHead": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A run's own clone."""

    folder: Path
    files: int


class Mirrors:
    """Everything that crewcap does with repositories on the host. It blocks: call it off the event loop."""

    def __init__(
        self, folder: Path, *, environ: Mapping[str, str], authorship: Callable[[], Authorship] = Authorship
    ) -> None:
        self._folder = folder
        self._environ = environ
        self._git = Git(environ)
        self._authorship = authorship  # asked for when commits are made, because reading settings takes time

    # --- the repository that was named --------------------------------------------------------------------------

    def repository(self, where: str | Path) -> Repository:
        """The repository at this path (or above it) or address."""
        return find(self._git, where)

    def left_out(self, repository: Repository) -> LeftOut:
        """What is not committed in the user's working folder, and so no part of a run."""
        return left_out(self._git, repository)

    # --- before a run -------------------------------------------------------------------------------------------

    def mirror(self, repository: Repository) -> Path:
        """Its mirror; made by `update`."""
        return self._folder / repository.mirror_name

    def objects(self, repository: Repository) -> Path:
        """What workspaces borrow."""
        return self.mirror(repository) / "objects"

    def update(self, repository: Repository, *, at: str = "") -> Base:
        """Bring the commit that a run starts from into the mirror: of a branch, a tag, a commit, else of HEAD."""
        base = self._base(repository, at)
        self._bring(repository, base.commit)
        return base

    def _has(self, repository: Repository, commit: str) -> bool:
        """Whether this commit was brought into the mirror."""
        asked = ("rev-parse", "--verify", "--quiet", f"{_BASES}/{commit}")
        return self._git.inside(self.mirror(repository), *asked, fails=True).status == 0

    def _bring(self, repository: Repository, commit: str) -> None:
        """Have this commit in the mirror, with everything that it follows from."""
        with self._locked(repository) as mirror:
            if self._has(repository, commit):
                return
            try:
                fetch_commit(self._git, repository, mirror, commit, ref=f"{_BASES}/{commit}")
            except GitFailed as error:
                raise _unreadable(repository, error) from error

    def take_branch(self, repository: Repository, name: str, *, base: Base, at_least: int = 1) -> str:
        """A branch name of ours that was never used, here or there; taken from now on."""
        if signer := self._signer():
            signer.try_out()  # before anything is paid for
        there = self._listed(repository, _OURS, f"{_OURS}/*")
        if _OURS in there:
            raise UsageError(
                f"a branch named {BRANCH_PREFIX!r} is in the way of branches like {BRANCH_PREFIX}/fix-login-1",
                help=f"git branch -m {BRANCH_PREFIX} another-name",
            )
        with self._locked(repository) as mirror:
            ours = self._git.inside(mirror, "for-each-ref", "--format=%(refname)", _OURS, _TAKEN).text.split("\n")
            taken = {ref.removeprefix(f"{_TAKEN}/").removeprefix("refs/heads/") for ref in (*ours, *there)}
            branch = next_branch(name, taken=taken, at_least=at_least)
            self._git.inside(mirror, "update-ref", f"{_TAKEN}/{branch}", base.commit)
        return branch

    def have_work(self, repository: Repository, branch: str, *, commit: str) -> bool:
        """Have what came back as a branch before: it is here, or on that branch of the user's own repository."""
        ref = f"refs/heads/{check_branch(branch)}"
        with self._locked(repository) as mirror:
            if self._git.inside(mirror, "rev-parse", "--verify", "--quiet", ref, fails=True).text == commit:
                return True
            if self._listed(repository, ref).get(ref) != commit:
                return False
            fetch_commit(self._git, repository, mirror, commit, ref=ref)
            return True

    def supply(self, repository: Repository, *, base: Base, extent: Extent) -> Supply:
        """Fetch what a workspace needs beside its commit; a second time it finds everything and asks no network."""
        supplier = Supplier(git=self._git, mirror=self.mirror, has=self._has, bring=self._bring, lfs=extent.lfs)
        return supplier.supply(repository, base=base, extent=extent)

    def make_workspace(
        self,
        repository: Repository,
        *,
        base: Base,
        branch: str,
        folder: Path,
        objects_inside: str,
        supply: Supply = NOTHING_MORE,
    ) -> Workspace:
        """A clone that borrows the mirror's objects, without any remote; see `clones`."""
        folder.mkdir(mode=0o755, parents=True)
        objects = self.objects(repository)
        clone = Clone(
            git=self._git,
            work=folder,
            git_dir=folder / ".git",
            objects=objects,
            top_objects=objects,
            objects_inside=objects_inside,
            object_format=repository.object_format,
            settings=self._workspace_settings(),
        )
        clone.make(base=base, branch=check_branch(branch), supply=supply)
        files = supply.files if supply.files is not None else self._count(repository, base)
        return Workspace(folder=folder, files=files)

    def _workspace_settings(self) -> Mapping[str, str]:
        author = self._authorship()
        return {**_WORKSPACE_SETTINGS, "user.name": author.name, "user.email": author.email}

    def _count(self, repository: Repository, base: Base) -> int:
        asked = ("ls-tree", "-r", "-z", "--name-only", "--full-tree", base.commit)
        return self._git.inside(self.mirror(repository), *asked).stdout.count(b"\0")

    # --- after a run --------------------------------------------------------------------------------------------

    def receive(
        self,
        repository: Repository,
        bundle: bytes,
        *,
        base: Base,
        branch: str,
        message: str,
        most_bytes: int = MOST_BYTES,
    ) -> Returned | NoChange | Spurned:
        """Take what a run's `harvest` brought into the mirror as `branch`, or say why not."""
        with self._locked(repository) as mirror:
            sweep(mirror)
            return self._intake(repository, mirror, base, branch, message).take(bundle, most_bytes=most_bytes)

    def save(
        self, repository: Repository, bundle: bytes, *, base: Base, branch: str, most_bytes: int = MOST_BYTES
    ) -> tuple[str, ...] | Spurned:
        """Keep what of a workspace is not in the mirror yet, under refs of its own; they are returned, or why not."""
        with self._locked(repository) as mirror:
            sweep(mirror)
            return self._intake(repository, mirror, base, branch, "").save(bundle, most_bytes=most_bytes)

    def _intake(self, repository: Repository, mirror: Path, base: Base, branch: str, message: str) -> Intake:
        return Intake(
            git=self._git,
            mirror=mirror,
            object_format=repository.object_format,
            base=base,
            branch=check_branch(branch),
            message=message,
            author=self._authorship(),
            signer=self._signer(),
        )

    def missing_large(self, repository: Repository, *, base: str, tip: str) -> tuple[tuple[str, LargeFile], ...]:
        """(path, pointer) of large files that came with a run's work and whose content did not."""
        return tuple(self._large(repository).missing(base=base, tip=tip))

    def keep_large(self, repository: Repository, large: LargeFile, content: bytes) -> bool:
        """Take such a content in, if it is what its name says."""
        return self._large(repository).keep(large, content)

    def merge(self, repository: Repository, *, base: Base, tip: str) -> Merge:
        """Whether the branch that a run started from has moved, and if its work still merges; asks the repository."""
        if not base.branch:
            return Merge()
        now = self.update(repository, at=base.branch).commit
        mirror = self.mirror(repository)
        return try_merge(self._git, mirror, onto=base.branch, now=now, base=base.commit, tip=tip)

    def publish(self, repository: Repository, branch: str, *, base: str = "") -> Published:
        """Place a branch in the user's own repository, and the large files that it brought since `base`."""
        published = self._handover(repository).publish(branch)
        if base and published.where is not None:
            self._large(repository).give(base=base, tip=f"refs/heads/{check_branch(branch)}")
        return published

    def diff(self, repository: Repository, *, base: str, tip: str, stat: bool = False) -> bytes:
        """What a run changed, as a patch or as a table of files."""
        return self._handover(repository).diff(base=base, tip=tip, stat=stat)

    def changes(self, repository: Repository, *, base: str, tip: str) -> tuple[bytes, tuple[str, ...]]:
        """Everything that a run's commits changed and say, and every path in them."""
        return self._handover(repository).changes(base=base, tip=tip)

    def log(self, repository: Repository, *, base: str, tip: str) -> bytes:
        """Its commits, a line each."""
        return self._handover(repository).log(base=base, tip=tip)

    def file(self, repository: Repository, *, at: str, path: str) -> bytes | None:
        """One file of a commit that is in the mirror; None where it has none."""
        return self._handover(repository).file(at=at, path=path)

    def tracked(self, repository: Repository, *, at: str) -> dict[str, str]:
        """Path -> mode and object of everything in a commit that is in the mirror."""
        return self._handover(repository).tracked(at=at)

    def on_default_branch(self, repository: Repository, *, commit: str) -> bool:
        """Whether a commit is part of the branch that everybody starts from: origin's, else the one that HEAD is on."""
        found = self._listed(repository, "HEAD", "refs/heads/*", "refs/remotes/origin/HEAD")
        origin = found.get("-> refs/remotes/origin/HEAD", "").removeprefix("refs/remotes/origin/")
        if repository.local is not None and origin:
            tips = {found.get("refs/remotes/origin/HEAD", ""), found.get(f"refs/heads/{origin}", "")}
        else:
            tips = {found.get("HEAD", "")}
        place = repository.git_dir or self.mirror(repository)
        held = ("merge-base", "--is-ancestor", commit)
        return commit in tips or any(self._git.inside(place, *held, tip, fails=True).status == 0 for tip in tips if tip)

    def sizes(self, repository: Repository, *, at: str) -> tuple[int, ...]:
        """Bytes of every file of a commit that is in the mirror."""
        return self._handover(repository).sizes(at=at)

    def checkout(self, repository: Repository, branch: str, folder: Path) -> CheckedOut:
        """A linked working tree of the branch as the run left it, for people."""
        return self._handover(repository).checkout(branch, folder)

    def _large(self, repository: Repository) -> LargeStore:
        return LargeStore(git=self._git, mirror=self.mirror(repository), repository=repository, known_as="")

    def _handover(self, repository: Repository) -> Handover:
        return Handover(git=self._git, mirror=self.mirror(repository), repository=repository)

    def _signer(self) -> Signer | None:
        """Who signs our commits, if they are to be signed."""
        key = self._authorship().signing_key
        return Signer(key=Path(key).expanduser(), environ=self._environ) if key else None

    def maintain(self, *, most_loose: int = MOST_LOOSE) -> tuple[str, ...]:
        """Repack mirrors that have become many small pieces, if nobody is at work in them; their names.

        What workspaces borrow follows from refs that stay, so nothing of it is lost; whoever reads meanwhile reads on.
        """
        return tuple(
            mirror.name
            for mirror in sorted(self._folder.glob("*.git"))
            if maintain(self._git, mirror, most_loose=most_loose)
        )

    # --- reading refs, and the lock -----------------------------------------------------------------------------

    def _base(self, repository: Repository, at: str) -> Base:
        """Which commit that is, as the repository says it now."""
        heads = self._listed(
            repository, "HEAD", "refs/heads/*", *([f"refs/tags/{at}", f"refs/tags/{at}^{{}}"] if at else [])
        )
        if not at:
            return self._head(repository, heads)
        if commit := heads.get(f"refs/heads/{at}"):
            return Base(commit=commit, branch=at)
        if commit := heads.get(f"refs/tags/{at}^{{}}") or heads.get(f"refs/tags/{at}") or self._commit(repository, at):
            return Base(commit=commit, branch="")
        known = sorted(ref.removeprefix("refs/heads/") for ref in heads if ref.startswith("refs/heads/"))
        raise UsageError(
            f"{repository.name} has no branch, tag or commit {at!r}",
            help=f"its branches: {', '.join(known[:10]) or 'none'}",
        )

    def _head(self, repository: Repository, heads: Mapping[str, str]) -> Base:
        if commit := heads.get("HEAD"):
            return Base(commit=commit, branch=heads.get("-> HEAD", "").removeprefix("refs/heads/"))
        if not any(ref.startswith("refs/heads/") for ref in heads):
            raise UsageError(
                f"{repository.name} has no commit yet", help="commit something first: git commit -m 'first'"
            )
        raise UsageError(
            f"the branch that {repository.name} is on has no commit yet",
            help="commit something there, or switch to a branch that has commits",
        )

    def _commit(self, repository: Repository, at: str) -> str:
        """A commit by (the beginning of) its hash: of a local repository any, else one that a run started from."""
        place = repository.git_dir or self.mirror(repository)
        if not at.isalnum() or not place.exists():
            return ""
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{at}^{{commit}}")
        return self._git.inside(place, *asked, fails=True).text

    def _listed(self, repository: Repository, *patterns: str) -> dict[str, str]:
        """Ref -> commit, as the repository offers them; `-> HEAD` names the branch that HEAD stands for."""
        words = ("ls-remote", "--symref", "--", repository.address, *patterns)
        found: dict[str, str] = {}
        for line in self._git.run(*words, protocol=repository.protocol).text.splitlines():
            value, _, ref = line.partition("\t")
            if value.startswith("ref: "):
                found[f"-> {ref}"] = value.removeprefix("ref: ")
            else:
                found[ref] = value
        return found

    @contextlib.contextmanager
    def _locked(self, repository: Repository) -> Iterator[Path]:
        """The mirror, for us alone; made when it is not there."""
        mirror = self.mirror(repository)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{mirror}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._make(mirror, repository)
            yield mirror
        finally:
            os.close(descriptor)

    def _make(self, mirror: Path, repository: Repository) -> None:
        """Make the mirror, or remove what a killed git left locked in it."""
        if (mirror / "crewcap").exists():
            for lock in (*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock")):
                lock.unlink(missing_ok=True)
            return
        # Objects must be readable to the run's user, whatever our umask is; the state directory above is closed.
        shape = ("--template=", "--shared=0644", f"--object-format={repository.object_format}")
        self._git.run("init", "--quiet", "--bare", *shape, str(mirror))
        for key, value in _MIRROR_SETTINGS.items():
            self._git.inside(mirror, "config", key, value)
        (mirror / "crewcap").write_text(f"{repository.identity}\n", encoding="utf-8")


def _unreadable(repository: Repository, error: GitFailed) -> UnsafeEnvironment:
    """Its commit could not be fetched: a damaged repository, or one that cannot be reached."""
    look = f"git -C {repository.local} fsck" if repository.local else f"git ls-remote {repository.address}"
    return UnsafeEnvironment(f"{repository.name} cannot be read: {error.message}", help=f"{look} says more")
