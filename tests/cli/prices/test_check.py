"""`crewcap price check`: our own lines, and what was seen that nobody has a price of."""

from __future__ import annotations

import json
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from tests.cli.run_home import RunHome, utc_now
from tests.cli.spent_home import SpentHome

from crewcap.core.cards import Unpriced
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.stores import Settlement
from crewcap.stores.sqlite.prices import SqlitePriceNotes

FRESH = "[policy]\nmax_age_days = 100000\n"


@pytest.fixture
def fresh(home: RunHome, tmp_path: Path) -> RunHome:
    """However old the shipped table is on the day of the test."""
    (tmp_path / "prices.toml").write_text(FRESH)
    home.config.write_text(f'[prices]\noverrides = "{tmp_path / "prices.toml"}"\n')
    return home


def refuse(home: RunHome, *models: str) -> None:
    """As a gateway notes it."""
    assert home.ledger.keys() == ()
    notes = SqlitePriceNotes(home.home)
    notes.note_unpriced(
        [
            Unpriced(
                provider="anthropic",
                model=model,
                requests=number,
                last_at=utc_now() - timedelta(hours=1),
                message="no price",
            )
            for number, model in enumerate(models, start=3)
        ]
    )
    notes.close()


def test_what_was_refused_is_told_with_the_lines_that_would_price_it(fresh: RunHome, tmp_path: Path) -> None:
    refuse(fresh, "claude-nova", "claude-opus-5-5")
    status, out, _ = fresh.call("price", "check")
    assert status == 1
    assert "problem  anthropic/claude-nova has no price: 3 requests refused, last on" in out
    assert "names that have a price by now: 1" in out
    lines = [line[9:] for line in out.splitlines() if line.startswith(" " * 9)]
    toml = "\n".join(lines[lines.index("[[price]]") : lines.index("[[price]]") + 4])
    assert tomllib.loads(toml)["price"][0]["model"] == "claude-nova"
    (tmp_path / "prices.toml").write_text(FRESH + toml.replace("?", "3"))
    assert fresh.call("price", "check")[0] == 0


def test_machines_get_lines_and_unknown_names(fresh: RunHome) -> None:
    refuse(fresh, "=HYPERLINK(1)")
    status, out, _ = fresh.call("price", "check", "--json")
    said = json.loads(out)
    assert (status, said["ok"]) == (1, False)
    (unknown,) = said["unknown"]
    assert (unknown["where"], unknown["model"], unknown["requests"]) == ("refused", "=HYPERLINK(1)", 3)
    assert tomllib.loads(unknown["toml"])
    assert {"price", "factor", "alias", "model"} <= {line["kind"] for line in said["lines"]}
    assert all(line["file"] and line["line"] for line in said["lines"])


def test_a_model_that_an_answer_named_without_a_price_is_told(fresh: RunHome, spent: SpentHome, tmp_path: Path) -> None:
    """It is booked as uncertain, and its price is missing as if it had been asked for; a card that is gone is none."""
    key = spent.key()
    for model in ("claude-nova-9", "claude-nova-9", "claude-opus-5"):
        end = Settlement(
            hold=spent.hold(key),
            kind="uncertain",
            spent=Money.usd("0.01"),
            uncertain=Money.usd("0.02"),
            usage=Usage(input=9, output=3),
            model=model,
            incident=f"the answer cannot be priced: a price for {model} is not in the price book",
        )
        assert fresh.ledger.settle(end)
    status, out, _ = fresh.call("price", "check")
    assert status == 1
    assert out.count(" has no price: ") == 1
    assert "problem anthropic/claude-nova-9 has no price: 2 answers from it, last on" in " ".join(out.split())
    (unknown,) = json.loads(fresh.call("price", "check", "--json")[1])["unknown"]
    assert (unknown["where"], unknown["requests"], unknown["is_priced_now"]) == ("answered", 2, False)
    (tmp_path / "prices.toml").write_text(FRESH + unknown["toml"].replace("?", "3"))
    assert fresh.call("price", "check")[0] == 0
    waiting = json.loads(fresh.call("ledger", "reconcile", "--json")[1])
    assert [each["reason"].partition(":")[0] for each in waiting].count("the answer cannot be priced") == 3


def test_two_prices_for_the_same_days_fail_the_check(fresh: RunHome, tmp_path: Path) -> None:
    line = '[[price]]\nprovider = "anthropic"\nmodel = "claude-opus-5"\nusd_per_mtok = { in = "1", out = "2" }\n'
    (tmp_path / "prices.toml").write_text(FRESH + line + line)
    status, out, _ = fresh.call("price", "check")
    assert status == 1
    assert "a second price of anthropic/claude-opus-5" in out
    assert "idle" in out


def test_shipped_lines_are_shown_when_they_are_asked_for(fresh: RunHome) -> None:
    assert "overrides.toml:" not in fresh.out("price", "check")
    assert "overrides.toml:" in fresh.out("price", "check", "--all")


def test_a_home_without_books_is_not_made(fresh: RunHome) -> None:
    assert fresh.call("price", "check")[0] == 0
    assert not fresh.home.ledger.exists()
    assert not fresh.home.usage.exists()


def test_models_of_transcripts_without_a_price_are_told(fresh: RunHome, tmp_path: Path) -> None:
    folder = tmp_path / "transcripts" / "projects" / "-shop"
    folder.mkdir(parents=True)
    (folder / "one.jsonl").write_text(
        '{"type":"assistant","timestamp":"2026-11-01T10:00:00.000Z","sessionId":"s1","cwd":"/shop","requestId":"r1",'
        '"message":{"id":"m1","role":"assistant","model":"claude-nova-7","usage":{"input_tokens":5,"output_tokens":7}}}\n'
    )
    fresh.out("usage", "import", str(tmp_path / "transcripts"))
    status, out, _ = fresh.call("price", "check")
    assert status == 1
    assert "anthropic/claude-nova-7 has no price: 1 message in transcripts" in " ".join(out.split())
