"""Ledgers on sick disks: locked by another, full, read-only, damaged.

Every call of the ledger either does all that it says or says `LedgerError` and does nothing; and a gateway whose
ledger falls sick in the middle of its work sends nothing that it could not book, and books the rest when it is well.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crewcap.core.budget import ALL, BootId, HoldId
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.errors import CrewcapError, LedgerError
from crewcap.home import Home
from crewcap.simulator.server import Simulator
from crewcap.stores import HoldOrder, Limit, Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger
from torture.books import Key, new_key, open_books
from torture.clients import crowd
from torture.dying import Orders, gateway_for
from torture.law import Verdict, judge
from torture.talk import Talk

ROOMY = 1_000_000  # pages
PAGE = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A ledger in the middle of its work."""

    ledger: SqliteLedger
    boot: BootId
    key: Key


@contextmanager
def locked(ledger: SqliteLedger) -> Iterator[None]:
    """Another program writes and does not end."""
    with closing(sqlite3.connect(ledger._books.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@contextmanager
def full(ledger: SqliteLedger) -> Iterator[None]:
    """No page can be added to the file."""
    database = ledger._books._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        database.execute(f"PRAGMA max_page_count = {ROOMY}")


@contextmanager
def read_only(ledger: SqliteLedger) -> Iterator[None]:
    """The file may be read, and not written."""
    ledger._books._db.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        ledger._books._db.execute("PRAGMA query_only = OFF")


SICK: Mapping[str, Callable[[SqliteLedger], Any]] = {"locked": locked, "full": full, "read-only": read_only}


def order(filled: Filled, name: str) -> HoldOrder:
    """A small request."""
    return HoldOrder(
        hold=HoldId(name),
        boot=filled.boot,
        key=filled.key.id,
        amount=Money.usd("0.01"),
        model="claude-sonnet-4-6",
        provider="anthropic",
        book="b",
        prompt_bound=100,
        output_limit=100,
        asked_output=100,
        notes=("x" * 20_000,),  # so that it needs a page of its own: a full disk is felt
    )


def _end(hold: str, **about: Any) -> Settlement:
    money = {"spent": Money.usd("0.001"), "uncertain": ZERO, "usage": Usage(output=5)}
    return Settlement(**{"hold": HoldId(hold), "kind": "settled", **money, "raw_usage": "x" * 20_000, **about})


CALLS: Mapping[str, Callable[[Filled], object]] = {
    "start_boot": lambda f: f.ledger.start_boot(),
    "stop_boot": lambda f: f.ledger.stop_boot(f.boot),
    "beat": lambda f: f.ledger.beat(),
    "reserve": lambda f: f.ledger.reserve(order(f, "new")),
    "reserve_many": lambda f: f.ledger.reserve_many((order(f, "new-1"), order(f, "new-2"))),
    "balances": lambda f: f.ledger.balances(f.key.id),
    "shrink": lambda f: f.ledger.shrink(HoldId("open"), Money.usd("0.002")),
    "settle": lambda f: f.ledger.settle(_end("open")),
    "settle as uncertain": lambda f: f.ledger.settle(_end("open", kind="uncertain", uncertain=Money.usd("0.01"))),
    "settle_many": lambda f: f.ledger.settle_many((_end("open"), _end("open"))),
    "settle_and_reserve": lambda f: f.ledger.settle_and_reserve((_end("open"),), (order(f, "new-1"),)),
    "set_rate": lambda f: f.ledger.set_rate(RateLimit(scope=ALL, kind="rpm", value=9, source="command")),
    "set_count": lambda f: f.ledger.set_count(
        CountLimit(scope=ALL, kind="runs", window="day", value=9, source="command")
    ),
    "rates": lambda f: f.ledger.rates(),
    "counts": lambda f: f.ledger.counts(),
    "freeze": lambda f: f.ledger.freeze("anthropic", reason="x" * 20_000),
    "frozen": lambda f: f.ledger.frozen(),
    "thaw": lambda f: f.ledger.thaw("anthropic", word="x" * 20_000),
    "has_answer": lambda f: f.ledger.has_answer(f.key.id, "msg-1"),
    "note_refusal": lambda f: f.ledger.note_refusal(f.key.id, model="m", needed=ZERO, message="x" * 20_000),
    "open_holds": lambda f: f.ledger.open_holds(),
    "uncertain_holds": lambda f: f.ledger.uncertain_holds(),
    "reconcile": lambda f: f.ledger.reconcile(HoldId("lost"), cost=Money.usd("0.003"), word="x" * 20_000),
    "set_limit": lambda f: f.ledger.set_limit(
        Limit(scope=ALL, window="month", amount=Money.usd("9"), source="command")
    ),
    "unset_limit": lambda f: f.ledger.unset_limit(ALL, "day", source="command"),
    "sync_file_limits": lambda f: f.ledger.sync_file_limits(
        [Limit(scope=ALL, window="week", amount=Money.usd("7"), source="file")], zone="UTC"
    ),
    "all_balances": lambda f: f.ledger.all_balances(),
    "add_key": lambda f: new_key(f.ledger, cap="2.00"),
    "find_key": lambda f: f.ledger.find_key("nobody's"),
    "keys": lambda f: f.ledger.keys(),
    "revoke_key": lambda f: f.ledger.revoke_key(f.key.id),
    "entries": lambda f: f.ledger.entries(),
    "totals": lambda f: f.ledger.totals(ALL),
    "verify": lambda f: f.ledger.verify(),
    "doubt": lambda f: f.ledger.doubt(),
    "accept_clock": lambda f: f.ledger.accept_clock(),
}


def call(name: str, sickness: str, folder: Path) -> Verdict:
    """One call on one sick ledger: all of it or nothing, and `LedgerError` alone."""
    home = Home(folder / f"{sickness}-{name.replace(' ', '-')}")
    filled = fill(home)
    faults, before = [], _state(filled.ledger)
    try:
        with SICK[sickness](filled.ledger):
            CALLS[name](filled)
        struck = False
    except CrewcapError:
        struck = True
        if (after := _state(filled.ledger)) != before:
            faults.append(f"{name} failed and did something: {before} became {after}")
    except Exception as error:  # noqa: BLE001  (that there is none is what is asked)
        struck = True
        faults.append(f"{name} raised {error!r}")
    return _close(filled.ledger, faults, struck=struck)


def damaged(seed: int, folder: Path) -> Verdict:
    """Some bytes of the file are not what they were: it is refused, or it was no part of the books."""
    home = Home(folder / f"damaged-{seed}")
    filled = fill(home)
    filled.ledger.close()
    faults: list[str] = []
    _damage(home.ledger, random.Random(seed))
    try:
        ledger = open_books(home)
    except LedgerError:
        return Verdict(billed=ZERO, charged=ZERO, broken=())
    try:
        ledger.start_boot()
        return _close(ledger, [], struck=False)  # by the law, it must be sound in every figure
    except LedgerError:
        return Verdict(billed=ZERO, charged=ZERO, broken=())
    except Exception as error:  # noqa: BLE001  (that there is none is what is asked)
        faults.append(f"a start on a damaged ledger raised {error!r}")
    return Verdict(billed=ZERO, charged=ZERO, broken=tuple(faults))


def at_work(sickness: str, seed: int, talk: Talk, folder: Path) -> Verdict:
    """A gateway whose ledger falls sick for a while under a crowd."""
    return asyncio.run(_at_work(sickness, seed, talk, Home(folder / f"at-work-{sickness}-{seed}")))


async def _at_work(sickness: str, seed: int, talk: Talk, home: Home) -> Verdict:
    from torture.kills import SCRIPT  # noqa: PLC0415  (it imports us not, and this one word of it is enough)

    home.make()
    chance = random.Random(seed)
    ledger = open_books(home, busy_s=0.02)
    provider_key = f"sk-fake-{seed}"
    try:
        key = new_key(ledger, cap="0.50")
        async with Simulator(SCRIPT) as simulator:
            orders = Orders(home=home.root, provider=simulator.url, key=provider_key, family=talk.family)
            async with gateway_for(home, ledger, orders) as gateway:
                ask = crowd(gateway.url, key.secret, talk, chance=chance, clients=5, each=4)
                asking = asyncio.create_task(ask)
                await asyncio.sleep(chance.uniform(0.0, 0.05))
                with SICK[sickness](ledger):
                    await asyncio.sleep(0.1)
                await asking
            await simulator.idle()
            billed = simulator.meter.by_key.get(provider_key, ZERO)
        return judge(ledger, billed)
    finally:
        ledger.close()


def fill(home: Home) -> Filled:
    """A key with a hold that is open, one that is lost and one that is settled, and limits around them."""
    home.make()
    ledger = open_books(home, busy_s=0.02)
    boot = ledger.start_boot()
    filled = Filled(ledger=ledger, boot=boot, key=new_key(ledger, cap="1.00"))
    ledger.set_limit(Limit(scope=ALL, window="day", amount=Money.usd("5"), source="command"))
    for name in ("done", "lost", "open"):
        ledger.reserve(order(filled, name))
    ledger.settle(_end("done"))
    ledger.settle(_end("lost", kind="uncertain", spent=ZERO, uncertain=Money.usd("0.01")))
    return filled


def _state(ledger: SqliteLedger) -> object:
    """Everything that a call could have changed."""
    limits = tuple((each.scope, each.window, each.limit, each.source) for each in ledger.all_balances())
    holds = tuple((each.hold, each.held) for each in ledger.open_holds())
    lost = tuple((each.hold, each.uncertain) for each in ledger.uncertain_holds())
    keys = tuple((key.id, key.revoked_at) for key in ledger.keys())  # noqa: SIM118  (a ledger is no dictionary)
    beside = (ledger.rates(), ledger.counts(), ledger.frozen())
    return limits, holds, lost, keys, beside, ledger.totals(ALL)


def _close(ledger: SqliteLedger, faults: list[str], *, struck: bool) -> Verdict:
    for hold in ledger.open_holds():
        ledger.settle(_end(hold.hold))
    verdict = judge(ledger, ZERO, faults=faults)
    ledger.close()
    return Verdict(billed=verdict.billed, charged=verdict.charged, broken=verdict.broken, struck=struck)


def _damage(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        for _ in range(chance.randrange(1, 4)):
            file.seek(chance.randrange(size))
            file.write(chance.randbytes(chance.randrange(1, PAGE)))
