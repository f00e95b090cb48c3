"""Virtual keys: what an agent gets instead of a provider's key.

A key is 256 random bits that the gateway knows only by their SHA-256. It is worth at most what its scopes have
left, ends with its run, and opens nothing but the gateway.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from crewcap.core.budget import KeyId, Scope

PREFIX = "ccap-"


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualKey:
    """What the ledger knows of a key; never the key itself."""

    id: KeyId
    hash: str  # SHA-256 of the whole key, hex
    scopes: tuple[Scope, ...]  # key:ID first, then what it was made for, always ending in `all`
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    models: tuple[str, ...] = ()  # full ids that it may use; empty = every priced model
    max_output: int | None = None  # tokens; an answer's output limit is lowered to this
    max_turns: int | None = None  # requests granted in all, subagents included
    capped: bool = True  # under a money limit: everything without a known price is refused
    run: str = ""  # the run that it belongs to, if any
    label: str = ""


def hash_key(secret: str) -> str:
    """The only form in which a key is stored or looked up."""
    return hashlib.sha256(secret.encode()).hexdigest()


def shown(secret: str) -> str:
    """How a key may appear in a message: `key(…a1b2)`."""
    return f"key(…{secret[-4:]})" if len(secret) >= 24 else "key(…)"
