"""Walking through a tree that somebody hostile may have made: no link is followed, nothing but folders is opened.

Every name is used together with the descriptor of its folder, so that no path is ever resolved twice. Whoever opens
one of the files does so with `READ`, which neither follows a link nor waits for a FIFO, and looks at what it got.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 128  # each level costs an open descriptor


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the tree."""

    path: str  # below the root; bytes that are no text are kept as surrogates
    name: str
    at: int  # the descriptor of its folder, open while this is looked at
    info: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether more may lie below it."""
        return stat.S_ISDIR(self.info.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it has contents."""
        return stat.S_ISREG(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it only names something."""
        return stat.S_ISLNK(self.info.st_mode)


def walk(root: Path, *, enter: Callable[[str], bool], lost: list[str]) -> Iterator[Found]:
    """Everything below `root`: a folder's files, then each of its folders with what is in it, by name.

    `enter` says of each path whether it is looked at, at all; what cannot be read or lies too deep goes into `lost`.
    """
    at = os.open(root, _FOLDER)
    try:
        yield from _below(at, "", enter, lost, _DEEPEST)
    finally:
        os.close(at)


def folder_below(root: int, path: str) -> int:
    """Open a folder by its path below an open one, never through a link; the caller closes it."""
    at = os.dup(root)
    for part in path.split("/") if path else ():
        try:
            deeper = os.open(part, _FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = deeper
    return at


def open_folder(path: Path) -> int:
    """Open a folder of ours, which is no link."""
    return os.open(path, _FOLDER)


def _below(at: int, above: str, enter: Callable[[str], bool], lost: list[str], levels: int) -> Iterator[Found]:
    try:
        with os.scandir(at) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        lost.append(above)
        return
    here = [
        Found(path, name, at, os.stat(name, dir_fd=at, follow_symlinks=False))
        for name in names
        if enter(path := f"{above}/{name}" if above else name)
    ]
    yield from (found for found in here if not found.is_folder)
    for folder in (found for found in here if found.is_folder):
        yield folder
        yield from _into(folder, enter, lost, levels - 1)


def _into(folder: Found, enter: Callable[[str], bool], lost: list[str], levels: int) -> Iterator[Found]:
    try:
        deeper = os.open(folder.name, _FOLDER, dir_fd=folder.at) if levels else -1
    except OSError:
        deeper = -1
    if deeper < 0:
        lost.append(folder.path)
        return
    try:
        yield from _below(deeper, folder.path, enter, lost, levels)
    finally:
        os.close(deeper)
