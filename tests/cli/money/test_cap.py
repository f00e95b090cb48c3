"""`crewcap cap suggest`: caps that the runs so far speak for."""

from __future__ import annotations

from tests.cli.run_home import RunHome

from crewcap.core.runs import Verdict


def spent(home: RunHome, *amounts: str) -> None:
    for amount in amounts:
        home.spend(home.add("fix", verdict=Verdict.FINISHED), amount)


def test_a_pilot_starts_as_the_article_does(home: RunHome) -> None:
    spent(home, "1.00", "1.00")
    assert home.out("cap", "suggest") == "all runs: $5.00, 10 turns, pilot: 2 of 10 runs seen\n"


def test_ten_runs_are_learnt_from_and_each_rule_is_replayed(home: RunHome) -> None:
    spent(home, *["1.00"] * 9, "1.40")
    first, *rest = home.out("cap", "suggest").splitlines()
    assert first == "all runs: $2.10   from 10 runs, average $1.04, p95 $1.40"
    assert len(rest) == 2
    assert all(line.endswith("would have cut 0 of 10 good runs") for line in rest)


def test_applying_changes_one_line_of_the_settings(home: RunHome) -> None:
    spent(home, *["1.00"] * 10)
    home.config.write_text("# ours\n[defaults]\ncap = 5.00  # to begin with\n")
    home.out("cap", "suggest", "--apply")
    assert home.config.read_text() == "# ours\n[defaults]\ncap = 2.00  # to begin with\n"
    shown = home.out("config", "show")
    assert any("defaults.cap" in line and "2.00" in line for line in shown.splitlines())


def test_machines_get_every_rule(home: RunHome) -> None:
    spent(home, *["1.00"] * 10)
    (said,) = home.json("cap", "suggest")
    assert (said["pilot"], said["cap_usd"], said["runs"]) == (False, "2.000000000", 10)
    assert [rule["rule"] for rule in said["rules"]] == ["2 x average", "max(2 x average, 1.5 x p95)"]
