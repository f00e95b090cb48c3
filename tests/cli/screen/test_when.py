"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from crewcap.cli.screen.when import in_zone, shown, shown_text

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_time_names_its_zone_as_it_is_called_then() -> None:
    winter, summer = datetime(2026, 11, 23, 23, 30, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert shown(winter, BERLIN) == "2026-11-24 00:30 CET"
    assert shown(summer, BERLIN) == "2026-07-01 14:00 CEST"


@pytest.mark.parametrize(
    ("words", "here"),
    [
        ("it opens at 2026-11-23 20:00 UTC, or later", "it opens at 2026-11-23 21:00 CET, or later"),
        ("from 2026-11-23 20:00 UTC to 2026-11-24 20:00 UTC", "from 2026-11-23 21:00 CET to 2026-11-24 21:00 CET"),
        ("2026-99-99 20:00 UTC and 20:00 UTC", "2026-99-99 20:00 UTC and 20:00 UTC"),
        ("9999-12-31 23:59 UTC", "9999-12-31 23:59 UTC"),
    ],
)
def test_what_words_say_in_utc_is_told_in_the_zone_and_what_is_no_time_stays(words: str, here: str) -> None:
    assert in_zone(words, BERLIN) == here


@pytest.mark.parametrize(
    ("text", "here"), [("2026-11-22T22:14:00+00:00", "2026-11-22 23:14 CET"), ("", ""), ("soon", "soon")]
)
def test_an_instant_of_a_file_is_told_in_the_zone(text: str, here: str) -> None:
    assert shown_text(text, BERLIN) == here
