"""`crewcap status`: what needs you, what is live, what came of the night."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.cli.run_home import RunHome, cut_short, driven, utc_now

from crewcap.core.money import Money
from crewcap.core.runs import RunState, Verdict

EVERYTHING = {
    *("since", "waiting", "live", "ended", "ended_cost_usd", "worst_case_usd", "uncertain_holds", "frozen", "budgets"),
}


@pytest.fixture
def night(home: RunHome) -> RunHome:
    """One done, one red, one from last week, one at its cap, one cut short, and one live."""
    home.spend(home.add("good", verdict=Verdict.FINISHED), "0.10")
    home.spend(home.add("red", RunState.FAILED, verdict=Verdict.CHECK_FAILED), "0.20", uncertain="0.05")
    home.spend(home.add("old", ended_at=utc_now() - timedelta(days=6)), "0.30")
    home.spend(home.add("broke", RunState.WAITING, reason="paused at the cap"), "0.40")
    home.add("dead", RunState.RUNNING, **cut_short())
    home.spend(home.add("busy", RunState.RUNNING, cap=Money.usd(2), **driven()), "0.50")
    return home


def test_machines_get_the_whole_picture(night: RunHome) -> None:
    said = night.json("status")
    assert set(said) == EVERYTHING
    assert said["waiting"] == [
        {"run": "dead.1", "reason": "cut short while running"},
        {"run": "broke.1", "reason": "paused at the cap"},
    ]
    assert said["live"] == [{"run": "busy.1", "state": "running"}]
    assert said["ended"] == [{"run": "red.1", "verdict": "check_failed"}, {"run": "good.1", "verdict": "finished"}]
    assert said["ended_cost_usd"] == "0.350000000"
    assert said["worst_case_usd"] == "1.500000000"
    assert said["uncertain_holds"] == 1
    assert said["budgets"] == [
        {"scope": "all", "window": "day", "limit_usd": "25.000000000", "left_usd": "23.450000000"}
    ]


def test_a_provider_that_is_frozen_is_the_first_thing_said(night: RunHome) -> None:
    """Every request is refused meanwhile."""
    night.ledger.freeze("anthropic", reason="an answer broke what holds rest on: it came from another model")
    first = night.out("status").splitlines()[0]
    assert first.startswith("FROZEN anthropic: an answer broke what holds rest on")
    assert first.endswith("crewcap ledger thaw anthropic")
    (stop,) = night.json("status")["frozen"]
    assert (stop["provider"], stop["help"]) == ("anthropic", "crewcap ledger thaw anthropic")


def test_people_read_the_most_urgent_first(night: RunHome) -> None:
    lines = night.out("status").splitlines()
    assert lines[:5] == [
        "NEEDS YOU 2",
        "  dead.1                 cut short while running; crewcap show dead.1",
        "  broke.1                paused at the cap; crewcap show broke.1",
        "LIVE 1   worst case if all goes wrong: $1.50",
        "  busy.1                 running    $0.50 of $2.00, turn 1   About busy",
    ]
    assert lines[5].startswith("SINCE ")
    assert lines[5].endswith("  2 ended (1 done), $0.35")
    assert lines[6:] == [
        "  all day    $1.55 of $25.00, $23.45 left",
        "UNCERTAIN 1 hold whose cost nobody proved; crewcap ledger reconcile",
    ]


def test_how_far_back_is_said(night: RunHome) -> None:
    assert [one["run"] for one in night.json("status", "--since", "7d")["ended"]] == ["old.1", "red.1", "good.1"]


@pytest.mark.parametrize("words", ["yesterday", "12", "h", "-1h", "1.5h", "12345d"])
def test_a_stretch_of_time_has_a_unit_also_where_nothing_ran_yet(home: RunHome, words: str) -> None:
    status, said = home.refused("status", f"--since={words}")
    assert status == 2
    assert "is not a stretch of time" in said


def test_a_home_without_runs_has_the_same_shape(home: RunHome) -> None:
    said = home.json("status")
    assert set(said) == EVERYTHING
    assert (said["waiting"], said["worst_case_usd"]) == ([], "0.000000000")
    status, out, err = home.call("status")
    assert (status, out) == (0, "")
    assert err.startswith("nothing has run in ")
    assert not home.home.root.exists()


def test_a_reason_of_strangers_is_one_plain_line(home: RunHome) -> None:
    home.add("x", RunState.WAITING, reason="the provider \x1b[2Jsaid\nno")
    assert "  x.1                    the provider said no; crewcap show x.1" in home.out("status").splitlines()
