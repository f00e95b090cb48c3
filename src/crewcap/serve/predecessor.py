"""The children of a `crewcap serve` that was killed: they know it and end by themselves; we wait until they have.

Two workers of one home would start runs twice, and two gateways cannot have one address. A process is theirs only if
its start time is the one that was noted: a pid alone may be anybody's by now.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress

from crewcap.runner.ownership import start_time
from crewcap.runner.worker.presence import Presence

log = logging.getLogger(__name__)


async def make_way(before: Presence, *, limit_s: float) -> None:
    """Wait for its worker, which pauses its runs, then for its gateway; kill what is still there after that."""
    until = asyncio.get_running_loop().time() + limit_s
    await _gone("worker", before.worker_pid, before.worker_started, until=until, ask=False)
    await _gone("gateway", before.gateway_pid, before.gateway_started, until=until, ask=True)


async def _gone(name: str, pid: int, started: str, *, until: float, ask: bool) -> None:
    """One that waits for others to leave it is asked: nobody else would."""
    try:
        process = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        if not started or start_time(pid) != started:
            return
        log.warning("the %s of the crewcap serve before (process %s) is still ending", name, pid)
        if ask:
            signal.pidfd_send_signal(process, signal.SIGTERM)
        if not await _ended(process, until - asyncio.get_running_loop().time()):
            log.error("it does not end: it is killed")
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            await _ended(process, limit_s=5)
    finally:
        os.close(process)


async def _ended(process: int, limit_s: float) -> bool:
    """Whether it ends in time; the kernel tells."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, over.set)
    try:
        async with asyncio.timeout(max(0, limit_s)):
            await over.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process)
    return True
