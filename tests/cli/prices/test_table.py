"""The price table's hash, known without compiling the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.run_home import RunHome, utc_now
from tests.cli.spent_home import SpentHome

from crewcap import prices
from crewcap.app import App
from crewcap.cli.prices.table import fingerprint, table_hash

OWN = "[[price]]\nprovider = 'anthropic'\nmodel = 'claude-house'\nusd_per_mtok = {{ in = '1', out = '{}' }}\n"


def app_of(home: RunHome) -> App:
    return App(home=home.home, config_path=home.config, environ={}, clock=utc_now)


def own_prices(home: RunHome, output: int) -> Path:
    own = home.folder / "own.toml"
    own.write_text(OWN.format(output))
    home.config.write_text(f'[prices]\noverrides = "{own}"\n')
    return own


def test_it_is_that_of_the_book_and_the_next_time_it_is_known_without_one(spent: SpentHome) -> None:
    first, second = app_of(spent.home), app_of(spent.home)
    assert table_hash(first) == table_hash(second) == prices.load().hash
    assert "book" in first.__dict__
    assert "book" not in second.__dict__


def test_another_price_file_and_other_words_in_it_are_another_table(spent: SpentHome) -> None:
    found = [table_hash(app_of(spent.home))]
    for output in (5, 6):
        own = own_prices(spent.home, output)
        found.append(table_hash(app_of(spent.home)))
        assert found[-1] == prices.load(str(own)).hash
    assert len(set(found)) == 3


@pytest.mark.parametrize("damage", ["", "rubbish", "\0" * 34, "0" * 16 + " " + "0" * 12 + "\n", "\udcff"])
def test_what_is_remembered_and_damaged_is_made_again(spent: SpentHome, damage: str) -> None:
    known = table_hash(app_of(spent.home))
    remembered = spent.home.home.price_table
    remembered.write_text(damage, errors="surrogateescape")
    assert table_hash(app_of(spent.home)) == known
    assert known in remembered.read_text()


def test_where_nothing_can_be_remembered_it_is_told_all_the_same(spent: SpentHome) -> None:
    (spent.home.home.price_table).mkdir()
    assert table_hash(app_of(spent.home)) == prices.load().hash
    assert not list(spent.home.home.root.glob("price-table.*"))


def test_a_home_without_books_stays_empty(home: RunHome) -> None:
    assert table_hash(app_of(home)) == prices.load().hash
    assert not (home.home.price_table).exists()


def test_a_price_file_is_told_apart_by_what_it_says(home: RunHome) -> None:
    own = own_prices(home, 5)
    before = fingerprint(str(own))
    own_prices(home, 6)
    assert len({before, fingerprint(str(own)), fingerprint("")}) == 3
