"""The life of a hold: reserve -> [shrink] -> settle (or release, or uncertain) -> [reconcile, or correct].

Each function here runs inside a transaction of its caller's. `reserve` looks and writes in the same one, so what it
saw is what is. All others are told what already happened and never say no to money: a hold that was closed stays
closed, and one whose end is unknown stays charged in full.
"""

from __future__ import annotations

import json
import sqlite3

from crewcap.core.budget import BootId, Decision, Denied, Granted, HoldId, admit
from crewcap.core.money import ZERO, Money
from crewcap.core.reprice import Correction
from crewcap.errors import InternalError, LedgerError, UsageError
from crewcap.stores import HoldOrder, Settlement
from crewcap.stores.clock import instant
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite import room
from crewcap.stores.sqlite.windows import Now, balances_of_key


def reserve(db: sqlite3.Connection, order: HoldOrder, now: Now) -> Decision:
    """Grant, refuse or deny one request: what is plain is seen in one look, everything else is asked one by one."""
    if order.amount < ZERO:
        raise InternalError(f"hold {order.hold} asks for a negative amount")
    row = _hold_row(order, now)
    added = None if now.is_limited else db.execute(q.ADD_PLAIN_HOLD, row)
    if added is None or not added.rowcount:
        decision = decide(db, order, now)
        if decision is not None:
            return decision
        added = db.execute(q.ADD_HOLD, row)
    db.execute(q.SEND, {"hold": added.lastrowid, "amount": order.amount.nano, "at": now.at, "wall": now.wall})
    return Granted(hold=order.hold, amount=order.amount)


def decide(db: sqlite3.Connection, order: HoldOrder, now: Now) -> Decision | None:
    """Why an order may not be granted, or that it was before; None where it may. Rows of new windows are made."""
    made = db.execute(q.HOLD_MADE, {"hold": order.hold}).fetchone()
    if made is not None:
        return _granted_before(order, made)
    denied = _deny(db, order, now)
    if denied is not None:
        return denied
    beside = room.look(db, order, now) if now.is_limited else room.Beside()
    if beside.denied is not None:
        return beside.denied
    refused = admit(order.amount, balances_of_key(db, order.key, now, write=True), keep=order.keep)
    return refused if refused is not None else beside.busy


def shrink(db: sqlite3.Connection, hold: HoldId, to: Money, now: Now) -> None:
    """Lower an open hold, once; anything else changes nothing."""
    seq, _, held, _, shrunk, closed = _find(db, hold)
    if held is None or closed or shrunk or not 0 <= to.nano < held:
        return
    db.execute(q.SHRINK, {"hold": seq, "held_delta": to.nano - held, "at": now.at, "wall": now.wall})


def settle(db: sqlite3.Connection, end: Settlement, now: Now) -> bool:
    """Close a hold with what came of it; False where it was closed before."""
    seq, _, held, _, _, closed = _find(db, end.hold)
    if held is None or closed:
        return False
    if end.spent < ZERO or end.uncertain < ZERO:
        raise InternalError(f"hold {end.hold} cannot settle at a negative amount; it stays charged in full")
    db.execute(q.CLOSE, _closing_row(end, seq, held, now))
    return True


def lose_boot(db: sqlite3.Connection, boot: BootId, now: Now, *, reason: str) -> int:
    """End a boot: what it had in flight is uncertain. The number of such holds."""
    lost = db.execute(q.OPEN_OF_BOOT, {"boot": boot}).fetchall()
    rows = [{"hold": hold, "held": held, "at": now.at, "wall": now.wall, "reason": reason} for hold, held in lost]
    db.executemany(q.LOSE, rows)
    db.execute(q.END_BOOT, {"boot": boot, "at": now.wall})
    return len(lost)


def reconcile(db: sqlite3.Connection, hold: HoldId, cost: Money, word: str, now: Now) -> None:
    """Replace what is uncertain by what somebody says it cost."""
    if cost < ZERO:
        raise UsageError(f"a request cannot have cost {cost.exact()}", help="give what the provider billed: 0 or more")
    row = db.execute(q.HOLD_NOW, {"hold": hold}).fetchone()
    if row is None or row[2] is None or not row[5]:
        raise UsageError(f"hold {hold} is not uncertain", help="crewcap ledger reconcile lists those that are")
    deltas = {"uncertain_delta": -row[3], "spent_delta": cost.nano, "reason": word}
    db.execute(q.RECONCILE, deltas | {"hold": row[0], "at": now.at, "wall": now.wall})


