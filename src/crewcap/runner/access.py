"""What a run is let into: its scopes, the limits that it brings along, and a key for one start of its agent.

The cap belongs to the run, not to an attempt: each start gets a new key on the same `run:` scope, so money that an
earlier start spent stays spent, and an old key is dead (MONEY 3, 5).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from crewcap.core.budget import KeyId, Scope, lineage
from crewcap.core.keys import PREFIX, VirtualKey, hash_key
from crewcap.core.money import Money
from crewcap.core.runs import Issue, Run
from crewcap.stores import Ledger, Limit, LimitSource

_GRACE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One key, in the clear: it exists in this process and in the agent's, nowhere else."""

    key_id: KeyId
    secret: str = field(repr=False)


def scopes_of(
    issue: Issue, *, run: str, repo: str, user: str, teams: tuple[str, ...], workflow: str = ""
) -> tuple[Scope, ...]:
    """Every scope that a run's money is spent for, the narrowest first (MONEY 4)."""
    named = [f"run:{run}", f"issue:{issue.scope_name}", f"repo:{repo}", *([f"workflow:{workflow}"] if workflow else [])]
    return lineage(KeyId(""), tuple(map(Scope, named)), user=user, teams=teams)[1:]


def scopes_kept(ledger: Ledger, run: Run) -> tuple[Scope, ...]:
    """What an earlier start was paid for by: a run stays there, wherever its repository or user has moved since."""
    before = next((key for key in ledger.keys() if key.run == run.id), None)  # noqa: SIM118  (a ledger is no mapping)
    return before.scopes[1:] if before is not None else ()


def bring_limits(ledger: Ledger, run: Run, *, issue_cap: Money, issue_source: LimitSource) -> None:
    """The run's cap, and the lifetime cap of its issue where nobody set another one by command."""
    ledger.set_limit(Limit(scope=Scope(f"run:{run.id}"), window="total", amount=run.cap, source="run"))
    issue = Scope(f"issue:{run.issue.scope_name}")
    ledger.set_limit(Limit(scope=issue, window="total", amount=issue_cap, source=issue_source))


def end_keys(ledger: Ledger, run: Run) -> None:
    """Keys of earlier starts are dead, also those of a start that was killed and could not end its own."""
    for key in ledger.keys():  # noqa: SIM118  (a ledger is no mapping)
        if key.run == run.id and key.revoked_at is None:
            ledger.revoke_key(key.id)


def give_key(
    ledger: Ledger, run: Run, *, scopes: tuple[Scope, ...], max_output: int, turns_left: int, now: datetime
) -> Access:
    """Make a key for one start of the agent."""
    key_id = KeyId(secrets.token_hex(6))
    secret = PREFIX + secrets.token_urlsafe(32)
    key = VirtualKey(
        id=key_id,
        hash=hash_key(secret),
        scopes=(Scope(f"key:{key_id}"), *scopes),
        created_at=now,
        expires_at=now + timedelta(seconds=run.timeout_s) + _GRACE,
        max_output=max_output,
        max_turns=turns_left,
        run=run.id,
        label=run.name,
    )
    ledger.add_key(key, cap=None)
    return Access(key_id=key_id, secret=secret)
