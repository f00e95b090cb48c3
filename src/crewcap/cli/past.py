"""What was paid for before, read once for the commands that learn from it."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from crewcap.cli.context import Call
from crewcap.core.budget import ALL, Scope
from crewcap.core.history import Job, jobs
from crewcap.errors import UsageError
from crewcap.stores import Entry

_MOST_RUNS = 1_000_000
_BACK = re.compile(r"(\d{1,4})\s?([dwhm])\Z", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def entries_of(call: Call, *, scope: Scope = ALL, since: datetime | None = None) -> tuple[Entry, ...]:
    """Closed requests, oldest first; none where there are no books yet."""
    return () if call.app.is_new else call.app.ledger.entries(scope=scope, since=since)


def jobs_of(call: Call, *, scope: Scope = ALL, since: datetime | None = None) -> tuple[Job, ...]:
    """Runs, and what keys did without one, oldest first."""
    if call.app.is_new:
        return ()
    return jobs(entries_of(call, scope=scope, since=since), call.app.runs.list(limit=_MOST_RUNS))


def zone_of(call: Call, said: str | None = None) -> tzinfo:
    """The zone whose midnights count: as said, else as the settings have it."""
    name = said or call.app.served.timezone
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise UsageError(f"there is no time zone {name!r}", help="write it as Europe/Berlin, or UTC") from None


def read_since(text: str, now: datetime, zone: tzinfo) -> datetime:
    """`30d`, `12h`, `2w`, or a day: 2026-11-01."""
    if match := _BACK.match(text):
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day and no stretch of time", help="write 30d, 12h or 2026-11-01") from None
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def last_of_month(day: date) -> date:
    """The month's last day."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])
