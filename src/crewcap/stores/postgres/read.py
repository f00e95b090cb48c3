"""What reports read: keys, open holds, closed requests, sums. Nothing here writes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from crewcap.core.budget import BootId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.stores import Entry, Incident, OpenHold, Totals
from crewcap.stores.clock import instant, micros
from crewcap.stores.postgres.wire import Connection, only_row

_EVER, _NEVER = 0, 2**62

_KEY = """
SELECT id, hash, scopes, created_at, expires_at, revoked_at, models, max_output, max_turns, capped, run, label
FROM crewcap.virtual_key
"""

_OPEN = """
SELECT h.id, h.key, k.run, h.model, o.held, o.uncertain, h.booked_at,
    btrim(coalesce(c.reason || '; ' || c.incident, ''), '; ') AS reason
FROM crewcap.open_hold AS o
JOIN crewcap.hold AS h ON h.seq = o.hold
JOIN crewcap.virtual_key AS k ON k.id = h.key
LEFT JOIN crewcap.movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
"""

_CLOSED = """
    h.id, h.key, k.run, k.scopes, c.kind, h.provider, h.model AS asked_model, h.agent, h.booked_at, h.amount,
    h.notes, h.book, c.spent_delta, c.uncertain_delta, c.notional_delta, c.input, c.cache_read, c.write_5m, c.write_1h,
    c.output, c.thinking, c.pieces, c.model, c.at, c.request_id, c.reason, c.incident, c.card, c.raw_usage,
    coalesce(r.spent_delta, 0) AS later_spent, coalesce(r.uncertain_delta, 0) AS later_uncertain,
    coalesce(r.at, 0) AS later_at, r.reason AS word,
    (SELECT sum(x.spent_delta)::bigint FROM crewcap.movement AS x WHERE x.hold = h.seq AND x.kind = 'corrected')
        AS corrected,
    (SELECT x.card FROM crewcap.movement AS x WHERE x.hold = h.seq AND x.kind = 'corrected' ORDER BY x.id DESC LIMIT 1)
        AS card_now
FROM crewcap.hold AS h
JOIN crewcap.virtual_key AS k ON k.id = h.key
JOIN crewcap.movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'released', 'uncertain')
LEFT JOIN crewcap.movement AS r ON r.hold = h.seq AND r.kind = 'reconciled'
WHERE h.booked_at >= $1 AND h.booked_at < $2 AND ($3::text IS NULL OR k.scopes @> ARRAY[$3::text])
"""

# Closed requests with how they ended, and what was said of them later; by scope and by the time of the reservation.
_ENTRIES = "SELECT" + _CLOSED + "ORDER BY h.seq"

# The same from one hold on, so many.
_PAGE = "SELECT h.seq," + _CLOSED + "AND h.seq > $4 ORDER BY h.seq LIMIT $5"

# Whether a key got an answer of this name: one that was paid for, or may have been.
_HAS_ANSWER = """
SELECT EXISTS (
    SELECT FROM crewcap.hold AS h
    JOIN crewcap.movement AS c ON c.hold = h.seq AND c.kind IN ('settled', 'uncertain')
    WHERE h.key = $1 AND c.request_id = $2
)
"""

# What a scope has become in all of time, with its tokens.
_TOTALS = """
SELECT coalesce(sum(m.spent_delta), 0)::bigint AS spent, coalesce(sum(m.uncertain_delta), 0)::bigint AS uncertain,
    coalesce(sum(m.held_delta), 0)::bigint AS held, coalesce(sum(m.notional_delta), 0)::bigint AS notional,
    count(*) FILTER (WHERE m.kind = 'sent') AS requests, coalesce(sum(m.input), 0)::bigint AS input,
    coalesce(sum(m.cache_read), 0)::bigint AS cache_read, coalesce(sum(m.write_5m), 0)::bigint AS write_5m,
    coalesce(sum(m.write_1h), 0)::bigint AS write_1h, coalesce(sum(m.output), 0)::bigint AS output,
    coalesce(sum(m.thinking), 0)::bigint AS thinking,
    coalesce(sum(m.at - h.booked_at) FILTER (WHERE m.kind IN ('settled', 'released', 'uncertain')), 0)::bigint AS busy,
    (SELECT count(*) FROM crewcap.refusal AS r JOIN crewcap.virtual_key AS k ON k.id = r.key
        WHERE k.scopes @> ARRAY[$1::text]) AS refused,
    (SELECT coalesce(jsonb_object_agg(p.key, p.sum), '{}') FROM (
        SELECT p.key, sum(p.value::bigint)::bigint AS sum
        FROM crewcap.virtual_key AS k
        JOIN crewcap.hold AS h ON h.key = k.id
        JOIN crewcap.movement AS m ON m.hold = h.seq AND m.pieces <> '{}'
        CROSS JOIN jsonb_each_text(m.pieces) AS p
        WHERE k.scopes @> ARRAY[$1::text]
        GROUP BY p.key
    ) AS p) AS pieces
