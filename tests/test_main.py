"""The one place where an error becomes a line and an exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from crewcap import errors
from crewcap.__main__ import call
from crewcap.cli.complaints import complaint
from crewcap.errors import (
    CommandNotExecutable,
    CommandNotFound,
    CrewcapError,
    InternalError,
    LedgerError,
    MoneyRefused,
    SettingsError,
    UnsafeEnvironment,
    UsageError,
)

TREE = {
    CrewcapError: ("error", 1, 500),
    UsageError: ("usage", 2, 400),
    SettingsError: ("settings", 2, 400),
    MoneyRefused: ("budget_exhausted", 3, 402),
    UnsafeEnvironment: ("unsafe_environment", 4, 503),
    CommandNotFound: ("unsafe_environment", 127, 503),
    CommandNotExecutable: ("unsafe_environment", 126, 503),
    LedgerError: ("ledger", 5, 503),
    InternalError: ("internal", 1, 500),
}


def test_the_tree_of_errors_has_its_words_and_its_statuses() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CrewcapError)}
    assert {kind: (kind.code, kind.exit_status, kind.http_status) for kind in kinds} == TREE


@pytest.mark.parametrize("kind", TREE)
def test_each_error_is_one_line_its_help_and_its_own_status(
    kind: type[CrewcapError], capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(kind("it cannot be", help="do this"))
    assert (said.code, said.status) == (kind.code, kind.exit_status)
    said.say(as_json=False)
    assert capsys.readouterr() == ("", "error: it cannot be\nhelp: do this\n")
    said.say(as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"code": kind.code, "message": "it cannot be", "help": "do this"}}
    assert err == ""


def test_what_the_system_refuses_and_what_nobody_foresaw_have_a_status_too() -> None:
    full = complaint(OSError(28, "No space left on device", "/srv/state/ledger.db"))
    assert full.status == 4
    assert full.message == "/srv/state/ledger.db: no space left on device"
    defect = complaint(ZeroDivisionError("division\nby zero"))
    assert (defect.code, defect.status) == ("internal", 1)
    assert defect.message == "this is a defect of ours: ZeroDivisionError: division by zero"
    wrong = complaint(click.UsageError("No such thing."))
    assert (wrong.code, wrong.status, wrong.message) == ("usage", 2, "no such thing")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--version"], 0, ""),
        (["--help"], 0, ""),
        (["run", "--help"], 0, ""),
        (["rnu"], 2, "error: there is no command 'rnu'\nhelp: did you mean `crewcap run`?\n"),
        (["runs", "--bogus"], 2, "error: no such option"),
        (["runs", "--limit", "x"], 2, "error: --limit: 'x' is not a whole number of at least 1"),
    ],
)
def test_wrong_words_end_with_2_and_what_was_probably_meant(
    words: list[str], status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["--home", str(tmp_path / "state"), *words]) == status
    assert capsys.readouterr().err.startswith(says)


def test_machines_get_errors_as_one_object_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["show", "--json", "--home", str(tmp_path / "state")]) == 2
    out, err = capsys.readouterr()
    assert set(json.loads(out)["error"]) == {"code", "message", "help"}
    assert err == ""


def test_a_reader_that_leaves_is_no_error() -> None:
    """`crewcap --help | head -1`: no complaint, and the status of a command that went well."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "crewcap", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_and_version_import_nothing_heavy() -> None:
    """They answer at once; settings, prices and servers are for commands."""
    program = "import sys; from crewcap.__main__ import call; call(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"pydantic", "aiohttp", "rich", "genai_prices", "sqlite3", "asyncio", "msgspec"}
    assert heavy & set(done.stderr.split()) == set()
