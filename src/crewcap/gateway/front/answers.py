"""Refusals of the gateway's own, and how an answer becomes an HTTP response."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
from aiohttp import web

from crewcap.core.budget import Balance, Busy, KeyId, Refused
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import busy_message
from crewcap.core.money import NANO_PER_USD, Money
from crewcap.wire import Answer, Dialect, RefusalKind

RETRY_AFTER_S = 10
CENT = NANO_PER_USD // 100


class Refusal(Exception):
    """A request is answered by the gateway itself."""

    def __init__(
        self,
        kind: RefusalKind,
        message: str,
        *,
        retry_after_s: int | None = None,
        should_retry: bool | None = None,
        unpriced: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: RefusalKind = kind
        self.message = message
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry  # what the client's library is told; None: as this kind of answer means
        self.unpriced = unpriced  # the price list, and the model that it has no price of
        self.key: KeyId | None = None  # whose request it was, as far as it was read
        self.run = ""

    def of(self, key: VirtualKey) -> Refusal:
        """The same, of this key."""
        self.key, self.run = key.id, key.run
        return self

    def answer(self, dialect: Dialect) -> Answer:
        """In the shape that makes this family's agents do the right thing."""
        answer = dialect.refuse(self.kind, self.message, retry_after_s=self.retry_after_s)
        if self.should_retry is None:
            return answer
        return replace(answer, headers={**answer.headers, "x-should-retry": str(self.should_retry).lower()})


def response(answer: Answer, extra: dict[str, str] | None = None) -> web.Response:
    """An answer as aiohttp sends it."""
    return web.Response(status=answer.status, headers={**answer.headers, **(extra or {})}, body=answer.body)


def as_json(value: object, *, status: int = 200) -> web.Response:
    """A small JSON answer."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def budget_message(refused: Refused) -> str:
    """Scope, cap, spent, held, needed, and the smallest cap that would work."""
    limit = refused.binding
    window = "" if limit.window == "total" else f" this {limit.window}"
    uncertain = f" and {limit.uncertain.show()} uncertain" if limit.uncertain else ""
    kept = f", {refused.kept.show()} of it kept for the end of the run," if refused.kept else ""
    return (
        f"{limit.scope} has {limit.left.show()} left of {limit.limit.show()}{window} "
        f"({limit.spent.show()} spent, {limit.held.show()} held{uncertain}){kept} and this request needs at least "
        f"{refused.needed.show()}. The smallest cap that would work is "
        f"{smallest_cap(limit, refused.needed + refused.kept)}"
        f"; raise it with: {_remedy(limit)}"
    )


def smallest_cap(limit: Balance, needed: Money) -> str:
    """What the limit would have to be for this request, rounded up to a cent."""
    total = limit.spent + limit.uncertain + limit.held + needed
    return Money(-(-total.nano // CENT) * CENT).show()


def waiting_message(refused: Refused | Busy | None, waited_s: float) -> str:
    """The money is there, but others hold it, or a limit beside it has no room yet."""
    if refused is None:
        return f"waited {waited_s:.0f} s behind other requests of this run; try again"
    if isinstance(refused, Busy):
        return f"{busy_message(refused)}. Waited {waited_s:.0f} s; try again"
    limit = refused.binding
    return (
        f"{limit.scope}: {refused.needed.show()} is needed and {limit.left.show()} of {limit.limit.show()} is free "
        f"now; {limit.held.show()} is held by requests in flight. Waited {waited_s:.0f} s; try again"
    )


def retry_after_s(refused: Refused | Busy | None) -> int:
    """When the client may come again: money may come back at any time, a rate comes back at its own."""
    return max(1, math.ceil(refused.retry_after_s)) if isinstance(refused, Busy) else RETRY_AFTER_S


def _remedy(limit: Balance) -> str:
    if limit.scope.startswith("run:"):
        return f"crewcap resume {limit.scope.removeprefix('run:')} --add AMOUNT"
    return f"crewcap budget set {limit.scope} {limit.window} AMOUNT"
