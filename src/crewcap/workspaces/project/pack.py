"""One file that holds a tree: how a prepared tree lies on disk.

First the contents of all files, one after another; then an index of everything that is in the tree, in the order in
which it is made again; then a seal: where the index is, and a digest of all that stands before it. A tree in one file
cannot be half there, cannot be followed or opened by accident, is removed in one step, and is read again faster than
20,000 single files are (docs/decisions/prepared-trees.md).

Whoever made the tree is not trusted: only folders, files and links are taken, with their nine permission bits and the
times of files, and they are made again without ever following a link, only where nothing is yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from crewcap.workspaces.untrusted_tree import READ, Found, folder_below, open_folder

_SEAL = struct.Struct("<16sQQ")  # what it is, where its index is, and how long that is
_DIGEST = 32
_MAGIC = b"crewcap tree 1\n\0"
_CHUNK = 1 << 20
_BLOCK = 512  # the unit of st_blocks
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Damaged(Exception):
    """A pack is not what was written."""


class TooBig(Exception):
    """A tree is bigger than it may be."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A folder, a file or a link."""

    path: bytes
    kind: str  # "folder", "file" or "link"
    mode: int = 0
    mtime_ns: int = 0
    size: int = 0
    pieces: tuple[tuple[int, int, int], ...] = ()  # where in the file, where in the pack, how long; between them: zeros
    target: bytes = b""


class Index(msgspec.Struct, frozen=True):
    """Everything of a pack but its files' contents."""

    trees: dict[str, list[Entry]]  # by the folder that they belong to
    times: dict[str, int]  # path -> mtime_ns of files that were there before, which the tree was made from

    @property
    def files(self) -> int:
        """How many files and links."""
        return sum(entry.kind != "folder" for entries in self.trees.values() for entry in entries)

    @property
    def bytes(self) -> int:
        """How much room they take."""
        return sum(length for entries in self.trees.values() for e in entries for _, _, length in e.pieces)


class PackWriter:
    """Puts a tree into an open file."""

    def __init__(self, out: BinaryIO, *, most_bytes: int, most_entries: int) -> None:
        self._out = out
        self._digest = hashlib.blake2b(digest_size=_DIGEST)
        self._most_bytes = most_bytes
        self._room = most_entries
        self._at = 0

    def entry(self, found: Found) -> Entry | None:
        """Take it in; None for what is no folder, file or link, or cannot be read."""
        self._room -= 1
        if self._room < 0:
            raise TooBig("it has too many files")
        path, mode = os.fsencode(found.path), stat.S_IMODE(found.info.st_mode) & 0o777
        if found.is_folder:
            return Entry(path=path, kind="folder", mode=mode | 0o700)
        with contextlib.suppress(OSError):
            if found.is_link:
                return Entry(path=path, kind="link", target=os.fsencode(os.readlink(found.name, dir_fd=found.at)))
            if found.is_file:
                return self._file(found, path, mode)
        return None

    def seal(self, index: Index) -> None:
        """Write the rest; nothing comes after it."""
        at, packed = self._at, msgspec.msgpack.encode(index)
        self._write(packed)
        self._write(_SEAL.pack(_MAGIC, at, len(packed)))
        self._out.write(self._digest.digest())
        self._out.flush()
        os.fsync(self._out.fileno())

    def _file(self, found: Found, path: bytes, mode: int) -> Entry | None:
        source = os.open(found.name, READ, dir_fd=found.at)
        try:
            info = os.fstat(source)
            if not stat.S_ISREG(info.st_mode):
                return None
            pieces = tuple(self._piece(source, start, end) for start, end in _extents(source, info))
        finally:
            os.close(source)
        return Entry(path=path, kind="file", mode=mode, mtime_ns=info.st_mtime_ns, size=info.st_size, pieces=pieces)

    def _piece(self, source: int, start: int, end: int) -> tuple[int, int, int]:
        """Copy a part of a file; shorter where the file has become so."""
        at, where = self._at, start
        while where < end and (chunk := os.pread(source, min(_CHUNK, end - where), where)):
            self._write(chunk)
            where += len(chunk)
        return start, at, where - start

    def _write(self, content: bytes) -> None:
        self._at += len(content)
        if self._at > self._most_bytes:
            raise TooBig(f"it has more than {self._most_bytes >> 20:,} MiB")
        self._digest.update(content)
        self._out.write(content)


def _extents(source: int, info: os.stat_result) -> Iterator[tuple[int, int]]:
    """The parts of a file that are written: all of it, but for files with holes."""
    if info.st_blocks * _BLOCK >= info.st_size:
        if info.st_size:
            yield 0, info.st_size
        return
    end = 0
    with contextlib.suppress(OSError):  # ENXIO: nothing but a hole is left
        while end < info.st_size:
            start = os.lseek(source, end, os.SEEK_DATA)
            end = min(os.lseek(source, start, os.SEEK_HOLE), info.st_size)
            yield start, end


