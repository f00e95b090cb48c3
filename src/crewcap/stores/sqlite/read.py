"""What reports read: open holds, closed requests, sums. Nothing here writes."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta
from typing import Any

from crewcap.core.budget import ALL, HoldId, KeyId, Scope
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.stores import Entry, OpenHold, Totals
from crewcap.stores.clock import instant, micros
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.keys import scopes_of

_EVER, _NEVER = 0, 2**62


def open_holds(db: sqlite3.Connection, *, run: str) -> tuple[OpenHold, ...]:
    """Holds in flight."""
    return tuple(_open_hold(row) for row in db.execute(q.OPEN_HOLDS, {"run": run}))


def uncertain_holds(db: sqlite3.Connection) -> tuple[OpenHold, ...]:
    """Holds that wait for a word."""
    return tuple(_open_hold(row) for row in db.execute(q.UNCERTAIN_HOLDS))


def entries(
    db: sqlite3.Connection, *, scope: Scope | None, since: datetime | None, until: datetime | None
) -> tuple[Entry, ...]:
    """Closed requests by the time of their reservation, oldest first."""
    asked = {
        "scope": scope or ALL,
        "since": _EVER if since is None else micros(since),
        "until": _NEVER if until is None else micros(until),
    }
    rows = db.execute(q.ENTRIES, asked).fetchall()
    scopes = {key: scopes_of(db, key) for key in dict.fromkeys(row[1] for row in rows)}
    return tuple(entry(row, scopes) for row in rows)


def has_answer(db: sqlite3.Connection, key: KeyId, request_id: str) -> bool:
    """Whether one of the key's requests was answered under this name."""
    asked = {"key": key, "request_id": request_id}
    return bool(request_id) and bool(db.execute(q.HAS_ANSWER, asked).fetchone()[0])


def totals(db: sqlite3.Connection, scope: Scope) -> Totals:
    """All of time."""
    row = db.execute(q.TOTALS, {"scope": scope}).fetchone()
    spent, uncertain, held, notional, requests, input_, cache_read, write_5m, write_1h, output, thinking, busy = row
    return Totals(
        spent=Money(spent),
        uncertain=Money(uncertain),
        held=Money(held),
        notional=Money(notional),
        requests=requests,
        refused=db.execute(q.REFUSED, {"scope": scope}).fetchone()[0],
        usage=Usage(
            input=input_,
            cache_read=cache_read,
            write_5m=write_5m,
            write_1h=write_1h,
            output=output,
            thinking=thinking,
            pieces=dict(db.execute(q.PIECES, {"scope": scope}).fetchall()),
        ),
        busy=timedelta(microseconds=busy),
    )


def needed(db: sqlite3.Connection, scope: Scope, model: str) -> Money:
    """Of the newest refused request, where none was granted since."""
    row = db.execute(q.NEEDED, {"scope": scope, "model": model}).fetchone()
    return Money(row[0] if row else 0)


def _open_hold(row: tuple[Any, ...]) -> OpenHold:
    hold, key, run, model, held, uncertain, sent_at, reason = row
    return OpenHold(
        hold=HoldId(hold),
        key=KeyId(key),
        run=run,
        model=model,
        held=Money(held),
        uncertain=Money(uncertain),
        sent_at=instant(sent_at),
        reason=reason,
    )


def entry(row: tuple[Any, ...], scopes: dict[KeyId, tuple[Scope, ...]]) -> Entry:
    """A closed request, as `ENTRIES` tells it."""
    hold, key, run, kind, provider, asked_model, agent, booked_at, amount, notes, book, *closing = row
    spent, uncertain, notional, input_, cache_read, write_5m, write_1h, output, thinking, pieces, *closing = closing
    model, closed_at, request_id, reason, incident, card, raw_usage, *later = closing
    later_spent, later_uncertain, later_at, word, corrected, card_now = later
    return Entry(
        hold=hold,
        key=key,
        run=run,
        scopes=scopes[key],
        kind=kind if word is None else "reconciled",
        model=model or asked_model,
        provider=provider,
        agent=agent,
        spent=Money(spent + later_spent + (corrected or 0)),
        uncertain=Money(uncertain + later_uncertain),
        notional=Money(notional),
        usage=Usage(
            input=input_,
            cache_read=cache_read,
            write_5m=write_5m,
            write_1h=write_1h,
            output=output,
            thinking=thinking,
            pieces=json.loads(pieces),
        ),
        booked_at=instant(booked_at),
        closed_at=instant(max(closed_at, later_at)),
        request_id=request_id,
        reason="; ".join(filter(None, (reason, word))),
        incident=incident,
        held_at_first=Money(amount),
        notes=tuple(json.loads(notes)),
        card=card,
        book=book,
        raw_usage=raw_usage,
        corrected=Money(corrected or 0),
        card_now=card_now or "",
    )
