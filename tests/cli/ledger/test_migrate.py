"""`crewcap ledger migrate`, and the other commands on books in PostgreSQL, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.money_home import MoneyHome
from tests.stores.postgres_server import Server, shared


@pytest.fixture
def server() -> Server:
    return shared()


@pytest.fixture
def home(tmp_path: Path, server: Server) -> MoneyHome:
    """Settings that name a database in which there is nothing yet."""
    made = MoneyHome(tmp_path)
    made.config.write_text(f'[store]\nurl = "{server.empty()}"\n')
    return made


def test_the_tables_are_made_once_and_by_word_alone(home: MoneyHome) -> None:
    refused = home.call("budget", "list")
    assert refused.returncode == 5
    assert "holds no ledger yet\nhelp: make it once, for all gateways: crewcap ledger migrate" in refused.stderr
    made = home.call("ledger", "migrate")
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[0] == "0001_ledger.sql  run"
    assert made.stdout.splitlines()[-1].endswith(" is up to date")
    assert home.call("ledger", "migrate").stdout.endswith(" is up to date; nothing was to be done\n")
    assert home.json("ledger", "migrate")["run"] == []


def test_a_file_needs_no_word(tmp_path: Path) -> None:
    home = MoneyHome(tmp_path)
    done = home.call("ledger", "migrate")
    assert (done.returncode, done.stdout) == (
        0,
        f"the ledger {home.home.ledger} is up to date; nothing was to be done\n",
    )


def test_what_one_home_says_another_one_sees(home: MoneyHome, tmp_path: Path) -> None:
    """Two machines, one ledger: keys, budgets and what is left of them."""
    assert home.call("ledger", "migrate").returncode == 0
    home.json("budget", "set", "team:core", "day", "5.00")
    key = home.json("key", "create", "--cap", "1.00", "--scope", "team:core")
    (tmp_path / "other").mkdir()
    other = MoneyHome(tmp_path / "other")
    other.config.write_text(home.config.read_text())
    assert [it["id"] for it in other.json("key", "list")] == [key["id"]]
    assert {it["scope"] for it in other.json("budget", "list")} == {"all", "team:core", f"key:{key['id']}"}
    assert other.call("key", "revoke", key["id"]).returncode == 0
    assert home.json("key", "list") == []  # revoked: nothing that lives
    assert other.json("ledger", "verify") == {"entries": 0, "ok": True}
    assert other.json("runs") == []
    assert "LIVE 0" in other.call("status").stdout


def test_a_new_home_of_old_books_looks_into_them(home: MoneyHome, tmp_path: Path) -> None:
    """Nothing lies in the state directory yet; that says nothing of the database."""
    assert home.call("ledger", "migrate").returncode == 0
    home.json("budget", "set", "all", "day", "7.00")
    (tmp_path / "other").mkdir()
    other = MoneyHome(tmp_path / "other")
    other.config.write_text(home.config.read_text())
    assert "of $7.00" in other.call("status").stdout


def test_a_backup_is_pg_dumps_and_says_so(home: MoneyHome) -> None:
    home.call("ledger", "migrate")
    done = home.call("ledger", "backup", "books.dump")
    assert done.returncode == 2
    assert "pg_dump --schema=crewcap --format=custom --file=books.dump" in done.stderr


def test_books_that_are_not_sound_are_named_by_their_database(home: MoneyHome, server: Server) -> None:
    home.call("ledger", "migrate")
    url = home.config.read_text().split('"')[1]
    server.sql(url, "DROP TRIGGER budget_fence ON crewcap.budget")
    done = home.call("ledger", "verify")
    assert done.returncode == 5
    assert "the trigger budget_fence is missing from the schema" in done.stdout
    assert f"error: the ledger {server.folder}/empty_" in done.stderr
