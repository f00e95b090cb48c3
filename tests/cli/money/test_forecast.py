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


def programs_and_runs(home: RunHome) -> None:
    for number in range(11):
        home.program("0.01", key=f"program{number}", requests=3)
    for _ in range(2):
        home.spend(home.add("fix"), "1.00")


def test_programs_on_keys_are_said_apart_and_are_no_runs_a_day(home: RunHome) -> None:
    programs_and_runs(home)
    said = home.out("forecast")
    assert "from 2 runs on 1 day" in said
    assert "2 runs a day x $1.00 x 30" in said
    assert "programs on keys: $0.33 a day, $9.90 a month" in said
    assert "together: $69.90 a month" in said


def test_the_month_holds_the_money_of_keys_by_the_formula_and_in_the_draws(home: RunHome) -> None:
    programs_and_runs(home)
    said = home.json("forecast")
    assert (said["runs_seen"], said["keys_seen"], said["spent_usd"]) == (2, 11, "2.330000000")
    formula = said["formula"]
    (line,) = formula["workflows"]
    assert (line["runs"], line["month_usd"]) == (2, "60.000000000")
    assert formula["programs"] == {"per_day_usd": "0.330000000", "month_usd": "9.900000000"}
    assert formula["month_usd"] == "69.900000000"
    assert Money.usd(said["drawn"]["p10_usd"]) >= Money.usd("2.33")


def test_keys_alone_are_a_forecast_without_runs(home: RunHome) -> None:
    home.program("0.50", key="program")
    said = home.out("forecast")
    assert "from 0 runs on 1 day" in said
    assert "programs on keys: $0.50 a day, $15.00 a month" in said
    assert "from 1 key: too few to rely on" in said
    assert "together" not in said


def test_another_volume_of_runs_takes_its_average_from_runs_alone(home: RunHome) -> None:
    programs_and_runs(home)
    assert home.out("forecast", "--runs-per-day", "5") == "5 runs a day x $1.00 x 30 = $150.00 a month\n"


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
