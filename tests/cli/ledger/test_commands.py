"""`crewcap ledger`, as a user types it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from tests.cli.money_home import MoneyHome
from tests.stores.books import usd

from crewcap.core.budget import ALL


@pytest.fixture
def home(tmp_path: Path) -> MoneyHome:
    return MoneyHome(tmp_path)


def test_sound_books_verify(home: MoneyHome) -> None:
    home.lose_two_holds()
    assert home.json("ledger", "verify") == {"entries": 2, "ok": True}
    assert "2 entries" in home.call("ledgers", "verify").stdout


def test_books_that_are_not_sound_exit_5_and_say_what_is_wrong(home: MoneyHome) -> None:
    home.lose_two_holds()
    db = sqlite3.connect(home.home.ledger)
    db.execute("UPDATE budget SET spent = 7 WHERE scope = 'key:k1'")
    db.commit()
    db.close()
    done = home.call("ledger", "verify", "--json")
    assert done.returncode == 5
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert "key:k1 (total): spent is 0.000000007, its entries say 0.000000000" in found["problems"]
    spoken = home.call("ledger", "verify")
    assert spoken.returncode == 5
    assert found["problems"][0] in spoken.stdout
    assert spoken.stderr.startswith("error: the ledger")


def test_a_lost_ledger_exits_5_with_the_fix(home: MoneyHome) -> None:
    home.lose_two_holds()
    home.home.ledger.write_bytes(b"")
    done = home.call("budget", "list")
    assert done.returncode == 5
    assert "is empty, and 4 movements were in it" in done.stderr
    assert "help: " in done.stderr
    assert "Traceback" not in done.stderr


def test_uncertain_holds_are_listed_and_closed_by_word(home: MoneyHome) -> None:
    home.lose_two_holds()
    waiting = home.json("ledger", "reconcile")
    assert [(it["hold"], it["uncertain_usd"]) for it in waiting] == [
        ("first", "0.300000000"),
        ("second", "0.300000000"),
    ]
    assert "died before the answer" in waiting[0]["reason"]
    closed = home.call("ledger", "reconcile", "first", "--cost", "0.12", "--word", "ana: console")
    assert closed.stdout == "first  $0.12, was charged $0.30\n"
    rest = home.call("ledger", "reconcile", "--all", "--charged")
    assert rest.stdout == "second  $0.30, was charged $0.30\n"
    assert home.json("ledger", "reconcile") == []
    ledger = home.open()
    assert (ledger.totals(ALL).spent, ledger.verify().problems) == (usd("0.42"), ())
    assert ledger.entries()[0].reason.endswith("; ana: console")
    ledger.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("first",), "what did it cost?"),
        (("first", "--cost", "1,00"), "did you mean 1.00?"),
        (("first", "second", "--cost", "0.1"), "three answers to one question"),
        (("--unbilled",), "which holds?"),
        (("nobody", "--unbilled"), "hold nobody is not uncertain"),
        (("--restored", "--all"), "--restored takes nothing but"),
        (("--restored",), "was not restored"),
    ],
)
def test_what_cannot_be_reconciled_is_said_and_changes_nothing(
    home: MoneyHome, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home.lose_two_holds()
    assert home.call_here("ledger", "reconcile", *words) == 2
    assert says in capsys.readouterr().err
    ledger = home.open()
    assert len(ledger.uncertain_holds()) == 2
    ledger.close()


def test_a_backup_is_restored_by_word_with_what_was_billed_since(home: MoneyHome) -> None:
    home.lose_two_holds()
    backup = home.folder / "backup.db"
    assert home.call("ledger", "backup", str(backup)).returncode == 0
    assert home.call("ledger", "backup", str(backup)).returncode == 2
    for ending in ("", "-wal", "-shm"):
        home.home.root.joinpath(f"ledger.db{ending}").unlink(missing_ok=True)
    shutil.copy(backup, home.home.ledger)
    refused = home.call("budget", "list")
    assert refused.returncode == 5
    assert "is a backup of" in refused.stderr
    restored = home.call("ledger", "reconcile", "--restored", "--cost", "0.50", "--word", "console")
    assert restored.returncode == 0, restored.stderr
    assert home.json("ledger", "verify")["ok"] is True
    ledger = home.open()
    assert ledger.totals(ALL).spent == usd("0.50")
    ledger.close()


def test_the_clock_is_accepted_by_word(home: MoneyHome) -> None:
    assert home.call("ledger", "accept-clock").stdout.startswith("the clock is accepted: ")
    assert "accepted" in home.json("ledger", "accept-clock")
