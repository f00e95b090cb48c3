"""One child process: what it is started with, its one line that says it is ready, and how it ends.

A child has a session of its own, so that Ctrl-C in a terminal is the supervisor's alone. Its standard input stays open
for as long as the supervisor lives: at the end of it a child knows that nobody watches over it any more. Its first line
on standard output is one JSON object: what it is, or `{"error": {"code", "message", "help"}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crewcap.errors import InternalError, error_of
from crewcap.runner.ownership import start_time

LONGEST_LINE = 1 << 20
_GRACE_S = 0.2
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child is started with."""

    name: str  # "gateway", "worker"
    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)  # without a provider's key
    hand_over: Callable[[int], None]  # writes what it is told into its standard input


class Child:
    """A child that was started."""

    def __init__(self, program: Program, process: Process, stdin: int) -> None:
        self.name = program.name
        self.pid = process.pid
        self.started = start_time(process.pid)
        self._process = process
        self._stdin = stdin
        self._drained: asyncio.Task[None] | None = None
        self._is_at_end = False  # it says nothing more
        self.said_error = False  # it did not start, and told why

    @classmethod
    async def start(cls, program: Program) -> Child:
        """Start it and hand over what it is to be told."""
        read, write = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=read,
                stdout=PIPE,
                env=dict(program.environ),
                start_new_session=True,
                limit=LONGEST_LINE,
            )
        except BaseException:
            os.close(write)
            raise
        finally:
            os.close(read)
        with contextlib.suppress(BrokenPipeError):  # one that is gone already is noticed where it is waited for
            await asyncio.to_thread(program.hand_over, write)
        return cls(program, process, write)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def ready(self, limit_s: float) -> Mapping[str, Any]:
        """Its one line; what is wrong is raised as the error that it tells."""
        assert self._process.stdout is not None  # noqa: S101  (it is a pipe)
        try:
            async with asyncio.timeout(limit_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise InternalError(f"the {self.name} did not start within {limit_s:.0f} s") from None
        try:
            said = dict(json.loads(line))
        except (ValueError, TypeError):
            raise InternalError(f"the {self.name} ended while it started", help="its log says why") from None
        if "error" in said:
            self.said_error = True
            raise error_of(said["error"])
        self._drained = asyncio.create_task(self._drain(float(said.get("silent_s", 0))))
        return said

    async def ended(self) -> str:
        """Wait for its end; how it ended, in words."""
        status = await self._process.wait()
        if status < 0:
            return f"was killed by {_signal_name(-status)}"
        return f"ended with status {status}"

    def send(self, number: int) -> None:
        """A signal, to it alone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it and what is left of its group, now."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Leave nothing open of one that has ended."""
        stdin, self._stdin = self._stdin, -1
        if stdin >= 0:
            os.close(stdin)
        if self._drained is not None:
            self._drained.cancel()
            await asyncio.wait([self._drained])

    async def _drain(self, silent_s: float) -> None:
        """What it says after its one line must not stop it; one that says nothing for so long hangs, and is killed."""
        while await self._says_more(silent_s) or await self._says_more(_GRACE_S):  # we may have stood still ourselves
            if self._is_at_end:
                return
        log.error("the %s gave no sign of life for %g s: it is killed", self.name, silent_s)
        self.kill()

    async def _says_more(self, limit_s: float) -> bool:
        assert self._process.stdout is not None  # noqa: S101  (it is a pipe)
        try:
            async with asyncio.timeout(limit_s or None):
                self._is_at_end = not await self._process.stdout.read(1 << 16)
        except TimeoutError:
            return False
        return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
