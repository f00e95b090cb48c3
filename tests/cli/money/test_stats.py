"""`crewcap stats`: habits, beside the published averages that are called published."""

from __future__ import annotations

import csv
import io

from tests.cli.run_home import RunHome
from tests.cli.spent_home import SpentHome

from crewcap.core.budget import ALL


def test_machines_get_habits_by_user_and_model(spent: SpentHome) -> None:
    said = spent.home.json("stats")
    totals = spent.home.ledger.totals(ALL)
    assert said["cost_usd"] == (totals.spent + totals.uncertain).exact()
    assert (said["runs"], said["sessions"], said["requests"], said["active_days"]) == (2, 3, 8, 1)
    assert said["tokens"]["cache_read"] == 9_004
    users = {each["user"]: each for each in said["users"]}
    assert (users["ana"]["runs"], users["bo"]["runs"], users["bo"]["current_streak"]) == (1, 1, 1)
    assert {each["model"] for each in said["models"]} >= {"claude-sonnet-5", "claude-haiku-4-5"}
    assert said["developer_days"]["days"] == 2
    assert said["published"] == {
        "developer_day_usd": "13.000000000",
        "most_users_below_usd": "30.000000000",
        "most_users_percent": 90,
        "month_usd": ["150.000000000", "250.000000000"],
        "state": "published",
    }


def test_people_see_which_figures_are_whose(spent: SpentHome) -> None:
    said = spent.home.out("stats")
    assert "published average: $13.00" in said
    assert "days below $30.00: 100 % (measured); published: 90 % of users" in said
    assert "that subscriptions paid" in said


def test_csv_has_a_row_for_everybody_each_user_and_each_model(spent: SpentHome) -> None:
    rows = list(csv.DictReader(io.StringIO(spent.home.out("stats", "--csv"))))
    assert [row["by"] for row in rows].count("all") == 1
    assert {row["name"] for row in rows if row["by"] == "user"} == {"ana", "bo"}


def test_nothing_that_was_asked_is_said(home: RunHome) -> None:
    assert "nothing was asked of a model" in home.out("stats")
    assert home.json("stats")["developer_days"]["below_30_percent"] is None