FROM crewcap.virtual_key AS k
JOIN crewcap.hold AS h ON h.key = k.id
JOIN crewcap.movement AS m ON m.hold = h.seq
WHERE k.scopes @> ARRAY[$1::text]
"""


# What the newest refused request of a scope needed, unless one was granted after it.
_NEEDED = """
SELECT r.needed
FROM crewcap.refusal AS r JOIN crewcap.virtual_key AS k ON k.id = r.key
WHERE k.scopes @> ARRAY[$1::text] AND starts_with(r.model, $2) AND NOT EXISTS (
    SELECT FROM crewcap.hold AS h JOIN crewcap.virtual_key AS o ON o.id = h.key
    WHERE o.scopes @> ARRAY[$1::text] AND h.booked_at > r.at AND starts_with(h.model, $2)
)
ORDER BY r.id DESC LIMIT 1
"""


async def key_by_hash(db: Connection, hash_: str) -> VirtualKey | None:
    """The key that was shown, whatever has become of it."""
    row = await db.fetchrow(_KEY + "WHERE hash = $1", hash_)
    return None if row is None else _key(row)


async def every_key(db: Connection) -> tuple[VirtualKey, ...]:
    """All keys, newest first."""
    return tuple(_key(row) for row in await db.fetch(_KEY + "ORDER BY created_at DESC, seq DESC"))


async def open_holds(db: Connection, *, run: str) -> tuple[OpenHold, ...]:
    """Holds in flight, of one run or of all."""
    which = "WHERE NOT o.closed AND ($1 = '' OR k.run = $1) ORDER BY o.hold"
    return tuple(_open_hold(row) for row in await db.fetch(_OPEN + which, run))


async def uncertain_holds(db: Connection) -> tuple[OpenHold, ...]:
    """Closed holds with money that nobody proved."""
    return tuple(_open_hold(row) for row in await db.fetch(_OPEN + "WHERE o.closed ORDER BY o.hold"))


async def entries(
    db: Connection, *, scope: Scope | None, since: datetime | None, until: datetime | None
) -> tuple[Entry, ...]:
    """Closed requests by the time of their reservation, oldest first."""
    bounds = (_EVER if since is None else micros(since), _NEVER if until is None else micros(until))
    return tuple(_entry(row) for row in await db.fetch(_ENTRIES, *bounds, scope))


async def page(
    db: Connection, *, since: int, until: int, scope: Scope | None, after: int, rows: int
) -> list[tuple[int, Entry]]:
    """So many closed requests behind a hold, each with its hold's number; times are microseconds."""
    return [(row["seq"], _entry(row)) for row in await db.fetch(_PAGE, since, until, scope, after, rows)]


