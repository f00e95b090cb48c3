"""`crewcap price reprice`: history is corrected beside itself, once, and every sum agrees on it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.run_home import RunHome, utc_now
from tests.cli.spent_home import HAIKU, SONNET, SpentHome, book

from crewcap.core.budget import ALL
from crewcap.core.cards import Kept
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.stores import Limit
from crewcap.stores.sqlite.prices import SqlitePriceNotes

DEARER = """
[[price]]
provider = "anthropic"
model = "claude-sonnet-5"
usd_per_mtok = { in = "4", out = "20", read = "0.4", write_5m = "5", write_1h = "8" }
usd_each = { web_search = "0.01" }
"""
WORD = ("--apply", "--word", "ana: the vendor's letter of November")
Prices = Callable[[str], None]


@pytest.fixture
def kept(spent: SpentHome) -> SpentHome:
    """With the cards that a gateway would have kept."""
    notes = SqlitePriceNotes(spent.home.home)
    for model, modifiers in ((SONNET, Modifiers()), (SONNET, Modifiers(geo="us")), (HAIKU, Modifiers())):
        card = book().card("anthropic", model, at=utc_now(), modifiers=modifiers)
        notes.keep([Kept(card=card, modifiers=modifiers, book=book().hash, at=utc_now())])
    notes.close()
    return spent


@pytest.fixture
def prices(home: RunHome, tmp_path: Path) -> Prices:
    """Another price file from now on."""

    def write(text: str) -> None:
        (tmp_path / "prices.toml").write_text(text)
        home.config.write_text(f'[prices]\noverrides = "{tmp_path / "prices.toml"}"\n')

    return write


def test_the_same_table_changes_nothing(kept: SpentHome) -> None:
    said = kept.home.json("price", "reprice")
    assert (said["differ"], said["difference_usd"], said["lines"]) == (0, "0.000000000", [])
    assert {each["reason"]: each["requests"] for each in said["left_out"]} == {
        "by plan": 1,
        "by word": 1,
        "uncertain": 1,
    }


def test_what_differs_is_shown_by_day_and_model_and_nothing_is_booked(kept: SpentHome, prices: Prices) -> None:
    prices(DEARER)
    before = kept.home.ledger.totals(ALL)
    said = kept.home.json("price", "reprice")
    assert (said["differ"], said["corrections"]) == (4, None)
    (line,) = said["lines"]
    sonnet = [each for each in kept.home.ledger.entries() if each.model == SONNET and each.spent and each.card]
    assert Decimal(line["booked_usd"]) == sum(Decimal(each.spent.exact()) for each in sonnet)
    assert (line["model"], line["requests"]) == (SONNET, 4)
    assert Decimal(line["today_usd"]) - Decimal(line["booked_usd"]) == Decimal(said["difference_usd"]) > 0
    assert kept.home.ledger.totals(ALL) == before


def test_a_correction_is_today_s_price_of_the_request_s_own_tokens(kept: SpentHome, prices: Prices) -> None:
    """In its region; a fee that did not change stays; by hand."""
    prices(DEARER)
    kept.home.json("price", "reprice", *WORD)
    costs = [each.spent for each in kept.home.ledger.entries() if each.corrected]
    by_hand = [
        11 * 4_000 + 9_001 * 5_000 + 403 * 20_000,
        7 * 4_000 + 9_001 * 400 + 333 * 5_000 + 77 * 20_000,
        1_007 * 8_800 + 13 * 22_000,
        3 * 4_000 + 20_000 + 2 * 10_000_000,
    ]
    assert costs == [Money(nano) for nano in by_hand]


def test_it_is_booked_once_and_every_sum_agrees(kept: SpentHome, prices: Prices) -> None:
    prices(DEARER)
    before = kept.home.ledger.totals(ALL)
    once = kept.home.json("price", "reprice", *WORD)
    assert once["corrections"] == 4
    again = kept.home.json("price", "reprice", *WORD)
    assert (again["differ"], again["corrections"]) == (0, 0)
    after = kept.home.ledger.totals(ALL)
    grown = Decimal((after.spent - before.spent).exact())
    assert grown == Decimal(once["difference_usd"])
    assert (after.requests, after.usage, after.uncertain) == (before.requests, before.usage, before.uncertain)
    assert kept.home.json("ledger", "verify")["ok"]
    cost = Decimal((after.spent + after.uncertain).exact())
    for by in ("day", "model", "run", "user"):
        assert sum(Decimal(row["cost_usd"]) for row in kept.home.json("report", by)["rows"]) == cost
    rows = list(csv.DictReader(io.StringIO(kept.home.out("export", "focus"))))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == cost
    corrections = [row for row in rows if row["ChargeClass"] == "Correction"]
    assert sum(Decimal(row["BilledCost"]) for row in corrections) == grown


def test_prices_that_come_back_are_corrected_back(kept: SpentHome, prices: Prices) -> None:
    before = [each.spent for each in kept.home.ledger.entries()]
    prices(DEARER)
    kept.home.json("price", "reprice", *WORD)
    prices("")
    assert kept.home.json("price", "reprice", *WORD)["corrections"] == 4
    assert [each.spent for each in kept.home.ledger.entries()] == before
    assert {each.corrected for each in kept.home.ledger.entries()} == {ZERO}


def test_an_audit_shows_the_rates_of_then_and_the_correction_beside_them(kept: SpentHome, prices: Prices) -> None:
    """The card of then is in no price book any more: it was kept."""
    prices(DEARER)
    kept.home.json("price", "reprice", *WORD)
    said = kept.home.json("audit", "fix-login.1")
    first = said["requests"][0]
    assert (said["equal"], first["equal"], first["card_known"]) == (True, True, True)
    assert first["lines"][0]["unit_usd"] == "0.000002000000"
    assert first["corrected_card"] != first["card"]
    step = first["movements"][-1]
    assert (step["kind"], step["spent_usd"]) == ("corrected", first["corrected_usd"])
    assert "the vendor's letter" in step["reason"]
    assert first["card"] in step["reason"]
    shown = kept.home.out("audit", "fix-login.1", "--request", "1")
    assert "corrected by other prices" in shown
    rows = list(csv.DictReader(io.StringIO(kept.home.out("audit", "fix-login.1", "--csv"))))
    assert sum(Decimal(row["usd"]) for row in rows) == Decimal(said["ledger_usd"])


def test_a_limit_that_is_exceeded_by_it_is_named(kept: SpentHome, prices: Prices) -> None:
    spent = kept.home.ledger.totals(ALL)
    most = spent.spent + spent.uncertain + Money(5)
    kept.home.ledger.set_limit(Limit(scope=ALL, window="total", amount=most, source="command"))
    prices(DEARER)
    said = kept.home.out("price", "reprice", *WORD)
    assert "booked: 4 corrections" in said
    assert "over its limit now: all" in said


def test_a_request_whose_modifiers_nobody_knows_is_left_alone(spent: SpentHome, prices: Prices) -> None:
    """Its card is gone, nobody kept it, and the provider's words do not name tier, speed and region."""
    prices(DEARER)
    said = spent.home.json("price", "reprice")
    assert said["differ"] == 0
    assert {each["reason"]: each["requests"] for each in said["left_out"]}["untold"] == 4


