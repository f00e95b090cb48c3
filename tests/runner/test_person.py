"""Whose money it is that somebody at the keyboard spends."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contracts.clocks import Clocks

from crewcap import config
from crewcap.core.budget import Scope
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import Money
from crewcap.home import Home
from crewcap.runner.person import login_here, person_here
from crewcap.stores import Limit
from crewcap.stores.sqlite.ledger import SqliteLedger

UNKNOWN = Scope("user:unknown")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Desk:
    """One settings file, one ledger."""

    def __init__(self, folder: Path) -> None:
        clocks = Clocks(NOW)
        self.ledger = SqliteLedger(Home(folder / "home"), clock=clocks.clock, monotonic=clocks.monotonic)
        self._file = folder / "config.toml"

    def person(self, login: str, text: str = "") -> str:
        """Who it is under these settings."""
        self._file.write_text(text, encoding="utf-8")
        settings = config.load(self._file, {})
        settings.bring_limits(self.ledger)
        return person_here(settings, self.ledger, login)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_the_operators_word_is_first_then_who_has_the_login_then_the_login(desk: Desk) -> None:
    users = '[users]\nana = ["github:ana-dev", "local:adev"]\n'
    assert desk.person("adev", '[defaults]\nuser = "bo"\n' + users) == "bo"
    assert desk.person("adev", users) == "ana"
    assert desk.person("ana", users) == "ana"
    assert desk.person("adev") == "adev"


def test_where_people_are_named_a_login_that_is_none_of_them_is_unknown(desk: Desk) -> None:
    assert desk.person("mallory", '[users]\nana = ["local:adev"]\n') == "unknown"
    assert desk.person("mallory", '[teams]\ncore = ["ana"]\n') == "unknown"
    assert desk.person("mallory", '[budgets]\n"user:ana" = { day = 5 }\n') == "unknown"
    assert desk.person("ana", '[teams]\ncore = ["ana"]\n') == "ana"
    assert desk.person("ana", '[budgets]\n"user:ana" = { day = 5 }\n') == "ana"


@pytest.mark.parametrize("limit", ["day = 5", "rpm = 10", "runs = { day = 3 }"])
def test_a_limit_on_the_unknown_user_is_not_escaped_by_a_mere_login(desk: Desk, limit: str) -> None:
    limited = f'[budgets]\n"user:unknown" = {{ {limit} }}\n'
    assert desk.person("adev", limited) == "unknown"
    assert desk.person("adev", limited + '[teams]\ncore = ["adev"]\n') == "unknown"
    assert desk.person("adev", limited + '[users]\nana = ["local:adev"]\n') == "ana"


@pytest.mark.parametrize("kind", ["money", "rate", "count"])
def test_a_limit_by_command_counts_as_well(desk: Desk, kind: str) -> None:
    if kind == "money":
        desk.ledger.set_limit(Limit(scope=UNKNOWN, window="day", amount=Money.usd(5), source="command"))
    elif kind == "rate":
        desk.ledger.set_rate(RateLimit(scope=UNKNOWN, kind="rpm", value=10, source="command"))
    else:
        desk.ledger.set_count(CountLimit(scope=UNKNOWN, kind="runs", window="day", value=3, source="command"))
    assert desk.person("adev") == "unknown"


@pytest.mark.parametrize("login", ["", "ana@example.com", "two words", 'a"b', "x" * 300])
def test_a_login_that_is_no_name_stays_out_of_the_books(desk: Desk, login: str) -> None:
    assert desk.person(login) == "unknown"


def test_the_login_is_the_systems_and_not_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mallory")
    monkeypatch.setenv("USER", "mallory")
    try:
        known = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        known = ""
    assert login_here() == known
