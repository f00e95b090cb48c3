"""Removing what a run left, however it lies there: deep, wide, without rights, with odd names.

The standard library goes down by recursion and stops at a depth of about a thousand, or at a folder that its owner
closed (Go's module cache is made of those). Here a folder within a folder is moved up to the top and emptied from
there: two folders are open at any time, and nothing is ever reached by a path that somebody else may change.

As a program it removes what it is told when nobody else wants the processor or the disk, and ends with its parent:

    python -m crewcap.workspaces.removal PARENT-PID TREE...
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

_GONE = ".gone-"
_PR_SET_PDEATHSIG = 1
_SET_IO_PRIORITY = {"x86_64": 251, "aarch64": 30}  # numbers of a call that libraries do not name
_THIS_PROCESS, _WHEN_IDLE = 1, 3 << 13
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(tree: Path) -> None:
    """Take a tree away, if it is there; a link is taken away itself."""
    with contextlib.suppress(FileNotFoundError):
        if tree.is_symlink() or not tree.is_dir():
            tree.unlink()
            return
        with _parent_of(tree) as parent, _opened(tree.name, parent) as top:
            _empty(top)
        tree.rmdir()


def set_aside(tree: Path) -> None:
    """Take a tree out of its place at once, however large it is; `remove_aside` of the folder around it removes it."""
    if os.path.lexists(tree):
        tree.rename(tree.with_name(f"{_GONE}{secrets.token_hex(8)}"))


def remove_aside(parent: Path) -> None:
    """Remove what was set aside here, by us or by a crewcap that was killed."""
    for gone in parent.glob(f"{_GONE}*"):
        remove_tree(gone)


def main(words: list[str]) -> None:
    """Be the program."""
    parent, *trees = words
    libc = ctypes.CDLL(None)
    libc.prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3)
    if os.getppid() != int(parent):
        return
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if call := _SET_IO_PRIORITY.get(os.uname().machine):
        libc.syscall(ctypes.c_long(call), ctypes.c_long(_THIS_PROCESS), ctypes.c_long(0), ctypes.c_long(_WHEN_IDLE))
    for tree in trees:
        remove_tree(Path(tree))


def _empty(top: int) -> None:
    """Everything in the folder, by moving what is deeper up to it."""
    names = (f".crewcap-{number}" for number in itertools.count())
    while entries := _entries(top):
        for name, is_folder in entries:
            if is_folder:
                _dissolve(name, top, names)
            else:
                os.unlink(name, dir_fd=top)


def _dissolve(name: str, top: int, names: Iterator[str]) -> None:
    """One folder: its files go, its folders move up, and it goes."""
    with _opened(name, top) as folder:
        for inner, is_folder in _entries(folder):
            if is_folder:
                _move_up(inner, folder, top, names)
            else:
                os.unlink(inner, dir_fd=folder)
    os.rmdir(name, dir_fd=top)


def _move_up(name: str, folder: int, top: int, names: Iterator[str]) -> None:
    """To a name that is free there; a folder that may not be written may not be moved either."""
    for free in names:
        try:
            os.rename(name, free, src_dir_fd=folder, dst_dir_fd=top)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EPERM}:
                _open_up(name, folder)
                os.rename(name, free, src_dir_fd=folder, dst_dir_fd=top)
            elif error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                raise
            else:
                continue
        return


def _entries(folder: int) -> list[tuple[str, bool]]:
    """(name, whether it is a folder) of everything in it."""
    with os.scandir(folder) as found:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]


@contextlib.contextmanager
def _opened(name: str, parent: int) -> Iterator[int]:
    """A folder, made readable and writable where its owner had closed it."""
    _open_up(name, parent, only_if_needed=True)
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_up(name: str, parent: int, *, only_if_needed: bool = False) -> None:
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        info = os.fstat(handle)
        if not only_if_needed or info.st_mode & 0o700 != 0o700:
            with contextlib.suppress(PermissionError):  # another's: what follows fails and says so
                os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101  (a descriptor, not a path)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _parent_of(tree: Path) -> Iterator[int]:
    descriptor = os.open(tree.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
