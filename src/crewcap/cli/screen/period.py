"""Stretches of time as people write them: `--since 2026-11-01`, `--until yesterday`, `--tz Europe/Berlin`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click

from crewcap.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_AGO = re.compile(r"(\d{1,5})([mhdw])\Z", re.ASCII)
_AGO_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d{2})\Z", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d{2})\Z", re.ASCII)
_WAYS = "write 2026-11-22, 2026-11, 2026-W47, 12h, 7d, today, yesterday, or an instant: 2026-11-22T08:00+01:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From an instant to an instant, in a calendar; none is without end."""

    since: datetime | None
    until: datetime | None  # not included
    zone: ZoneInfo

    @property
    def zone_name(self) -> str:
        """As the calendar's data calls it."""
        return self.zone.key

    def words(self) -> str:
        """`2026-11-01 to 2026-11-22, Europe/Berlin`."""
        start = _shown(self.since, self.zone) if self.since else "the beginning"
        if self.until is None:
            return f"since {start}, {self.zone_name}"
        end = _shown(self.until - timedelta(microseconds=1), self.zone, is_end=True)
        return f"{start} to {end}, {self.zone_name}"


def period_options(command: F) -> F:
    """`--since`, `--until` and `--tz`."""
    command = click.option("--tz", default="", help="Time zone of days: Europe/Berlin; else that of the settings.")(
        command
    )
    command = click.option("--until", default="", help="The last day (or instant) that counts; the day is included.")(
        command
    )
    return click.option("--since", default="", help="2026-11-01, 2026-11, 2026-W47, 12h, 7d, today, yesterday.")(
        command
    )


def read_period(since: str, until: str, tz: str, *, now: datetime, default_zone: str) -> Period:
    """What the words mean; `UsageError` for days that do not exist, and for an end before the beginning."""
    zone = read_zone(tz or default_zone)
    start = _read(since, "--since", zone, now)[0] if since else None
    end = _read(until, "--until", zone, now)[1] if until else None
    if start is not None and end is not None and start >= end:
        raise UsageError(f"--since {since} is not before --until {until}", help="the earlier one belongs to --since")
    return Period(since=start, until=end, zone=zone)


def read_zone(name: str) -> ZoneInfo:
    """A time zone by name; the nearest one is named where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, no name at all, or a folder of names
        import difflib  # noqa: PLC0415  (only where something is wrong)
        from zoneinfo import available_timezones  # noqa: PLC0415

        known = {each.casefold(): each for each in available_timezones()}
        near = difflib.get_close_matches(name.casefold(), known, n=1)
        meant = f"did you mean {known[near[0]]}?" if near else "use a name such as Europe/Berlin or UTC"
        raise UsageError(f"--tz: there is no time zone {name[:60]!r}", help=meant) from error


def _read(text: str, option: str, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """Where it begins and where it ends, in UTC: a day, a week, a month; an instant is both."""
    try:
        if found := _AGO.match(text):
            instant = now - timedelta(**{_AGO_UNITS[found[2]]: int(found[1])})
            return instant, instant
        if days := _days(text, now.astimezone(zone).date()):
            return _midnight(days[0], zone), _midnight(days[1], zone)
        instant = datetime.fromisoformat(text)
        instant = instant if instant.tzinfo else instant.replace(tzinfo=zone)
        return instant.astimezone(UTC), instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        is_date = _DAY.match(text) or _MONTH.match(text) or _WEEK.match(text)
        what = "is not in the calendar" if is_date else "is no time that is understood"
        raise UsageError(f"{option}: {text[:40]!r} {what}", help=_WAYS) from error


def _days(text: str, today: date) -> tuple[date, date] | None:
    """The first day, and the one after the last."""
    if text in {"today", "yesterday"}:
        day = today - timedelta(days=text == "yesterday")
        return day, day + timedelta(days=1)
    if _DAY.match(text):
        day = date.fromisoformat(text)
        return day, day + timedelta(days=1)
    if found := _MONTH.match(text):
        first = date(int(found[1]), int(found[2]), 1)
        return first, (first + timedelta(days=31)).replace(day=1)
    if found := _WEEK.match(text):
        first = date.fromisocalendar(int(found[1]), int(found[2]), 1)
        return first, first + timedelta(weeks=1)
    return None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _shown(at: datetime, zone: ZoneInfo, *, is_end: bool = False) -> str:
    """A day where it is a whole one, else to the minute."""
    local = at.astimezone(zone)
    edge = time(23, 59, 59, 999_999) if is_end else time()
    return f"{local:%Y-%m-%d}" if local.time() == edge else f"{local:%Y-%m-%d %H:%M}"
