"""Jobs as the money desk remembers them, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from crewcap.core.history import Job
from crewcap.core.money import Money

START = datetime(2026, 11, 2, 9, tzinfo=UTC)  # a Monday


def job(cost: str | int, *, day: int = 0, **fields: Any) -> Job:
    """One job of a given cost, so many days after the start."""
    told: dict[str, Any] = {"workflow": "run", "model": "claude-sonnet-5", "repo": "shop", "name": "fix.1"} | fields
    at = START + timedelta(days=day)
    return Job(
        **{"requests": 3, "is_run": True, "is_over": True, "is_good": True, "at": at, **told}, cost=Money.usd(cost)
    )
