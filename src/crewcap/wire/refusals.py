"""Sentences that say which part of a request a capped key may not use, and what to do about it."""

from __future__ import annotations

import json


def may_be_allowed(what: str, why: str, name: str) -> str:
    """Refused, unless the operator lets this name pass."""
    line = f"[gateway] allow = [{json.dumps(name[:80])}]"
    return f"{what} {why}, so capped keys may not use it; to let them: {line}"


def has_no_hold(what: str, why: str) -> str:
    """Refused, because no amount would cover it."""
    return f"{what} {why}, so no hold can cover it; use a key without a cap"


def unknown(kind: str, name: str) -> str:
    """Refused, because its name is on no list."""
    return may_be_allowed(f"the {kind} {quoted(name)}", "is not known to crewcap and its cost is not bounded", name)


def quoted(name: str) -> str:
    """A name out of a request, fit for a sentence."""
    return json.dumps(name if len(name) <= 80 else name[:80] + "…")
