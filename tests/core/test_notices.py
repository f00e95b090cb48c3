"""What people are told without asking, and that it is told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from crewcap.core.budget import ALL, Balance, Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.notices import Wish, of_budgets, of_forecast, parse_wish

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONTH = Balance(
    scope=ALL, window="month", label="2026-11@UTC", limit=Money.usd(10), spent=ZERO, uncertain=ZERO, held=ZERO
)


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ("waiting", Wish(kind="waiting")),
        ("Budget 80%", Wish(kind="budget", percents=(80,))),
        ("budget", Wish(kind="budget", percents=(50, 80, 100))),
        ("forecast 100 %", Wish(kind="forecast", percents=(100,))),
    ],
)
def test_wishes_are_read_as_people_write_them(words: str, wish: Wish) -> None:
    assert parse_wish(words) == wish


@pytest.mark.parametrize("words", ["", "budget 0%", "budget 101%", "money", "test", "budget80%"])
def test_what_nobody_can_tell_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_wish(words)


@pytest.mark.parametrize(
    ("spent", "percents"), [("4.99", []), ("5", [50]), ("9.99", [50, 80]), ("10", [50, 80, 100]), ("12", [50, 80, 100])]
)
def test_every_threshold_that_is_passed_is_a_notice_of_one_family(spent: str, percents: list[int]) -> None:
    found = list(of_budgets([replace(MONTH, spent=Money.usd(spent))], (50, 80, 100), now=NOW))
    assert [each.percent for each in found] == percents
    assert len({each.family for each in found}) <= 1


def test_uncertain_money_counts_and_held_money_does_not() -> None:
    balance = replace(MONTH, spent=Money.usd(3), uncertain=Money.usd(2), held=Money.usd(5))
    (found,) = of_budgets([balance], (50, 80), now=NOW)
    assert (found.percent, found.text) == (
        50,
        "all has used 50 % of its budget a month of $10.00: $5.00 spent, $5.00 left",
    )


def test_a_new_window_is_told_anew() -> None:
    full = replace(MONTH, spent=Money.usd(10))
    (one,), (two,) = (list(of_budgets([each], (100,), now=NOW)) for each in (full, replace(full, label="2026-12@UTC")))
    assert one.once != two.once


def test_a_forecast_is_told_once_it_is_likelier_than_not() -> None:
    def told(*over: tuple[int, Fraction]) -> list[int]:
        return [each.percent for each in of_forecast(MONTH, over, crosses=date(2026, 11, 28), now=NOW)]

    assert told((80, Fraction(49, 100)), (100, Fraction(0))) == []
    assert told((80, Fraction(9, 10)), (100, Fraction(1, 2))) == [80, 100]


def test_caps_of_single_runs_and_keys_are_no_budgets_that_anybody_is_told_of() -> None:
    full = [replace(MONTH, scope=Scope(scope), spent=Money.usd(10)) for scope in ("run:01m8", "key:k1", "repo:shop")]
    assert [each.text.split()[0] for each in of_budgets(full, (80,), now=NOW)] == ["repo:shop"]
