"""A cron line is read as people write it, and one that cannot be meant is refused with its field."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crewcap.settings.crons import read_cron, shortest_gap
from crewcap.settings.values import Wrong


@pytest.mark.parametrize(
    "text", ["* * * * *", "*/5 1-3 1,15 * 0", "0 2 * * 7", "30 6 * * MON-FRI", "0 0 L jan *", "0 9 * * 1#1", "@daily"]
)
def test_cron_lines_are_kept_as_they_were_written(text: str) -> None:
    assert read_cron(text) == text


def test_spaces_and_the_case_of_a_name_mean_nothing() -> None:
    assert (read_cron("  0   2 * *\t* "), read_cron("@Daily")) == ("0 2 * * *", "@daily")


@pytest.mark.parametrize(
    ("text", "message", "help_"),
    [
        ("* * * *", "not a cron line of five fields", "0 2 * * *"),
        ("0 0 2 * * *", "not a cron line of five fields", "0 2 * * *"),
        ("60 * * * *", 'the minute "60"', "from 0 to 59"),
        ("* 24 * * *", 'the hour "24"', "from 0 to 23"),
        ("* * 0 * *", 'the day "0"', "from 1 to 31"),
        ("* * * 13 *", 'the month "13"', "JAN to DEC"),
        ("* * * * funday", 'the weekday "funday"', "SUN to SAT"),
        ("5-1 * * * *", 'the minute "5-1"', "from 0 to 59"),
        ("*/0 * * * *", 'the minute "*/0"', "from 0 to 59"),
        ("* * L,5/2,L/1-1 * *", "the day", "from 1 to 31"),
        ("a b c d e", 'the minute "a"', "from 0 to 59"),
        ("@dayly", "no cron line", 'did you mean "@daily"?'),
        ("@reboot", "no cron line", "there is @hourly"),
        ("0 0 31 2 *", "never fires", "a day that comes"),
        ("0 0 30 2 *", "never fires", "a day that comes"),
        ("0 0 */10 2 mon#5", "never fires", "a day that comes"),
        ("0 0 31 4,6,9,11 *", "never fires", "a day that comes"),
        ("* * * * " + "1," * 200 + "1", "five fields", ""),
        (5, "five fields", ""),
    ],
)
def test_other_cron_lines_are_refused_with_the_field_and_what_it_may_be(text: str, message: str, help_: str) -> None:
    with pytest.raises(Wrong) as caught:
        read_cron(text)
    assert message in caught.value.message
    assert help_ in caught.value.help


@pytest.mark.parametrize(
    ("cron", "gap"),
    [
        ("*/5 * * * *", timedelta(minutes=5)),
        ("0 9,17 * * *", timedelta(hours=8)),
        ("@weekly", timedelta(days=7)),
        ("@monthly", timedelta(days=29)),
        ("0 0 29 2 *", timedelta(days=400)),
    ],
)
def test_the_least_time_between_two_ticks(cron: str, gap: timedelta) -> None:
    assert shortest_gap(cron) == gap
