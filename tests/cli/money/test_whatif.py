"""`crewcap whatif`: what was paid for, done otherwise."""

from __future__ import annotations

import pytest
from tests.cli.run_home import RunHome

from crewcap.core.budget import KeyId
from crewcap.core.pricing import Usage
from crewcap.core.savings import CacheTurn
from crewcap.stores.sqlite.savings import SqliteCacheTurns


@pytest.fixture
def books(home: RunHome) -> RunHome:
    """A million tokens in and a hundred thousand out, at the list price of Sonnet 5: $2 and $1."""
    home.spend(home.add("fix"), "3.00", usage=Usage(input=1_000_000, output=100_000))
    return home


def scenario(home: RunHome, *words: str) -> dict[str, object]:
    (found,) = home.json("whatif", *words)["scenarios"]
    return dict(found)


def test_another_model_is_priced_on_the_same_tokens(books: RunHome) -> None:
    found = scenario(books, "--model", "claude-opus-4-5")
    assert (found["cost_usd"], found["instead_of_usd"]) == ("7.500000000", "3.000000000")
    assert found["supposes"] == "the same tokens and turns"


def test_batches_are_what_the_rate_card_says(books: RunHome) -> None:
    assert scenario(books, "--batch")["cost_usd"] == "1.500000000"


def test_half_is_said_to_be_half_though_a_sum_was_rounded(home: RunHome) -> None:
    """A request that was billed a hair below the list: batches save a hair less than half."""
    home.spend(home.add("fix"), "2.999990000", usage=Usage(input=1_000_000, output=100_000))
    assert scenario(home, "--batch")["difference_usd"] == "-1.499990000"
    assert "(50 %) less" in home.out("whatif", "--batch")


def test_a_route_moves_one_models_requests_alone(books: RunHome) -> None:
    assert scenario(books, "--route", "sonnet=claude-opus-4-5")["requests"] == 1


def test_a_plan_breaks_even_at_a_share_of_the_use(books: RunHome) -> None:
    (plan,) = books.json("whatif", "--fee", "45")["plans"]
    assert (plan["month_usd"], plan["pays_from"]) == ("90.000000000", 0.5)


def test_caches_are_kept_for_an_hour_at_the_price_of_that(home: RunHome) -> None:
    """A million tokens written for five minutes ($2.50), and read again ten minutes later: they are written anew."""
    run = home.add("fix")
    for gap_ms, kept in ((None, 0), (600_000, 1_000_000)):
        home.spend(run, "2.50", usage=Usage(write_5m=1_000_000))
        hold = home.ledger.entries()[-1].hold
        turn = CacheTurn(hold=hold, run=run.id, key=KeyId("k"), conversation="c", gap_ms=gap_ms, kept=kept)
        SqliteCacheTurns(home.home).note([turn])
    found = scenario(home, "--cache", "1h")
    assert (found["instead_of_usd"], found["cost_usd"]) == ("5.000000000", "4.200000000")  # $4.00 once, and $0.20
    assert found["supposes"] == "the same tokens and the same pauses"
    assert scenario(home, "--cache", "5m")["difference_usd"] == "0.000000000"


def test_what_was_never_in_fast_mode_has_nothing_to_save_there(books: RunHome) -> None:
    assert scenario(books, "--no-fast")["requests"] == 0
    assert "no fast mode  $0.00  concerns no request" in books.out("whatif", "--no-fast")


def test_everything_is_shown_where_nothing_was_asked(books: RunHome) -> None:
    said = books.out("whatif")
    assert said.startswith("paid   $3.00 for 1 request\n")
    assert "everything in batches" in said
    assert "supposed: the same tokens and turns" in said


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--model", "gpt-99-nothing"), "no price list knows a model"),
        (("--route", "opus"), "is no FROM=TO"),
        (("--route", "opus=sonnet"), "no request went to a model like 'opus'"),
        (("--since", "sometime"), "is no time that is understood"),
    ],
)
def test_what_cannot_be_meant_is_said(books: RunHome, words: tuple[str, ...], error: str) -> None:
    status, _, err = books.call("whatif", *words)
    assert (status, error in err) == (2, True), err
