"""`crewcap cost`: one number, explained by the ledger."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.cli.run_home import MODEL, RunHome

from crewcap.core.pricing import Usage


@pytest.fixture
def books(home: RunHome) -> RunHome:
    """Two runs of one issue, one of another in another repository."""
    home.spend(home.add("fix"), "0.10")
    home.spend(home.add("other"), "1.00", repo="tools")
    run = home.add("fix")
    home.spend(run, "0.20", uncertain="0.05")
    home.spend(run, "0.30", usage=Usage(input=5, output=7))
    home.hold(run, "0.40")
    return home


def test_machines_get_every_sum(books: RunHome) -> None:
    run = books.runs.find("fix.2")[0]
    said = books.json("cost", "fix.2")
    assert {name: said[name] for name in ("scope", "since", "requests", "state", "kinds_state")} == {
        "scope": f"run:{run.id}",
        "since": None,
        "requests": 2,
        "state": "uncertain",
        "kinds_state": "estimated",
    }
    assert {name: amount for name, amount in said.items() if name.endswith("_usd") and isinstance(amount, str)} == {
        "cost_usd": "0.550000000",
        "spent_usd": "0.500000000",
        "uncertain_usd": "0.050000000",
        "held_usd": "0.400000000",
        "notional_usd": "0.000000000",
        "saved_usd": said["saved_usd"],
        "thinking_usd": said["thinking_usd"],
    }
    assert said["tokens"] == {
        "input": 105,
        "cache_read": 900,
        "write_5m": 9_000,
        "write_1h": 0,
        "output": 407,
        "thinking": 50,
    }
    assert [(each["model"], each["cost_usd"]) for each in said["models"]] == [(MODEL, "0.550000000")]


def test_kinds_add_up_to_what_was_spent(books: RunHome) -> None:
    """Also where the ledger's number is not what the tokens come to: then they are shares of it."""
    said = books.json("cost", "fix.2")
    assert sum(map(Decimal, said["kinds_usd"].values())) == Decimal(said["spent_usd"])


def test_people_read_the_number_first_and_then_who_made_it(books: RunHome) -> None:
    went = "5-minute cache writes $0.4173e, output $0.0755e (thinking $0.0093e), input $0.0039e, cache reads $0.0033e"
    assert books.out("cost").splitlines() == [
        "fix.2  About fix",
        "  cost       $0.55u   (0.550000000)",
        "  of it      $0.05 uncertain: sent, and no answer told its cost",
        "  held       $0.40 promised to requests in flight; what they do not use comes back",
        "  went for   " + went,
        "  cache      hit 8 %, cost $0.0534e against no caching",
        "  requests   2",
        f"  {MODEL:<24}     $0.55u   input 105, cache_read 900, write_5m 9,000, output 407, thinking 50",
        "  e = estimated",
    ]


def test_what_a_plan_paid_stands_beside_and_is_never_summed(home: RunHome) -> None:
    run = home.add("fix")
    home.spend(run, "0.20", usage=Usage(output=10))
    home.spend(run, "0", notional="0.70", usage=Usage(output=90))
    said = home.json("cost", "fix.1")
    assert (said["cost_usd"], said["notional_usd"]) == ("0.200000000", "0.700000000")
    lines = home.out("cost").splitlines()
    assert "  notional   $0.70 beside it, paid by a subscription" in lines
    assert f"  {MODEL:<24} {'$0.20':>10}   output 10" in lines
    assert f"  {MODEL + ', by plan':<24} {'$0.70':>10}   output 90" in lines


@pytest.mark.parametrize(
    ("words", "cost", "requests"),
    [
        (("--issue", "files/fix"), "0.650000000", 3),
        (("--repo", "tools"), "1.000000000", 1),
        (("--today",), "1.650000000", 4),
        (("--issue", "files/nothing"), "0.000000000", 0),
    ],
)
def test_it_adds_up_over_an_issue_a_repository_and_today(
    books: RunHome, words: tuple[str, ...], cost: str, requests: int
) -> None:
    said = books.json("cost", *words)
    assert (said["cost_usd"], said["requests"]) == (cost, requests)


def test_today_begins_at_midnight_in_the_settings_time_zone(books: RunHome) -> None:
    books.config.write_text('[budgets]\ntimezone = "Asia/Kolkata"\nall = { day = 25 }\n')
    assert books.json("cost", "--today")["since"].endswith("T18:30:00+00:00")


def test_two_questions_at_once_are_none(books: RunHome) -> None:
    assert books.refused("cost", "fix.2", "--today") == (2, "name one of RUN, --issue, --repo and --today")
    status, said = books.refused("cost", "--issue", "with blank")
    assert status == 2
    assert said.startswith("'issue:with blank' is not a scope")


def test_asking_makes_no_books(home: RunHome) -> None:
    """A home in which nothing ever ran stays as it is."""
    assert home.json("cost", "--today")["cost_usd"] == "0.000000000"
    assert "  cost       $0.00   (0.000000000)" in home.out("cost", "--repo", "shop")
    assert not home.home.root.exists()


def test_a_name_that_nothing_was_booked_on_is_said_beside_the_zero(books: RunHome) -> None:
    status, out, err = books.call("cost", "--repo", "nosuch")
    assert (status, "$0.00" in out) == (0, True)
    assert "nothing was booked on repo:nosuch" in err
