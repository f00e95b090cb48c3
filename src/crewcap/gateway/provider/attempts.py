"""Asking a provider again, inside the gateway, so that agents do not: bounded in number, in time and in money.

An attempt may be followed by another one only while the client has seen nothing of an answer:

    no connection; 408, 429, 5xx, 529, a flex tier without room   unbilled: its hold was released
    the body was sent and nothing whole came back; the answer     perhaps billed: its hold stays charged as uncertain,
    broke off, or was an error event, before its first event      and there are `unsure_attempts` of these at most

Every attempt has a hold of its own, taken when its turn comes, and an entry of its own in the ledger; where the money
for the next one is not there, the client hears that and why. A request that runs more than one model turn inside the
provider (server tools, MCP) may have acted on the world: once it was perhaps run, it is not sent again.

What a provider says about coming back is obeyed: `retry-after-ms`, `retry-after` in seconds or as a date, Google's
`retryDelay`, and `x-should-retry: false`. Where it says more than there is time for, its answer goes to the client as
it came. Without a word of it the waits double, each somewhere between its half and its whole. A key that keeps failing
waits for its breaker, which is no attempt. Once attempts were made here the client's library is told not to make its
own (`x-should-retry: false`): five times five is twenty-five.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import random

from aiohttp import web

from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.breaker import Breakers, Pass

LONGEST_S = 86_400.0  # whatever a provider names
LATE_S = 1.0  # after a moment that a provider named, so that not everybody comes at once
NO_RETRY = {"x-should-retry": "false"}
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d{1,9})?)s"')
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


class TryAgain(Exception):
    """An attempt ended in a way that another one may mend; the client has seen nothing of it."""

    def __init__(
        self,
        answer: web.Response | Refusal,
        *,
        status: int,
        reason: str,
        retry_after_s: float | None = None,
        is_failure: bool,
        may_be_billed: bool = False,
    ) -> None:
        super().__init__(reason)
        self.answer = answer  # what the client gets where there is no other attempt
        self.status = status  # of the provider's answer; 0 = none
        self.reason = reason
        self.retry_after_s = retry_after_s  # what the provider says; below zero: not to come again
        self.is_failure = is_failure  # the provider's, for its breaker; a limit of ours is none
        self.may_be_billed = may_be_billed


def may_be_mended(status: int) -> bool:
    """Whether a plain error may be another answer the next time."""
    return status in {408, 429} or (status >= 500 and status != 501)


def told_to_wait(headers: Mapping[str, str], body: bytes, *, now: datetime) -> float | None:
    """Seconds until the provider wants to be asked again; None where it does not say, below zero: never."""
    if headers.get("x-should-retry", "").strip().lower() == "false":
        return -1.0
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return min(milliseconds / 1_000, LONGEST_S)
    if (said := headers.get("retry-after", "").strip()) and (seconds := _seconds_until(said, now)) is not None:
        return min(seconds, LONGEST_S)
    delay = _RETRY_DELAY.search(body)
    return min(float(delay[1]), LONGEST_S) if delay else None


def _seconds_until(said: str, now: datetime) -> float | None:
    """`retry-after` in either of its two forms."""
    if (seconds := _number(said)) is not None:
        return seconds
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


def _number(text: str) -> float | None:
    digits = text.strip()
    return float(digits) if _SECONDS.fullmatch(digits) else None


@dataclass(slots=True, kw_only=True)
class Schedule:
    """The attempts of one request: how many there were, and when the next one may be."""

    policy: Policy
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random  # noqa: S311  (from 0 to 1; nobody gains by guessing a wait)
    attempt: int = 1
    unsure: int = 0  # attempts that were perhaps billed
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = self.monotonic() + self.policy.retry_s

    @property
    def left_s(self) -> float:
        """What is left of the time for attempts."""
        return max(0.0, self._deadline - self.monotonic())

    def after(self, failure: TryAgain, *, is_repeatable: bool = True) -> float | None:
        """Seconds to wait before the next attempt; None: there is none."""
        self.unsure += failure.may_be_billed
        if self.attempt >= self.policy.attempts or self.unsure >= self.policy.unsure_attempts:
            return None
        if failure.may_be_billed and not is_repeatable:
            return None
        wait_s = self._wait_s(failure.retry_after_s)
        if wait_s is None or wait_s >= self.left_s:
            return None
        self.attempt += 1
        return wait_s

    def _wait_s(self, said: float | None) -> float | None:
        if said is None:
            whole = min(self.policy.backoff_s * 2.0 ** (self.attempt - 1), self.policy.most_backoff_s)
            return whole * (1 + self.jitter()) / 2
        return None if said < 0 else said + self.jitter() * min(said, LATE_S)


Send = Callable[[int, str, Callable[[], Pass]], Awaitable[web.StreamResponse]]
"""One attempt: its number, what went before it, and leave of the breaker, to be asked for right before it is sent."""


class NotNow(Exception):
    """The breaker opened while this attempt waited for its money; nothing was sent."""


@dataclass(slots=True, kw_only=True)
class Attempts:
    """One request on its way through as many attempts as it takes and may have."""

    provider: str  # its name
    key: str  # its key's name among the breakers
    breakers: Breakers
    ending: asyncio.Event  # of the gateway
    look_s: float  # a client that is sent nothing is looked after this often
    schedule: Schedule
    _has_waited: bool = False  # for the breaker: others were asking in our place

    async def run(self, send: Send, *, is_gone: Callable[[], bool], is_repeatable: bool) -> web.StreamResponse:
        """Send until there is an answer for the client, or no other attempt."""
        failure: TryAgain | None = None
        while True:
            await self._let_out(is_gone, failure)
            try:
                return await self._once(send, failure)
            except NotNow:
                continue
            except TryAgain as ended:
                failure = ended
            wait_s = self.schedule.after(failure, is_repeatable=is_repeatable)
            if wait_s is None:
                return self._give_up(failure)
            await self._pause(wait_s, is_gone)

    async def _once(self, send: Send, before: TryAgain | None) -> web.StreamResponse:
        """One attempt, and what its end tells of the provider."""
        leave: Pass | None = None

        def let_out() -> Pass:
            nonlocal leave
            admitted = self.breakers.admit(self.key)
            if not isinstance(admitted, Pass):
                raise NotNow
            leave = admitted
            return admitted

        try:
            return await send(self.schedule.attempt, before.reason if before else "", let_out)
        except TryAgain as ended:
            if leave is not None and ended.is_failure:
                self.breakers.failed(leave, retry_after_s=ended.retry_after_s)
            raise
        except Refusal as refusal:
            if before is None or leave is not None:
                raise
            if refusal.kind == "turns":  # the run's last request is this one, and it was made
                return self._give_up(before)
            raise _explained(refusal, before) from refusal.__cause__
        finally:
            if leave is not None:
                self.breakers.withdrew(leave)  # says nothing where its end has been told

    async def _let_out(self, is_gone: Callable[[], bool], before: TryAgain | None) -> None:
        """Wait while the key's breaker is open, as long as there is time."""
        while (wait_s := self.breakers.wait_s(self.key)) > 0:
            if wait_s > self.schedule.left_s:
                said = f"provider {self.provider} failed again and again and is left alone for a while"
                refusal = Refusal("provider", said, retry_after_s=math.ceil(wait_s), should_retry=False)
                raise refusal from before
            self._has_waited = True
            await self._pause(wait_s, is_gone)

    async def _pause(self, wait_s: float, is_gone: Callable[[], bool]) -> None:
        await pause(wait_s, ending=self.ending, look_s=self.look_s, is_gone=is_gone)

    def _give_up(self, failure: TryAgain) -> web.Response:
        """The last attempt's answer; the client's library is not to begin where this one ended."""
        is_used_up = self.schedule.attempt > 1 or self._has_waited or not self.schedule.left_s
        if isinstance(failure.answer, Refusal):
            if is_used_up:
                failure.answer.should_retry = False
            raise failure.answer from failure
        if is_used_up:
            failure.answer.headers.update(NO_RETRY)
        return failure.answer


async def pause(wait_s: float, *, ending: asyncio.Event, look_s: float, is_gone: Callable[[], bool]) -> None:
    """Wait without a word to the client; its leaving and the gateway's end are noticed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while (left := until - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(left, look_s)):
                await ending.wait()
        except TimeoutError:
            pass
        if ending.is_set() or is_gone():
            raise Refusal("unavailable", "it was not sent: the client left, or the gateway is ending")


def _explained(refusal: Refusal, before: TryAgain) -> Refusal:
    """Money that is not there for another attempt: the client hears what went before it."""
    if refusal.kind not in {"budget", "wait"}:
        return refusal
    billed = ", and what was sent may have been billed and stays charged until it is known" * before.may_be_billed
    refusal.message = f"{before.reason}{billed}; to ask again: {refusal.message}"
    return refusal
