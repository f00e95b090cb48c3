"""`crewcap whatif`: what was paid for, done otherwise."""

from __future__ import annotations

import pytest
from tests.cli.run_home import RunHome

from crewcap.core.pricing import Usage


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


def test_a_route_moves_one_models_requests_alone(books: RunHome) -> None:
    assert scenario(books, "--route", "sonnet=claude-opus-4-5")["requests"] == 1


def test_a_plan_breaks_even_at_a_share_of_the_use(books: RunHome) -> None:
    (plan,) = books.json("whatif", "--fee", "45")["plans"]
    assert (plan["month_usd"], plan["pays_from"]) == ("90.000000000", 0.5)


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
