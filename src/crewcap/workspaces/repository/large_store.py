"""The trusted store of a repository's large files: which ones a commit needs, and where they are fetched from.

The user's own clone is asked first, which needs no network and no credential; then git-lfs, where it is installed, at
the place where the repository is known to come from. A `.lfsconfig` of the commit is not followed: it could name any
server. Every content is let in under its SHA-256 only.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from crewcap.workspaces.repository.git import LONG_S, Git
from crewcap.workspaces.repository.large_files import ATTRIBUTE, MOST_POINTER_BYTES, LargeFile, read_pointer
from crewcap.workspaces.repository.repositories import Repository, file_address, parse_address

_SMALLEST_POINTER = 100
_FILES = ("100644", "100755")


class Entry(Protocol):
    """A file of a commit."""

    @property
    def mode(self) -> str:
        """What kind of file."""
        ...

    @property
    def object_id(self) -> str:
        """Its content."""
        ...

    @property
    def path(self) -> str:
        """Where it lies."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeStore:
    """Beside a mirror."""

    git: Git
    mirror: Path
    repository: Repository
    known_as: str  # the address or the path that it comes from

    @property
    def folder(self) -> Path:
        """Where git-lfs itself would keep them."""
        return self.mirror / "lfs" / "objects"

    def fill(self, entries: Sequence[Entry], *, commit: str) -> tuple[Path | None, tuple[str, ...]]:
        """Bring what these files of a commit need; the store if they need it, and what is to be said."""
        wanted = dict.fromkeys(self._pointers(entries))
        if not wanted:
            return None, ()
        _make_open(self.folder, self.mirror)
        missing = [large for large in wanted if not self._has(large) and not self._copy(large)]
        reason = self._download(commit) if missing else ""
        missing = [large for large in missing if not self._has(large)]
        return self.folder, ((_complaint(missing, reason),) if missing else ())

    def missing(self, *, base: str, tip: str) -> Iterator[tuple[str, LargeFile]]:
        """(path, pointer) of what changed between two commits and is not in the store."""
        return ((path, large) for path, large in self._changed(base, tip).items() if not self._has(large))

    def give(self, *, base: str, tip: str) -> None:
        """Place what changed between two commits in the user's own clone, where git-lfs looks for it."""
        if self.repository.git_dir is None or not self.folder.exists():
            return
        theirs = self.repository.git_dir / "lfs" / "objects"
        for large in self._changed(base, tip).values():
            if self._has(large) and not (theirs / large.place).exists():
                with (self.folder / large.place).open("rb") as file:
                    _write(theirs / large.place, iter(lambda: file.read(1 << 20), b""))

    def keep(self, large: LargeFile, content: bytes) -> bool:
        """Take a content in, if it is what its name says."""
        if hashlib.sha256(content).hexdigest() != large.oid:
            return False
        _make_open(self.folder, self.mirror)
        _write(self.folder / large.place, [content])
        return True

    def read_pointers(self, object_ids: Iterable[str]) -> Iterator[tuple[str, LargeFile]]:
        """(blob, what it points to) for those that are pointers."""
        ids = list(dict.fromkeys(object_ids))
        asked = ("cat-file", "--batch-check=%(objectname) %(objectsize)")
        rows = self.git.inside(self.mirror, *asked, stdin=_lines(ids)).text.splitlines()
        small = [name for name, _, size in (row.partition(" ") for row in rows) if _could_be_pointer(size)]
        for name, content in self._blobs(small):
            if large := read_pointer(content):
                yield name, large

    def _changed(self, base: str, tip: str) -> dict[str, LargeFile]:
        """Path -> pointer, of those that a commit has and another one has not."""
        words = (
            "diff",
            "--raw",
            "--no-abbrev",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            "-z",
            base,
            tip,
            "--",
        )
        cells = self.git.inside(self.mirror, *words).stdout.decode("utf-8", "surrogateescape").split("\0")
        heads = {path: head.split(" ") for head, path in zip(cells[::2], cells[1::2], strict=False)}
        blobs = {path: head[3] for path, head in heads.items() if head[1] in _FILES}
        pointers = dict(self.read_pointers(blobs.values()))
        return {path: pointers[name] for path, name in blobs.items() if name in pointers}

    def _pointers(self, entries: Sequence[Entry]) -> Iterator[LargeFile]:
        """Without an attribute that asks for it nothing is a large file, and nothing is looked at."""
        attributes = [entry.object_id for entry in entries if entry.path.rpartition("/")[2] == ".gitattributes"]
        if not any(ATTRIBUTE.search(content) for _, content in self._blobs(attributes)):
            return
        for _, large in self.read_pointers(entry.object_id for entry in entries if entry.mode in _FILES):
            yield large

    def _blobs(self, object_ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        if not object_ids:
            return
        output = self.git.inside(self.mirror, "cat-file", "--batch", stdin=_lines(object_ids)).stdout
        at = 0
        while at < len(output):
            end = output.index(b"\n", at)
            name, _, size = output[at:end].decode("ascii", "replace").split(" ")
            yield name, output[end + 1 : end + 1 + int(size)]
            at = end + 2 + int(size)

    def _has(self, large: LargeFile) -> bool:
        place = self.folder / large.place
        return place.is_file() and place.stat().st_size == large.size

    def _copy(self, large: LargeFile) -> bool:
        """From the user's own clone, which may have it."""
        if self.repository.git_dir is None:
            return False
        source = self.repository.git_dir / "lfs" / "objects" / large.place
        if not source.is_file() or source.stat().st_size != large.size or _sum(source) != large.oid:
            return False
        with source.open("rb") as file:
            _write(self.folder / large.place, iter(lambda: file.read(1 << 20), b""))
        return self._has(large)

    def _download(self, commit: str) -> str:
        """Have git-lfs fetch what is missing; why it did not, in a few words."""
        if self.git.run("lfs", "version", fails=True).status != 0:
            return "git-lfs is not installed"
        path = self.known_as.startswith("/")
        place = file_address(Path(self.known_as)) if path else self.known_as
        protocol = "file" if path else parse_address(place).protocol
        words = (f"--git-dir={self.mirror}", "lfs", "fetch", place, commit)
        done = self.git.run(*words, fails=True, protocol=protocol, limit_s=LONG_S)
        _open_up(self.folder)
        return "" if done.status == 0 else done.complaint


def _complaint(missing: Sequence[LargeFile], reason: str) -> str:
    size = sum(large.size for large in missing)
    what = "1 large file is a pointer" if len(missing) == 1 else f"{len(missing)} large files are pointers"
    why = f" ({reason})" if reason else ""
    return f"{what} inside, {size / 1e6:.1f} MB were not to be had{why}; git lfs pull in your own clone brings them"


def _could_be_pointer(size: str) -> bool:
    return size.isdigit() and _SMALLEST_POINTER <= int(size) <= MOST_POINTER_BYTES


def _lines(words: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(place: Path, chunks: Iterable[bytes]) -> None:
    """Whole or not at all, and readable to the run's user whatever our umask is."""
    _make_open(place.parent, place.parents[2])
    descriptor, name = tempfile.mkstemp(dir=place.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
            os.fchmod(file.fileno(), 0o444)
        Path(name).rename(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _make_open(folder: Path, top: Path) -> None:
    for part in reversed([folder, *(up for up in folder.parents if up.is_relative_to(top) and up != top)]):
        part.mkdir(exist_ok=True)
        part.chmod(0o755)


def _open_up(folder: Path) -> None:
    """What git-lfs wrote, readable to the run's user."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o444)
