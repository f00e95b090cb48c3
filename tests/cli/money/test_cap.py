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


def keys(home: RunHome, number: int = 11) -> None:
    for each in range(number):
        home.program("0.001", key=f"program{each}", requests=3)


def test_programs_on_keys_are_no_runs_and_are_not_learnt_from(home: RunHome) -> None:
    keys(home)
    assert home.out("cap", "suggest") == "all runs: $5.00, 10 turns, pilot: 0 of 10 runs seen\n"
    spent(home, *["1.00"] * 10)
    first, *rest = home.out("cap", "suggest").splitlines()
    assert first == "all runs: $2.00   from 10 runs, average $1.00, p95 $1.00"
    assert all(line.endswith("would have cut 0 of 10 good runs") for line in rest)


def test_a_pilot_says_an_average_only_where_runs_were_seen(home: RunHome) -> None:
    keys(home)
    (said,) = home.json("cap", "suggest")
    assert (said["pilot"], said["runs"], said["average_usd"], said["p95_usd"]) == (True, 0, None, None)
    spent(home, "1.00", "2.00")
    (said,) = home.json("cap", "suggest")
    assert (said["pilot"], said["runs"], said["average_usd"]) == (True, 2, "1.500000000")


def test_runs_of_which_none_was_good_speak_for_no_cap_and_none_is_written(home: RunHome) -> None:
    for _ in range(10):
        home.spend(home.add("fix", verdict=Verdict.BUDGET_EXHAUSTED), "0.01")
    said = home.out("cap", "suggest")
    assert said == "all runs: none of 10 runs was good, so nothing speaks for a cap (average $0.01)\n"
    (told,) = home.json("cap", "suggest")
    assert (told["cap_usd"], told["good_runs"], told["rules"], told["ended_at_a_cap"]) == (None, 0, [], 10)
    home.config.write_text("[defaults]\ncap = 5.00\n")
    status, out, err = home.call("cap", "suggest", "--apply")
    assert (status, out) == (1, "")
    assert err.startswith("error: none of 10 runs was good, so nothing speaks for a cap; defaults.cap stays as it is\n")
    assert home.config.read_text() == "[defaults]\ncap = 5.00\n"
