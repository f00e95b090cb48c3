"""Limits beside money as a pure model: fractions and lists, everything else added up anew each time it is asked for.

A bucket is the one thing that remembers: what is in it depends on the clock at each step. Here it is a fraction of a
token, in the store whole parts of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from crewcap.core.budget import Busy, Denied, Scope, Span

if TYPE_CHECKING:
    from tests.contracts.ledger_model import LedgerModel, ModelHold

RANK = ("command", "key", "run", "file", "default")
RATES, COUNTS = ("tpm", "rpm", "concurrent"), ("runs", "tokens", "hours")
About = tuple[Scope, str, str]  # scope, kind, window; a rate has none
ZERO = timedelta(0)


@dataclass
class ModelBucket:
    """One minute's worth, or a debt."""

    value: int
    level: Fraction
    at: datetime

    def fill(self, now: datetime) -> None:
        """Evenly, up to one minute's worth; a clock that was set back fills nothing."""
        minutes = Fraction((max(ZERO, now - self.at)) // timedelta(microseconds=1), 60_000_000)
        self.level, self.at = min(Fraction(self.value), self.level + self.value * minutes), now


@dataclass
class LimitsModel:
    """What was said, and the buckets of it."""

    said: dict[About, dict[str, int]] = field(default_factory=dict)
    buckets: dict[tuple[Scope, str], ModelBucket] = field(default_factory=dict)
    old_zone: list[tuple[About, Span]] = field(default_factory=list)

    def say(self, about: About, source: str, value: int, now: datetime) -> None:
        """A limit."""
        self.said.setdefault(about, {})[source] = value
        self._size(about, now)

    def unsay(self, about: About, source: str, now: datetime) -> bool:
        """No limit."""
        words = self.said.get(about, {})
        known = words.pop(source, None) is not None
        if not words:
            self.said.pop(about, None)
            self.buckets.pop(about[:2], None)
            self.old_zone = [row for row in self.old_zone if row[0] != about]
        elif known:
            self._size(about, now)
        return known

    def sync(self, lines: dict[About, int], now: datetime) -> None:
        """What the settings file says now."""
        for about in self.said.keys() - lines.keys():
            self.unsay(about, "file", now)
        for about, value in lines.items():
            self.say(about, "file", value, now)

    def keep_windows(self, books: LedgerModel, now: datetime) -> None:
        """Before the zone changes."""
        self.old_zone += [(about, books.span(about[2], now)) for about in self.said if about[2]]  # type: ignore[arg-type]  # a window

    def sent(self, scopes: Iterable[Scope], now: datetime) -> None:
        """A request left."""
        self._take(scopes, "rpm", 1, now)

    def used(self, scopes: Iterable[Scope], tokens: int, now: datetime) -> None:
        """An answer was settled."""
        if tokens:
            self._take(scopes, "tpm", tokens, now)

    def decide(self, books: LedgerModel, scopes: tuple[Scope, ...], bound: int, now: datetime) -> Denied | Busy | None:
        """What limits beside money say of one request."""
        waits = [wait for wait in self._waits(books, scopes, now) if wait]
        for about, span in sorted(self._windows(books, now), key=lambda row: row[0][1] != "hours"):
            if about[0] not in scopes:
                continue
            used, limit = self.count(books, about, span, now), self.in_force(about)[0]
            if about[1] == "hours" and used >= limit * 3_600:
                return Denied(code="count_limit", message="", kind="hours")
            if about[1] == "tokens" and used + bound > limit:
                flying = sum(it.bound for it in _inside(books, about[0], span) if not it.closed)
                if used - flying + bound > limit:
                    return Denied(code="count_limit", message="", kind="tokens")
                waits.append(Fraction(1))
        return Busy(scope=scopes[0], kind="rpm", limit=0, retry_after_s=float(max(waits))) if waits else None

    def may_begin(self, books: LedgerModel, scopes: tuple[Scope, ...], run: str, now: datetime) -> bool:
        """Whether one more run may have a key."""
        for about, span in self._windows(books, now):
            if about[0] in scopes:
                used, limit = self.count(books, about, span, now), self.in_force(about)[0]
                if about[1] == "hours" and used >= limit * 3_600:
                    return False
                if about[1] == "runs" and run not in _runs(books, about[0], span) and used >= limit:
                    return False
        return True

    def rates(self, books: LedgerModel, now: datetime) -> dict[tuple[str, ...], tuple[int, int, str]]:
        """Every rate: its limit, what is free of it, and who said it."""
        found: dict[tuple[str, ...], tuple[int, int, str]] = {}
        for scope, kind, window in self.said:
            if not window:
                value, source = self.in_force((scope, kind, window))
                free = value - _in_flight(books, scope) if kind == "concurrent" else self._level(scope, kind, now) // 1
                found[scope, kind] = (value, int(free), source)
        return found

    def counts(self, books: LedgerModel, now: datetime) -> dict[tuple[str, ...], tuple[int, int, str]]:
        """Every count in every window: its limit, what was used, and who said it."""
        return {
            (*about, span.label): (
                self.in_force(about)[0],
                self.count(books, about, span, now),
                self.in_force(about)[1],
            )
            for about, span in self._windows(books, now)
        }

    def count(self, books: LedgerModel, about: About, span: Span, now: datetime) -> int:
        """Runs, tokens, or seconds of hours."""
        scope, kind, _ = about
        if kind == "runs":
            return len(_runs(books, scope, span))
        if kind == "hours":
            return sum(_lives(books, scope, span, now), ZERO) // timedelta(seconds=1)
        return sum(it.told if it.is_proven else max(it.bound, it.told) for it in _inside(books, scope, span))

    def in_force(self, about: About) -> tuple[int, str]:
        """The strongest word."""
        words = self.said[about]
        source = min(words, key=RANK.index)
        return words[source], source

    def _windows(self, books: LedgerModel, now: datetime) -> list[tuple[About, Span]]:
        at = books.at(now)
        todays: list[tuple[About, Any]] = [(about, books.span(about[2], now)) for about in self.said if about[2]]  # type: ignore[arg-type]  # a window
        old = [row for row in self.old_zone if row[1].starts_at <= at < row[1].ends_at]
        return todays + [row for row in dict.fromkeys(old) if row not in todays]

    def _waits(self, books: LedgerModel, scopes: tuple[Scope, ...], now: datetime) -> Iterator[Fraction]:
        for scope, kind, window in self.said:
            if window or scope not in scopes:
                continue
            value, _ = self.in_force((scope, kind, window))
            if kind == "concurrent":
                yield Fraction(int(_in_flight(books, scope) >= value))
            else:
                bucket = self.buckets[scope, kind]
                bucket.at = min(bucket.at, now)  # a clock that was set back: it goes on from there
                missing = Fraction(1, 60_000_000) if kind == "tpm" else Fraction(1)
                yield max(Fraction(0), missing - self._level(scope, kind, now)) / value * 60

    def _size(self, about: About, now: datetime) -> None:
        value, _ = self.in_force(about)
        if about[1] not in {"tpm", "rpm"}:
            return
        bucket = self.buckets.setdefault(about[:2], ModelBucket(value, Fraction(value), now))
        if bucket.value != value:
            bucket.fill(now)
            bucket.value, bucket.level = value, min(bucket.level, Fraction(value))

    def _level(self, scope: Scope, kind: str, now: datetime) -> Fraction:
        bucket = self.buckets[scope, kind]
        if now < bucket.at:
            return bucket.level
        minutes = Fraction((now - bucket.at) // timedelta(microseconds=1), 60_000_000)
        return min(Fraction(bucket.value), bucket.level + bucket.value * minutes)

    def _take(self, scopes: Iterable[Scope], kind: str, number: int, now: datetime) -> None:
        for scope in scopes:
            if bucket := self.buckets.get((scope, kind)):
                bucket.fill(now)
                bucket.level -= number


def _inside(books: LedgerModel, scope: Scope, span: Span) -> list[ModelHold]:
    return [it for it in books.holds.values() if scope in it.scopes and span.starts_at <= it.booked_at < span.ends_at]


def _in_flight(books: LedgerModel, scope: Scope) -> int:
    return sum(scope in it.scopes for it in books.open())


def _runs(books: LedgerModel, scope: Scope, span: Span) -> set[str]:
    made = [key for key in books.keys.values() if key.run and key.made_at and scope in key.scopes]
    return {key.run for key in made if key.made_at and span.starts_at <= key.made_at < span.ends_at}


def _lives(books: LedgerModel, scope: Scope, span: Span, now: datetime) -> Iterator[timedelta]:
    for key in books.keys.values():
        if key.run and key.made_at and scope in key.scopes:
            end = min(key.ends_at or span.ends_at, span.ends_at, books.at(now))
            yield max(ZERO, end - max(key.made_at, span.starts_at))