def test_the_provider_s_own_words_name_the_modifiers_where_the_card_is_gone(spent: SpentHome, prices: Prices) -> None:
    key = spent.key(name="told")
    spent.ask(key, Usage(input=1_000), modifiers=Modifiers(geo="us"), service_tier="standard")
    prices(DEARER)
    assert spent.home.json("price", "reprice", *WORD)["corrections"] == 1
    (entry,) = [each for each in spent.home.ledger.entries() if each.key == "told"]
    assert entry.spent == Money(1_000 * 4_400)


def test_only_what_is_asked_for_is_priced_again(kept: SpentHome, prices: Prices) -> None:
    prices(DEARER)
    assert kept.home.json("price", "reprice", "--model", "haiku")["requests"] == 1
    assert kept.home.json("price", "reprice", "--until", "2020-01-01")["requests"] == 0
    rows = list(csv.DictReader(io.StringIO(kept.home.out("price", "reprice", "--csv"))))
    assert [row["model"] for row in rows] == [SONNET]


@pytest.mark.parametrize("words", [("--apply",), ("--apply", "--word", "  ")])
def test_nothing_is_booked_without_a_word(kept: SpentHome, words: tuple[str, ...]) -> None:
    status, said = kept.home.refused("price", "reprice", *words)
    assert status == 2
    assert "a correction needs a word" in said


def test_a_home_without_books_has_nothing_to_price(home: RunHome) -> None:
    assert home.json("price", "reprice")["requests"] == 0
    assert not home.home.ledger.exists()
