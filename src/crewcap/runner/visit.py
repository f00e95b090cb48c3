"""A person inside a run's sandbox: a terminal of its own there where there is one here, else plain streams.

Nothing of our own terminal goes in: the program `workspaces/sandbox/teletype` holds one inside, and we carry keys,
sizes and what is said over pipes. Ctrl-C is a key like any other then; what ends a visit is the end of its command, or
of us.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources

from crewcap.runner.process import Site
from crewcap.workspaces import Child
from crewcap.workspaces.sandbox.interpreter import python
from crewcap.workspaces.sandbox.teletype import HEAD, RESIZED, SIZE, TYPED

_CHUNK = 1 << 16
_MOST_OUTPUT = 1 << 40  # a person who watches is no flood
_ENDERS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


async def visit(site: Site, argv: tuple[str, ...], *, environ: Mapping[str, str], terminal: bool) -> int:
    """Run a command for a person who is there; its exit status, 128 and more where a signal ended it."""
    limits = replace(site.limits, output_bytes=_MOST_OUTPUT)
    words = (*python(), "-c", _program(), *argv) if terminal else argv
    child = await site.sandbox.start(replace(site.command(words, environ=environ), limits=limits), uid=site.uid)
    try:
        with _raw(0) if terminal else contextlib.nullcontext(), _ended_by_signals(child):
            await _carry(child, terminal=terminal)
        status = await child.wait()
    except BaseException:
        await asyncio.shield(child.stop(ask_s=0, term_s=1))
        raise
    return status if status >= 0 else 128 - status


def _program() -> str:
    return resources.files("crewcap.workspaces.sandbox").joinpath("teletype.py").read_text(encoding="utf-8")


async def _carry(child: Child, *, terminal: bool) -> None:
    """Carry what is typed in and what is said out, until nothing more is said."""
    window = _Window(child) if terminal else None
    feeding = asyncio.create_task(_feed(child, window))
    with _resizing(window) if window else contextlib.nullcontext():
        try:
            await asyncio.gather(_pour(child.stdout, 1), _pour(child.stderr, 2))
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


async def _pour(stream: asyncio.StreamReader, descriptor: int) -> None:
    """Write all of a stream; who does not read any more ends nothing but this."""
    while chunk := await stream.read(_CHUNK):
        with contextlib.suppress(BrokenPipeError):
            await asyncio.to_thread(_write, descriptor, chunk)


def _write(descriptor: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(descriptor, chunk) :]


async def _feed(child: Child, window: _Window | None) -> None:
    """Pass on what comes on our stdin, to its end; behind the size that its window had by then."""
    if child.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        while chunk := await _read(0):
            if window:
                window.tell()
            child.stdin.write(_frame(TYPED, chunk) if window else chunk)
            await child.stdin.drain()
        child.stdin.close()


async def _read(descriptor: int) -> bytes:
    """What can be read now. Threads would not let go of a terminal, and the loop cannot wait for plain files."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, _ring, ready)
    except PermissionError:
        return os.read(descriptor, _CHUNK)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _CHUNK)


def _ring(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _frame(kind: bytes, body: bytes) -> bytes:
    return HEAD.pack(kind, len(body)) + body


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Our terminal passes every key on, and is as it was afterwards."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class _Window:
    """The size of our terminal, as far as the one inside has been told."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._told: tuple[int, int] | None = None

    def tell(self) -> None:
        """Tell it where it has changed. A key may overtake the signal that says so."""
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
        stdin = self._child.stdin
        if (rows, columns) != self._told and stdin is not None and not stdin.is_closing():
            stdin.write(_frame(RESIZED, SIZE.pack(rows, columns)))
            self._told = rows, columns


@contextmanager
def _resizing(window: _Window) -> Iterator[None]:
    """The terminal inside has the size of ours, now and whenever that changes."""
    loop = asyncio.get_running_loop()
    window.tell()
    loop.add_signal_handler(signal.SIGWINCH, window.tell)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


@contextmanager
def _ended_by_signals(child: Child) -> Iterator[None]:
    """Who ends us ends the visit, with the same signal: then this waits for its end as ever."""
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[int]] = set()

    def end() -> None:
        ending.add(loop.create_task(child.stop(ask_s=1, term_s=1)))

    for number in _ENDERS:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in _ENDERS:
            loop.remove_signal_handler(number)
