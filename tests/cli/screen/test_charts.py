"""Plots in a terminal: no wider than it is, true to their numbers, plain where there are no other letters."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.cli.money.plots import bars_of, every_day, month_plot
from crewcap.cli.screen import charts
from crewcap.cli.screen.figures import Screen, columns_of
from crewcap.core.bundles import Line
from crewcap.core.money import Money
from crewcap.core.plots import Bars, Course, Fan, Month, Stack

DAYS = tuple(date(2026, 11, 1) + timedelta(days=number) for number in range(30))
AMOUNTS = st.lists(st.integers(0, 10**12).map(Money), min_size=1, max_size=30)


def usd(*amounts: str) -> tuple[Money, ...]:
    return tuple(Money.usd(amount) for amount in amounts)


@settings(max_examples=40)
@given(AMOUNTS, st.integers(30, 140), st.booleans())
def test_no_plot_is_wider_than_its_screen(amounts: list[Money], columns: int, is_unicode: bool) -> None:  # noqa: FBT001
    screen = Screen(columns=columns, is_unicode=is_unicode)
    bars = Bars(series=("a",), bars=tuple(Stack(label=f"day {n}", parts=(each,)) for n, each in enumerate(amounts)))
    month = Month(label="2026-11", days=DAYS, spent=tuple(amounts), limit=Money.usd(900))
    course = Course(label="r", costs=tuple(amounts), cap=Money.usd(3))
    for lines in (charts.bars(bars, screen), charts.month(month, screen), charts.course(course, screen)):
        shown = list(lines)
        assert max(map(columns_of, shown)) <= columns
        assert is_unicode or "".join(shown).isascii()


def test_a_bar_is_as_long_as_its_money() -> None:
    amounts = {"a": "4", "b": "2", "c": "0.01", "d": "0"}
    stacks = tuple(Stack(label=name, parts=usd(amount)) for name, amount in amounts.items())
    bars = Bars(series=("cost",), bars=stacks)
    lines = list(charts.bars(bars, Screen(columns=40, is_unicode=False)))
    marks = [line.count("#") for line in lines]
    assert marks[0] == pytest.approx(2 * marks[1], abs=1)
    assert (marks[2], marks[3]) == (1, 0)  # what is not nothing shows


def test_parts_of_a_bar_are_told_apart_and_named() -> None:
    bars = Bars(series=("sonnet", "haiku"), bars=(Stack(label="x", parts=usd("3", "1")),))
    bar, legend = charts.bars(bars, Screen(columns=60, is_unicode=False))
    assert bar.count("#") == pytest.approx(3 * bar.count("="), abs=2)
    assert legend == "# sonnet   = haiku"


def test_a_month_shows_its_limit_and_its_fan() -> None:
    fan = Fan(days=DAYS[10:], low=usd("20") * 20, middle=usd("30") * 20, high=usd("40") * 20)
    shown = Month(label="2026-11", days=DAYS, spent=usd(*map(str, range(1, 11))), limit=Money.usd(50), fan=fan)
    lines = list(month_plot(shown, Screen(columns=90, is_unicode=False)))
    assert lines[0] == "2026-11 $10.00 of $50.00, probably $30.00 ($20.00 to $40.00) at its end"
    drawing = "\n".join(lines[1:])
    assert all(mark in drawing for mark in "*-:o")
    assert "$50.00 |" in drawing


def test_days_without_spend_are_part_of_the_calendar() -> None:
    lines = [Line(keys=(day, "m"), spent=Money.usd(1)) for day in ("2026-11-02", "2026-11-05")]
    bars = every_day(bars_of(("day", "model"), lines), until=date(2026, 11, 6))
    assert [(stack.label[-2:], stack.whole.nano > 0) for stack in bars.bars] == [
        ("02", True), ("03", False), ("04", False), ("05", True), ("06", False),
    ]  # fmt: skip
    assert every_day(bars_of(("day",), []), until=date(2026, 11, 6)).bars == ()
