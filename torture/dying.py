"""A gateway that kills itself when a request passes a named point for the n-th time.

It is the product's own gateway: what stands here only looks over the shoulders of its ledger, its way to the provider
and its meters. Nothing of this is in the product.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from yarl import URL

from crewcap.core.budget import BootId, Decision, HoldId, KeyId
from crewcap.core.money import Money
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.breaker import Rules
from crewcap.gateway.provider.line import Answer
from crewcap.gateway.provider.upstream import KEY_HEADERS, Provider, Upstream
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.prices import load
from crewcap.stores import HoldOrder, Ledger, Settlement
from crewcap.stores.postgres.ledger import PostgresLedger
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.wire import ENDPOINTS, Meter, Reading
from torture.books import now

PRICES = {"anthropic": "anthropic", "openai": "openai", "gemini": "google"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What one gateway is started with."""

    home: Path
    provider: str  # URL
    key: str  # the provider's
    family: str = "anthropic"
    store: str = ""  # URL of a database; '' = a file in the home
    point: str = ""  # where it dies; '' = never
    passes: int = 1  # how often the point is passed before


class Fate:
    """Counts how often the point is passed, and ends the process there."""

    def __init__(self, orders: Orders) -> None:
        self._point = orders.point
        self._passes = itertools.count(1)
        self._last = orders.passes

    def at(self, point: str) -> None:
        """This point is passed now."""
        if point == self._point and next(self._passes) >= self._last:
            os.kill(os.getpid(), signal.SIGKILL)


class _Watching:
    """Looks over a ledger's shoulder."""

    fate: Fate

    def reserve_many(self, orders: Sequence[HoldOrder]) -> tuple[Decision, ...]:
        self.fate.at("reserve.before")
        decisions: tuple[Decision, ...] = super().reserve_many(orders)  # type: ignore[misc]  # a ledger's
        self.fate.at("reserve.after")
        return decisions

    def shrink(self, hold: HoldId, to: Money) -> None:
        self.fate.at("shrink.before")
        super().shrink(hold, to)  # type: ignore[misc]  # a ledger's
        self.fate.at("shrink.after")

    def settle_many(self, settlements: Sequence[Settlement]) -> tuple[bool, ...]:
        self.fate.at("settle.before")
        done: tuple[bool, ...] = super().settle_many(settlements)  # type: ignore[misc]  # a ledger's
        self.fate.at("settle.after")
        return done

    def settle_and_reserve(
        self, settlements: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        self.fate.at("settle.before")
        self.fate.at("reserve.before")
        both: tuple[tuple[bool, ...], tuple[Decision, ...]]
        both = super().settle_and_reserve(settlements, orders)  # type: ignore[misc]  # a ledger's
        self.fate.at("settle.after")
        self.fate.at("reserve.after")
        return both

    def note_refusal(self, key: KeyId, *, model: str, needed: Money, message: str) -> None:
        self.fate.at("refusal")
        super().note_refusal(key, model=model, needed=needed, message=message)  # type: ignore[misc]  # a ledger's

    def beat(self) -> None:
        self.fate.at("beat")
        super().beat()  # type: ignore[misc]  # a ledger's

    def stop_boot(self, boot: BootId) -> None:
        self.fate.at("stop")
        super().stop_boot(boot)  # type: ignore[misc]  # a ledger's


class DyingSqlite(_Watching, SqliteLedger):
    """The ledger in a file."""


class DyingPostgres(_Watching, PostgresLedger):
    """The ledger in a database."""


def _open(orders: Orders) -> DyingSqlite | DyingPostgres:
    home, quiet = Home(orders.home), Fate(replace(orders, point=""))  # a start is not a request
    _Watching.fate = quiet
    if orders.store:
        return DyingPostgres(home, orders.store, monotonic=time.monotonic)
    return DyingSqlite(home, clock=now, monotonic=time.monotonic)


class DyingUpstream(Upstream):
    """The way to the provider, watched."""

    fate: Fate

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str], *, limit: asyncio.Timeout) -> Answer:
        self.fate.at("send.before")
        if self.fate._point == "send.during":
            asyncio.get_running_loop().call_later(0.002, self.fate.at, "send.during")
        answer = await super().post(url, body, headers, limit=limit)
        self.fate.at("head")
        return answer


class DyingMeter:
    """A meter, watched."""

    def __init__(self, meter: Meter, fate: Fate) -> None:
        self._meter = meter
        self._fate = fate
        self._chunks = 0

    def feed(self, chunk: bytes) -> Reading:
        reading = self._meter.feed(chunk)
        self._chunks += 1
        if reading.is_complete:
            self._fate.at("event.last")
        self._fate.at("event.first" if self._chunks == 1 else "event.later")
        return reading

    def close(self) -> Reading:
        return self._meter.close()


def live(orders: Orders, told: Connection) -> None:
    """Be a gateway until death; its address, control and boot are told once it listens."""
    os.setsid()
    asyncio.run(_live(orders, told))


async def _live(orders: Orders, told: Connection) -> None:
    home, fate = Home(orders.home), Fate(orders)
    ledger = _open(orders)
    gateway = gateway_for(home, ledger, orders)
    upstream = DyingUpstream()
    upstream.fate = fate
    gateway._upstream = upstream
    for endpoint in gateway._endpoints.every:
        _watch(endpoint, fate)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with gateway:
        ledger.fate = fate
        told.send(gateway.url)
        await stop.wait()
        fate.at("drain")
    ledger.close()


def gateway_for(home: Home, ledger: Ledger, orders: Orders) -> Gateway:
    """The product's own, in front of a provider on loopback."""
    provider = Provider(
        name=orders.family,
        base_url=orders.provider,
        prices=PRICES[orders.family],
        read_key=lambda: orders.key,
        key_header=KEY_HEADERS[orders.family],
    )
    endpoints = [
        Endpoint(provider=provider, dialect=speak(), template=template)
        for template, speak in ENDPOINTS[orders.family].items()
    ]
    policy = Policy(
        release_s=0.005,
        drain_s=5,
        idle_s=10,
        wait_s=5,
        beat_s=0.05,
        backoff_s=0.001,
        breaker=Rules(failures=10**9),  # nobody is left alone here
    )
    return Gateway(home=home, ledger=ledger, book=load(), endpoints=endpoints, policy=policy, clock=now)


def _watch(endpoint: Endpoint, fate: Fate) -> None:
    make: Any = endpoint.dialect.meter
    object.__setattr__(endpoint, "dialect", _Watched(endpoint.dialect, make, fate))


class _Watched:
    """A dialect whose meters are watched."""

    def __init__(self, dialect: Any, make: Any, fate: Fate) -> None:
        self._dialect = dialect
        self._make = make
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)

    def meter(self, **about: Any) -> DyingMeter:
        return DyingMeter(self._make(**about), self._fate)
