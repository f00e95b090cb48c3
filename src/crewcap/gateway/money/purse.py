"""The gateway's money: holds that are taken, waited for, clamped, refused, shrunk and settled.

The ledger decides; the purse is its asynchronous face and adds what a ledger cannot have: waiting in line. A
settlement that the ledger could not take (disk full, locked) is owed and handed in again at every beat; until
then its hold stays charged, which is the safe side.

An early release is written when somebody is short of money, or after a moment: an answer that ends before that
needs no release of its own, which saves a third of the ledger's work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from crewcap.core.budget import Balance, BootId, Busy, Denied, Granted, HoldId, KeyId, Refused
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.gateway.money.choosing import GiveUp, Rest, Take, Wait, Want, choose
from crewcap.gateway.money.latch import Latches
from crewcap.gateway.money.standing import LOOK_S, Standing
from crewcap.gateway.money.waiting import Line, Waiter
from crewcap.gateway.money.writer import Writer
from crewcap.stores import HoldOrder, Ledger, Settlement

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL_S = 0.2  # other processes settle without telling us


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Money is held: the request may be sent with this output limit."""

    order: HoldOrder  # as it was granted: with the closer bound, if one was needed

    @property
    def output(self) -> int:
        """The output limit that it may be sent with."""
        return self.order.output_limit


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The money is still held by others, or a rate has no room yet; the client may come again."""

    refusal: Refused | Busy | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The client is gone, or the gateway is ending; nothing was sent."""

    reason: str


Outcome = Held | Refused | Denied | TimedOut | Withdrawn


