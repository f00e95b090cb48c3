"""What limits beside money leave free: read in the transaction that books, so that what was seen is what is.

Nothing here is asked unless some rate or count is in force. A count's window follows the calendar as a budget's does:
rows of tokens are made on first use, and those of an old zone stay in force beside the new one's until they end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from crewcap.core.budget import Busy, CountKind, Denied, RateKind, Scope, Window
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import RATE_KINDS, RECHECK_S, Bucket, CountBalance, RateBalance, used_up
from crewcap.errors import MoneyRefused
from crewcap.stores import HoldOrder, is_batch
from crewcap.stores.calendar import Stretch
from crewcap.stores.clock import instant
from crewcap.stores.sqlite import beside_queries as q
from crewcap.stores.sqlite.windows import Now

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate in force, with its bucket if it has one."""

    scope: Scope
    kind: RateKind
    value: int
    source: str
    version: int
    bucket: Bucket | None


@dataclass(frozen=True, slots=True)
class Count:
    """A count in force in one window; `used` where a row keeps it."""

    scope: Scope
    kind: CountKind
    window: Window
    value: int
    source: str
    version: int
    span: Stretch
    used: int | None

    @property
    def between(self) -> dict[str, str | int]:
        """Its scope and bounds, as queries want them."""
        return {"scope": self.scope, "starts_at": self.span.starts_at, "ends_at": self.span.ends_at}


@dataclass(frozen=True, slots=True)
class Beside:
    """What the limits beside money say of one request."""

    denied: Denied | None = None
    busy: Busy | None = None


def look(db: sqlite3.Connection, order: HoldOrder, now: Now) -> Beside:
    """Whether a request may be sent now as far as rates and counts go; rows that its tokens need are made."""
    rates, counts = _sorted(db.execute(q.OF_KEY, {"key": order.key, "at": now.at}), now)
    asked = [] if is_batch(order.boot) else rates
    waits = [wait for rate in asked if (wait := _busy(db, rate, now)) is not None]
    denials = []
    for count in counts:
        match _over(db, count, order, now):
            case Denied() as denied:
                denials.append(denied)
            case Busy() as busy:
                waits.append(busy)
    return Beside(
        denied=min(denials, key=lambda denied: denied.kind == "tokens", default=None),  # fewer tokens may be asked for
        busy=max(waits, key=lambda wait: wait.retry_after_s, default=None),
    )


def refuse_run(db: sqlite3.Connection, key: VirtualKey, now: Now) -> None:
    """`MoneyRefused` where a scope of a run's key may have no more runs, or has no hours left."""
    _, counts = _sorted(db.execute(q.EVERY, {"at": now.at}), now)
    for count in counts:
        if count.scope not in key.scopes or count.kind == "tokens" or _is_counted(db, count, key.run):
            continue
        balance = _balance(db, count, now)
        if not balance.left:
            message, _, help_ = used_up(balance).rpartition("; ")
            raise MoneyRefused(message, help=help_)


def rates(db: sqlite3.Connection, scopes: Iterable[Scope] | None, now: Now) -> tuple[RateBalance, ...]:
    """Every rate in force (on these scopes), and what is free of it."""
    wanted = None if scopes is None else set(scopes)
    found, _ = _sorted(db.execute(q.EVERY, {"at": now.at}), now)
    return tuple(_rate_balance(db, rate, now) for rate in found if wanted is None or rate.scope in wanted)


def counts(db: sqlite3.Connection, scopes: Iterable[Scope] | None, now: Now) -> tuple[CountBalance, ...]:
    """Every count in force (on these scopes), and what was used of it."""
    wanted = None if scopes is None else set(scopes)
    _, found = _sorted(db.execute(q.EVERY, {"at": now.at}), now)
    return tuple(_balance(db, count, now) for count in found if wanted is None or count.scope in wanted)


def keep_windows(db: sqlite3.Connection, now: Now) -> None:
    """Before the calendar's zone changes: every count's row in the old zone is made, and counts until it ends."""
    _, found = _sorted(db.execute(q.EVERY, {"at": now.at}), now)
    for count in found:
        if count.used is None:
            _begin(db, count)


def tokens_in(db: sqlite3.Connection, scope: str, window: str, span: Stretch) -> int:
    """Tokens of a scope in a window, from holds and movements alone."""
    if window == "total":
        return int(db.execute(q.TOKENS_EVER, {"scope": scope}).fetchone()[0])
    between = {"scope": scope, "starts_at": span.starts_at, "ends_at": span.ends_at}
    return int(db.execute(q.TOKENS_BETWEEN, between).fetchone()[0])


