"""The ledger on SQLite: the face of the books, one transaction a call.

    books     the file, the right one, and transactions     holds    reserve, shrink, settle, reconcile
    windows   balances and the calendar                     limits   who said what, and what counts
    beside    who said what of rates and counts             room     what these leave free
    keys      virtual keys                                  read     entries and sums
    batches   holds of batch jobs                           copies   backups, and putting one in place
    verify    everything derived, computed again
    clock, boots, marker: what may be trusted, who lives, what was seen

Several threads may share one `SqliteLedger`, and several processes one file. Every call either did all of what it
says or raises `LedgerError` and did nothing; there is no way to be granted money without it being written.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

from crewcap.core.budget import Balance, BootId, CountKind, Decision, Denied, HoldId, KeyId, RateKind, Scope, Window
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import CountBalance, CountLimit, RateBalance, RateLimit
from crewcap.core.money import Money
from crewcap.core.reprice import Correction
from crewcap.errors import LedgerError
from crewcap.home import Home
from crewcap.stores import Entry, HoldOrder, Incident, Limit, LimitSource, OpenHold, Settlement, Totals, Verified, boots
from crewcap.stores.calendar import Calendar, find_zone
from crewcap.stores.clock import ClockWatch, instant, micros
from crewcap.stores.sqlite import batches as sqlite_batches
from crewcap.stores.sqlite import beside, copies, holds, incidents, read, room
from crewcap.stores.sqlite import keys as sqlite_keys
from crewcap.stores.sqlite import limits as sqlite_limits
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite import verify as sqlite_verify
from crewcap.stores.sqlite.books import Books
from crewcap.stores.sqlite.file_limits import Words, is_said
from crewcap.stores.sqlite.windows import Now, all_balances, balances_of_key

_CLOCK_HELP = "if the clock is right: crewcap ledger accept-clock"


class SqliteLedger:
    """`Ledger` on HOME/ledger.db."""

    def __init__(
        self,
        home: Home,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        zone: str = "UTC",
        busy_s: float = 5.0,
    ) -> None:
        """Open the books, or make them; `zone` is for new ones. Waits at most `busy_s` for another writer."""
        find_zone(zone)
        self._home = home
        self._clock = clock
        self._watch = ClockWatch(clock, monotonic)
        self._calendar = Calendar()
        self._boots: dict[BootId, boots.BootLock] = {}
        self._books = Books(home, at=clock(), zone=zone, busy_s=busy_s)

    # boots

    def start_boot(self) -> BootId:
        """Check the whole file, take a boot of our own, and book what dead boots had in flight as uncertain."""
        self._refuse_damage()
        lock = boots.BootLock(self._home.boots)
        try:
            dead = self._begin(lock.boot)
        except BaseException:
            lock.release()
            raise
        self._boots[lock.boot] = lock
        for boot in dead:
            boots.forget(self._home.boots, boot)
        self.beat()
        return lock.boot

    def stop_boot(self, boot: BootId) -> None:
        """End the boot; its open holds become uncertain."""
        with self._writing(durable=True) as (db, now):
            holds.lose_boot(db, boot, now, reason="the gateway stopped before the answer was complete")
        lock = self._boots.pop(boot, None)
        if lock is not None:
            lock.release()
        self.beat()

    def start_batch(self, batch: BootId) -> None:
        """Make the owner of a batch's holds, once."""
        with self._writing(durable=True) as (db, now):
            sqlite_batches.start(db, batch, now)

    def end_batch(self, batch: BootId, *, reason: str) -> int:
        """End a batch; what it still holds becomes uncertain."""
        with self._writing(durable=True) as (db, now):
            return holds.lose_boot(db, batch, now, reason=reason)

    def batches(self) -> tuple[BootId, ...]:
        """Owners of batches that nobody ended."""
        with self._reading() as (db, _):
            return sqlite_batches.living(db)

    def beat(self) -> None:
        """Write the marker file."""
        with self._reading() as (_, now):
            at = instant(now.wall)
        self._books.write_marker(at)

    # holds

    def reserve(self, order: HoldOrder) -> Decision:
        """Grant, refuse or deny; on the disk before it returns when granted."""
        return self.reserve_many((order,))[0]

    def reserve_many(self, orders: Sequence[HoldOrder]) -> tuple[Decision, ...]:
        """Several orders, decided one after the other, on the disk together: one flush for all that queue."""
        return self._book((), orders)[1]

    def settle_and_reserve(
        self, settlements: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        """What has ended and what is asked for, in one transaction and one flush."""
        return self._book(settlements, orders)

    def reserve_batch(self, orders: Sequence[HoldOrder], *, share: int) -> tuple[Decision, ...]:
        """Several orders of one batch, within what batches may hold."""
        with self._books.writing(durable=True) as db:
            now, doubt = self._time_to_write(db)
            if doubt:
                denied = Denied(code="clock", message=f"{doubt}; {_CLOCK_HELP}")
                return tuple(denied for _ in orders)
            return sqlite_batches.reserve(db, orders, share, now)

    def balances(self, key: KeyId) -> tuple[Balance, ...]:
        """Every limit in force for a key, now."""
        with self._reading() as (db, now):
            return balances_of_key(db, key, now, write=False)

    def shrink(self, hold: HoldId, to: Money) -> None:
        """Early release, once, downwards."""
        with self._writing(durable=False) as (db, now):
            holds.shrink(db, hold, to, now)

    def settle(self, settlement: Settlement) -> bool:
        """Close a hold; False when it was closed before."""
        return self.settle_many((settlement,))[0]

    def settle_many(self, settlements: Sequence[Settlement]) -> tuple[bool, ...]:
        """Several, one after the other in one transaction."""
        with self._writing(durable=False) as (db, now):
            return tuple(holds.settle(db, settlement, now) for settlement in settlements)

    def note_refusal(self, key: KeyId, *, model: str, needed: Money, message: str) -> None:
        """Remember that a request was refused."""
        with self._writing(durable=False) as (db, now):
            row = {"key": key, "at": now.at, "model": model, "needed": needed.nano, "message": message}
            db.execute(q.ADD_REFUSAL, row)

    def needed(self, scope: Scope, *, model: str = "") -> Money:
        """What must be free for the newest request of a scope, where that was refused."""
        with self._reading() as (db, _):
            return read.needed(db, scope, model)

    def open_holds(self, *, run: str = "") -> tuple[OpenHold, ...]:
        """Holds in flight."""
        with self._reading() as (db, _):
            return read.open_holds(db, run=run)

    def uncertain_holds(self) -> tuple[OpenHold, ...]:
        """Closed holds whose cost nobody proved."""
        with self._reading() as (db, _):
            return read.uncertain_holds(db)

    def reconcile(self, hold: HoldId, *, cost: Money, word: str) -> None:
        """Close an uncertain hold by somebody's word, as a new entry."""
        with self._writing(durable=True) as (db, now):
            holds.reconcile(db, hold, cost, word, now)

    def correct_many(self, corrections: Sequence[Correction]) -> tuple[bool, ...]:
        """Book what requests cost by other prices, all in one transaction."""
        with self._writing(durable=True) as (db, now):
            return tuple(holds.correct(db, each, now) for each in corrections)

    # incidents

    def freeze(self, provider: str, *, reason: str) -> bool:
        """Remember an incident of a provider's."""
        with self._writing(durable=True) as (db, now):
            return incidents.freeze(db, provider, reason, now)

    def frozen(self) -> tuple[Incident, ...]:
        """Incidents that nobody has looked at."""
        with self._reading() as (db, _):
            return incidents.frozen(db)

    def thaw(self, provider: str, *, word: str) -> bool:
        """Somebody has looked at a provider's incident."""
        with self._writing(durable=True) as (db, now):
            return incidents.thaw(db, provider, word, now)

    # limits

    def set_limit(self, limit: Limit) -> None:
        """Set or change a limit, in force from the next reservation on."""
        with self._writing(durable=True) as (db, now):
            sqlite_limits.say(db, limit, now)

    def unset_limit(self, scope: Scope, window: Window, *, source: LimitSource) -> bool:
        """Take back what this source said."""
        with self._writing(durable=True) as (db, now):
            return sqlite_limits.unsay(db, scope, window, source, now)

    def set_rate(self, limit: RateLimit) -> None:
        """Set or change a rate, in force from the next reservation on."""
        with self._writing(durable=True) as (db, now):
            beside.say(db, limit, now)

    def unset_rate(self, scope: Scope, kind: RateKind, *, source: LimitSource) -> bool:
        """Take back what this source said of a rate."""
        with self._writing(durable=True) as (db, now):
            return beside.unsay(db, (scope, kind, ""), source, now)

    def set_count(self, limit: CountLimit) -> None:
        """Set or change a count, in force from the next run or reservation on."""
        with self._writing(durable=True) as (db, now):
            beside.say(db, limit, now)

    def unset_count(self, scope: Scope, kind: CountKind, window: Window, *, source: LimitSource) -> bool:
        """Take back what this source said of a count."""
        with self._writing(durable=True) as (db, now):
            return beside.unsay(db, (scope, kind, window), source, now)

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
        words = Words(limits=tuple(limits), others=(*rates, *counts), zone=zone, has_file=has_file)
        with self._reading() as (db, now):
            if is_said(words.say, db, now):
                return
        with self._writing(durable=True) as (db, now):
            words.say(db, now)

    def rates(self, scopes: Iterable[Scope] | None = None) -> tuple[RateBalance, ...]:
        """Every rate in force, and what is free of it."""
        with self._reading() as (db, now):
            return room.rates(db, scopes, now)

    def counts(self, scopes: Iterable[Scope] | None = None) -> tuple[CountBalance, ...]:
        """Every count in force, and what was used of it."""
        with self._reading() as (db, now):
            return room.counts(db, scopes, now)

    def all_balances(self) -> tuple[Balance, ...]:
        """Every limit in force with its current window."""
        with self._reading() as (db, now):
            return all_balances(db, now, write=False)

    # keys

    def add_key(self, key: VirtualKey, *, cap: Money | None) -> None:
        """Store a key and its cap."""
        with self._writing(durable=True) as (db, now):
            sqlite_keys.add(db, key, cap, now)

    def find_key(self, hash_: str) -> VirtualKey | None:
        """By hash; expired and revoked ones too."""
        with self._reading() as (db, _):
            return sqlite_keys.by_hash(db, hash_)

    def keys(self) -> tuple[VirtualKey, ...]:
        """All keys, newest first."""
        with self._reading() as (db, _):
            return sqlite_keys.every(db)

    def revoke_key(self, key: KeyId) -> bool:
        """Refuse it from now on."""
        with self._writing(durable=True) as (db, now):
            return sqlite_keys.revoke(db, key, now)

    # reading

    def entries(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Entry, ...]:
        """Closed requests, oldest first, by the time of their reservation."""
        with self._reading() as (db, _):
            return read.entries(db, scope=scope, since=since, until=until)

    def has_answer(self, key: KeyId, request_id: str) -> bool:
        """Whether a request of this key got the answer that the provider calls so."""
        with self._reading() as (db, _):
            return read.has_answer(db, key, request_id)

    def totals(self, scope: Scope) -> Totals:
        """Sums over all of time."""
        with self._reading() as (db, _):
            return read.totals(db, scope)

    def verify(self) -> Verified:
        """Recompute every balance from the movements; check file and schema."""
        with self._reading() as (db, _):
            return sqlite_verify.verify(db)

    def doubt(self) -> str:
        """Why nothing paid may be sent by this clock; empty = it may."""
        with self._books.reading() as db:
            _, doubt, known = self._time(db)
        return known or doubt

    def accept_clock(self) -> None:
        """An operator's word that the clock is right although it jumped."""
        with self._books.writing(durable=True) as db:
            accepts = db.execute(q.ACCEPT_CLOCK, {"at": micros(self._clock())}).fetchone()[0]
        self._watch.accept(accepts)
        self.beat()

    def backup(self, path: str) -> None:
        """A consistent copy while running; it knows that it is one."""
        with self._reading() as (db, now):
            copies.backup(db, path, at=now.wall)

    def close(self) -> None:
        """End our boots, write the marker where we wrote, and close."""
        try:
            for boot in tuple(self._boots):
                self.stop_boot(boot)
            if self._books.has_written:  # who only looked knows nothing that the marker should
                with suppress(LedgerError):  # an older marker is a true one, too
                    self.beat()
        finally:
            self._books.close()

    def _book(
        self, settlements: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        """Ends, whatever the clock says, and then orders, where it may be trusted."""
        with self._books.writing(durable=True) as db:
            now, doubt = self._time_to_write(db)
            closed = tuple(holds.settle(db, settlement, now) for settlement in settlements)
            if doubt:
                denied = Denied(code="clock", message=f"{doubt}; {_CLOCK_HELP}")
                return closed, tuple(denied for _ in orders)
            return closed, tuple(holds.reserve(db, order, now) for order in orders)

    # time, transactions

    @contextmanager
    def _writing(self, *, durable: bool) -> Iterator[tuple[sqlite3.Connection, Now]]:
        """One transaction of those who tell what happened; the clock is watched, but stops none of them."""
        with self._books.writing(durable=durable) as db:
            now, _ = self._time_to_write(db)
            yield db, now

    @contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, Now]]:
        """One consistent view at one time."""
        with self._books.reading() as db:
            now, _, _ = self._time(db)
            yield db, now

    def _time_to_write(self, db: sqlite3.Connection) -> tuple[Now, str]:
        """The time, and why nothing paid may be sent at it, if so; from here on all processes know."""
        now, doubt, known = self._time(db)
        if doubt and not known:
            db.execute(q.DOUBT_CLOCK, {"doubt": doubt})
        return now, known or doubt

    def _time(self, db: sqlite3.Connection) -> tuple[Now, str, str]:
        """The time of a transaction, why this process doubts it, and why all of them do."""
        zone, known, accepts, newest, newest_at, newest_wall, is_limited = db.execute(q.TIME).fetchone()
        recorded = self._recorded(newest, newest_wall)
        reading = self._watch.look(recorded=recorded, accepts=accepts, doubted=known)
        wall = micros(reading.at)
        at = max(wall, newest_at)
        return Now(at, wall, self._calendar.spans(zone, at), bool(is_limited)), reading.doubt, known

    def _recorded(self, newest: int, newest_wall: int) -> datetime | None:
        """The newest instant on record: the newest movement's, or the marker's where nothing moved since it."""
        if not newest:
            return None
        seen = self._books.last_seen
        return seen.at if seen is not None and seen.movement >= newest else instant(newest_wall)

    def _refuse_damage(self) -> None:
        """Before a gateway starts, the whole file is read: damage is found before money is promised."""
        with self._books.reading() as db:
            problems = (*sqlite_verify.wrong_file(db, "quick_check"), *sqlite_verify.wrong_schema(db))
        if problems:
            raise LedgerError(
                f"the ledger {self._home.ledger} is not sound: {problems[0]}",
                help="crewcap ledger verify lists what is wrong; put a backup in its place, then: crewcap ledger"
                " reconcile --restored",
            )

    def _begin(self, boot: BootId) -> list[BootId]:
        """Write our boot down and bury the dead ones."""
        with self._writing(durable=True) as (db, now):
            living = [BootId(row[0]) for row in db.execute(q.LIVING_BOOTS).fetchall()]
            dead = [other for other in living if not boots.is_alive(self._home.boots, other)]
            for other in dead:
                holds.lose_boot(db, other, now, reason="the gateway died before the answer was complete")
            db.execute(q.START_BOOT, {"boot": boot, "pid": os.getpid(), "at": now.wall})
        return dead
