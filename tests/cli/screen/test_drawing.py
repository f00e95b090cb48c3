"""SVG of plots: well-formed, inside its frame, and nothing of a stranger's is mark-up."""

from __future__ import annotations

from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.cli.screen import drawing
from crewcap.core.money import NANO_PER_USD, Money
from crewcap.core.plots import Bars, Course, Fan, Month, Stack

HOSTILE = "</title><script>alert(1)</script>&\"'"
DAYS = tuple(date(2026, 11, 1) + timedelta(days=number) for number in range(30))
AMOUNTS = st.lists(st.integers(0, 10**13).map(Money), max_size=20)


@settings(max_examples=40)
@given(AMOUNTS, AMOUNTS)
def test_every_drawing_is_well_formed_and_inside_its_frame(amounts: list[Money], others: list[Money]) -> None:
    bars = Bars(series=(HOSTILE,), bars=tuple(Stack(label=HOSTILE, parts=(each,)) for each in amounts))
    fan = (
        Fan(days=DAYS[20:], low=tuple(others[:10]), middle=tuple(others[:10]), high=tuple(others[:10]))
        if len(others) >= 10
        else None
    )
    month = Month(label="2026-11", days=DAYS, spent=tuple(amounts), limit=Money.usd(900), fan=fan)
    course = Course(label=HOSTILE, costs=tuple(amounts), low=tuple(others), middle=tuple(others), high=tuple(others))
    for text in (
        drawing.bars(bars, title=HOSTILE),
        drawing.month(month, title=HOSTILE),
        drawing.course(course, title=HOSTILE),
    ):
        root = ET.fromstring(text)
        assert "<script" not in text
        assert root[0].text == HOSTILE
        assert root[1].tag == "desc"
        for mark in root.iter():
            for name, most in (
                ("x", drawing.WIDTH),
                ("cx", drawing.WIDTH),
                ("y", drawing.HEIGHT),
                ("cy", drawing.HEIGHT),
            ):
                assert 0 <= float(mark.get(name, 0)) <= most


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0"),
        (2_500_000_000, "$2.50"),
        (25_000_000, "$0.025"),
        (1_200 * NANO_PER_USD, "$1,200"),
        (1, "$0.000000001"),
    ],
)
def test_ticks_are_said_in_few_letters(nano: int, shown: str) -> None:
    assert drawing.tick(nano) == shown


@given(st.integers(1, 10**16))
def test_a_step_is_round_and_has_at_most_six_of_itself_in_the_whole(most: int) -> None:
    step = drawing.nice_step(most)
    assert 0 < most <= 6 * step
    assert str(step).rstrip("0") in {"1", "2", "25", "5"}