def correct(db: sqlite3.Connection, it: Correction, now: Now) -> bool:
    """Book a difference; False where the request costs something else by now."""
    row = db.execute(q.COST_NOW, {"hold": it.hold}).fetchone()
    if row is None or row[1] != it.before.nano or it.after == it.before:
        return False
    delta = (it.after - it.before).nano
    said = {"hold": row[0], "spent_delta": delta, "card": it.card, "reason": it.reason}
    db.execute(q.CORRECT, said | {"at": now.at, "wall": now.wall})
    return True


def _granted_before(order: HoldOrder, made: tuple[str, int, str]) -> Decision:
    """The same order again, after an answer that was lost: it is granted already, once."""
    if made != (order.key, order.amount.nano, order.boot):
        raise InternalError(f"hold {order.hold} was made before for another request")
    return Granted(hold=order.hold, amount=order.amount)


def _deny(db: sqlite3.Connection, order: HoldOrder, now: Now) -> Denied | None:
    """Whether the key may be used at all."""
    row = db.execute(q.KEY_TO_RESERVE, {"key": order.key, "boot": order.boot}).fetchone()
    if row is None:
        return Denied(code="key_unknown", message="the key is not known here")
    expires_at, revoked_at, models, max_turns, boot_lives = row
    if not boot_lives:
        raise LedgerError("this gateway's boot has ended in the ledger", help="start the gateway again")
    if revoked_at is not None:
        return Denied(code="key_revoked", message=f"key {order.key} was revoked at {_shown(revoked_at)}")
    if expires_at is not None and expires_at <= now.at:
        return Denied(code="key_expired", message=f"key {order.key} expired at {_shown(expires_at)}")
    if models != "[]" and order.model not in json.loads(models):
        return Denied(
            code="model_not_allowed",
            message=f"key {order.key} may not use {order.model}; it may use {', '.join(json.loads(models))}",
        )
    if max_turns is not None and db.execute(q.TURNS_OF_KEY, {"key": order.key}).fetchone()[0] >= max_turns:
        return Denied(code="turn_limit", message=f"key {order.key} has made its {max_turns} requests")
    return None


def _find(db: sqlite3.Connection, hold: HoldId) -> tuple[int, int, int | None, int, int, int]:
    row = db.execute(q.HOLD_NOW, {"hold": hold}).fetchone()
    if row is None:
        raise InternalError(f"hold {hold} is not in the ledger")
    found: tuple[int, int, int | None, int, int, int] = row
    return found


def _hold_row(order: HoldOrder, now: Now) -> dict[str, str | int]:
    return {
        "id": order.hold,
        "boot": order.boot,
        "key": order.key,
        "booked_at": now.at,
        "amount": order.amount.nano,
        "provider": order.provider,
        "model": order.model,
        "book": order.book,
        "prompt_bound": order.prompt_bound,
        "output_limit": order.output_limit,
        "asked_output": order.asked_output,
        "agent": order.agent,
        "parent_agent": order.parent_agent,
        "notes": json.dumps(order.notes) if order.notes else "[]",
        "keep": order.keep.nano,
        "day": now.spans["day"].label,
        "week": now.spans["week"].label,
        "month": now.spans["month"].label,
    }


def _closing_row(end: Settlement, seq: int, held: int, now: Now) -> dict[str, str | int]:
    """A cost above its hold is booked in full: it happened. It is an incident, said here if nobody else did."""
    usage, over = end.usage, end.spent.nano + end.uncertain.nano - held
    return {
        "hold": seq,
        "kind": end.kind,
        "held_delta": -held,
        "uncertain_delta": end.uncertain.nano,
        "spent_delta": end.spent.nano,
        "notional_delta": end.notional.nano,
        "at": now.at,
        "wall": now.wall,
        "input": usage.input,
        "cache_read": usage.cache_read,
        "write_5m": usage.write_5m,
        "write_1h": usage.write_1h,
        "output": usage.output,
        "thinking": usage.thinking,
        "pieces": json.dumps(dict(usage.pieces)) if usage.pieces else "{}",
        "model": end.model,
        "card": end.card,
        "request_id": end.request_id,
        "status": end.status,
        "reason": end.reason,
        "incident": end.incident or (f"cost {Money(over).exact()} above its hold" if over > 0 else ""),
        "raw_usage": end.raw_usage,
    }


def _shown(at: int) -> str:
    return f"{instant(at):%Y-%m-%d %H:%M:%S} UTC"
