"""How much of a cap is stranded: what is left when nothing more is served, through the real gateway.

    python -m benchmarks.stranded [--cap 1.00 --cap 5.00] [--clients 1 --clients 8] [--only NAME]

Scripted clients spend one capped key until they are refused for good, over HTTP on loopback; the provider is the
simulator, whose meter is the judge. Final slices are off: the keys belong to no run. Each profile is played twice, by
the gateway as it is and by a plain byte-bound reserve (the same gateway without prefix memory and count call, as most
who reserve do), in the same run.

    used      what the provider billed, of the cap; more than all of it is an overshoot
    next      what the next turn of a refused client needs at the least, its prompt known to the token and its cache
              cold: while less than this is left, no reserve that holds its promise can serve it
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from benchmarks.stranded_clients import PROFILES, Client, Profile

from crewcap import prices
from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.holding import least_hold
from crewcap.core.keys import VirtualKey, hash_key
from crewcap.core.money import ZERO, Money
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.money.admission import Admission
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.upstream import KEY_HEADERS, Provider
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.simulator.server import Simulator
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.wire import ENDPOINTS

PRICES = {"anthropic": "anthropic", "openai": "openai", "gemini": "google"}
MOST_TURNS = 4_000


@dataclass(kw_only=True)
class Result:
    """What one cell of the table came to."""

    used: Money
    cap: Money
    answers: int
    refused: int
    clamped: int
    recalled: int
    counted: int
    needs: Money | None
    seconds: float

    @property
    def percent(self) -> float:
        """What was used of the cap."""
        return 100 * self.used.nano / self.cap.nano


@dataclass(kw_only=True)
class Table:
    """A gateway, a provider and one capped key."""

    gateway: Gateway
    simulator: Simulator
    ledger: SqliteLedger
    http: aiohttp.ClientSession
    secret: str
    key: KeyId
    book: prices.Book
    endpoints: list[Endpoint]
    last: dict[int, tuple[Client, dict[str, Any]]] = field(default_factory=dict)

    async def ask(self, client: Client) -> tuple[int, bytes]:
        """One request of a client."""
        body = client.body()
        self.last[client.number] = (client, body)
        headers = {"x-api-key": self.secret, "content-type": "application/json"}
        data = json.dumps(body).encode()
        async with self.http.post(self.gateway.url + client.path, data=data, headers=headers) as answer:
            return answer.status, await answer.read()

    async def spend(self, client: Client) -> None:
        """Until it is refused for good."""
        for _ in range(MOST_TURNS):
            status, answer = await self.ask(client)
            if status == 200:
                client.heard(answer)
            elif status != 429:
                if b"budget" not in answer and b"needs at least" not in answer:
                    raise SystemExit(f"{status}: {answer.decode()}")
                return

    async def needs(self) -> Money | None:
        """The least that the next turn of any refused client needs, by the simulator's own count."""
        found = [await self._needs(client, body) for client, body in self.last.values()]
        return min((each for each in found if each is not None), default=None)

    async def _needs(self, client: Client, body: dict[str, Any]) -> Money | None:
        path = client.path.partition("?")[0]
        endpoint = next(each for each in self.endpoints if each.serves(path))
        dialect, sent = endpoint.dialect, json.dumps(body).encode()
        where = counting(endpoint, counts=True).count_path(path)
        if not where:
            return None
        headers = {**endpoint.provider.key_header("sk-fake-stranded"), "content-type": "application/json"}
        counted = dialect.count_body(sent, path=path)
        async with self.http.post(self.simulator.url + where, data=counted, headers=headers) as answer:
            tokens = dialect.read_count(await answer.read())
        ask = dialect.ask(sent, {}, allow=frozenset(), path=path)
        now = datetime.now(UTC)
        cards = Admission(book=self.book, policy=Policy(), boot=self.gateway.service._parts.boot).cards(  # noqa: SLF001
            endpoint.provider, ask, at=now
        )
        return least_hold(ask, cards, prompt_tokens=tokens)


def counting(endpoint: Endpoint, *, counts: bool) -> Endpoint:
    """The same, with its dialect's count call or as if there were none."""
    dialect: Any = copy(endpoint.dialect)
    dialect.has_count = counts and type(dialect).__name__ != "Chat"
    return replace(endpoint, dialect=dialect)


