"""`crewcap forecast`: the month, by the formula and by what was seen."""

from __future__ import annotations

import pytest
from tests.cli.run_home import RunHome

from crewcap.core.money import Money


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--runs-per-day", "5", "--cost-per-run", "2"), "5 runs a day x $2.00 x 30 = $300.00 a month\n"),
        (("--runs-per-day", "1", "--cost-per-run", "5"), "1 run a day x $5.00 x 30 = $150.00 a month\n"),
        (("--runs-per-week", "10", "--average", "4"), "10 runs a week x $4.00 x 4.3 = $172.00 a month\n"),
    ],
)
def test_the_articles_three_examples(home: RunHome, words: tuple[str, ...], said: str) -> None:
    assert home.out("forecast", *words) == said


def test_a_new_home_says_how_to_ask(home: RunHome) -> None:
    assert "crewcap forecast --runs-per-day 5 --cost-per-run 2" in home.out("forecast")


def test_the_month_is_spent_held_and_drawn_and_each_budget_has_its_chance(home: RunHome) -> None:
    for _ in range(3):
        home.spend(home.add("fix"), "1.00")
    home.hold(home.runs.find("fix.1")[0], "0.50")
    home.out("budget", "set", "all", "month", "2.00")
    said = home.json("forecast")
    assert (said["spent_usd"], said["held_usd"], said["runs_seen"], said["days_seen"]) == (
        "3.000000000",
        "0.500000000",
        3,
        1,
    )
    assert said["formula"]["month_usd"] == "90.000000000"
    assert [(each["scope"], each["window"], each["chance_over"]) for each in said["budgets"]] == [("all", "month", 1.0)]
    low, middle, high = (Money.usd(said["drawn"][name]) for name in ("p10_usd", "p50_usd", "p90_usd"))
    assert Money.usd("3.50") <= low <= middle <= high


def test_the_same_books_give_the_same_answer(home: RunHome) -> None:
    for _ in range(3):
        home.spend(home.add("fix"), "1.00")
    first, second = home.json("forecast")["formula"], home.json("forecast")["formula"]
    assert first == second


def test_a_mix_takes_averages_from_what_was_seen_or_said(home: RunHome) -> None:
    home.spend(home.add("fix"), "1.00")
    said = home.out("forecast", "--runs-per-day", "10", "--mix", "sonnet=80", "--mix", "audit=20%@6.00")
    assert said == "10 runs a day x $2.00 x 30 = $600.00 a month\n"


@pytest.mark.parametrize(
    ("words", "error", "fix"),
    [
        (("--runs-per-day", "0", "--cost-per-run", "1"), "'0' is not a number above 0", "write it as 5"),
        (("--runs-per-day", "5"), "nobody knows what one costs", "--cost-per-run 2"),
        (("--cost-per-run", "5"), "nobody knows how many", "--runs-per-day 5"),
        (("--runs-per-day", "1", "--runs-per-week", "1"), "the same twice", "leave one of them out"),
        (("--runs-per-day", "1", "--mix", "opus=100"), "no run of 'opus' was seen", "--mix opus=100@2.00"),
        (("--runs-per-day", "1", "--mix", "a=30@1", "--mix", "b=30@1"), "come to 60 %", "sonnet=80"),
        (("--runs-per-day", "1", "--cost-per-run", "5,00"), "5,00", "5.00"),
        (("--tz", "Mars/Base"), "no time zone 'Mars/Base'", "Europe/Berlin"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_fix(home: RunHome, words: tuple[str, ...], error: str, fix: str) -> None:
    status, _, err = home.call("forecast", *words)
    assert status == 2
    assert error in err
    assert fix in err