def read_index(pack: int) -> Index:
    """The index of an open pack, once all of it was found to be what was written."""
    size = os.fstat(pack).st_size
    digest = hashlib.blake2b(digest_size=_DIGEST)
    where, end = 0, size - _DIGEST
    while where < end and (chunk := os.pread(pack, min(_CHUNK, end - where), where)):
        digest.update(chunk)
        where += len(chunk)
    if end < _SEAL.size or digest.digest() != os.pread(pack, _DIGEST, end):
        raise Damaged
    magic, at, length = _SEAL.unpack(os.pread(pack, _SEAL.size, end - _SEAL.size))
    try:
        if magic != _MAGIC:
            raise Damaged
        return msgspec.msgpack.decode(os.pread(pack, length, at), type=Index)
    except msgspec.MsgspecError:
        raise Damaged from None


class Placing:
    """What of a tree was made below one folder so far."""

    def __init__(self, root: int, pack: int, uid: int | None) -> None:
        self.left_out = 0  # files whose place was taken
        self._root, self._pack, self._uid = root, pack, uid
        self._folder, self._at = "", os.dup(root)
        self._ours: set[str] = set()  # folders that were not there before
        self._tops: list[tuple[str, str]] = []  # folder that was there, and the name of ours in it
        self._closed: str | None = None  # a folder that could not be made: its place is taken

    def place(self, entries: list[Entry]) -> None:
        """Make all of them, where nothing is yet; what is there already stays as it is."""
        for entry in entries:
            folder, _, name = os.fsdecode(entry.path).rpartition("/")
            if self._is_closed(folder):
                self.left_out += entry.kind != "folder"
                continue
            self._enter(folder)
            try:
                self._make(entry, name)
            except FileExistsError:
                self._taken(entry, name)
            else:
                self._note(folder, name, entry)

    def undo(self) -> None:
        """Remove everything that was made."""
        for folder, name in self._tops:
            with contextlib.suppress(OSError):
                self._enter(folder)
                if stat.S_ISDIR(os.stat(name, dir_fd=self._at, follow_symlinks=False).st_mode):
                    shutil.rmtree(name, dir_fd=self._at)
                else:
                    os.unlink(name, dir_fd=self._at)

    def close(self) -> None:
        """Let go of the folder that was last worked in."""
        os.close(self._at)

    def _enter(self, folder: str) -> None:
        if folder != self._folder:
            at = folder_below(self._root, folder)
            os.close(self._at)
            self._folder, self._at = folder, at

    def _make(self, entry: Entry, name: str) -> None:
        if entry.kind == "folder":
            os.mkdir(name, 0o700, dir_fd=self._at)
            os.chmod(name, entry.mode, dir_fd=self._at)
        elif entry.kind == "link":
            os.symlink(os.fsdecode(entry.target), name, dir_fd=self._at)
        else:
            self._fill(entry, os.open(name, _NEW_FILE, 0o600, dir_fd=self._at))
            return
        if self._uid is not None:
            os.chown(name, self._uid, self._uid, dir_fd=self._at, follow_symlinks=False)

    def _fill(self, entry: Entry, out: int) -> None:
        try:
            for start, where, length in entry.pieces:
                _copy(self._pack, where, out, start, length)
            if not entry.pieces or entry.pieces[-1][0] + entry.pieces[-1][2] < entry.size:
                os.ftruncate(out, entry.size)
            if self._uid is not None:
                os.fchown(out, self._uid, self._uid)
            os.fchmod(out, entry.mode)
            os.utime(out, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(out)

    def _taken(self, entry: Entry, name: str) -> None:
        """Something is there: a folder is shared, anything else wins."""
        there = os.stat(name, dir_fd=self._at, follow_symlinks=False)
        if entry.kind != "folder":
            self.left_out += 1
        elif not stat.S_ISDIR(there.st_mode):
            self._closed = os.fsdecode(entry.path)

    def _note(self, folder: str, name: str, entry: Entry) -> None:
        if folder not in self._ours:
            self._tops.append((folder, name))
        if entry.kind == "folder":
            self._ours.add(os.fsdecode(entry.path))

    def _is_closed(self, folder: str) -> bool:
        return self._closed is not None and (folder == self._closed or folder.startswith(f"{self._closed}/"))


def _copy(source: int, where: int, target: int, start: int, length: int) -> None:
    """Copy without passing through our own memory."""
    os.lseek(target, start, os.SEEK_SET)
    while length:
        copied = os.sendfile(target, source, where, length)
        if not copied:
            raise Damaged
        where, length = where + copied, length - copied


@contextlib.contextmanager
def placing(folder: Path, *, pack: int, uid: int | None) -> Iterator[Placing]:
    """Work below a folder of a run; what was begun and failed is taken back."""
    root = open_folder(folder)
    work = Placing(root, pack, uid)
    try:
        yield work
    except BaseException:
        work.undo()
        raise
    finally:
        work.close()
        os.close(root)
