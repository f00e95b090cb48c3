"""Virtual keys in the ledger: stored by hash, never changed, revoked once."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Any

from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.errors import InternalError
from crewcap.stores import Limit
from crewcap.stores.clock import instant, micros
from crewcap.stores.sqlite import limits, room
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.windows import Now


def add(db: sqlite3.Connection, key: VirtualKey, cap: Money | None, now: Now) -> None:
    """Store a key, its scopes, and its cap as a limit of its own."""
    own = Scope(f"key:{key.id}")
    if key.scopes[:1] != (own,) or key.scopes[-1:] != (ALL,) or len(set(key.scopes)) != len(key.scopes):
        raise InternalError(f"the scopes of key {key.id} do not lead from itself to all: {' '.join(key.scopes)}")
    if key.run and now.is_limited:
        room.refuse_run(db, key, now)
    row = {
        "id": key.id,
        "hash": key.hash,
        "created_at": micros(key.created_at),
        "booked_at": now.at,
        "expires_at": None if key.expires_at is None else micros(key.expires_at),
        "models": json.dumps(key.models),
        "max_output": key.max_output,
        "max_turns": key.max_turns,
        "capped": int(key.capped),
        "run": key.run,
        "label": key.label,
    }
    db.execute(q.ADD_KEY, row)
    scopes = [{"key": key.id, "place": place, "scope": scope} for place, scope in enumerate(key.scopes)]
    db.executemany(q.ADD_KEY_SCOPE, scopes)
    if cap is not None:
        limits.say(db, Limit(scope=own, window="total", amount=cap, source="key"), now)


def by_hash(db: sqlite3.Connection, hash_: str) -> VirtualKey | None:
    """The key that was shown, whatever has become of it."""
    row = db.execute(q.KEY_BY_HASH, {"hash": hash_}).fetchone()
    if row is None:
        return None
    return _key(row, scopes_of(db, row[0]))


def every(db: sqlite3.Connection) -> tuple[VirtualKey, ...]:
    """All keys, newest first."""
    return tuple(_key(row, scopes_of(db, row[0])) for row in db.execute(q.ALL_KEYS).fetchall())


def scopes_of(db: sqlite3.Connection, key: KeyId) -> tuple[Scope, ...]:
    """A key's scopes, from itself to everything."""
    return tuple(scope for (scope,) in db.execute(q.SCOPES_OF_KEY, {"key": key}))


def revoke(db: sqlite3.Connection, key: KeyId, now: Now) -> bool:
    """End a key now; False where there is none or it was ended before."""
    return db.execute(q.REVOKE_KEY, {"key": key, "at": now.wall}).rowcount == 1


def _key(row: tuple[Any, ...], scopes: tuple[Scope, ...]) -> VirtualKey:
    id_, hash_, created_at, expires_at, revoked_at, models, max_output, max_turns, capped, run, label = row
    return VirtualKey(
        id=id_,
        hash=hash_,
        scopes=scopes,
        created_at=instant(created_at),
        expires_at=_maybe(expires_at),
        revoked_at=_maybe(revoked_at),
        models=tuple(json.loads(models)),
        max_output=max_output,
        max_turns=max_turns,
        capped=bool(capped),
        run=run,
        label=label,
    )


def _maybe(at: int | None) -> datetime | None:
    return None if at is None else instant(at)
