"""A cron line as a settings file has it: five fields, or a name such as `@daily`; else what is wrong with which field.

The library that reckons the ticks while `serve` runs reads the fields here as well, so that a line which is taken here
is understood there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any

from cronsim import CronSim, CronSimError

from crewcap.core.schedules import NAMES, five_fields
from crewcap.settings.values import Wrong, nearest, quoted

_FIELDS = (
    ("minute", "from 0 to 59"),
    ("hour", "from 0 to 23"),
    ("day", "from 1 to 31, or L for the last"),
    ("month", "from 1 to 12, or JAN to DEC"),
    ("weekday", "from 0 to 7, where 0 and 7 are Sunday, or SUN to SAT"),
)
_LONGEST = 200
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)  # of a leap year; which one does not matter
_YEAR = timedelta(days=400)
_TICKS_SEEN = 300


def read_cron(value: Any) -> str:
    """Minute, hour, day, month, weekday; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if text.startswith("@"):
        return _read_name(text)
    fields = text.split()
    if len(fields) != len(_FIELDS) or len(text) > _LONGEST:
        raise Wrong(f"{quoted(value)} is not a cron line of five fields", 'write it as "0 2 * * *" or "@daily"')
    for place, (field, (name, may_be)) in enumerate(zip(fields, _FIELDS, strict=True)):
        if not _is_read(place, field):
            raise Wrong(f"the {name} {quoted(field)} of the cron line is not one", f"it goes {may_be}, or *")
    if not _fires(text):
        raise Wrong(
            f"the cron line {quoted(text)} never fires: there is no such day", 'write a day that comes: "0 2 28 2 *"'
        )
    return text


def shortest_gap(cron: str) -> timedelta:
    """The least time between two ticks of a line, as far as its first year shows; a year where it shows one tick."""
    ticks = takewhile(lambda tick: tick < _SOME_DAY + _YEAR, CronSim(five_fields(cron), _SOME_DAY))
    seen = [tick for _, tick in zip(range(_TICKS_SEEN), ticks, strict=False)]
    return min((after - before for before, after in pairwise(seen)), default=_YEAR)


def _read_name(text: str) -> str:
    if text.lower() in NAMES:
        return text.lower()
    near = nearest(text, NAMES)
    hint = f'did you mean "{near}"?' if near else f"there is {', '.join(NAMES)}"
    raise Wrong(f"{quoted(text)} is no cron line", hint)


def _is_read(place: int, field: str) -> bool:
    """Whether a field is one, beside others that say nothing."""
    alone = ["*"] * len(_FIELDS)
    alone[place] = field
    try:
        CronSim(" ".join(alone), _SOME_DAY)
    except (CronSimError, AssertionError):  # the second: `L,5/2`
        return False
    return True


def _fires(text: str) -> bool:
    """Whether a tick of a line comes at all: within the fifty years that the library looks for one."""
    try:
        return next(CronSim(text, _SOME_DAY), None) is not None
    except CronSimError:
        return False
