"""Schedules: which of a schedule's due times are run, which are noted as missed, and when exactly each begins.

A *tick* is one due time. Ticks are reckoned elsewhere (`runner/worker/ticks.py`), told apart by the instant that the
cron line names, and stored once; everything here is decided on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

CatchUp = Literal["one", "none", "all"]
Overlap = Literal["skip", "queue", "allow"]

NAMES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def five_fields(cron: str) -> str:
    """A cron line in five fields, whichever way it was written."""
    return NAMES.get(cron.lower(), cron)
