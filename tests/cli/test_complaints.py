"""Every kind of error as the two lines that users read."""

from __future__ import annotations

import errno
import io
import json
import os
import sqlite3
import sys

import click
import pytest

from crewcap.cli.complaints import Complaint, complaint
from crewcap.cli.runs.options import Cap
from crewcap.errors import LedgerError


def test_an_error_of_ours_keeps_its_words_and_its_status() -> None:
    said = complaint(LedgerError("the ledger is gone", help="put a backup in its place"))
    assert said == Complaint(
        code="ledger", message="the ledger is gone", help="put a backup in its place", status=LedgerError.exit_status
    )


def test_a_database_that_says_no_is_a_matter_of_the_books() -> None:
    said = complaint(sqlite3.OperationalError("database is locked"))
    assert (said.code, said.status) == ("ledger", LedgerError.exit_status)
    assert "database is locked" in said.message


@pytest.mark.parametrize(
    ("number", "message", "help_"),
    [
        (errno.ENOSPC, "/srv/state: no space left on device", "make room"),
        (errno.EROFS, "/srv/state: read-only file system", "--home DIR"),
        (errno.EACCES, "/srv/state: permission denied", "chown"),
        (errno.EIO, "/srv/state: input/output error", "crewcap doctor"),
    ],
)
def test_what_the_system_refuses_is_said_without_numbers(number: int, message: str, help_: str) -> None:
    said = complaint(OSError(number, os.strerror(number), "/srv/state"))
    assert (said.message, said.status) == (message, 4)
    assert help_ in said.help


def _of(words: list[str]) -> Complaint:
    """What click complains of, in a command like ours."""

    @click.command()
    @click.option("--cap", "--max-budget-usd", type=Cap())
    @click.argument("window", type=click.Choice(["day", "week"]))
    def command(**_: object) -> None: ...

    with pytest.raises(click.ClickException) as caught:
        command.main(words, prog_name="crewcap x", standalone_mode=False)
    return complaint(caught.value)


@pytest.mark.parametrize(
    ("words", "message", "help_"),
    [
        (["--cap", "5,00", "day"], "--cap: '5,00' is not an amount of money", "did you mean 5.00?"),
        (["year"], "{day|week}: 'year' is not one of 'day', 'week'", "crewcap x --help"),
        ([], "missing argument '{day|week}'. Choose from: day, week", "crewcap x --help"),
        (["--capp", "3", "day"], "no such option '--capp'", "did you mean '--cap'?"),
        (["day", "-1"], "-1 stands where an amount belongs, and reads like an option", "write an amount from 0 up"),
    ],
)
def test_what_click_refuses_reads_like_ours(words: list[str], message: str, help_: str) -> None:
    said = _of(words)
    assert (said.code, said.message, said.help, said.status) == ("usage", message, help_, 2)


def test_a_defect_names_itself_and_asks_to_be_reported() -> None:
    said = complaint(KeyError("x"))
    assert (said.code, said.status) == ("internal", 1)
    assert said.message == "this is a defect of ours: KeyError: 'x'"
    assert "please report it" in said.help


def test_an_object_that_cannot_be_written_is_said_to_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)  # the reader of the objects has left
    complaint(LedgerError("gone", help="look")).say(as_json=True)
    assert capsys.readouterr().err == "error: gone\nhelp: look\n"


def test_machines_get_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    complaint(LedgerError("gone", help="look")).say(as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": {"code": "ledger", "message": "gone", "help": "look"}}
    assert said.err == ""
