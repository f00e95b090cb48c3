"""The ledger on PostgreSQL: the same books for gateways on many machines, one round trip a call.

    sql/postgres/   the tables, the fence, and every call as a function: what decides is in the database
    session         a connection for callers that block      errors       what the server says, in our words
    values          to and from JSON                         read         keys, entries, sums
    clock           the database's clock, watched            boots        who lives
    books           the right database, new enough           migrations   by command alone
    schema          is the fence as we made it               verify       everything derived, again

A hold is decided, written and flushed in one call; settlements do not wait for the disk. Writers take one lock, the
book's, and give it back before they flush: gateways wait for each other's thinking, never for each other's disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from crewcap.core.budget import (
    ALL,
    Balance,
    BootId,
    CountKind,
    Decision,
    Denied,
    HoldId,
    KeyId,
    RateKind,
    Scope,
    Window,
)
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import CountBalance, CountLimit, RateBalance, RateLimit, bounds, used_up
from crewcap.core.money import ZERO, Money
from crewcap.core.reprice import Correction
from crewcap.errors import InternalError, LedgerError, MoneyRefused, UsageError
from crewcap.home import Home
from crewcap.stores import (
    Entry,
    HoldOrder,
    Incident,
    Limit,
    LimitSource,
    OpenHold,
    Settlement,
    Totals,
    Verified,
    marker,
)
from crewcap.stores.calendar import find_zone
from crewcap.stores.postgres import books, read
from crewcap.stores.postgres import values as v
from crewcap.stores.postgres import verify as postgres_verify
from crewcap.stores.postgres.boots import BootLocks, host
from crewcap.stores.postgres.clock import DatabaseClock
from crewcap.stores.postgres.errors import shown
from crewcap.stores.postgres.schema import wrong_schema
from crewcap.stores.postgres.session import Session, Work
from crewcap.stores.postgres.wire import Connection

T = TypeVar("T")
_CLOCK_HELP = "if the clock is right: crewcap ledger accept-clock"
_decode = msgspec.json.Decoder().decode


class PostgresLedger:
    """`Ledger` in the database that a URL names, seen from one home."""

    def __init__(
        self,
        home: Home,
        url: str,
        *,
        monotonic: Callable[[], float],
        fixed_clock: Callable[[], datetime] | None = None,
        busy_s: float = 5.0,
    ) -> None:
        """Open the books that are there; `fixed_clock` stands for the database's own where a test moves time."""
        self._home = home
        self._url = url
        self._seen = marker.read(home.marker)
        self._clock = DatabaseClock(fixed_clock, monotonic, seen=self._seen)
        self._writer = Session(url, lock_s=busy_s, by_index=True)
        self._reader = Session(url, lock_s=busy_s)
        self._boots = BootLocks(url)
        self._opened = 1
        try:
            self._uuid = self._reader.run(lambda db: books.recognise(db, url, home, self._seen), again=True)
            self._place = self._reader.run(books.place_of, again=True)
            self._ask(self._reader, "read_clock", again=True)
        except BaseException:
            self._close_sessions()
            raise
        if self._seen is None:
            self.beat()

    @property
    def is_copy(self) -> bool:
        """Whether this home knows these books from another database; until its marker is removed."""
        return books.is_elsewhere(self._place, self._seen)

    # boots

    def start_boot(self) -> BootId:
        """See that the books are sound, take a boot of our own, and book what dead boots had in flight as uncertain."""
        self._reader.run(self._refuse_unsound, again=True)
        boot = self._boots.take()
        try:
            self._ask(self._writer, "start_boot", boot, host(), os.getpid(), again=False)
        except BaseException:
            self._boots.give(boot)
            raise
        self.beat()
        return boot

    def stop_boot(self, boot: BootId) -> None:
        """End the boot; its open holds become uncertain."""
        self._ask(self._writer, "stop_boot", boot, again=True)
        self._boots.give(boot)
        self.beat()

    def start_batch(self, batch: BootId) -> None:
        """Make the owner of a batch's holds, once."""
        self._ask(self._writer, "start_batch", batch, again=True)

    def end_batch(self, batch: BootId, *, reason: str) -> int:
        """End a batch; what it still holds becomes uncertain."""
        return int(self._ask(self._writer, "end_batch", batch, reason, again=True))

    def batches(self) -> tuple[BootId, ...]:
        """Owners of batches that nobody ended."""
        return self._reader.run(read.batches, again=True)

    def beat(self) -> None:
        """Write the marker file, and see that our boots' locks are held."""
        self._boots.keep()
        self._ask(self._reader, "read_clock", again=True)
        newest = self._reader.run(lambda db: books.newest_of(db, self._url, self._uuid), again=True)
        self._home.make()
        place = self._seen.place if self._seen is not None and self._seen.place else self._place  # until somebody says
        now = self._clock.trusted
        marker.write(self._home.marker, marker.Marker(uuid=self._uuid, movement=newest, at=now, place=place))

    # holds

    def reserve(self, order: HoldOrder) -> Decision:
        """Grant, refuse or deny; on the disk before it returns when granted."""
        return self.reserve_many((order,))[0]

    def reserve_many(self, orders: Sequence[HoldOrder]) -> tuple[Decision, ...]:
        """Several orders, decided one after the other, on the disk together: one flush for all that queue."""
        return self._book((), orders)[1] if orders else ()

    def settle_and_reserve(
        self, settlements: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        """What has ended and what is asked for, in one round trip."""
        return self._book(settlements, orders) if orders else (self.settle_many(settlements), ())

    def reserve_batch(self, orders: Sequence[HoldOrder], *, share: int) -> tuple[Decision, ...]:
        """Several orders of one batch, within what batches may hold."""
        if not orders:
            return ()
        rows = v.as_json([v.order_row(order) for order in orders])
        places = "SELECT crewcap.reserve_batch($1, $2, $3)"
        now, said = self._call(self._writer, places, (rows, share), again=True)
        if doubt := now["known"] or now["doubt"]:
            return tuple(Denied(code="clock", message=f"{doubt}; {_CLOCK_HELP}") for _ in orders)
        return tuple(v.decision(order, each) for order, each in zip(orders, said, strict=True))

    def balances(self, key: KeyId) -> tuple[Balance, ...]:
        """Every limit in force for a key, now."""
        return v.balances(self._ask(self._reader, "read_balances", key, again=True))

    def shrink(self, hold: HoldId, to: Money) -> None:
        """Early release, once, downwards."""
        self._ask(self._writer, "shrink", hold, to.nano, again=True)

    def settle(self, settlement: Settlement) -> bool:
        """Close a hold; False when it was closed before."""
        return self.settle_many((settlement,))[0]

    def settle_many(self, settlements: Sequence[Settlement]) -> tuple[bool, ...]:
        """Several, one after the other in one transaction."""
        if not settlements:
            return ()
        rows = v.as_json([v.end_row(each) for each in settlements])
        return tuple(self._ask(self._writer, "settle_many", rows, again=True))

    def note_refusal(self, key: KeyId, *, model: str, needed: Money, message: str) -> None:
        """Remember that a request was refused."""
        self._ask(self._writer, "note_refusal", key, model, needed.nano, message, again=False)

    def needed(self, scope: Scope, *, model: str = "") -> Money:
        """What must be free for the newest request of a scope, where that was refused."""
        return self._reader.run(lambda db: read.needed(db, scope, model), again=True)

    def open_holds(self, *, run: str = "") -> tuple[OpenHold, ...]:
        """Holds in flight."""
        return self._reader.run(lambda db: read.open_holds(db, run=run), again=True)

    def uncertain_holds(self) -> tuple[OpenHold, ...]:
        """Closed holds whose cost nobody proved."""
        return self._reader.run(read.uncertain_holds, again=True)

    def reconcile(self, hold: HoldId, *, cost: Money, word: str) -> None:
        """Close an uncertain hold by somebody's word, as a new entry."""
        if cost < ZERO:
            raise UsageError(
                f"a request cannot have cost {cost.exact()}", help="give what the provider billed: 0 or more"
            )
        if not self._ask(self._writer, "reconcile", hold, cost.nano, word, again=False):
            raise UsageError(f"hold {hold} is not uncertain", help="crewcap ledger reconcile lists those that are")

    def correct_many(self, corrections: Sequence[Correction]) -> tuple[bool, ...]:
        """Book what requests cost by other prices, all in one transaction."""
        rows = v.as_json([v.correction_row(each) for each in corrections])
        return tuple(self._ask(self._writer, "correct_many", rows, again=False))

    # incidents

    def freeze(self, provider: str, *, reason: str) -> bool:
        """Remember an incident of a provider's."""
        return bool(self._ask(self._writer, "freeze", provider, reason, again=True))

    def frozen(self) -> tuple[Incident, ...]:
        """Incidents that nobody has looked at."""
        return self._reader.run(read.frozen, again=True)

    def thaw(self, provider: str, *, word: str) -> bool:
        """Somebody has looked at a provider's incident."""
        return bool(self._ask(self._writer, "thaw", provider, word, again=False))

    # limits

    def set_limit(self, limit: Limit) -> None:
        """Set or change a limit, in force from the next reservation on."""
        _refuse_negative(limit)
        self._ask(self._writer, "say_limit", limit.scope, limit.window, limit.source, limit.amount.nano, again=True)

    def unset_limit(self, scope: Scope, window: Window, *, source: LimitSource) -> bool:
        """Take back what this source said."""
        return bool(self._ask(self._writer, "say_limit", scope, window, source, None, again=False))

    def set_rate(self, limit: RateLimit) -> None:
        """Set or change a rate, in force from the next reservation on."""
        _refuse_out_of_bounds(limit)
        self._ask(self._writer, "say_beside", limit.scope, limit.kind, "", limit.source, limit.value, again=True)

    def unset_rate(self, scope: Scope, kind: RateKind, *, source: LimitSource) -> bool:
        """Take back what this source said of a rate."""
        return bool(self._ask(self._writer, "say_beside", scope, kind, "", source, None, again=False))

    def set_count(self, limit: CountLimit) -> None:
        """Set or change a count, in force from the next run or reservation on."""
        _refuse_out_of_bounds(limit)
        said = (limit.scope, limit.kind, limit.window, limit.source, limit.value)
        self._ask(self._writer, "say_beside", *said, again=True)

    def unset_count(self, scope: Scope, kind: CountKind, window: Window, *, source: LimitSource) -> bool:
        """Take back what this source said of a count."""
        return bool(self._ask(self._writer, "say_beside", scope, kind, window, source, None, again=False))

    def sync_file_limits(
        self,
        limits: Iterable[Limit],
        *,
        zone: str,
        has_file: bool = True,
        rates: Iterable[RateLimit] = (),
        counts: Iterable[CountLimit] = (),
    ) -> None:
        """Make the settings file's (and the defaults') limits, and its time zone, those of this ledger."""
        find_zone(zone)
        money = {(it.scope, it.window, it.source): it for it in limits}
        beside: dict[_About, RateLimit | CountLimit] = {}
        beside.update((_about(it), it) for it in rates)
        beside.update((_about(it), it) for it in counts)
        for limit in money.values():
            _refuse_negative(limit)
        for each in beside.values():
            _refuse_out_of_bounds(each)
        words = [
            {"scope": it.scope, "window": it.window, "source": it.source, "limit_nano": it.amount.nano}
            for it in money.values()
        ]
        others = [
            {"scope": scope, "kind": kind, "window": window, "source": source, "value": it.value}
            for (scope, kind, window, source), it in beside.items()
        ]
        self._ask(self._writer, "sync_file", v.as_json(words), v.as_json(others), zone, has_file, again=True)

    def rates(self, scopes: Iterable[Scope] | None = None) -> tuple[RateBalance, ...]:
        """Every rate in force, and what is free of it."""
        said = self._ask(self._reader, "read_beside", None if scopes is None else list(scopes), again=True)
        return tuple(sorted(map(v.rate, said["rates"]), key=lambda it: (it.scope, it.kind)))

    def counts(self, scopes: Iterable[Scope] | None = None) -> tuple[CountBalance, ...]:
        """Every count in force, and what was used of it."""
        said = self._ask(self._reader, "read_beside", None if scopes is None else list(scopes), again=True)
        return tuple(sorted(map(v.count, said["counts"]), key=lambda it: (it.scope, it.kind, it.window)))

    def all_balances(self) -> tuple[Balance, ...]:
        """Every limit in force with its current window."""
        found = v.balances(self._ask(self._reader, "read_balances", None, again=True))
        return tuple(sorted(found, key=lambda it: (it.scope, it.window)))

    # keys

    def add_key(self, key: VirtualKey, *, cap: Money | None) -> None:
        """Store a key and its cap."""
        own = Scope(f"key:{key.id}")
        if key.scopes[:1] != (own,) or key.scopes[-1:] != (ALL,) or len(set(key.scopes)) != len(key.scopes):
            raise InternalError(f"the scopes of key {key.id} do not lead from itself to all: {' '.join(key.scopes)}")
        if cap is not None:
            _refuse_negative(Limit(scope=own, window="total", amount=cap, source="key"))
        row = v.as_json(v.key_row(key))
        full = self._ask(self._writer, "add_key", row, None if cap is None else cap.nano, again=False)
        if full is not None:
            message, _, help_ = used_up(v.count(full)).rpartition("; ")
            raise MoneyRefused(message, help=help_)

    def find_key(self, hash_: str) -> VirtualKey | None:
        """By hash; expired and revoked ones too."""
        return self._reader.run(lambda db: read.key_by_hash(db, hash_), again=True)

    def keys(self) -> tuple[VirtualKey, ...]:
        """All keys, newest first."""
        return self._reader.run(read.every_key, again=True)

    def revoke_key(self, key: KeyId) -> bool:
        """Refuse it from now on."""
        return bool(self._ask(self._writer, "revoke_key", key, again=False))

    # reading

    def entries(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Entry, ...]:
        """Closed requests, oldest first, by the time of their reservation."""
        return self._reader.run(lambda db: read.entries(db, scope=scope, since=since, until=until), again=True)

    def has_answer(self, key: KeyId, request_id: str) -> bool:
        """Whether a request of this key got the answer that the provider calls so."""
        return self._reader.run(lambda db: read.has_answer(db, key, request_id), again=True)

    def totals(self, scope: Scope) -> Totals:
        """Sums over all of time."""
        return self._reader.run(lambda db: read.totals(db, scope), again=True)

    def verify(self) -> Verified:
        """Recompute every balance from the movements; check the schema."""
        return self._reader.run(self._at_one_instant(postgres_verify.verify), again=True)

    def doubt(self) -> str:
        """Why nothing paid may be sent by this clock; empty = it may."""
        now, _ = self._call(self._reader, "SELECT crewcap.read_clock($1)", (), again=True)
        return str(now["known"] or now["doubt"])

    def accept_clock(self) -> None:
        """An operator's word that the clock is right although it jumped."""
        _, asked = self._clock.ask()
        row = self._writer.run(lambda db: db.fetchval("SELECT crewcap.accept_clock($1)", v.as_json(asked)), again=True)
        said = _decode(row)
        self._clock.accept(said["wall"], said["accepts"])
        self.beat()

    def backup(self, path: str) -> None:
        """Not ours to make: the database's own tools copy it whole, while it runs, with everything else in it."""
        raise UsageError(
            "the ledger is in PostgreSQL, whose own tools make its backups",
            help=f"pg_dump --schema=crewcap --format=custom --file={path} (and the address of {shown(self._url)})",
        )

    def close(self) -> None:
        """End our boots, write the marker where we wrote, and close."""
        try:
            for boot in self._boots.boots:
                self.stop_boot(boot)
            if self._writer.opened:  # who only looked knows nothing that the marker should
                with suppress(LedgerError):  # an older marker is a true one, too
                    self.beat()
        finally:
            self._close_sessions()

    # calls

    def _ask(self, session: Session, name: str, *values: Any, again: bool) -> Any:
        """One of the database's functions by name; the time goes with it and comes back."""
        places = ", ".join(f"${number}" for number in range(1, len(values) + 2))
        return self._call(session, f"SELECT crewcap.{name}({places})", values, again=again)[1]

    def _book(
        self, settlements: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        """Ends, and then orders, which are on the disk when they are granted."""
        rows = [v.as_json([v.end_row(each) for each in settlements]), v.as_json([v.order_row(each) for each in orders])]
        now, said = self._call(self._writer, "CALL crewcap.settle_and_reserve($1, $2, $3, NULL)", rows, again=True)
        if self._writer.opened != self._opened:  # the server was gone: so were our boots' locks
            self._opened = self._writer.opened
            self._boots.keep()
        closed, decisions = said
        if doubt := now["known"] or now["doubt"]:
            denied = Denied(code="clock", message=f"{doubt}; {_CLOCK_HELP}")
            return tuple(closed), tuple(denied for _ in orders)
        return tuple(closed), tuple(v.decision(order, each) for order, each in zip(orders, decisions, strict=True))

    def _call(self, session: Session, sql: str, values: Sequence[Any], *, again: bool) -> tuple[dict[str, Any], Any]:
        """A call, once more where the calendar that went with it was yesterday's: then nothing was done."""
        while True:
            asked_at, asked = self._clock.ask()
            arguments = (*map(v.without_nul, values), v.as_json(asked))
            said = _decode(session.run(partial(_fetch, sql, arguments), again=again))
            self._clock.told(asked_at, said["now"])
            if not said["is_stale"]:
                return said["now"], said["answer"]

    @staticmethod
    def _at_one_instant(work: Work[T]) -> Work[T]:
        async def inside(db: Connection) -> T:
            async with db.transaction(isolation="repeatable_read"):
                return await work(db)

        return inside

    async def _refuse_unsound(self, db: Connection) -> None:
        """Before a gateway starts: a fence that is not ours, or a disk that is not waited for, promises nothing."""
        problems = await wrong_schema(db)
        if problems:
            raise LedgerError(
                f"the ledger {shown(self._url)} is not sound: {problems[0]}",
                help="crewcap ledger verify lists what is wrong; restore a backup, then: crewcap ledger reconcile"
                " --restored",
            )
        if await db.fetchval("SHOW fsync") != "on":
            raise LedgerError(
                f"the server of {shown(self._url)} runs with fsync = off: a power cut would give spent money back",
                help="set fsync = on in postgresql.conf",
            )

    def _close_sessions(self) -> None:
        for session in (self._writer, self._reader, self._boots):
            session.close()


_About = tuple[Scope, RateKind | CountKind, Window | str, LimitSource]


def _about(limit: RateLimit | CountLimit) -> _About:
    return limit.scope, limit.kind, limit.window if isinstance(limit, CountLimit) else "", limit.source


async def _fetch(sql: str, arguments: Sequence[Any], db: Connection) -> str:
    return str(await db.fetchval(sql, *arguments))


def _refuse_negative(limit: Limit) -> None:
    if limit.amount < ZERO:
        raise UsageError(f"a budget cannot be negative: {limit.amount.exact()}", help="write it as 25.00")


def _refuse_out_of_bounds(limit: RateLimit | CountLimit) -> None:
    least, most = bounds(limit.kind)
    if not least <= limit.value <= most:
        raise UsageError(
            f"{limit.value:,} is not a limit of {limit.kind}", help=f"give a whole number from {least} to {most:,}"
        )
