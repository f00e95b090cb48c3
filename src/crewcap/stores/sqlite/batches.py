"""Holds of batch jobs: an owner that no process's end ends, and the part of each window that batches may hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from crewcap.core.budget import Balance, BootId, Decision, Granted, Refused, admit
from crewcap.core.money import ZERO, Money
from crewcap.errors import InternalError
from crewcap.stores import HoldOrder, is_batch
from crewcap.stores.sqlite import holds
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.windows import Now, balances_of_key

_Held = dict[tuple[str, str, str], int]


def start(db: sqlite3.Connection, batch: BootId, now: Now) -> None:
    """Make a batch's owner; one that is there already stays as it is."""
    if not is_batch(batch):
        raise InternalError(f"{batch} does not name a batch")
    db.execute(q.START_BATCH, {"boot": batch, "at": now.wall})


def living(db: sqlite3.Connection) -> tuple[BootId, ...]:
    """Owners that nobody ended."""
    return tuple(BootId(row[0]) for row in db.execute(q.LIVING_BATCHES))


def reserve(db: sqlite3.Connection, orders: Sequence[HoldOrder], share: int, now: Now) -> tuple[Decision, ...]:
    """Decide one after the other; what batches hold is added up once, and goes on with each that is granted."""
    if not orders:
        return ()
    key = orders[0].key
    balances_of_key(db, key, now, write=True)  # a window's first row is made before it is looked at
    rows = db.execute(q.HELD_BY_BATCHES, {"key": key, "at": now.at}).fetchall()
    held: _Held = {(scope, window, label): nano for scope, window, label, nano in rows}
    return tuple(_reserve(db, order, held, share, now) for order in orders)


def _reserve(db: sqlite3.Connection, order: HoldOrder, held: _Held, share: int, now: Now) -> Decision:
    is_made = db.execute(q.HOLD_MADE, {"hold": order.hold}).fetchone() is not None
    if not is_made and (refused := _over_share(db, order, held, share, now)) is not None:
        return refused
    decision = holds.reserve(db, order, now)
    if isinstance(decision, Granted) and not is_made:
        for place in held:
            held[place] += order.amount.nano
    return decision


def _over_share(db: sqlite3.Connection, order: HoldOrder, held: _Held, share: int, now: Now) -> Refused | None:
    """Why batches would hold more of some window than their part."""
    balances = balances_of_key(db, order.key, now, write=True)
    parts = [
        part_of_batches(each, share, Money(held[place]))
        for each in balances
        if (place := (each.scope, each.window, each.label)) in held
    ]
    return admit(order.amount, parts)


def part_of_batches(balance: Balance, share: int, held: Money) -> Balance:
    """The part of a limit that batches may hold, as a balance of their own."""
    part = Money(balance.limit.nano * share // 100)
    return replace(balance, limit=part, spent=ZERO, uncertain=ZERO, held=held, source="batches")
