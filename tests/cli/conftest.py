"""Homes for the tests of commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.run_home import RunHome
from tests.cli.spent_home import SpentHome


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[RunHome]:
    """A home without runs; commands run in this process, in the folder beside it, with nothing of the machine's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CREWCAP_HOME", "CREWCAP_CONFIG", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    made = RunHome(tmp_path, capsys)
    yield made
    made.close()


@pytest.fixture
def spent(home: RunHome) -> SpentHome:
    """The same home with spend of every kind."""
    made = SpentHome(home)
    made.fill()
    return made
