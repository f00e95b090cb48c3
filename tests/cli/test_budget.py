"""`crewcap budget`, as a user types it."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.money_home import MoneyHome


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
        (("all", "fortnight", "5"), "'total', 'day', 'week', 'month'"),
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


def test_a_suggestion_is_a_settings_file(home: MoneyHome) -> None:
    text = home.call("budget", "suggest", "--team-size", "12").stdout
    found = tomllib.loads(text, parse_float=Decimal)["budgets"]
    assert found["team:TEAM"] == {"month": Decimal("3000.00"), "tpm": 1_800_000, "rpm": 42}
    assert found["user:NAME"] == {"day": Decimal("30.00"), "tpm": 150_000}
    home.config.write_text(text.replace("TEAM", "core").replace("NAME", "ana"))
    assert _found(home, "team:core", "month")[0]["limit_usd"] == "3000.000000000"
    assert home.json("budget", "suggest", "--team-size", "500")["user"]["tpm"] == 60_000
