"""`crewcap audit`: what the provider said, computed again, is what the ledger has."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from tests.cli.spent_home import SpentHome, book

from crewcap.core.budget import HoldId
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.stores import Settlement


def test_every_request_is_computed_again_and_equal(spent: SpentHome) -> None:
    """Cache writes of both lifetimes, another region, a fee, a subagent, what a plan paid."""
    for name in ("fix-login.1", "=cmd|calc.1", "key:alone"):
        said = spent.home.json("audit", name)
        settled = [each for each in said["requests"] if each["ledger_usd"] != "0.000000000"]
        assert [each["equal"] for each in settled] == [True] * len(settled), name
        assert (said["equal"], said["sum_usd"]) == (True, said["ledger_usd"])
        for each in settled:
            assert sum(Decimal(line["usd"]) for line in each["lines"]) == Decimal(each["sum_usd"])
            assert Decimal(each["rounded_usd"]) - Decimal(each["sum_usd"]) < Decimal("0.000000001")


def test_a_line_is_a_count_times_a_price(spent: SpentHome) -> None:
    (first, *_) = spent.home.json("audit", "fix-login.1", "--request", "1")["requests"]
    assert first["raw_usage"]["output_tokens"] == 403
    assert {line["kind"]: (line["count"], line["unit_usd"]) for line in first["lines"]} == {
        "input": (11, "0.000002000000"),
        "cache write, 5 minutes": (9_001, "0.000002500000"),
        "output": (403, "0.000010000000"),
    }
    assert first["modifiers"] == {"speed": "standard", "geo": "global", "tier": "standard"}
    assert [step["kind"] for step in first["movements"]] == ["sent", "settled"]


def test_a_region_is_found_again_by_its_card(spent: SpentHome) -> None:
    (first, *_) = spent.home.json("audit", "=cmd|calc.1")["requests"]
    assert (first["modifiers"]["geo"], first["equal"], first["card_known"]) == ("us", True, True)


def test_people_read_it_from_the_providers_words_down(spent: SpentHome) -> None:
    said = spent.home.out("audit", "fix-login.1", "--request", "1")
    for words in (
        '"output_tokens": 403',
        "a million",
        "$10.00",
        "rounded up to a nano-dollar",
        "the ledger's number",
        "equal",
    ):
        assert words in said, words
    whole = spent.home.out("audit", "=cmd|calc.1")
    assert "2 of 2 equal to the last unit" in whole.replace("\n  ", " ") or "equal to the last unit" in whole
    assert whole.rstrip().endswith(": equal")


def test_what_differs_is_said_and_the_answer_is_no(spent: SpentHome) -> None:
    """A cost that its own card does not make."""
    run = spent.home.add("odd")
    key = spent.key(run)
    hold = spent.hold(key)
    card = book().card("anthropic", "claude-sonnet-5", at=run.created_at)
    usage = Usage(input=1_000)
    end = Settlement(
        hold=HoldId(hold), kind="settled", spent=Money(3_000_000), uncertain=Money(0), usage=usage,
        model="claude-sonnet-5", card=card.id,
    )  # fmt: skip
    assert spent.home.ledger.settle(end)
    status, out, _ = spent.home.call("audit", "odd.1")
    assert (status, "DIFFERS" in out) == (1, True)
    _, out, _ = spent.home.call("audit", "odd.1", "--request", "1")
    assert "DIFFERS by 0.001000000" in out


def test_csv_rows_of_a_run_are_its_cost(spent: SpentHome) -> None:
    for name in ("fix-login.1", "=cmd|calc.1"):
        rows = list(csv.DictReader(io.StringIO(spent.home.out("audit", name, "--csv"))))
        assert sum(Decimal(row["usd"]) for row in rows) == Decimal(spent.home.json("cost", name)["cost_usd"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("audit", "nobody"), "no run is named 'nobody'"),
        (("audit", "key:nobody"), "there is no key 'nobody'"),
        (("audit", "fix-login.1", "--request", "9"), "has 3 requests"),
    ],
)
def test_what_cannot_be_audited_is_said(spent: SpentHome, words: tuple[str, ...], says: str) -> None:
    status, said = spent.home.refused(*words)
    assert (status, says in said) == (2, True)
