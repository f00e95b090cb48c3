"""Whether a worker's event loop goes round, told by the loop itself.

A process may be alive and stuck: stopped by a signal, or in a call that never comes back. Nobody but its own loop knows
that it works, so the loop says so now and then, and a worker whose loop has said nothing for long is killed by its
supervisor and started again. Where workers share a database a thread gives heartbeats (`worker/fencing`); those are
passed on to the supervisor only as long as the loop goes round, too: the heart of a stuck worker beats.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_A_WORD = 12  # words in the time that it may stand still


class Pulse:
    """One worker's loop."""

    def __init__(self, *, stuck_s: float) -> None:
        self._stuck_s = stuck_s
        self._last = time.monotonic()  # which stands still where the machine does

    @property
    def is_going(self) -> bool:
        """Whether it went round lately; any thread may ask."""
        return time.monotonic() - self._last <= self._stuck_s

    async def keep(self, say: Callable[[], None] = lambda: None) -> None:
        """Go round for ever, and say so each time."""
        while True:
            self._last = time.monotonic()
            say()
            await asyncio.sleep(self._stuck_s / _A_WORD)
