"""Our own clocks on one exchange, at the price of one assignment a chunk.

Agents and providers both hang (facts: a CLI waits for ever on a silent stream). Three limits: the provider is
silent for too long, the client does not take what is offered, the client is gone and the answer was read on for
long enough. One timer is armed at the earliest of them and armed again when something happened meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from crewcap.gateway.policy import Policy

NEVER = float("inf")


class Watch:
    """The limits of one exchange; `expire` is told what ran out: "provider", "client" or "drain"."""

    __slots__ = (
        "_drain_until",
        "_ends_at",
        "_expire",
        "_idle_s",
        "_is_gone",
        "_loop",
        "_pinged",
        "_policy",
        "_timer",
        "last",
        "ping",
        "tail",
        "writing",
    )

    def __init__(
        self, policy: Policy, *, idle_s: float, expire: Callable[[str], None], is_gone: Callable[[], bool]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._policy = policy
        self._idle_s = idle_s
        self._expire = expire
        self._is_gone = is_gone
        self.last = self._loop.time()  # when a chunk last moved
        self.writing = False  # whether it is the client that is waited for
        self.tail = b""  # what the client was sent last
        self.ping: Callable[[], None] | None = None  # tells a client that its answer is still waited for
        self._pinged = self.last
        self._ends_at = self.last + policy.longest_s
        self._drain_until = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def moved(self) -> None:
        """Something came."""
        self.last = self._loop.time()

    def drain(self) -> None:
        """The client is gone: from now on the answer is read for the books alone, and not for ever."""
        self._drain_until = min(self._drain_until, self._loop.time() + self._policy.drain_s)
        self.writing = False
        self._arm()

    def hurry(self, drain_s: float) -> None:
        """The gateway is ending: whatever happens, no longer than this."""
        self._ends_at = min(self._ends_at, self._loop.time() + drain_s)
        self._arm()

    def stop(self) -> None:
        """It is over."""
        self.ping = None
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _keep_alive(self, now: float) -> None:
        if self.ping is not None and now - max(self.last, self._pinged) >= self._policy.ping_s:
            self._pinged = now
            self.ping()

    def _due(self) -> float:
        return min(self.last + self._idle_s, self._ends_at, self._drain_until)

    def _arm(self) -> None:
        self._cancel()
        self._timer = self._loop.call_at(min(self._due(), self._loop.time() + self._policy.look_s), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if now < self._due():
            if self._drain_until == NEVER and self._is_gone():
                self.drain()
            else:
                self._keep_alive(now)
                self._arm()
        elif now >= self._drain_until:
            self._expire("drain")
        elif self.writing and now < self._ends_at:
            self.last = now
            self._expire("client")
            self._arm()
        else:
            self._expire("provider")