async def has_answer(db: Connection, key: KeyId, request_id: str) -> bool:
    """Whether a request of the key was answered under this name."""
    return bool(request_id) and bool(await db.fetchval(_HAS_ANSWER, key, request_id))


async def frozen(db: Connection) -> tuple[Incident, ...]:
    """Incidents that nobody has looked at, oldest first."""
    rows = await db.fetch("SELECT provider, reason, at FROM crewcap.incident WHERE thawed_at IS NULL ORDER BY id")
    return tuple(Incident(provider=row["provider"], reason=row["reason"], at=instant(row["at"])) for row in rows)


async def batches(db: Connection) -> tuple[BootId, ...]:
    """Owners of batches that nobody ended."""
    rows = await db.fetch("SELECT id FROM crewcap.boot WHERE ended_at IS NULL AND id LIKE 'batch-%' ORDER BY id")
    return tuple(BootId(row["id"]) for row in rows)


async def totals(db: Connection, scope: Scope) -> Totals:
    """All of time."""
    row = await only_row(db, _TOTALS, scope)
    return Totals(
        spent=Money(row["spent"]),
        uncertain=Money(row["uncertain"]),
        held=Money(row["held"]),
        notional=Money(row["notional"]),
        requests=row["requests"],
        refused=row["refused"],
        usage=_usage(row),
        busy=timedelta(microseconds=row["busy"]),
    )


async def needed(db: Connection, scope: Scope, model: str) -> Money:
    """Of the newest refused request, where none was granted since."""
    return Money(await db.fetchval(_NEEDED, scope, model) or 0)


def _key(row: Any) -> VirtualKey:
    return VirtualKey(
        id=row["id"],
        hash=row["hash"],
        scopes=tuple(row["scopes"]),
        created_at=instant(row["created_at"]),
        expires_at=_maybe(row["expires_at"]),
        revoked_at=_maybe(row["revoked_at"]),
        models=tuple(row["models"]),
        max_output=row["max_output"],
        max_turns=row["max_turns"],
        capped=row["capped"],
        run=row["run"],
        label=row["label"],
    )


def _open_hold(row: Any) -> OpenHold:
    return OpenHold(
        hold=row["id"],
        key=row["key"],
        run=row["run"],
        model=row["model"],
        held=Money(row["held"]),
        uncertain=Money(row["uncertain"]),
        sent_at=instant(row["booked_at"]),
        reason=row["reason"],
    )


def _entry(row: Any) -> Entry:
    word = row["word"]
    return Entry(
        hold=row["id"],
        key=row["key"],
        run=row["run"],
        scopes=tuple(row["scopes"]),
        kind=row["kind"] if word is None else "reconciled",
        model=row["model"] or row["asked_model"],
        provider=row["provider"],
        agent=row["agent"],
        spent=Money(row["spent_delta"] + row["later_spent"] + (row["corrected"] or 0)),
        uncertain=Money(row["uncertain_delta"] + row["later_uncertain"]),
        notional=Money(row["notional_delta"]),
        usage=_usage(row),
        booked_at=instant(row["booked_at"]),
        closed_at=instant(max(row["at"], row["later_at"])),
        request_id=row["request_id"],
        reason="; ".join(filter(None, (row["reason"], word))),
        incident=row["incident"],
        held_at_first=Money(row["amount"]),
        notes=tuple(msgspec.json.decode(row["notes"])),
        card=row["card"],
        book=row["book"],
        raw_usage=row["raw_usage"],
        corrected=Money(row["corrected"] or 0),
        card_now=row["card_now"] or "",
    )


def _usage(row: Any) -> Usage:
    return Usage(
        input=row["input"],
        cache_read=row["cache_read"],
        write_5m=row["write_5m"],
        write_1h=row["write_1h"],
        output=row["output"],
        thinking=row["thinking"],
        pieces=msgspec.json.decode(row["pieces"]),
    )


def _maybe(at: int | None) -> datetime | None:
    return None if at is None else instant(at)
