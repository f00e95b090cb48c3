"""Ledgers and keys for trials."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.keys import VirtualKey, hash_key
from crewcap.core.money import Money
from crewcap.home import Home
from crewcap.stores import Ledger
from crewcap.stores.postgres.ledger import PostgresLedger
from crewcap.stores.sqlite.ledger import SqliteLedger


@dataclass(frozen=True, slots=True)
class Key:
    """A virtual key as its holder and as the books know it."""

    secret: str
    id: KeyId

    @property
    def scope(self) -> Scope:
        """Its own scope."""
        return Scope(f"key:{self.id}")


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def open_books(home: Home, *, busy_s: float = 5.0) -> SqliteLedger:
    """The ledger of a home."""
    return SqliteLedger(home, clock=now, monotonic=time.monotonic, busy_s=busy_s)


def open_store(home: Home, url: str = "") -> Ledger:
    """The ledger of a home, in the database of the URL where there is one."""
    if not url:
        return open_books(home)
    return PostgresLedger(home, url, monotonic=time.monotonic)


def new_key(ledger: Ledger, *, cap: str) -> Key:
    """One more capped key."""
    secret, id_ = f"ccap-{secrets.token_urlsafe(32)}", KeyId(secrets.token_hex(6))
    scopes = (Scope(f"key:{id_}"), Scope("repo:acme/shop"), ALL)
    ledger.add_key(VirtualKey(id=id_, hash=hash_key(secret), scopes=scopes, created_at=now()), cap=Money.usd(cap))
    return Key(secret, id_)
