"""Bringing work home, the half that runs on the host: from a bundle of an agent's making to a branch of ours.

A bundle is unpacked into a throw-away repository that borrows the mirror's objects. From there the mirror *fetches*,
over upload-pack, because git applies `fsckObjects` when it fetches from a repository and not when it reads a bundle
(facts: a tree holding `.git` was accepted that way). What does not pass leaves nothing in the mirror.

Every commit is made again as ours (`remaking.py`). The branch that comes of it always follows from what it was before:
where the agent rewrote history, its files are kept as one commit on top, and what it had is kept under a name of its
own.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.workspaces.repository.authorship import Authorship
from crewcap.workspaces.repository.git import FETCH, LONG_S, Git, GitFailed
from crewcap.workspaces.repository.packs import Damaged, weigh
from crewcap.workspaces.repository.remaking import Remade, Remaking
from crewcap.workspaces.repository.repositories import BRANCH_PREFIX, Base, file_address
from crewcap.workspaces.repository.review import (
    Bundle,
    NoChange,
    Returned,
    Spurned,
    read_bundle,
    read_numstat,
    read_raw_diff,
)
from crewcap.workspaces.repository.signing import Signer

MOST_BYTES = 256 << 20
_MOST_UNPACKED = 4 << 30
_MOST_NAMES = 256 << 20
SCRATCH = ".scratch-"
_INCOMING = f"refs/{BRANCH_PREFIX}/incoming"
_ORIGINAL, _SAVED = f"refs/{BRANCH_PREFIX}/original", f"refs/{BRANCH_PREFIX}/saved"
_CHECKED = (
    *("-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true"),
    *("-c", "fetch.fsck.badFilemode=error"),  # which git only mentions, and other programs read in their own way
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One run's work on its way into a mirror; the caller holds the mirror's lock."""

    git: Git
    mirror: Path
    object_format: str
    base: Base
    branch: str
    message: str  # of the commit that is made where history was rewritten
    author: Authorship
    signer: Signer | None

    def take(self, bundle: bytes, *, most_bytes: int = MOST_BYTES) -> Returned | NoChange | Spurned:
        """Take it in, or say why not."""
        if not bundle:
            return NoChange()
        head = self._head(bundle, most_bytes)
        if isinstance(head, Spurned):
            return head
        try:
            return self._take(bundle, head.refs)
        except GitFailed as failed:
            return Spurned(f"what came back was refused: {failed.message}")

    def save(self, bundle: bytes, *, most_bytes: int = MOST_BYTES) -> tuple[str, ...] | Spurned:
        """Keep each tip whose files are not in the mirror yet as it is, under a ref of its own; those refs.

        For what lies in a workspace that is about to be removed: the branch and what is known of the run stay as they
        are.
        """
        if not bundle:
            return ()
        head = self._head(bundle, most_bytes)
        if isinstance(head, Spurned):
            return head
        try:
            return self._save(bundle, head.refs)
        except GitFailed as failed:
            return Spurned(f"what came back was refused: {failed.message}")

    def _head(self, bundle: bytes, most_bytes: int) -> Bundle | Spurned:
        """What it says that it brings; a reason where git is not even asked to unpack it."""
        if len(bundle) > most_bytes:
            return Spurned(f"what came back is larger than {most_bytes >> 20} MiB")
        head = read_bundle(bundle)
        if isinstance(head, Spurned):
            return head
        reason = self._too_heavy(bundle, head.size)
        return Spurned(reason) if reason else head

    def _take(self, bundle: bytes, refs: Mapping[str, str]) -> Returned | NoChange | Spurned:
        with self._scratch() as scratch:
            tips = self._unpack(scratch, bundle, refs)
            work = self._work(scratch, tips)
            if not work:
                return NoChange()
            if reason := self._too_many_names(scratch, work[0]):
                return Spurned(reason)
            self._fetch(scratch, work[0])
        return self._accept(left_behind=len(work) - 1)

    def _save(self, bundle: bytes, refs: Mapping[str, str]) -> tuple[str, ...] | Spurned:
        saved: list[str] = []
        with self._scratch() as scratch:
            known = self._known_trees()
            for tip in self._unpack(scratch, bundle, refs):
                commit = self.git.inside(scratch, "rev-parse", "--verify", f"{tip}^{{commit}}").text
                tree = self.git.inside(scratch, "rev-parse", "--verify", f"{commit}^{{tree}}").text
                if tree in known:
                    continue
                if reason := self._too_many_names(scratch, tip):
                    return Spurned(reason)
                ref = f"{_SAVED}/{self.branch}/{commit}"
                self._fetch(scratch, tip, to=ref)
                known.add(tree)
                saved.append(ref)
        return tuple(saved)

    def _known_trees(self) -> set[str]:
        """What the branch is and was made of, what it followed from, and what was kept under other names."""
        listed = self.git.inside(self.mirror, "for-each-ref", "--format=%(refname)", *self._kept_as()).text.split()
        bounds = (*listed, f"^{self.base.commit}") if listed else ()
        trees = self.git.inside(self.mirror, "log", "--format=%T", *bounds).text.split() if bounds else []
        return {*trees, self._tree(self.base.commit)}

    def _kept_as(self) -> tuple[str, ...]:
        return (f"refs/heads/{self.branch}", f"{_ORIGINAL}/{self.branch}/", f"{_SAVED}/{self.branch}/")

    def _too_many_names(self, scratch: Path, tip: str) -> str:
        names = ("ls-tree", "-r", "-z", "--name-only", "--full-tree", tip)
        if self.git.count(scratch, *names, of=b"\0", most_bytes=_MOST_NAMES) is None:
            return f"its files have more than {_MOST_NAMES >> 20} MiB of names"
        return ""

    def _too_heavy(self, bundle: bytes, head_bytes: int) -> str:
        """Why git is not even asked to unpack it; empty = it may be."""
        id_bytes = 32 if self.object_format == "sha256" else 20
        try:
            weight = weigh(memoryview(bundle)[head_bytes:], id_bytes=id_bytes, most_bytes=_MOST_UNPACKED)
        except Damaged as damaged:
            return f"what came back was refused: {damaged}"
        if weight.total > _MOST_UNPACKED:
            return f"what came back unpacks to more than {_MOST_UNPACKED >> 30} GiB"
        return ""

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A repository for a moment, whose objects are the mirror's."""
        with tempfile.TemporaryDirectory(prefix=f"{self.mirror.name}{SCRATCH}", dir=self.mirror.parent) as folder:
            scratch = Path(folder)
            shape = ("--template=", f"--object-format={self.object_format}")
            self.git.run("init", "--quiet", "--bare", *shape, str(scratch))
            alternates = scratch / "objects" / "info" / "alternates"
            alternates.write_text(f"{self.mirror / 'objects'}\n", encoding="utf-8")
            if (self.mirror / "shallow").exists():
                shutil.copyfile(self.mirror / "shallow", scratch / "shallow")
            self.git.inside(scratch, "update-ref", "refs/base", self.base.commit)
            yield scratch

    def _unpack(self, scratch: Path, bundle: bytes, refs: Mapping[str, str]) -> dict[str, str]:
        """Every ref of the bundle under a name of ours, because theirs could mean anything: ours -> theirs."""
        file = scratch / "work.bundle"
        file.write_bytes(bundle)
        names = {f"refs/tips/{number}": ref for number, ref in enumerate(sorted(refs))}
        wanted = (f"+{ref}:{name}" for name, ref in names.items())
        self.git.inside(scratch, *FETCH, str(file), *wanted, limit_s=LONG_S)
        return names

    def _work(self, scratch: Path, tips: Mapping[str, str]) -> list[str]:
        """Tips that hold work: HEAD's, the run's own branch, then others; each only if the first does not hold it."""
        order = {"HEAD": 0, f"refs/heads/{self.branch}": 1}
        kept: list[str] = []
        for name in sorted(tips, key=lambda name: (order.get(tips[name], 2), tips[name])):
            if not any(self._follows(scratch, later=seen, earlier=name) for seen in ("refs/base", *kept[:1])):
                kept.append(name)
        return kept

    def _fetch(self, scratch: Path, tip: str, *, to: str = _INCOMING) -> None:
        """Into the mirror, with every new object checked."""
        where = (f"--git-dir={self.mirror}", *FETCH, file_address(scratch), f"+{tip}:{to}")
        self.git.run(*_CHECKED, *where, limit_s=LONG_S)

    def _accept(self, *, left_behind: int) -> Returned | NoChange:
        """Make the branch out of what came in."""
        git, mirror, ref = self.git, self.mirror, f"refs/heads/{self.branch}"
        before = git.inside(mirror, "rev-parse", "--verify", "--quiet", ref, fails=True).text
        start = before or self.base.commit
        tip = git.inside(mirror, "rev-parse", "--verify", f"{_INCOMING}^{{commit}}").text
        git.inside(mirror, "update-ref", "-d", _INCOMING)
        if self._tree(tip) == self._tree(start):
            return self._summary(start, left_behind=left_behind) if before else NoChange()
        made = self._made_again(tip, start)
        summary = self._summary(
            made.tip, rewrote_history=made.is_squashed, left_behind=left_behind, unsigned=made.unsigned
        )
        git.inside(mirror, "update-ref", ref, made.tip, before or "0" * len(made.tip))
        return summary

    def _made_again(self, tip: str, start: str) -> Remade:
        """Its commits as ours; one commit of its files where they do not follow from where the branch was."""
        remaking = Remaking(
            git=self.git,
            mirror=self.mirror,
            author=self.author,
            signer=self.signer,
            object_format=self.object_format,
            message=self.message,
        )
        if self._follows(self.mirror, later=tip, earlier=self.base.commit):
            made = remaking.remake(tip, base=self.base.commit)
            if self._follows(self.mirror, later=made.tip, earlier=start):
                return made
        self.git.inside(self.mirror, "update-ref", f"{_ORIGINAL}/{self.branch}/{tip}", tip)
        words = ("commit-tree", self._tree(tip), "-p", start, "-m", self.message)
        one = self.git.run(f"--git-dir={self.mirror}", *words, environ=self.author.environ).text
        return replace(remaking.remake(one, base=start), is_squashed=True)

    def _summary(self, tip: str, *, left_behind: int, rewrote_history: bool = False, unsigned: str = "") -> Returned:
        """What people want to know of it."""
        between = ("--no-ext-diff", "--no-textconv", "--no-renames", "-z", self.base.commit, tip, "--")
        files, added, removed = read_numstat(self.git.inside(self.mirror, "diff", "--numstat", *between).stdout)
        flags = read_raw_diff(self.git.inside(self.mirror, "diff", "--raw", "--no-abbrev", *between).stdout)
        counted = self.git.inside(self.mirror, "rev-list", "--count", tip, f"^{self.base.commit}")
        return Returned(
            branch=self.branch,
            commit=tip,
            commits=int(counted.text),
            files_changed=files,
            lines_added=added,
            lines_removed=removed,
            flags=tuple(flags),
            rewrote_history=rewrote_history,
            left_behind=left_behind,
            unsigned=unsigned,
        )

    def _tree(self, commit: str) -> str:
        return self.git.inside(self.mirror, "rev-parse", "--verify", f"{commit}^{{tree}}").text

    def _follows(self, repository: Path, *, later: str, earlier: str) -> bool:
        return self.git.inside(repository, "merge-base", "--is-ancestor", earlier, later, fails=True).status == 0


def sweep(mirror: Path) -> None:
    """Remove what a killed crewcap left; the caller holds the mirror's lock."""
    for scratch in mirror.parent.glob(f"{mirror.name}{SCRATCH}*"):
        shutil.rmtree(scratch, ignore_errors=True)
