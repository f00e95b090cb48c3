"""How things are shown, each in one way."""

from __future__ import annotations

import io
import os
import pty
from typing import TextIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crewcap.cli.screen.figures import (
    Screen,
    bar,
    columns_of,
    count,
    duration,
    fit,
    fold,
    many,
    nearest,
    pad,
    percent,
    span,
    wrap,
)
from crewcap.core.money import ZERO, Money


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        ("0.25", "3.00", "[##..................]"),
        ("0.16", "3.00", "[#...................]"),
        ("2.97", "3.00", "[####################]"),
        ("0.000000001", "3.00", "[#...................]"),
        ("0", "3.00", "[....................]"),
        ("9", "3.00", "[####################]"),
    ],
)
def test_a_bar_is_twenty_cells_of_ascii(part: str, whole: str, shown: str) -> None:
    assert bar(Money.usd(part), Money.usd(whole)) == shown


def test_a_bar_may_be_shorter_and_count_anything() -> None:
    assert bar(1, 2, 4) == "[##..]"
    assert bar(ZERO, ZERO) == "[....................]"


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 100, "0 %"), (8, 100, "8 %"), (1, 1_000, "0.1 %"), (1, 10**9, "0.1 %"), (999, 1_000, "99 %"), (5, 5, "100 %"),
     (7, 5, "140 %"), (1, 0, "100 %"), (0, 0, "0 %")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_a_lie(part: int, whole: int, shown: str) -> None:
    """Not zero for what is not nothing, not a hundred for what is not whole."""
    assert percent(part, whole) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 100, "0 %"), (1, 10**9, "0.1 %"), (9, 1_000, "0.9 %"), (10, 1_000, "1 %"), (494, 1_000, "49 %"),
     (495, 1_000, "50 %"), (499_999, 1_000_000, "50 %"), (999, 1_000, "99 %"), (5, 5, "100 %"), (1_396, 1_000, "140 %"),
     (1, 0, "100 %"), (0, 0, "0 %")],
)  # fmt: skip
def test_a_difference_is_rounded_to_the_nearest_percent_and_to_no_lie(part: int, whole: int, shown: str) -> None:
    assert nearest(part, whole) == shown


@pytest.mark.parametrize(
    ("seconds", "clock", "said"),
    [(0, "0:00", "0s"), (2.9, "0:02", "2s"), (77, "1:17", "1m17s"), (2_700, "45:00", "45m"),
     (5_400, "1:30:00", "1h30m"), (3_723, "1:02:03", "1h2m3s"), (-1, "0:00", "0s")],
)  # fmt: skip
def test_time_is_a_clock_or_a_stretch(seconds: float, clock: str, said: str) -> None:
    assert (duration(seconds), span(seconds)) == (clock, said)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (850, "850"), (3_100, "3.1k"), (6_249, "6.2k"), (41_000, "41k"), (412_000, "412k"), (1_250_000, "1.2M")],
)
def test_tokens_are_short(number: int, shown: str) -> None:
    assert count(number) == shown


def test_one_of_something_is_not_many() -> None:
    assert (many(1, "file"), many(0, "file"), many(1_204, "file")) == ("1 file", "0 files", "1,204 files")


def test_wide_and_combining_letters_are_counted_as_a_terminal_does() -> None:
    assert [columns_of(text) for text in ("abc", "修正", "e\u0301", "\U0001f469\u200d\U0001f467")] == [3, 4, 1, 4]
    assert [fit("修正する", columns) for columns in (8, 7)] == ["修正する", "修正..."]
    assert pad("修正", 6) == "修正  "


@given(st.text(max_size=60), st.integers(1, 40))
@example("a long word", 1)
def test_nothing_is_ever_wider_than_asked(text: str, columns: int) -> None:
    assert columns_of(fit(text, columns)) <= columns
    assert all(columns_of(line) <= columns for line in wrap(text, columns, indent=" "))
    assert all(columns_of(line) <= columns for line in fold(text, columns))


def test_a_line_that_is_too_long_goes_on_below_what_it_says() -> None:
    assert fold("  next      crewcap diff fix-login.1     crewcap checkout fix-login.1", 50) == [
        "  next      crewcap diff fix-login.1",
        "            crewcap checkout fix-login.1",
    ]
    assert fold("  kept      all", 80) == ["  kept      all"]


def test_words_are_kept_whole_where_they_fit() -> None:
    assert wrap("fix-login.1 $0.16/3.00 5% t4", 20) == ["fix-login.1", "$0.16/3.00 5% t4"]
    assert wrap("", 20) == []
    assert wrap("abcdefghijkl mn", 8, indent=" ") == ["abcde...", " mn"]


def terminal() -> tuple[TextIO, int]:
    """A real terminal, and the other end of it."""
    ours, theirs = pty.openpty()
    return os.fdopen(theirs, "w", encoding="utf-8"), ours


def test_a_pipe_gets_plain_text_of_eighty_columns() -> None:
    screen = Screen.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {"TERM": "xterm"})
    assert screen == Screen(columns=80, is_terminal=False, has_colour=False, is_unicode=True)
    assert screen.paint("done", "green") == "done"
    assert screen.lines(["x" * 200]) == ["x" * 200]


def test_a_terminal_is_coloured_and_as_wide_as_it_says() -> None:
    stream, other = terminal()
    with stream:
        screen = Screen.of(stream, {"TERM": "xterm", "COLUMNS": "20"})
        assert (screen.columns, screen.is_terminal, screen.has_colour) == (20, True, True)
        assert screen.paint("done", "green") == "\x1b[32mdone\x1b[0m"
        assert screen.lines(["x" * 30]) == ["x" * 17 + "..."]
    os.close(other)


@pytest.mark.parametrize(
    ("environ", "has_colour", "is_terminal"),
    [({"TERM": "xterm", "NO_COLOR": "1"}, False, True), ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
     ({"TERM": "dumb"}, False, False), ({}, False, False)],
)  # fmt: skip
def test_no_color_and_dumb_terminals_are_heard(
    environ: dict[str, str],
    has_colour: bool,  # noqa: FBT001
    is_terminal: bool,  # noqa: FBT001
) -> None:
    """NO_COLOR counts when it is not empty; a dumb terminal cannot be redrawn either."""
    stream, other = terminal()
    with stream:
        screen = Screen.of(stream, environ)
        assert (screen.has_colour, screen.is_terminal) == (has_colour, is_terminal)
    os.close(other)


def test_in_an_ascii_locale_every_letter_can_be_shown() -> None:
    screen = Screen.of(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), {"COLUMNS": "abc"})
    assert (screen.is_unicode, screen.columns) == (False, 80)
    assert screen.lines(["caf\xe9 \u4fee"]) == ["caf? ?"]


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not Screen.of(stream, {}).is_terminal
