"""What is to be removed goes to a trash folder first, at once and whole, and is deleted from there when there is time.

A folder is moved by the descriptors of the folders around it, each opened without following a link, so that nothing
outside of the state directory is ever touched. Whatever is in the trash is rubbish: a sweep that was killed between the
two leaves nothing that the next one would have to think about.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from crewcap.workspaces.sandbox.watch import held_bytes

FOLDER = "trash"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE = 100  # trees a program is told of


def throw(root: Path, folder: Sequence[str], name: str) -> str:
    """Move `root/*folder/name` into the trash of `root`, where it is a folder of its own; why not, or nothing."""
    with contextlib.ExitStack() as stack:
        try:
            place = _descend(stack, root, folder)
            _descend(stack, root, (*folder, name))  # a link in its place is no folder of ours
            with contextlib.suppress(FileExistsError):
                (root / FOLDER).mkdir(mode=0o700)
            trash = _descend(stack, root, (FOLDER,))
            os.rename(name, f"{secrets.token_hex(8)}-{name}"[:200], src_dir_fd=place, dst_dir_fd=trash)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return _why_not(error)
    return ""


def in_trash(root: Path) -> Sequence[Path]:
    """What waits there to be deleted."""
    folder = root / FOLDER
    return () if folder.is_symlink() or not folder.is_dir() else sorted(folder.iterdir())


async def empty_trash(root: Path) -> int:
    """Delete what is there while nobody else wants the machine; how many bytes that freed."""
    freed = 0
    while trees := in_trash(root)[:_AT_ONCE]:
        held = await held_bytes(trees)
        program = (sys.executable, "-m", "crewcap.workspaces.removal", str(os.getpid()), *map(str, trees))
        process = await asyncio.create_subprocess_exec(*program, stdin=asyncio.subprocess.DEVNULL, cwd="/")
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        left = [tree for tree in in_trash(root) if tree in trees]
        freed += held - (await held_bytes(left) if left else 0)
        if status or left:
            break
    return freed


def _descend(stack: contextlib.ExitStack, root: Path, folders: Sequence[str]) -> int:
    """A descriptor of a folder below the root, with no link on the way there."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    for name in folders:
        descriptor = os.open(name, _DIRECTORY, dir_fd=descriptor)
        stack.callback(os.close, descriptor)
    return descriptor


def _why_not(error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return "it is a link or a file, and not a folder of ours"
    if error.errno == errno.EXDEV:
        return "it lies on another disk than the state directory"
    return f"it cannot be moved: {error.strerror}"
