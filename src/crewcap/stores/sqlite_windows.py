"""Balances: every limit in force in the window of the calendar that an instant falls in.

A budget row is made on the first use of its window and begins with what the movements say, so nothing is ever reset
and no job runs at midnight. When the calendar's zone changes, rows of the old zone stay in force beside those of the
new one until they end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crewcap.core.budget import WINDOWS, Balance, KeyId, Scope, Window, span_of
from crewcap.core.money import Money
from crewcap.errors import SettingsError
from crewcap.stores import sqlite_queries as q
from crewcap.stores.clock import instant, micros


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window of the calendar, in microseconds; the end is not in it."""

    label: str
    starts_at: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class Now:
    """The time of one transaction."""

    at: int  # window time: never before the newest entry
    wall: int  # the clock as it is trusted
    spans: Mapping[Window, Stretch]
    is_limited: bool = False  # some rate or count is in force


class Calendar:
    """Windows by zone and instant; remembers the last ones, which hold until the day ends."""

    def __init__(self) -> None:
        self._last: tuple[str, Mapping[Window, Stretch]] = ("", {})

    def spans(self, zone: str, at: int) -> Mapping[Window, Stretch]:
        """The windows that an instant falls in."""
        before, spans = self._last
        if zone == before and spans["day"].starts_at <= at < spans["day"].ends_at:
            return spans
        info, moment = find_zone(zone), instant(at)
        found = [span_of(window, moment, info, zone) for window in WINDOWS]
        spans = {s.window: Stretch(s.label, micros(s.starts_at), micros(s.ends_at)) for s in found}
        self._last = (zone, spans)  # one assignment, so that threads may share it
        return spans


def find_zone(name: str) -> ZoneInfo:
    """A zone by its name in the IANA list."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(
            f"{name[:60]!r} is not a time zone", help="use a name such as Europe/Berlin or UTC"
        ) from error


def span_named(window: Window, label: str, starts_at: int) -> Stretch | None:
    """The window of the calendar that a row's beginning falls in, in the zone that its label names; None = no zone."""
    zone = label.partition("@")[2] or "UTC"
    try:
        span = span_of(window, instant(starts_at), find_zone(zone), zone)
    except (SettingsError, OverflowError):
        return None
    return Stretch(span.label, micros(span.starts_at), micros(span.ends_at))


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