def _sorted(rows: Iterable[tuple[Any, ...]], now: Now) -> tuple[list[Rate], list[Count]]:
    """Rates, and counts in every window that this instant falls in."""
    rates_: list[Rate] = []
    found: dict[tuple[Scope, CountKind, Window], list[Count]] = {}
    for scope, kind, window, value, source, version, label, starts_at, ends_at, used, level, at in list(rows):
        said = (value, source, version)
        if kind in RATE_KINDS:
            rates_.append(Rate(scope, kind, *said, None if level is None else Bucket(level, at)))
            continue
        windows = found.setdefault((scope, kind, window), [])
        if label is not None:
            windows.append(Count(scope, kind, window, *said, Stretch(label, starts_at, ends_at), used))
        else:
            windows.append(Count(scope, kind, window, *said, now.spans[window], None))
    return rates_, [count for windows in found.values() for count in _with_todays(windows, now)]


def _with_todays(windows: list[Count], now: Now) -> Iterator[Count]:
    """The rows of one count, and the window of today's calendar where only an old zone's has a row."""
    yield from windows
    first = windows[0]
    today = now.spans[first.window]
    if all(count.span.label != today.label for count in windows):
        said = (first.value, first.source, first.version)
        yield Count(first.scope, first.kind, first.window, *said, today, None)


def _busy(db: sqlite3.Connection, rate: Rate, now: Now) -> Busy | None:
    """Whether a rate has no room; a bucket whose clock was set back goes on from now."""
    if rate.bucket is None:
        wait_s = RECHECK_S if _in_flight(db, rate.scope) >= rate.value else 0.0
    else:
        filled = rate.bucket.filled(rate.value, now.wall)
        if rate.bucket.at > now.wall:
            named = {"scope": rate.scope, "kind": rate.kind}
            db.execute(q.SET_BUCKET, named | {"value": rate.value, "level": filled.level, "at": filled.at})
        wait_s = filled.wait_s(rate.kind, rate.value)
    return Busy(scope=rate.scope, kind=rate.kind, limit=rate.value, retry_after_s=wait_s) if wait_s else None


def _over(db: sqlite3.Connection, count: Count, order: HoldOrder, now: Now) -> Denied | Busy | None:
    """Whether a request is too much for a count: tokens by the most that it can be, hours once they are over."""
    if count.kind == "runs":
        return None
    if count.kind == "tokens" and count.used is None:
        _begin(db, count)
    balance = _balance(db, count, now)
    needed = order.prompt_bound + order.output_limit if count.kind == "tokens" else 0
    if balance.used + needed <= balance.most - (count.kind == "hours"):
        return None
    if needed:
        flying = db.execute(q.TOKENS_IN_FLIGHT, count.between).fetchone()[0]
        if balance.used - flying + needed <= balance.most:
            return Busy(scope=count.scope, kind=count.kind, limit=count.value, retry_after_s=RECHECK_S)
    return Denied(code="count_limit", message=used_up(balance, needed), kind=count.kind)


def _begin(db: sqlite3.Connection, count: Count) -> None:
    """Make the row of a count's window; tokens begin with what is in it."""
    used = tokens_in(db, count.scope, count.window, count.span) if count.kind == "tokens" else 0
    named = {"kind": count.kind, "window": count.window, "label": count.span.label, "used": used}
    db.execute(q.ADD_TALLY, count.between | named)


def _balance(db: sqlite3.Connection, count: Count, now: Now) -> CountBalance:
    return CountBalance(
        scope=count.scope,
        kind=count.kind,
        window=count.window,
        label=count.span.label,
        limit=count.value,
        used=_used(db, count, now),
        resets_at=None if count.window == "total" else instant(count.span.ends_at),
        source=count.source,
        version=count.version,
    )


def _used(db: sqlite3.Connection, count: Count, now: Now) -> int:
    if count.kind == "runs":
        return int(db.execute(q.RUNS_BETWEEN, count.between).fetchone()[0])
    if count.kind == "hours":
        return int(db.execute(q.LIVED_BETWEEN, count.between | {"now": now.at}).fetchone()[0]) // _SECOND
    if count.used is not None:
        return count.used
    return tokens_in(db, count.scope, count.window, count.span)


def _is_counted(db: sqlite3.Connection, count: Count, run: str) -> bool:
    """Whether a run was counted in this window before: it is not counted again."""
    return count.kind == "runs" and bool(db.execute(q.RUN_BETWEEN, count.between | {"run": run}).fetchone()[0])


def _rate_balance(db: sqlite3.Connection, rate: Rate, now: Now) -> RateBalance:
    if rate.bucket is None:
        left = rate.value - _in_flight(db, rate.scope)
    else:
        left = rate.bucket.filled(rate.value, now.wall).left
    return RateBalance(
        scope=rate.scope, kind=rate.kind, limit=rate.value, left=left, source=rate.source, version=rate.version
    )


def _in_flight(db: sqlite3.Connection, scope: Scope) -> int:
    return int(db.execute(q.IN_FLIGHT, {"scope": scope}).fetchone()[0])
