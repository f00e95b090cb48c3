"""`crewcap notify`: people are told of runs and budgets, once."""

from __future__ import annotations

import json

import pytest
from tests.cli.run_home import RunHome


@pytest.fixture
def told(home: RunHome) -> RunHome:
    """A home whose notices go to a file."""
    log = home.folder / "notices.log"
    home.config.write_text(f'[[notify]]\non = ["waiting", "budget", "forecast 100%"]\nlog = "{log}"\n')
    return home


def lines(home: RunHome) -> list[dict[str, str]]:
    path = home.folder / "notices.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_test_notice_arrives_and_says_that_nothing_happened(told: RunHome) -> None:
    assert "sent" in told.out("notify", "test")
    assert [line["event"] for line in lines(told)] == ["test"]


def test_a_used_budget_is_told_once_and_again_when_more_is_used(told: RunHome) -> None:
    told.spend(told.add("fix"), "1.10")
    told.spend(told.add("other"), "1.00")
    told.out("budget", "set", "all", "month", "4.00")
    told.out("notify", "check")
    told.out("notify", "check")
    told.spend(told.runs.find("fix.1")[0], "1.20")
    told.out("notify", "check")
    assert [line["text"].partition(" of its")[0] for line in lines(told) if line["event"] == "budget"] == [
        "all has used 50 %",
        "all has used 80 %",
    ]


def test_a_forecast_above_a_budget_is_told(told: RunHome) -> None:
    for _ in range(3):
        told.spend(told.add("fix"), "1.00")
    told.out("budget", "set", "all", "month", "2.90")
    told.out("notify", "check")
    assert [line["event"] for line in lines(told) if line["event"] == "forecast"] == ["forecast"]


def test_what_was_told_is_listed(told: RunHome) -> None:
    told.out("notify", "test")
    (said,) = told.json("notify", "list")
    assert (said["event"], said["told"]) == ("test", [f"log {told.folder}/notices.log"])


def test_whoever_cannot_be_reached_is_named_and_the_exit_says_so(home: RunHome) -> None:
    home.config.write_text('[[notify]]\non = "waiting"\nwebhook = { env = "NO_SUCH_HOOK" }\n')
    status, out, _ = home.call("notify", "test")
    assert (status, out.strip()) == (1, "not sent  webhook $NO_SUCH_HOOK: $NO_SUCH_HOOK is not set")


def test_settings_without_anybody_say_how_to_add_one(home: RunHome) -> None:
    status, said = home.refused("notify", "test")
    assert (status, said) == (2, "the settings name nobody to tell")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('on = "budget 80"\nlog = "/tmp/x"', "is nothing that can be told"),
        ('on = "waiting"', "one of `webhook`, `command`, `desktop` and `log`"),
        ('on = "waiting"\ndesktop = true\nlog = "/tmp/x"', "one of `webhook`, `command`, `desktop` and `log`"),
        ('on = "waiting"\nlog = "x.log"', "is not a whole path"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(home: RunHome, text: str, error: str) -> None:
    home.config.write_text(f"[[notify]]\n{text}\n")
    status, _, err = home.call("notify", "test")
    assert (status, error in err) == (2, True), err


def test_a_program_that_tells_is_given_no_providers_key(home: RunHome, monkeypatch: pytest.MonkeyPatch) -> None:
    out, script = home.folder / "environ", home.folder / "tell"
    script.write_text(f"#!/bin/sh\nenv > {out}\n")
    script.chmod(0o700)
    home.config.write_text(f'[[notify]]\non = "waiting"\ncommand = ["{script}"]\n')
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-fake-0123456789")
    home.out("notify", "test")
    assert "CREWCAP_EVENT=test" in out.read_text()
    assert "sk-ant-fake" not in out.read_text()
