"""Finding transcripts: which files below some folders are whose.

Links are followed, each folder once, so a loop ends. Only regular files count: a pipe would wait for ever. What
cannot be read is named, and the rest is read. Names are bytes, whatever they are encoded in.

Whose a file is does not depend on who is asked for: every agent's reader is asked in the same order, so that a file
that one reader would claim because its owner's is not there is nobody's then.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from crewcap.transcripts import Reader, everyone


class Found(NamedTuple):
    """One transcript as it lies on the disk."""

    path: str  # as the system calls it; undecodable bytes as surrogates
    reader: Reader
    device: int
    inode: int
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Walk:
    """A walk over some folders, and what it could not look at."""

    readers: Sequence[Reader]  # whose files are taken
    problems: Counter[str] = field(default_factory=Counter)
    _folders: set[tuple[int, int]] = field(default_factory=set)
    _files: set[tuple[int, int]] = field(default_factory=set)
    _everyone: Sequence[Reader] = field(default_factory=everyone)
    _taken: dict[str, Reader] = field(init=False)

    def __post_init__(self) -> None:
        self._taken = {each.agent: each for each in self.readers}

    def files(self, roots: Iterable[Path]) -> Iterator[Found]:
        """Every transcript below these, each file once however many names it has."""
        for root in roots:
            try:
                about = root.stat()
            except OSError:
                continue
            if stat.S_ISDIR(about.st_mode):
                yield from self._below(os.fspath(root), about)
            elif (found := self._file(os.fspath(root), root.name, os.fspath(root.parent), about)) is not None:
                yield found

    def _below(self, root: str, about: os.stat_result) -> Iterator[Found]:
        waiting = [(root, (about.st_dev, about.st_ino))]
        while waiting:
            folder, identity = waiting.pop()
            if identity in self._folders:
                continue
            self._folders.add(identity)
            try:
                with os.scandir(folder) as listed:
                    entries = sorted(listed, key=lambda entry: entry.name)
            except OSError as error:
                self.problems[f"a folder that cannot be read: {error.strerror}"] += 1
                continue
            for entry in entries:
                try:
                    about = entry.stat()
                except OSError:
                    continue  # a link to nowhere, or gone since
                if stat.S_ISDIR(about.st_mode):
                    waiting.append((entry.path, (about.st_dev, about.st_ino)))
                elif (found := self._file(entry.path, entry.name, folder, about)) is not None:
                    yield found

    def _file(self, path: str, name: str, folder: str, about: os.stat_result) -> Found | None:
        reader = self._reader(name, folder)
        if reader is None:
            return None
        if not stat.S_ISREG(about.st_mode):
            self.problems["no file: a pipe or a device"] += 1
            return None
        identity = (about.st_dev, about.st_ino)
        if identity in self._files:
            return None
        self._files.add(identity)
        size, mtime_ns = about.st_size, about.st_mtime_ns
        for beside in reader.beside(path):
            try:
                other = Path(beside).stat()
            except OSError:
                continue
            size, mtime_ns = size + other.st_size, max(mtime_ns, other.st_mtime_ns)
        return Found(path, reader, *identity, size, mtime_ns)

    def _reader(self, name: str, folder: str) -> Reader | None:
        """Whose a file is, if it is among those that are taken."""
        for each in self._everyone:
            if each.claims(name, folder):
                return self._taken.get(each.agent)
        return None
