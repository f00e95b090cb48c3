"""A user id of its own for each living run, where crewcap runs as root; and the folders that go with it.

Numbers from 61000 on belong to no person and, up to 61183, to no service either (systemd keeps 61184 and up for
itself), and they exist in containers, which often have 65,536 users only. A number may be used again once the run that
had it has ended: what lies on disk of an older run is not in the newer one's view.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import UnsafeEnvironment

FIRST, LAST = 61_000, 61_183
_MACHINE = Path("/run/crewcap/uids")  # one place for all homes: the end of a run ends everything of its user


@dataclass(frozen=True, slots=True)
class Lease:
    """A user id that nobody else gets until `release`, or until the process that holds it ends."""

    uid: int
    descriptor: int = -1

    def release(self) -> None:
        """Give it back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


def is_root() -> bool:
    """Whether runs can have users of their own."""
    return os.geteuid() == 0


def no_users() -> str:
    """Why root has nobody to run an agent as; empty = it has. Some containers know no user but root."""
    rows = (line.split() for line in Path("/proc/self/uid_map").read_text("ascii").splitlines())
    if not is_root() or any(int(first) <= FIRST and int(first) + int(count) > LAST for first, _, count in rows):
        return ""
    return f"this container knows no user {FIRST}, and agents never run as root: give it more user ids"


def have_own() -> bool:
    """Whether runs do have users of their own: no living process is that user's when it is leased."""
    return is_root() and not no_users()


def lease(folder: Path) -> Lease:
    """A free user id; locks lie in `folder` where the machine has no place for them. A plain user has only itself."""
    if not have_own():
        return Lease(os.geteuid())
    folder = _locks(folder)
    busy = _users_with_processes()
    for uid in range(FIRST, LAST + 1):
        if uid in busy:
            continue
        descriptor = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        return Lease(uid, descriptor)
    raise UnsafeEnvironment(
        f"all {LAST - FIRST + 1} user ids for runs ({FIRST} to {LAST}) are taken",
        help="wait for a run to end; `crewcap runs` lists them",
    )


@contextlib.contextmanager
def claim(uid: int, folder: Path = _MACHINE) -> Iterator[bool]:
    """Whether no living run has this user; while this lasts, none gets it."""
    try:
        descriptor = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False  # its locks lie elsewhere: nobody can tell
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_free = True
    except OSError:
        is_free = False
    try:
        yield is_free
    finally:
        os.close(descriptor)


def _locks(folder: Path) -> Path:
    """Where the locks lie, made for root alone."""
    for place in (_MACHINE, folder):
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    raise UnsafeEnvironment(f"neither {_MACHINE} nor {folder} can be written", help="make one of them writable")


def give(tree: Path, uid: int) -> None:
    """Make a whole tree the run's own; links themselves are given, never what they point to.

    The system's program does it: it walks any depth, where the standard library's walk ends at about a thousand.
    """
    words = ["chown", "-hR", f"{uid}:{uid}", "--", str(tree)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603  (our words)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UnsafeEnvironment(f"{tree} cannot be given to user {uid}: {said[-1] if said else done.returncode}")


def closed_to(uid: int, path: Path) -> Path | None:
    """The first folder on the way to `path` that this user may not pass through."""
    for folder in reversed(path.resolve().parents):
        info = folder.stat()
        bit = 0o100 if info.st_uid == uid else 0o010 if info.st_gid == uid else 0o001
        if not info.st_mode & bit:
            return folder
    return None


def _users_with_processes() -> Collection[int]:
    """Owners of everything that runs."""
    owners = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                owners.add(entry.stat().st_uid)
            except OSError:
                continue
    return owners
