"""A person inside a run's sandbox: a terminal of its own there where there is one here, else plain streams.

Nothing of our own terminal goes in (`carrying` has the ways to do without). Ctrl-C is a key like any other then; what
ends a visit is the end of its command, or of us.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from crewcap.runner.carrying import Carrier, Lent, Pipes, Teletype
from crewcap.runner.process import Site
from crewcap.workspaces import Child

_MOST_OUTPUT = 1 << 40  # a person who watches is no flood
_ENDERS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


async def visit(site: Site, argv: tuple[str, ...], *, environ: Mapping[str, str], terminal: bool) -> int:
    """Run a command for a person who is there; its exit status, 128 and more where a signal ended it."""
    command = replace(site.command(argv, environ=environ), limits=replace(site.limits, output_bytes=_MOST_OUTPUT))
    carrier: Carrier = Pipes() if not terminal else Teletype() if site.layout.loopback else Lent()
    with contextlib.closing(carrier):
        child = await site.sandbox.start(carrier.prepared(command), uid=site.uid)
        try:
            with _raw(0) if terminal else contextlib.nullcontext(), _ended_by_signals(child):
                await carrier.carry(child)
            status = await child.wait()
        except BaseException:
            await asyncio.shield(child.stop(ask_s=0, term_s=1))
            raise
    return status if status >= 0 else 128 - status


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Our terminal passes every key on, and is as it was afterwards."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


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
