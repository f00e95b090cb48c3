"""What a provider's answer is before its client has seen a byte of it, and what the client is told where it is none.

    a first event          the stream may begin
    an error in its place  passed on, and perhaps mended by another attempt
    nothing                perhaps billed: the next attempt takes a hold of its own
    a plain error          unbilled; passed on, unless it says that the provider's key is out of order

Nothing is booked here: who asks has settled before, or does so by what it hears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aiohttp import web

from crewcap.gateway.front import headers
from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.money.admission import Request
from crewcap.gateway.provider.attempts import NO_RETRY, TryAgain, may_be_mended, told_to_wait
from crewcap.gateway.provider.freeze import Trouble, diagnose
from crewcap.gateway.provider.line import Answer
from crewcap.gateway.provider.relay import BROKEN
from crewcap.gateway.provider.upstream import Provider

EVENT_STREAM = "text/event-stream"
NO_WORD = "the provider closed the connection without an answer"
FIRST_BYTES = 2**16
NEVER = -1.0  # in place of the seconds until another attempt
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Surroundings(Protocol):
    """What a judge needs of the gateway."""

    def now(self) -> datetime:
        """The wall clock."""
        ...

    def freeze(self, provider: Provider, trouble: Trouble) -> None:
        """A provider's key is out of order."""
        ...

    def failed(self, request: Request) -> bool:
        """The provider failed this very request once more; whether the client should stop asking."""
        ...


@dataclass(frozen=True, slots=True)
class First:
    """Everything up to the end of a stream's first event."""

    seen: bytes
    is_there: bool  # the event is whole
    is_broken: bool  # the provider broke off

    @property
    def is_suspect(self) -> bool:
        """Whether it has to be read before the client may have it; nearly none has."""
        return not self.is_there or b"error" in self.seen


async def first_event(answer: Answer, moved: Callable[[], None]) -> First:
    """Read until there is one, or there can be none; `moved` is told of each chunk."""
    seen, is_broken = b"", False
    try:
        while not _has_event(seen, answer.content_type) and (chunk := await answer.readany()):
            moved()
            seen += chunk
    except BROKEN:
        is_broken = True
    return First(seen, _has_event(seen, answer.content_type), is_broken)


async def read_at_most(answer: Answer, limit: int) -> bytes:
    """A whole body, of which no more than `limit` bytes are kept."""
    kept = bytearray()
    while chunk := await answer.readany():
        kept += chunk[: max(0, limit - len(kept))]
    return bytes(kept)


@dataclass(frozen=True, slots=True)
class Judge:
    """What becomes of one attempt that failed."""

    around: Surroundings
    request: Request
    extra: Mapping[str, str]  # headers of ours on every answer

    def plain_error(self, answer: Answer, body: bytes) -> web.Response:
        """A whole answer that is not 2xx; some of them mean that the provider's key is out of order."""
        provider = self.request.provider
        trouble = diagnose(answer.status, body, model=self.request.model)
        if trouble is not None:
            self.around.freeze(provider, trouble)
            raise Refusal("frozen", frozen_message(provider, trouble))
        if answer.status in _REDIRECTS:
            raise Refusal("provider", "the provider redirects elsewhere, and redirects are not followed")
        passed = self._passed(answer, body)
        if not may_be_mended(answer.status):
            return passed
        if self.around.failed(self.request):
            passed.headers.update(NO_RETRY)
        raise TryAgain(
            passed,
            status=answer.status,
            reason=f"the provider answered {answer.status}",
            retry_after_s=told_to_wait(answer.headers, body, now=self.around.now()),
            is_failure=answer.status >= 500,
        )

    def error_event(self, answer: Answer, seen: bytes, reason: str) -> TryAgain:
        """A stream that began with an error."""
        return TryAgain(
            self._passed(answer, seen),
            status=answer.status,
            reason=f"the provider's answer was an {reason}",
            is_failure=True,
            may_be_billed=True,
        )

    def unsent(self, why: str) -> TryAgain:
        """No byte was written."""
        reason = f"the provider could not be reached: {why}"
        return TryAgain(Refusal("provider", reason), status=0, reason=reason, is_failure=True)

    def unsure(self, message: str) -> TryAgain:
        """Nothing whole came back: it may have been billed. Final when the same request has failed too often."""
        refusal = Refusal("provider", message)
        if self.around.failed(self.request):
            refusal = Refusal("frozen", f"{message}, again and again; crewcap stops trying")
        return TryAgain(refusal, status=0, reason=message, is_failure=True, may_be_billed=True)

    def unreadable(self, why: str, *, status: int) -> TryAgain:
        """An answer that cannot be read: it was billed, and another one would be like it, so there is no other."""
        self.around.failed(self.request)
        refusal = Refusal("provider", why, should_retry=False)
        return TryAgain(refusal, status=status, reason=why, retry_after_s=NEVER, is_failure=True, may_be_billed=True)

    def in_our_words(self, answer: Answer) -> bytes:
        """What stands for the body of an error that cannot be read."""
        return self.request.dialect.refuse("provider", sealed_message(answer), retry_after_s=None).body

    def _passed(self, answer: Answer, body: bytes) -> web.Response:
        """The provider's own answer."""
        passed = {**headers.to_client(answer.headers), **self.extra}
        return web.Response(status=answer.status, headers=passed, body=body)


def sealed_message(answer: Answer) -> str:
    """What is wrong with an answer in an encoding that is not read here."""
    return (
        f"the provider answered {answer.status}, encoded as {answer.sealed_as[:40]!r} although it was asked "
        "for no encoding, and that cannot be read here"
    )


def frozen_message(provider: Provider, trouble: Trouble) -> str:
    """What the client of a frozen key is told."""
    until = f" until {trouble.until:%Y-%m-%d %H:%M} UTC" if trouble.until else ""
    remedy = f"; when you have looked: crewcap ledger thaw {provider.name}" if trouble.kind == "incident" else ""
    return f"provider {provider.name} is frozen{until}: {trouble.reason}{remedy}"


def _has_event(seen: bytes, content_type: str) -> bool:
    """Whether the first event is whole; where it has no end for so long, others may judge what it is."""
    if content_type != EVENT_STREAM:
        return bool(seen)
    return b"\n\n" in seen or b"\r\n\r\n" in seen or len(seen) > FIRST_BYTES
