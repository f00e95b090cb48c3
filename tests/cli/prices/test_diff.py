"""`crewcap price diff`: what changed since a table was saved, or since a run was paid."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from tests.cli.run_home import RunHome, utc_now
from tests.cli.spent_home import SONNET, SpentHome, book

from crewcap.core.cards import Kept
from crewcap.core.pricing import Modifiers
from crewcap.stores.sqlite.prices import SqlitePriceNotes

DEARER = '[[price]]\nprovider = "anthropic"\nmodel = "claude-sonnet-5"\nusd_per_mtok = { in = "4", out = "20" }\n'


def keep(spent: SpentHome) -> str:
    """The card of Sonnet, as a gateway keeps it; the hash of its table."""
    notes = SqlitePriceNotes(spent.home.home)
    card = book().card("anthropic", SONNET, at=utc_now())
    notes.keep([Kept(card=card, modifiers=Modifiers(), book=book().hash, at=utc_now())])
    notes.close()
    return book().hash


@pytest.fixture
def dearer(spent: SpentHome, tmp_path: Path) -> SpentHome:
    (tmp_path / "prices.toml").write_text(DEARER)
    spent.home.config.write_text(f'[prices]\noverrides = "{tmp_path / "prices.toml"}"\n')
    return spent


@pytest.mark.parametrize("named", ["fix-login.1", "table"])
def test_the_prices_that_a_run_paid_are_compared_with_today_s(dearer: SpentHome, named: str) -> None:
    """By the run, and by the hash of the table that it was booked at."""
    table = keep(dearer)
    found = dearer.home.json("price", "diff", table if named == "table" else named)
    assert {each["what"] for each in found} == {"anthropic/claude-sonnet-5"}
    changed = {each["field"]: (each["before"], each["after"]) for each in found}
    assert changed["usd_per_mtok.input"] == ("2.000000000", "4.000000000")
    assert changed["usd_each.web_search"] == ("0.010000000", "none")


def test_a_key_is_compared_as_well_and_the_same_table_has_no_difference(spent: SpentHome) -> None:
    keep(spent)
    assert spent.home.json("price", "diff", "key:alone") == []
    assert spent.home.json("price", "diff", "fix-login.1") == []


def test_cards_from_before_they_were_kept_are_said_to_be_missing(spent: SpentHome) -> None:
    _, out, err = spent.home.call("price", "diff", "fix-login.1")
    assert out == ""
    assert "cards of it were not kept" in err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("0123456789ab", "no request was first settled by the price table"),
        ("none.json", "cannot be read"),
        ("./none", "cannot be read"),
        ("nobody.7", "no run"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(spent: SpentHome, name: str, says: str) -> None:
    status, said = spent.home.refused("price", "diff", name)
    assert status == 2
    assert says in said


def test_a_file_of_any_size_is_not_read_to_its_end(home: RunHome, tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(2**40)
    assert "larger than 64 MiB" in home.refused("price", "diff", str(huge))[1]


def test_a_whole_table_goes_out_as_csv_and_no_cell_is_a_formula(home: RunHome, tmp_path: Path) -> None:
    (tmp_path / "evil.toml").write_text(DEARER.replace("claude-sonnet-5", "=cmd|calc"))
    text = home.out("price", "list", "--provider", "anthropic", "--csv", "--overrides", str(tmp_path / "evil.toml"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["model"] for row in rows} >= {"'=cmd|calc", "claude-haiku-5-5"}
    assert {row["prompt_above"] for row in rows if row["model"] == "claude-haiku-5-5"} == {"0", "100000"}
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())
