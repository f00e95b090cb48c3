"""Looking at a living run: whether it is past a limit that the kernel cannot end it for.

*Disk.* There are no quotas without set-up, so the folders that a run may write are measured: by the system's `du`,
which counts blocks (a sparse file costs what it holds) and each inode once, and walks any depth. A measure takes time,
so the next one comes after twenty times what this one took, or at once when the disk's free space fell by what the run
had left. What was deleted and is still open is in no folder; the disk's free space tells of it, and that has a floor of
its own, whoever filled the rest.

*Processes.* A fork that is refused ends nothing: a bomb goes on trying for ever. A run that has all the processes it
may have, or is refused more, at every look for some seconds is a bomb; a build that touches its limit is not.

*Memory.* The kernel ends one process at a time. A run in which it had to do so again and again is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crewcap.workspaces import Limits
from crewcap.workspaces.sandbox.cgroups import Cage
from crewcap.workspaces.sandbox.limits import can_measure
from crewcap.workspaces.sandbox.outer import hold, until_gone

LOOK_S = 0.25
_SHARE = 20  # measuring may take one part in so many of the time
_MEASURE_S = 1.0  # between two measures, at the least
_LONGEST_MEASURE_S = 120.0
_COUNT_EVERY = 3  # looks; counting without a control group reads all of /proc
_FULL_LOOKS = 10
_ENDED_FOR_MEMORY = 20
_BLOCK = 1_024
_ENDLESS = 1 << 62


@dataclass(kw_only=True)
class Watch:
    """One run's."""

    limits: Limits
    folders: Sequence[Path]  # that it may write
    cage: Callable[[], Cage | None]
    tasks: Callable[[], int] | None = None  # how many it has, where no cage counts them
    most_tasks: int = 0
    look_s: float = LOOK_S
    free: Callable[[Sequence[Path]], int] = lambda folders: free_bytes(folders)  # noqa: PLW0108  (it stands below)
    _floor: int = 0
    _held: int = 0  # bytes in its folders, when last measured
    _free_then: int = 0
    _next: float = 0.0
    _refused: int = 0
    _full_looks: int = 0
    _looks: int = field(default=0)

    async def until_exceeded(self) -> str:
        """The name of the first limit that it is past."""
        free = self.free(self.folders)
        self._floor, self._free_then = min(self.limits.free_bytes, free // 2), free
        self._next = time.monotonic() + _MEASURE_S
        measuring = asyncio.ensure_future(self._until_too_much())
        try:
            while not measuring.done():
                await asyncio.wait({measuring}, timeout=self.look_s)
                if name := self._look():
                    return name
            return measuring.result()
        finally:
            measuring.cancel()

    def _look(self) -> str:
        """What costs next to nothing to see."""
        self._looks += 1
        if self.free(self.folders) < self._floor:
            return "free disk space"
        cage = self.cage()
        if cage is not None and cage.ended_for_memory() >= _ENDED_FOR_MEMORY:
            return "memory"
        return "processes" if self._is_bomb(cage) else ""

    def _is_bomb(self, cage: Cage | None) -> bool:
        if cage is not None and "processes" in cage.enforced:
            refused = cage.refused_processes()
            is_full = refused > self._refused or cage.tasks() >= (self.limits.processes or 0) - 1
            self._refused, self._full_looks = refused, self._full_looks + 1 if is_full else 0
        elif self.tasks is not None and self._looks % _COUNT_EVERY == 0:
            is_full = self.tasks() >= self.most_tasks - 1
            self._full_looks = self._full_looks + _COUNT_EVERY if is_full else 0
        return self._full_looks >= _FULL_LOOKS

    async def _until_too_much(self) -> str:
        """Measure whenever it is time."""
        most = self.limits.disk_bytes
        if most is None or not self.folders or not can_measure():
            await asyncio.get_running_loop().create_future()  # nothing to measure: never
        while True:
            await asyncio.sleep(self.look_s)
            free = self.free(self.folders)
            if time.monotonic() < self._next and self._free_then - free < (most or 0) - self._held:
                continue
            began = time.monotonic()
            self._held, self._free_then = await held_bytes(self.folders), free
            self._next = time.monotonic() + max(_MEASURE_S, _SHARE * (time.monotonic() - began))
            if self._held > (most or 0):
                return "disk"


def free_bytes(folders: Sequence[Path]) -> int:
    """Free bytes on the disk where these folders lie; without any, more than anybody asks for."""
    for folder in folders:
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            return disk.f_bavail * disk.f_frsize
    return _ENDLESS


async def held_bytes(folders: Sequence[Path]) -> int:
    """What these folders hold together on the disk; what cannot be read is not counted."""
    try:
        process = subprocess.Popen(  # noqa: S603, ASYNC220  (our words; blocks for a fork)
            ["du", "-skx", "--", *map(str, folders)],  # noqa: S607  (the system's own)
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return 0
    handle = hold(process.pid)
    with process:
        try:
            if handle is not None:
                await until_gone(handle, _LONGEST_MEASURE_S)
        finally:
            process.kill()
            if handle is not None:
                os.close(handle)
        said = process.stdout.read() if process.stdout else b""
    rows = (line.split(b"\t")[0] for line in said.splitlines())
    return sum(int(number) * _BLOCK for number in rows if number.isdigit())