class Purse:
    """One gateway's way to the ledger."""

    def __init__(self, ledger: Ledger, *, wait_s: float, release_s: float) -> None:
        self._ledger = ledger
        self._wait_s = wait_s
        self._release_s = release_s
        self._releases: dict[HoldId, Money] = {}  # early ones that are not written yet
        self._release_timer: asyncio.TimerHandle | None = None
        self._writer = Writer(ledger)
        self._line = Line()
        self._latches = Latches()
        self._standing = Standing(lambda scopes: self.do(ledger.rates, scopes))
        self._bells: dict[int, asyncio.Event] = {}
        self._changes = 0  # rises whenever money may have come back
        self._owed: dict[HoldId, Settlement] = {}
        self._poll: asyncio.TimerHandle | None = None
        self._is_ending = False

    def do(self, call: Callable[..., T], *arguments: object, **named: object) -> asyncio.Future[T]:
        """Any other call of the ledger, on its thread, in order."""
        return self._writer.do(call, *arguments, **named)

    def time_rounds(self, took: Callable[[float], None]) -> None:
        """Tell, on the ledger's thread, how long each of its rounds took, in seconds."""
        self._writer.took = took

    def go_by(self, *, wait_s: float, release_s: float) -> None:
        """Other times, for requests that come from now on."""
        self._wait_s, self._release_s = wait_s, release_s

    async def start(self) -> BootId:
        """Take a boot; what dead gateways held becomes uncertain."""
        boot = await self.do(self._ledger.start_boot)
        await self.do(self._ledger.beat)
        return boot

    async def beat(self) -> None:
        """Write the ledger's marker and hand in again what is owed."""
        try:
            await self.do(self._ledger.beat)  # whatever was settled before has been told by now
        finally:
            for settlement in tuple(self._owed.values()):
                self.settle(settlement)
            await self.do(_nothing)

    def send_home(self) -> None:
        """Answer everybody in the line: the gateway is ending."""
        self._is_ending = True
        self._wake()

    async def stop(self, boot: BootId) -> None:
        """End the boot; what is still held becomes uncertain."""
        for timer in (self._poll, self._release_timer):
            if timer is not None:
                timer.cancel()
        try:
            await self.beat()
        finally:
            try:
                await self.do(self._ledger.stop_boot, boot)
            finally:
                await self._writer.stop()

    @property
    def waiting(self) -> int:
        """How many requests wait for money."""
        return len(self._line)

    def place(self, key: VirtualKey) -> Waiter:
        """A place in the line, by the time of coming in."""
        return self._line.ticket(key.run or key.id, frozenset(key.scopes))

    async def reserve(self, want: Want, *, place: Waiter, is_gone: Callable[[], bool]) -> Outcome:
        """Hold money for a request: all of it, or less, now or when it is this request's turn."""
        by_bytes = want.least
        if latched := await self._latched(want.key.id, by_bytes):
            return latched
        try:
            outcome = await self._reserve(want, place, is_gone)
        finally:
            self._line.leave(place)
            self._bells.pop(place.ticket, None)
            if self._line:
                self._wake()
        if isinstance(outcome, Refused):
            self._latches.refused(want.key.id, outcome, by_bytes=by_bytes)
        return outcome

    def shrink(self, hold: HoldId, to: Money) -> None:
        """Early release; off the request's path."""
        self._releases[hold] = to
        if self._line:
            self._release()
        elif self._release_timer is None:
            self._release_timer = asyncio.get_running_loop().call_later(self._release_s, self._release)

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        """Close a hold. The future is for whoever wants to know; nobody needs to wait."""
        self._releases.pop(settlement.hold, None)
        self._owed[settlement.hold] = settlement
        future = self._writer.settle(settlement, quietly=not self._line)
        future.add_done_callback(lambda done: self._settled(settlement, done))
        return future

    def note_refusal(self, key: KeyId, *, model: str, needed: Money, message: str) -> None:
        """Remember a refusal for the report."""
        future = self.do(self._ledger.note_refusal, key, model=model, needed=needed, message=message)
        future.add_done_callback(_log_failure)

    async def _reserve(self, want: Want, place: Waiter, is_gone: Callable[[], bool]) -> Outcome:
        """The loop of one request: try, and wait for its turn, until something is final."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_s
        self._latches.saw(want.key.id, want.least)
        step: Take | Wait | Rest | GiveUp | Denied | None = Take(want.full) if self._line.may_try(place) else None
        while True:
            seen = self._changes
            if reason := self._withdrawn(is_gone):
                return Withdrawn(reason)
            match step:
                case Take(output):
                    order = want.order(output)
                    decision = await self._writer.reserve(order)
                    if isinstance(decision, Granted):
                        self._line.granted(place)
                        return Held(order=order)
                    want, step = await self._after(want, step, decision)
                case Rest(busy, again):
                    self._line.join(place, short_of=busy.scope)
                    waited_s = await self._rest(place, busy, deadline, seen, is_gone)
                    if loop.time() >= deadline:
                        return TimedOut(replace(busy, retry_after_s=max(0.0, busy.retry_after_s - waited_s)))
                    step = again if self._line.may_try(place) else None
                case GiveUp(refusal):
                    return refusal
                case Denied():
                    return step
                case _:
                    self._line.join(place, short_of=step.refusal.binding.scope if step else None)
                    if not await self._turn(place, deadline, seen):
                        return TimedOut(step.refusal if step else None)
                    balances = await self.do(self._ledger.balances, want.key.id)
                    want, step = await self._refined(want, balances)

    async def _after(
        self, want: Want, asked: Take, decision: Refused | Denied | Busy
    ) -> tuple[Want, Take | Wait | Rest | GiveUp | Denied]:
        """What to do after the ledger said no; tokens of a window that do not suffice may suffice a closer bound."""
        match decision:
            case Busy():
                return want, Rest(decision, asked)
            case Denied(kind="tokens") if want.refine is not None:
                closer = await want.refine()
                return closer, Take(closer.full)
            case Denied():
                return want, decision
        return (want, asked) if self._release() else await self._refined(want, decision)

    async def _refined(self, want: Want, found: Refused | tuple[Balance, ...]) -> tuple[Want, Take | Wait | GiveUp]:
        """The next step; a request that does not fit as it is gets its closer bounds first, then the final slice."""
        balances = found.balances if isinstance(found, Refused) else found
        while (step := choose(want, balances)) != Take(want.full):
            if want.refine is not None:
                want = await want.refine()
                self._latches.saw(want.key.id, want.least)
            elif isinstance(step, GiveUp) and want.deeper is not None:
                want = want.deeper()
            else:
                break
        return want, step

    async def _latched(self, key: KeyId, by_bytes: Money) -> Refused | None:
        """The refusal of a key that can never pay again, if it still cannot."""
        if not self._latches.may_hold(key, by_bytes=by_bytes):
            return None
        return self._latches.holds(key, await self.do(self._ledger.balances, key), by_bytes=by_bytes)

    async def _turn(self, place: Waiter, deadline: float, seen: int) -> bool:
        """Wait until it may be this one's turn; False when its time is over."""
        if seen != self._changes and self._line.may_try(place):
            return True
        bell = self._bells[place.ticket] = asyncio.Event()
        self._keep_polling()
        try:
            async with asyncio.timeout_at(deadline):
                await bell.wait()
        except TimeoutError:
            return False
        return True

    async def _rest(self, place: Waiter, busy: Busy, deadline: float, seen: int, is_gone: Callable[[], bool]) -> float:
        """Wait for a rate's time, its change, or the end of one of those in flight; the seconds that it took.

        Now and then whoever waits looks whether its client is still there, and the rate still what it was.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = min(deadline, began + busy.retry_after_s)
        if busy.kind not in {"tpm", "rpm"}:
            await self._turn(place, until, seen)
            return loop.time() - began
        while (rest_s := until - loop.time()) > 0 and not self._withdrawn(is_gone):
            await asyncio.sleep(min(rest_s, LOOK_S))
            if rest_s > LOOK_S and not await self._standing.stands(busy):
                break
        return loop.time() - began

    def _withdrawn(self, is_gone: Callable[[], bool]) -> str:
        if self._is_ending:
            return "the gateway is ending"
        return "the client left" if is_gone() else ""

    def _release(self) -> bool:
        """Write every early release that waits; whether there was one."""
        if self._release_timer is not None:
            self._release_timer.cancel()
            self._release_timer = None
        releases, self._releases = self._releases, {}
        for hold, to in releases.items():
            self.do(self._ledger.shrink, hold, to).add_done_callback(self._shrunk)
        return bool(releases)

    def _wake(self) -> None:
        """Money may have come back: whoever may try is told, oldest first."""
        self._changes += 1
        for waiter in self._line.waiting() if self._is_ending else self._line.ready():
            if bell := self._bells.get(waiter.ticket):
                bell.set()

    def _keep_polling(self) -> None:
        if self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(POLL_S, self._polled)

    def _polled(self) -> None:
        self._poll = None
        if self._line:
            self._wake()
            self._keep_polling()

    def _settled(self, settlement: Settlement, done: asyncio.Future[bool]) -> None:
        if done.cancelled() or done.exception() is not None:
            log.error("a settlement could not be booked and will be handed in again: hold %s", settlement.hold)
            return
        self._owed.pop(settlement.hold, None)
        self._wake()

    def _shrunk(self, done: asyncio.Future[None]) -> None:
        _log_failure(done)
        self._wake()


def _nothing() -> None:
    """A job that is done when all before it are."""


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("the ledger refused a note or an early release: %s", error)
