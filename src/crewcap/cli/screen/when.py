"""Times as people read them: in the zone of the settings, which is named beside them.

Words in the books that tell of an instant tell it in UTC and say so; here they are turned into the same zone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

_IN_UTC = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d) UTC\b", re.ASCII)


def shown(at: datetime, zone: tzinfo) -> str:
    """`2026-11-23 20:00 CET`."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def shown_text(text: str, zone: tzinfo) -> str:
    """The same for an instant in ISO 8601; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return shown(at, zone) if at.tzinfo else text


def in_zone(words: str, zone: tzinfo) -> str:
    """Words with every instant that they tell in UTC told in this zone; what is no instant stays as it is."""
    return _IN_UTC.sub(lambda match: _turned(match, zone), words)


def _turned(match: re.Match[str], zone: tzinfo) -> str:
    try:
        return shown(datetime.strptime(match[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC), zone)
    except (ValueError, OverflowError):
        return match[0]
