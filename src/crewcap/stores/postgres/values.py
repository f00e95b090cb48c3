"""Values to and from what the database's functions take and give: JSON there, values of the core here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from crewcap.core.budget import Balance, Busy, Decision, Denied, Granted, admit
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import RECHECK_S, Bucket, CountBalance, RateBalance, used_up
from crewcap.core.money import ZERO, Money
from crewcap.core.reprice import Correction
from crewcap.errors import InternalError
from crewcap.stores import HoldOrder, Settlement
from crewcap.stores.clock import instant, micros

_encoder = msgspec.json.Encoder()


def as_json(value: object) -> str:
    """What the database reads. It has no letter for NUL, which an answer may hold: nobody misses it."""
    text = _encoder.encode(value).decode()
    return _encoder.encode(without_nul(value)).decode() if "\\u0000" in text else text


def without_nul(value: Any) -> Any:
    """The same, as far as the database has letters for it."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {without_nul(name): without_nul(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nul(one) for one in value]
    return value


def order_row(order: HoldOrder) -> dict[str, Any]:
    """An order as `crewcap.decide` reads it."""
    if order.amount < ZERO:
        raise InternalError(f"hold {order.hold} asks for a negative amount")
    return {
        "hold": order.hold,
        "boot": order.boot,
        "key": order.key,
        "amount": order.amount.nano,
        "keep": order.keep.nano,
        "provider": order.provider,
        "model": order.model,
        "book": order.book,
        "prompt_bound": order.prompt_bound,
        "output_limit": order.output_limit,
        "asked_output": order.asked_output,
        "agent": order.agent,
        "parent_agent": order.parent_agent,
        "notes": order.notes,
    }


def correction_row(it: Correction) -> dict[str, Any]:
    """A correction as `crewcap.correct_many` reads it."""
    return {"hold": it.hold, "before": it.before.nano, "after": it.after.nano, "card": it.card, "reason": it.reason}


def end_row(end: Settlement) -> dict[str, Any]:
    """A settlement as `crewcap.settle_many` reads it."""
    if end.spent < ZERO or end.uncertain < ZERO:
        raise InternalError(f"hold {end.hold} cannot settle at a negative amount; it stays charged in full")
    usage = end.usage
    return {
        "hold": end.hold,
        "kind": end.kind,
        "spent": end.spent.nano,
        "uncertain": end.uncertain.nano,
        "notional": end.notional.nano,
        "input": usage.input,
        "cache_read": usage.cache_read,
        "write_5m": usage.write_5m,
        "write_1h": usage.write_1h,
        "output": usage.output,
        "thinking": usage.thinking,
        "pieces": dict(usage.pieces),
        "model": end.model,
        "card": end.card,
        "request_id": end.request_id,
        "status": end.status,
        "reason": end.reason,
        "incident": end.incident,
        "raw_usage": end.raw_usage,
    }


def key_row(key: VirtualKey) -> dict[str, Any]:
    """A new key as `crewcap.add_key` reads it."""
    return {
        "id": key.id,
        "hash": key.hash,
        "scopes": key.scopes,
        "created_at": micros(key.created_at),
        "expires_at": None if key.expires_at is None else micros(key.expires_at),
        "models": key.models,
        "max_output": key.max_output,
        "max_turns": key.max_turns,
        "capped": key.capped,
        "run": key.run,
        "label": key.label,
    }


def decision(order: HoldOrder, said: Mapping[str, Any] | None) -> Decision:
    """What the database decided; the law on values is asked once more where it said no to money."""
    if said is None:
        return Granted(hold=order.hold, amount=order.amount)
    if "balances" in said:
        refused = admit(order.amount, balances(said["balances"]), keep=order.keep)
        if refused is None:
            raise InternalError(f"the database refused hold {order.hold}, and every limit has room for it")
        return refused
    if "busy" in said:
        return max((_busy(row) for row in said["busy"]), key=lambda wait: wait.retry_after_s)
    return _denied(order, said)


def balances(rows: Iterable[Sequence[Any]]) -> tuple[Balance, ...]:
    """Balances as the database tells them."""
    return tuple(
        Balance(
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
        for scope, window, label, limit, spent, uncertain, held, ends_at, source, version in rows
    )


def count(row: Sequence[Any]) -> CountBalance:
    """A count as the database tells it."""
    scope, kind, window, label, limit, used, ends_at, source, version = row
    return CountBalance(
        scope=scope,
        kind=kind,
        window=window,
        label=label,
        limit=limit,
        used=used,
        resets_at=None if window == "total" else instant(ends_at),
        source=source,
        version=version,
    )


def rate(row: Sequence[Any]) -> RateBalance:
    """A rate as the database tells it: the level of its bucket, or how many are in flight."""
    scope, kind, value, level, flying, source, version = row
    left = value - flying if level is None else Bucket(level, 0).left
    return RateBalance(scope=scope, kind=kind, limit=value, left=left, source=source, version=version)


def _busy(row: Sequence[Any]) -> Busy:
    scope, kind, value, level = row
    wait_s = RECHECK_S if level is None else Bucket(level, 0).wait_s(kind, value)
    return Busy(scope=scope, kind=kind, limit=value, retry_after_s=wait_s)


def _denied(order: HoldOrder, said: Mapping[str, Any]) -> Denied:
    match said["denied"]:
        case "key_unknown":
            return Denied(code="key_unknown", message="the key is not known here")
        case "key_revoked":
            return Denied(code="key_revoked", message=f"key {order.key} was revoked at {_shown(said['at'])}")
        case "key_expired":
            return Denied(code="key_expired", message=f"key {order.key} expired at {_shown(said['at'])}")
        case "model_not_allowed":
            allowed = ", ".join(said["models"])
            message = f"key {order.key} may not use {order.model}; it may use {allowed}"
            return Denied(code="model_not_allowed", message=message)
        case "turn_limit":
            return Denied(code="turn_limit", message=f"key {order.key} has made its {said['turns']} requests")
        case "count_limit":
            full = count(said["count"])
            return Denied(code="count_limit", message=used_up(full, said["needed"]), kind=full.kind)
        case other:
            raise InternalError(f"the database denied hold {order.hold} for a reason of its own: {other}")


def _shown(at: int) -> str:
    return f"{instant(at):%Y-%m-%d %H:%M:%S} UTC"
