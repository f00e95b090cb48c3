"""`crewcap budget`, as a user types it."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from tests.cli.money_home import MoneyHome

from crewcap.cli.money.budget import budget
from crewcap.cli.money.limits import MeasureType


@pytest.fixture
def home(tmp_path: Path) -> MoneyHome:
    return MoneyHome(tmp_path)


def _found(home: MoneyHome, scope: str, window: str) -> list[dict[str, Any]]:
    return [one for one in home.json("budget", "list") if (one["scope"], one["window"]) == (scope, window)]


def test_nothing_ever_runs_uncapped(home: MoneyHome) -> None:
    """Without any settings there is a budget over everything."""
    (found,) = home.json("budget", "list")
    assert found.pop("resets_at").endswith("+00:00")
    assert found.pop("label").endswith("@UTC")
    assert found == {
        "scope": "all",
        "window": "day",
        "limit_usd": "25.000000000",
        "spent_usd": "0.000000000",
        "uncertain_usd": "0.000000000",
        "held_usd": "0.000000000",
        "left_usd": "25.000000000",
        "source": "default",
        "kind": "money",
    }


def test_a_command_without_the_settings_file_leaves_its_budgets_in_force(home: MoneyHome) -> None:
    """Who looks from another shell must not lift the budget of what runs in this one."""
    home.config.write_text('[budgets]\n"all" = { day = 5.00 }\n')
    assert _found(home, "all", "day")[0]["limit_usd"] == "5.000000000"
    home.config.unlink()
    (found,) = _found(home, "all", "day")
    assert (found["limit_usd"], found["source"]) == ("5.000000000", "file")


def test_a_command_outranks_the_file_until_it_is_unset(home: MoneyHome) -> None:
    home.config.write_text('[budgets]\n"team:core" = { month = 100.00 }\n')
    assert _found(home, "team:core", "month")[0]["source"] == "file"
    done = home.call("budget", "set", "team:core", "month", "150")
    assert done.returncode == 0, done.stderr
    assert "$150.00" in done.stdout
    assert (_found(home, "team:core", "month")[0]["limit_usd"], _found(home, "all", "day")) == ("150.000000000", [])
    assert "$100.00" in home.call("budget", "unset", "team:core", "month").stdout
    again = home.call("budget", "unset", "team:core", "month")
    assert again.returncode == 2
    assert "the one in force is from: file" in again.stderr


def test_the_list_counts_what_is_spent_and_hides_single_keys_until_asked(home: MoneyHome) -> None:
    home.lose_two_holds()
    short, long = home.call("budget", "list"), home.call("budget", "list", "--all")
    assert "$0.60" in short.stdout
    assert "key:k1" not in short.stdout
    assert "and 1 of single keys" in short.stderr
    assert "key:k1" in long.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("everything", "day", "5"), "is not a scope"),
        (("all", "fortnight", "5"), "'total', 'day', 'week', 'month', 'tpm', 'rpm', 'concurrent'"),
        (("all", "runs", "5"), "write runs/day"),
        (("all", "runs/year", "5"), "write runs/day"),
        (("all", "tpm/day", "5"), "runs, tokens and hours have a window: runs/day"),
        (("all", "tpm", "0"), "is not a number of tpm"),
        (("all", "tpm", "2.5"), "is not a number of tpm"),
        (("all", "tpm", "1" + "0" * 30), "is not a number of tpm"),
        (("all", "concurrent", "many"), "is not a number of concurrent"),
        (("all", "runs/day", "--", "-1"), "is not a number of runs"),
        (("all", "hours/week", "1e3"), "is not a number of hours"),
        (("all", "day", "5,00"), "did you mean 5.00?"),
        (("all", "day", "NaN"), "is not an amount of money"),
        (("all", "day", "--", "-5"), "cannot be negative"),
        (("all", "day", "1e3"), "is not an amount of money"),
        (("all", "day", "0.0000000001"), "more than nine decimals"),
    ],
)
def test_what_is_no_budget_is_said_in_one_line(
    home: MoneyHome, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.call_here("budget", "set", *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


def test_a_budget_of_nothing_is_valid_and_said(home: MoneyHome) -> None:
    done = home.call("budget", "set", "repo:acme/shop", "day", "0")
    assert done.returncode == 0
    assert "nothing is left of it" in done.stderr


def test_rates_and_counts_are_set_shown_and_taken_back(home: MoneyHome) -> None:
    """The same words as in the settings file, which they outrank."""
    home.config.write_text('[budgets]\n"team:core" = { tpm = 200_000, runs = { day = 40 } }\n')
    assert {one["source"] for one in _found(home, "team:core", "tpm")} == {"file"}
    done = home.call("budget", "set", "team:core", "tpm", "150_000")
    assert done.returncode == 0, done.stderr
    assert "150,000" in done.stdout
    (rate,) = _found(home, "team:core", "tpm")
    assert (rate["kind"], rate["limit"], rate["left"], rate["source"]) == ("tpm", 150_000, 150_000, "command")
    assert rate["limit_usd"] is None
    (count,) = _found(home, "team:core", "runs/day")
    assert (count["kind"], count["limit"], count["used"], count["left"]) == ("runs", 40, 0, 40)
    assert count["resets_at"].endswith("+00:00")
    table = home.call("budget", "list").stdout
    assert "runs/day" in table
    assert "tpm" not in home.call("budget", "list", "--source", "default").stdout
    assert "200,000" in home.call("budget", "unset", "team:core", "tpm").stdout
    again = home.call("budget", "unset", "team:core", "tpm")
    assert (again.returncode, "the one in force is from: file" in again.stderr) == (2, True)
    assert "has no limit of its own now" not in again.stderr
    assert home.json("budget", "set", "all", "hours/week", "8") | {"resets_at": "", "label": ""} == {
        "scope": "all",
        "window": "hours/week",
        **dict.fromkeys(("limit_usd", "spent_usd", "uncertain_usd", "held_usd", "left_usd")),
        "resets_at": "",
        "source": "command",
        "label": "",
        "kind": "hours",
        "limit": 8,
        "used": 0.0,
        "left": 8.0,
    }
    assert home.call("budget", "unset", "all", "hours/week").stdout == "all (hours/week) has no limit of its own now\n"


def test_the_shell_knows_every_window_and_limit() -> None:
    found = [one.value for one in MeasureType().shell_complete(click.Context(budget), budget.params[0], "r")]
    assert found == ["rpm", "runs/total", "runs/day", "runs/week", "runs/month"]


def test_a_limit_without_runs_is_a_pause(home: MoneyHome) -> None:
    assert home.json("budget", "set", "all", "runs/day", "0")["left"] == 0


def test_a_suggestion_can_be_applied_to_a_team_and_its_people(home: MoneyHome) -> None:
    home.config.write_text('[teams]\ncore = ["ana", "bo"]\n')
    done = home.call("budget", "suggest", "--team-size", "12", "--apply", "--team", "core")
    assert done.returncode == 0, done.stderr
    assert _found(home, "team:core", "month")[0]["limit_usd"] == "3000.000000000"
    assert [_found(home, "team:core", kind)[0]["limit"] for kind in ("tpm", "rpm")] == [1_800_000, 42]
    for user in ("user:ana", "user:bo"):
        assert (_found(home, user, "day")[0]["source"], _found(home, user, "tpm")[0]["limit"]) == ("command", 150_000)
    nobody = home.call("budget", "suggest", "--team-size", "3", "--apply", "--team", "ops")
    assert "nobody is known to be in team:ops" in nobody.stderr
    assert home.call_here("budget", "suggest", "--team-size", "3", "--apply") == 2


def test_a_suggestion_is_a_settings_file(home: MoneyHome) -> None:
    text = home.call("budget", "suggest", "--team-size", "12").stdout
    found = tomllib.loads(text, parse_float=Decimal)["budgets"]
    assert found["team:TEAM"] == {"month": Decimal("3000.00"), "tpm": 1_800_000, "rpm": 42}
    assert found["user:NAME"] == {"day": Decimal("30.00"), "tpm": 150_000}
    home.config.write_text(text.replace("TEAM", "core").replace("NAME", "ana"))
    assert _found(home, "team:core", "month")[0]["limit_usd"] == "3000.000000000"
    assert home.json("budget", "suggest", "--team-size", "500")["user"]["tpm"] == 60_000
