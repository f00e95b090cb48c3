"""Who holds what others wait for."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crewcap.errors import LedgerError
from crewcap.stores.sqlite.books import translated
from crewcap.stores.sqlite.holders import holders

ALONE = "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; INSERT INTO t VALUES (1); COMMIT"  # and keeps the file
WRITER = "BEGIN IMMEDIATE"
READER = "BEGIN; SELECT * FROM t"
HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for words in sys.argv[2].split(";"):
    db.execute(words).fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (a)")
    db.close()
    return path


@contextmanager
def held(path: Path, words: str) -> Iterator[int]:
    """Another program's connection after these statements; its process."""
    argv = [sys.executable, "-c", HOLD, str(path), words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "held\n"
            yield program.pid
        finally:
            program.kill()


@pytest.mark.parametrize("words", [ALONE, WRITER])
def test_who_writes_or_wants_the_file_alone_is_named_with_its_process(file: Path, words: str) -> None:
    with held(file, words) as pid:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        assert holders(file) == f"{name} (process {pid})"
    assert holders(file) == ""


def test_who_only_reads_is_in_nobodys_way_and_not_named(file: Path) -> None:
    with held(file, READER):
        assert holders(file) == ""


def test_we_ourselves_are_not_another_program(file: Path) -> None:
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    assert holders(file) == ""
    db.close()


def test_the_line_that_people_read_says_who_it_is(file: Path) -> None:
    with held(file, ALONE) as pid, pytest.raises(LedgerError) as caught, translated(file):
        sqlite3.connect(file, timeout=0).execute("SELECT * FROM t")
    assert caught.value.message.startswith(f"the ledger {file} is locked by another program: ")
    assert caught.value.message.endswith(f" (process {pid})")
    assert caught.value.help == "close it, or let it finish, and try again"
    assert str(os.getpid()) not in caught.value.message
