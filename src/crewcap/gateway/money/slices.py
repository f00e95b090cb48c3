"""The final slice of a run's cap: what stays free, so that a run that runs out of money ends in order (MONEY 5).

    size     min(5 % of the cap, 2 x a wrap-up turn); a wrap-up turn is one more turn of the main conversation as it
             was last settled, with the smallest useful answer
    closed   every request of the run leaves it free, its agents' as well; the ledger sees to that
    opened   once, by the main conversation, when no useful form of its next turn fits outside: that turn leaves half
             of the slice free if it can. The run is told, its driver sends the wrap-up message, and from then on the
             main conversation may use all that is left. Its agents may not.

Keys without a run have no slice: nobody could be told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from crewcap.core import holding
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import UnknownPrice
from crewcap.gateway.money.admission import Request
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.stores import HoldOrder

MOST_PERCENT = 5
TURNS = 2
MESSAGE_TOKENS = 2_048  # what a wrap-up turn's prompt is larger than the last one's and its answer
CAP_KEPT_S = 5.0  # a cap may be raised while a run works


@dataclass(slots=True)
class _Run:
    turn: Money | None = None  # what a wrap-up turn can cost at most; None before the first answer
    cap: Money | None = None
    cap_until: float = 0.0
    is_open: bool = False
    rung: asyncio.Event = field(default_factory=asyncio.Event)  # opened, or over


class Slices:
    """The slices of one gateway's runs."""

    def __init__(self, cap_of: Callable[[VirtualKey], Awaitable[Money | None]]) -> None:
        self._cap_of = cap_of
        self._runs: dict[str, _Run] = {}

    def begin(self, run: str) -> None:
        """A run's agent starts, with whatever cap it has now."""
        self.end(run)
        self._runs[run] = _Run()

    def end(self, run: str) -> None:
        """It is over: whoever waits for the slice waits no more."""
        over = self._runs.pop(run, None)
        if over is not None:
            over.rung.set()

    def is_open(self, run: str) -> bool:
        """Whether a run is served from its slice."""
        return run in self._runs and self._runs[run].is_open

    async def opened(self, run: str) -> bool:
        """Wait until a run's slice is opened; False when the run is over before, or is not known here."""
        found = self._runs.get(run)
        if found is None:
            return False
        await found.rung.wait()
        return found.is_open

    async def kept(self, request: Request) -> Request:
        """The request with what it must leave free, and what it may come down to."""
        run = self._runs.get(request.key.run)
        if run is None or (run.is_open and not request.agent):
            return request
        cap = await self._cap(run, request.key)
        if cap is None:
            return request
        turn = run.turn or _wrap_up(request, request.prompt_bound)
        size = min(cap.nano * MOST_PERCENT // 100, TURNS * turn.nano)
        return replace(request, keeps=(Money(size),) if request.agent else (Money(size), Money(size // 2), ZERO))

    def served(self, request: Request, order: HoldOrder) -> None:
        """A hold was granted; whether that took from the slice is seen by what it leaves free."""
        run = self._runs.get(request.key.run)
        if run is not None and request.keeps and order.keep < request.keeps[0]:
            run.is_open = True
            run.rung.set()

    def ended(self, ended: Ended) -> None:
        """The main conversation is as large as its last answer left it."""
        request, usage = ended.request, ended.reading.usage
        run = self._runs.get(request.key.run)
        if run is not None and not request.agent and ended.end == "complete" and usage is not None:
            run.turn = _wrap_up(request, usage.prompt + usage.output + MESSAGE_TOKENS)

    def declined(self, declined: Declined) -> None:
        """What was not sent changes nothing."""

    async def _cap(self, run: _Run, key: VirtualKey) -> Money | None:
        now = time.monotonic()
        if now >= run.cap_until:
            run.cap, run.cap_until = await self._cap_of(key), now + CAP_KEPT_S
        return run.cap


def _wrap_up(request: Request, prompt_tokens: int) -> Money:
    """The most that a turn with this prompt and a useful answer can cost."""
    ask = request.ask
    least = holding.least_output(ask, ask.max_output or holding.USEFUL_OUTPUT)
    try:
        return holding.hold_for(ask, request.cards, least, prompt_tokens=prompt_tokens)
    except UnknownPrice:  # it is refused anyway
        return ZERO
