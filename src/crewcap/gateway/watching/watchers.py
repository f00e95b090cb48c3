"""What a gateway tells those who watch it: how each metered request ended, and what was declined.

Watchers are called on the event loop, after the settlement was handed to the ledger: they must be cheap, and none
of them can hold up or break a request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from crewcap.core.budget import KeyId
from crewcap.core.quick import quickly_made
from crewcap.gateway.money.admission import Request
from crewcap.gateway.money.ends import End, Sent
from crewcap.stores import Settlement
from crewcap.wire import Reading, RefusalKind

log = logging.getLogger(__name__)


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One attempt, from its hold to its settlement. Times are seconds of the monotonic clock."""

    request: Request
    sent: Sent
    reading: Reading
    closed: Settlement
    end: End
    status: int  # of the provider's answer; 0 = none
    started: float
    first_byte: float | None
    over: float
    attempt: int  # 1 = the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """A request that the gateway answered itself."""

    kind: RefusalKind
    dialect: str
    key: KeyId | None  # None where it was not known
    run: str
    message: str
    unpriced: tuple[str, str] | None = None  # what has no price: the price list, and the model as it was asked for


class Watcher(Protocol):
    """Looks on."""

    def ended(self, ended: Ended) -> None:
        """A request that was held for is over."""
        ...

    def declined(self, declined: Declined) -> None:
        """A request was answered without the provider."""
        ...


def tell_ended(watchers: Iterable[Watcher], ended: Ended) -> None:
    """Tell all of them; one that fails is logged and harms nobody."""
    for watcher in watchers:
        try:
            watcher.ended(ended)
        except Exception:
            log.exception("a watcher failed")


def tell_declined(watchers: Iterable[Watcher], declined: Declined) -> None:
    """Tell all of them; one that fails is logged and harms nobody."""
    for watcher in watchers:
        try:
            watcher.declined(declined)
        except Exception:
            log.exception("a watcher failed")