@asynccontextmanager
async def table(profile: Profile, cap: str, book: prices.Book, *, is_plain: bool) -> AsyncIterator[Table]:
    """Everything for one cell."""
    with tempfile.TemporaryDirectory(prefix="crewcap-stranded-") as folder:
        home = Home(Path(folder) / "home")
        home.make()
        ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
        try:
            async with Simulator(profile.script, book=book) as simulator:
                provider = Provider(
                    name=profile.family,
                    base_url=simulator.url,
                    prices=PRICES[profile.family],
                    read_key=lambda: "sk-fake-stranded",
                    key_header=KEY_HEADERS[profile.family],
                )
                endpoints = [
                    Endpoint(provider=provider, dialect=speak(), template=template)
                    for template, speak in ENDPOINTS[profile.family].items()
                ]
                served = [counting(each, counts=False) for each in endpoints]
                async with (
                    Gateway(
                        home=home,
                        ledger=ledger,
                        book=book,
                        endpoints=served if is_plain else endpoints,
                        policy=Policy(),
                        clock=lambda: datetime.now(UTC),
                    ) as gateway,
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
                ):
                    if is_plain:
                        metered = gateway.service.metered
                        metered._admission = replace(metered._admission, memory=None)  # noqa: SLF001  (the rival's way)
                    secret, key = "ccap-" + secrets.token_urlsafe(32), KeyId("stranded")
                    row = VirtualKey(
                        id=key, hash=hash_key(secret), scopes=(Scope("key:stranded"), ALL), created_at=datetime.now(UTC)
                    )
                    ledger.add_key(row, cap=Money.usd(cap))
                    yield Table(
                        gateway=gateway,
                        simulator=simulator,
                        ledger=ledger,
                        http=http,
                        secret=secret,
                        key=key,
                        book=book,
                        endpoints=endpoints,
                    )
        finally:
            ledger.close()


async def play(profile: Profile, cap: str, clients: int, book: prices.Book, *, is_plain: bool) -> Result:
    """One cell."""
    async with table(profile, cap, book, is_plain=is_plain) as made:
        began = time.monotonic()
        await asyncio.gather(*(made.spend(profile.client(number)) for number in range(clients)))
        seconds = time.monotonic() - began
        await made.simulator.idle()
        await made.gateway.service.purse.do(lambda: None)
        entries, totals = made.ledger.entries(), made.ledger.totals(Scope("key:stranded"))
        used = made.simulator.meter.total()
        if totals.spent + totals.uncertain != used or totals.held != ZERO:
            raise SystemExit(f"the ledger says {totals.spent.exact()} and the meter {used.exact()}")
        notes = [note for entry in entries for note in entry.notes]
        return Result(
            used=used,
            cap=Money.usd(cap),
            answers=len(entries),
            refused=totals.refused,
            clamped=sum(note.startswith("clamped") for note in notes),
            recalled=sum(note.startswith("bound by prefix") for note in notes),
            counted=sum(note.startswith("bound by count") for note in notes),
            needs=await made.needs(),
            seconds=seconds,
        )


def line(profile: Profile, cap: str, clients: int, book: prices.Book) -> tuple[str, bool]:
    """Both ways of one profile, and whether nothing went over and the aim is met."""
    ours, by_bytes = (asyncio.run(play(profile, cap, clients, book, is_plain=each)) for each in (False, True))
    over = Money(max(ours.used.nano - ours.cap.nano, by_bytes.used.nano - by_bytes.cap.nano, 0))
    needs = ours.needs.show() if ours.needs else "-"
    aim = profile.aim if cap == "1.00" else 0
    verdict = f"aim {aim} %: {'met' if ours.percent >= aim else 'MISSED'}" if aim else ""
    return (
        f"{profile.name:<24} ${cap:<5}{clients:>4}  {ours.percent:6.1f} %  {by_bytes.percent:6.1f} %  {over.show():>7}"
        f"  {ours.answers:>5} / {ours.refused:<4} {ours.clamped:>4} {ours.recalled:>5} {ours.counted:>5}  {needs:>8}"
        f"  {ours.seconds:5.1f} s  {verdict}"
    ), not over and ours.percent >= aim


def main() -> int:
    """Print the table; 1 where something went over a cap or an aim was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cap", action="append")
    parser.add_argument("--clients", action="append", type=int)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    book, all_well = prices.load(), True
    print(
        f"{'profile':<24} {'cap':<6}{'cl.':>4}  {'used':>8}  {'by bytes':>8}  {'over':>7}  answers/refused"
        " clamp recall count      next"
    )
    for profile in (each for each in PROFILES if chosen.only in each.name):
        for cap in chosen.cap or ("1.00", "5.00"):
            for clients in chosen.clients or (1, 8):
                said, is_well = line(profile, cap, clients, book)
                all_well &= is_well
                print(said, flush=True)
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
