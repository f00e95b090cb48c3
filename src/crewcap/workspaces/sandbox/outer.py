"""The outer process of a sandbox: started on the event loop's own thread, with streams that count what they carry.

Event loops have ways of their own to start a process, and they differ where it matters here: one leaves descriptors
of ours open in the child, another collects the status in a thread. So this is the standard library's `Popen`, pipes,
and a handle on the process (a pidfd) that the loop can wait for and that never means another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from asyncio.streams import StreamReaderProtocol
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

_LINE_BYTES = 8 << 20  # what a reader buffers before the process has to wait
_STOPPED_S, _LOOK_S = 0.5, 0.000_2


class Outer:
    """A process with three pipes; use `start`."""

    def __init__(self, process: subprocess.Popen[bytes], allowance: Allowance) -> None:
        self.pid = process.pid
        self.handle = hold(process.pid)
        self.stdin: asyncio.StreamWriter
        self.stdout: asyncio.StreamReader
        self.stderr: asyncio.StreamReader
        self._process = process
        self._allowance = allowance

    @classmethod
    async def start(cls, program: Sequence[str], *, passed: Sequence[int], allowance: Allowance) -> Outer:
        """Start it with an empty environment and exactly these descriptors; blocks for a fork."""
        process = subprocess.Popen(  # noqa: S603, ASYNC220  (our words; it must be this thread's child)
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},  # bubblewrap stays as a process inside: what is in its environment can be read there
            cwd="/",
            pass_fds=passed,
            start_new_session=True,
        )
        outer = cls(process, allowance)
        try:
            await outer._connect()
        except BaseException:
            outer.end_with_children()
            raise
        return outer

    def when_flooded(self, act: Callable[[], None]) -> None:
        """What to do when it says more than it may."""
        self._allowance.when_used_up = act

    def end_with_children(self) -> None:
        """End it before it has become what it shall be, and the processes that it has started so far.

        Until then nothing ties a child of bubblewrap's to its parent: one that waits for a word of a parent that was
        killed would wait for ever. So the parent is stopped, which starts nothing any more, and its children go first.
        """
        pid = self._process.pid
        if self._process.poll() is not None or not send(self.handle, signal.SIGSTOP):
            return
        end = time.monotonic() + _STOPPED_S
        while _state(pid) not in "TZX" and time.monotonic() < end:
            time.sleep(_LOOK_S)
        for child in _children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        send(self.handle, signal.SIGKILL)

    async def ended(self) -> int:
        """Its exit status, once it has ended."""
        if self.handle is not None:
            await until_readable(self.handle)
        return self._process.wait()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        process = self._process
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018, S101  (asked for above)
        transport, protocol = await loop.connect_write_pipe(
            lambda: StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop), process.stdin
        )
        self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        self.stdout = await self._read(process.stdout)
        self.stderr = await self._read(process.stderr)

    async def _read(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LINE_BYTES, loop=loop)
        await loop.connect_read_pipe(lambda: _Counting(reader, loop, self._allowance), pipe)
        return reader


class Allowance:
    """How much a process may still say, on all its streams together."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self.when_used_up: Callable[[], None] = lambda: None

    def take(self, asked: int) -> int:
        """As much of it as is left; asking for more ends the process."""
        granted = min(asked, max(self._left, 0))
        self._left -= asked
        if self._left < 0:
            self.when_used_up()
        return granted


class _Counting(StreamReaderProtocol):
    """A reader's protocol that passes on what the allowance has left."""

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop, allowance: Allowance) -> None:
        super().__init__(reader, loop=loop)
        self._allowance = allowance

    def data_received(self, data: bytes) -> None:
        """Count, then pass on."""
        if granted := self._allowance.take(len(data)):
            super().data_received(data[:granted])


def _state(pid: int) -> str:
    """The letter that the kernel has for what a process does; X where it is gone."""
    fields = stat_of(pid)
    return fields[0] if fields else "X"


def _children(pid: int) -> list[int]:
    """Processes whose parent this is."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [number for number in numbers if stat_of(number)[1:2] == [str(pid)]]


def stat_of(pid: int) -> list[str]:
    """What the kernel says of a process: state, parent and what follows; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def hold(pid: int) -> int | None:
    """A handle on a process, which stays with it whoever gets its number afterwards; None where it is gone."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def send(handle: int | None, number: signal.Signals) -> bool:
    """Signal a process that we hold; whether it was still there."""
    if handle is None:
        return False
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    return True


async def until_gone(handle: int, limit_s: float) -> None:
    """Wait until a process that we hold has ended, and with it a namespace whose first one it is."""
    with contextlib.suppress(TimeoutError):  # uninterruptible in the kernel; it cannot come back to the run
        await asyncio.wait_for(until_readable(handle), limit_s)


async def until_readable(descriptor: int) -> None:
    """Wait until there is something to read; for a handle of a process, until it has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, _settle, ready)
        await ready
    finally:
        loop.remove_reader(descriptor)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
