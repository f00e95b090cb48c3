"""The calendar that budgets go by: which day, week and month an instant falls in, in a zone.

Every store has the same windows: they are worked out here, from the machine's list of zones, and never by a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crewcap.core.budget import WINDOWS, Window, span_of
from crewcap.errors import SettingsError
from crewcap.stores.clock import instant, micros


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window of the calendar, in microseconds; the end is not in it."""

    label: str
    starts_at: int
    ends_at: int


class Calendar:
    """Windows by zone and instant; remembers the last ones, which hold until the day ends."""

    def __init__(self) -> None:
        self._last: tuple[str, Mapping[Window, Stretch]] = ("", {})

    def spans(self, zone: str, at: int) -> Mapping[Window, Stretch]:
        """The windows that an instant falls in."""
        before, spans = self._last
        if zone == before and spans["day"].starts_at <= at < spans["day"].ends_at:
            return spans
        info, moment = find_zone(zone), instant(at)
        found = [span_of(window, moment, info, zone) for window in WINDOWS]
        spans = {s.window: Stretch(s.label, micros(s.starts_at), micros(s.ends_at)) for s in found}
        self._last = (zone, spans)  # one assignment, so that threads may share it
        return spans


def find_zone(name: str) -> ZoneInfo:
    """A zone by its name in the IANA list."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(
            f"{name[:60]!r} is not a time zone", help="use a name such as Europe/Berlin or UTC"
        ) from error


def span_named(window: Window, label: str, starts_at: int) -> Stretch | None:
    """The window of the calendar that a row's beginning falls in, in the zone that its label names; None = no zone."""
    zone = label.partition("@")[2] or "UTC"
    try:
        span = span_of(window, instant(starts_at), find_zone(zone), zone)
    except (SettingsError, OverflowError):
        return None
    return Stretch(span.label, micros(span.starts_at), micros(span.ends_at))
