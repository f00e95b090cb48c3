"""Three ways to carry what a person types into a sandbox, and what is said in there out again.

    Pipes      no terminal here: plain streams
    Teletype   a program of ours inside holds a terminal of the sandbox's own, and hears of keys and sizes over a pipe
    Lent       a sandbox that has no terminals of its own (Landlock, unconfined) gets the far end of a new one of ours

The third is open before the walls are up: inside nobody may open a terminal by its name, as one of this user's own
shells could be meant.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from typing import Protocol

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Child, Confined
from crewcap.workspaces.sandbox.interpreter import python
from crewcap.workspaces.sandbox.teletype import HEAD, RESIZED, SIZE, TYPED

_CHUNK = 1 << 16

Size = tuple[int, int]  # rows, columns


class Carrier(Protocol):
    """One of them, for one command."""

    def prepared(self, command: Confined) -> Confined:
        """The command as it must be started."""
        ...

    async def carry(self, child: Child) -> None:
        """Carry both ways, until nothing more is said."""
        ...

    def close(self) -> None:
        """Let go of what is ours."""
        ...


class Pipes:
    """Plain streams."""

    def prepared(self, command: Confined) -> Confined:
        """As it is."""
        return command

    async def carry(self, child: Child) -> None:
        """Our stdin to its end; its stdout and stderr to ours."""
        async with _beside(_feed(lambda chunk: _say(child, chunk), lambda: _close(child))):
            await _pour_both(child)

    def close(self) -> None:
        """There is nothing."""


class Teletype:
    """Frames over pipes, to the program that holds a terminal inside."""

    def prepared(self, command: Confined) -> Confined:
        """Behind that program."""
        program = resources.files("crewcap.workspaces.sandbox").joinpath("teletype.py").read_text(encoding="utf-8")
        return replace(command, argv=(*python(), "-c", program, *command.argv))

    async def carry(self, child: Child) -> None:
        """Keys and sizes in; what its terminal says out."""
        window = _Window(lambda size: _write_size(child, size))

        async def typed(chunk: bytes) -> None:
            window.tell()
            await _say(child, _frame(TYPED, chunk))

        with window.followed():
            async with _beside(_feed(typed, lambda: _close(child))):
                await _pour_both(child)

    def close(self) -> None:
        """There is nothing."""


class Lent:
    """A new terminal of this machine's, of which the command has the one end and nobody but us the other."""

    def __init__(self) -> None:
        try:
            self._ours, self._theirs = os.openpty()
        except OSError as error:
            raise UnsafeEnvironment(
                f"this machine gives no terminal: {error.strerror}",
                help="crewcap shell RUN -- COMMAND, or commands on its stdin, need none",
            ) from None
        os.set_blocking(self._ours, False)

    def prepared(self, command: Confined) -> Confined:
        """With its end of it."""
        return replace(command, terminal=self._theirs)

    async def carry(self, child: Child) -> None:
        """Keys and sizes in; what stands on it out, until nobody has it any more."""
        self._let_go()
        window = _Window(lambda size: _resize(self._ours, size))

        async def typed(chunk: bytes) -> None:
            window.tell()
            await _type(self._ours, chunk)

        async def hang_up() -> None:
            await child.stop(ask_s=0, term_s=1)

        with window.followed():
            async with _beside(_feed(typed, hang_up)):
                while chunk := await _shown(self._ours):
                    await asyncio.to_thread(_write, 1, chunk)

    def close(self) -> None:
        """Hang up."""
        self._let_go()
        os.close(self._ours)

    def _let_go(self) -> None:
        """Of the end that is the command's: else it would never be seen to have ended."""
        if self._theirs >= 0:
            os.close(self._theirs)
            self._theirs = -1


# --- out ---------------------------------------------------------------------------------------------------------


async def _pour_both(child: Child) -> None:
    await asyncio.gather(_pour(child.stdout, 1), _pour(child.stderr, 2))


async def _pour(stream: asyncio.StreamReader, descriptor: int) -> None:
    """Write all of a stream; who does not read any more ends nothing but this."""
    while chunk := await stream.read(_CHUNK):
        await asyncio.to_thread(_write, descriptor, chunk)


def _write(descriptor: int, chunk: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        while chunk:
            chunk = chunk[os.write(descriptor, chunk) :]


async def _shown(terminal: int) -> bytes:
    """What stands on it next; nothing where nobody has its other end any more."""
    try:
        return await _read(terminal)
    except OSError:
        return b""


# --- in ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _beside(feeding: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Go on with it for as long as the block lasts."""
    task = asyncio.create_task(feeding)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _feed(typed: Callable[[bytes], Awaitable[None]], ended: Callable[[], Awaitable[None]]) -> None:
    """Pass on what comes on our stdin, and that it ended."""
    with contextlib.suppress(ConnectionError):
        while chunk := await _read(0):
            await typed(chunk)
        await ended()


async def _say(child: Child, chunk: bytes) -> None:
    if child.stdin is not None:
        child.stdin.write(chunk)
        await child.stdin.drain()


async def _close(child: Child) -> None:
    if child.stdin is not None:
        child.stdin.close()


async def _type(terminal: int, chunk: bytes) -> None:
    """Type it, as fast as it is read in there."""
    loop = asyncio.get_running_loop()
    while chunk:
        try:
            chunk = chunk[os.write(terminal, chunk) :]
        except BlockingIOError:
            await _until(lambda ring: loop.add_writer(terminal, ring), lambda: loop.remove_writer(terminal))


async def _read(descriptor: int) -> bytes:
    """What can be read now. Threads would not let go of a terminal, and the loop cannot wait for plain files."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(PermissionError):
        await _until(lambda ring: loop.add_reader(descriptor, ring), lambda: loop.remove_reader(descriptor))
    return os.read(descriptor, _CHUNK)


async def _until(watch: Callable[[Callable[[], None]], None], forget: Callable[[], object]) -> None:
    """Wait until the loop rings."""
    ready = asyncio.Event()
    watch(ready.set)
    try:
        await ready.wait()
    finally:
        forget()


# --- how large it is ---------------------------------------------------------------------------------------------


class _Window:
    """The size of our terminal, as far as the one inside has been told."""

    def __init__(self, tell: Callable[[Size], None]) -> None:
        self._tell = tell
        self._told: Size | None = None

    def tell(self) -> None:
        """Tell it where it has changed. A key may overtake the signal that says so."""
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
        if (rows, columns) != self._told:
            self._tell((rows, columns))
            self._told = rows, columns

    @contextmanager
    def followed(self) -> Iterator[None]:
        """The terminal inside has the size of ours, now and whenever that changes."""
        loop = asyncio.get_running_loop()
        self.tell()
        loop.add_signal_handler(signal.SIGWINCH, self.tell)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)


def _frame(kind: bytes, body: bytes) -> bytes:
    return HEAD.pack(kind, len(body)) + body


def _write_size(child: Child, size: Size) -> None:
    if child.stdin is not None and not child.stdin.is_closing():
        child.stdin.write(_frame(RESIZED, SIZE.pack(*size)))


def _resize(terminal: int, size: Size) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
