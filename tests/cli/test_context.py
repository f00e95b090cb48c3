"""What every command shares: global options anywhere, and results that are never in the way of an exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.run_home import RunHome

from crewcap.__main__ import call
from crewcap.cli.context import make_call, wants_json, without_colour
from crewcap.errors import UsageError


@pytest.mark.parametrize(
    "words",
    [
        ("--home", "{}", "--json", "runs"),
        ("runs", "--home", "{}", "--json"),
        ("--json", "runs", "--home", "{}"),
        ("--home", "/nonexistent", "--json", "runs", "--home", "{}"),
        ("--home={}", "runs", "--json", "--limit", "1"),
    ],
)
def test_global_options_stand_before_and_after_the_command_and_the_later_one_counts(
    home: RunHome, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    home.add()
    assert call([word.format(home.home.root) for word in words]) == 0
    assert '"run":"fix-login.1"' in capsys.readouterr().out


def test_of_a_noun_and_its_verb_both_may_have_them(home: RunHome) -> None:
    home.add()
    assert home.json("budget", "list")[0]["scope"] == "all"
    assert home.json("budget", "--json", "list")[0]["scope"] == "all"
    assert home.json("budgets", "list") == home.json("budget")


def test_the_state_directory_is_found_where_the_user_said(home: RunHome, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_call({}).home.root == home.folder / ".local" / "state" / "crewcap"
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert make_call({}).home.root == Path("/srv/state/crewcap")
    monkeypatch.setenv("CREWCAP_HOME", "/srv/own")
    assert make_call({}).home.root == Path("/srv/own")
    assert make_call({"home": "~/here"}).home.root == home.folder / "here"


def test_the_settings_file_is_named_by_the_option_or_the_variable(
    home: RunHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_call({}).config_path is None
    monkeypatch.setenv("CREWCAP_CONFIG", "a.toml")
    assert make_call({}).config_path == home.folder / "a.toml"
    assert make_call({"config": "/b.toml"}).config_path == Path("/b.toml")


def test_an_option_that_is_empty_is_a_variable_that_was_not_set(home: RunHome) -> None:
    assert home.refused("--home", "", "runs") == (2, "--home is empty")
    with pytest.raises(UsageError, match="--config is empty"):
        make_call({"config": ""})


def test_errors_are_json_where_they_were_asked_for_but_not_for_what_a_program_was_given() -> None:
    assert wants_json(["runs", "--json"])
    assert not wants_json(["exec", "--", "tool", "--json"])
    assert not wants_json(["runs"])


def test_quiet_leaves_the_result_alone(home: RunHome) -> None:
    assert home.call("runs", "-q") == (0, "", "")
    assert home.call("-q", "runs")[2] == ""


def test_a_call_says_nothing_secret_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-fake-1")
    assert "sk-ant" not in repr(make_call({}))


def test_colour_is_left_out_where_somebody_asks_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert without_colour() is None
    monkeypatch.setenv("TERM", "dumb")
    assert without_colour() is False
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert without_colour() is False
