"""Balances: every limit in force in the window of the calendar that an instant falls in.

A budget row is made on the first use of its window and begins with what the movements say, so nothing is ever reset
and no job runs at midnight. When the calendar's zone changes, rows of the old zone stay in force beside those of the
new one until they end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from crewcap.core.budget import Balance, KeyId, Scope, Window
from crewcap.core.money import Money
from crewcap.stores.calendar import Stretch
from crewcap.stores.clock import instant
from crewcap.stores.sqlite import queries as q


@dataclass(frozen=True, slots=True)
class Now:
    """The time of one transaction."""

    at: int  # window time: never before the newest entry
    wall: int  # the clock as it is trusted
    spans: Mapping[Window, Stretch]
    is_limited: bool = False  # some rate or count is in force


def balances_of_key(db: sqlite3.Connection, key: KeyId, now: Now, *, write: bool) -> tuple[Balance, ...]:
    """Every limit in force on a key's scopes. With `write`, rows that are not there yet are made."""
    return _balances(db, db.execute(q.LIMITS_OF_KEY, {"key": key, "at": now.at}), now, write=write)


def all_balances(db: sqlite3.Connection, now: Now, *, write: bool) -> tuple[Balance, ...]:
    """Every limit in force."""
    return _balances(db, db.execute(q.LIMITS, {"at": now.at}), now, write=write)


_Row = tuple[Scope, Window, int, str, int, str | None, int, int, int, int]


def _balances(db: sqlite3.Connection, rows: Iterable[_Row], now: Now, *, write: bool) -> tuple[Balance, ...]:
    """Rows as balances, and one more for each limit that has no row in the calendar of today's zone."""
    found: list[Balance] = []
    missing: dict[tuple[Scope, Window], tuple[int, str, int]] = {}
    for scope, window, limit, source, version, label, ends_at, *sums in list(rows):
        missing.setdefault((scope, window), (limit, source, version))
        if label is not None:
            found.append(_balance(scope, window, (limit, source, version), label, ends_at, sums))
    for balance in found:
        if balance.label == now.spans[balance.window].label:
            del missing[balance.scope, balance.window]
    for (scope, window), limit_said in missing.items():
        found.append(_first(db, scope, window, limit_said, now.spans[window], write=write))
    return tuple(found)


def _first(
    db: sqlite3.Connection, scope: Scope, window: Window, said: tuple[int, str, int], span: Stretch, *, write: bool
) -> Balance:
    """The balance of a window that has no row yet, computed from the movements."""
    sums = sums_in(db, scope, window, span)
    if write:
        row = {
            "scope": scope,
            "window": window,
            "label": span.label,
            "starts_at": span.starts_at,
            "ends_at": span.ends_at,
            "limit_nano": said[0],
        }
        db.execute(q.ADD_BUDGET, row | dict(zip(("spent", "uncertain", "held"), sums, strict=True)))
    return _balance(scope, window, said, span.label, span.ends_at, sums)


def sums_in(db: sqlite3.Connection, scope: str, window: str, span: Stretch) -> tuple[int, int, int]:
    """What was spent, is uncertain and is held in a window, from the movements alone."""
    if window == "total":
        row = db.execute(q.SUMS_EVER, {"scope": scope}).fetchone()
    else:
        between = {"scope": scope, "starts_at": span.starts_at, "ends_at": span.ends_at}
        row = db.execute(q.SUMS_BETWEEN, between).fetchone()
    return (row[0], row[1], row[2])


def _balance(
    scope: Scope, window: Window, said: tuple[int, str, int], label: str, ends_at: int, sums: Iterable[int]
) -> Balance:
    spent, uncertain, held = sums
    limit, source, version = said
    return Balance(
        scope=scope,
        window=window,
        label=label,
        limit=Money(limit),
        spent=Money(spent),
        uncertain=Money(uncertain),
        held=Money(held),
        resets_at=None if window == "total" else instant(ends_at),
        source=source,
        version=version,
    )
