"""`crewcap runs`: every run, newest first."""

from __future__ import annotations

from tests.cli.run_home import RunHome, cut_short, driven
from tests.cli.terminals import at_a_terminal

from crewcap.cli.screen.figures import columns_of
from crewcap.core.runs import RunState, Verdict


def test_runs_are_listed_newest_first_with_what_came_of_them_and_what_they_cost(home: RunHome) -> None:
    home.spend(home.add("fix-login", verdict=Verdict.FINISHED), "0.10")
    home.add("fix-login", RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED, title="Bell\x07 and\nline")
    assert home.out("runs").splitlines() == [
        "fix-login.2    $0.00/3.00   0/40        paused at the cap Bell and line",
        "fix-login.1    $0.10/3.00      1    9%  done              About fix-login",
    ]


def test_machines_get_one_array_of_what_show_gives(home: RunHome) -> None:
    home.add("a")
    home.add("b")
    listed = home.json("runs")
    assert [one["run"] for one in listed] == ["b.1", "a.1"]
    shown = home.json("show", "b.1")
    assert {**listed[0], "wall_seconds": 0} == {**{name: shown[name] for name in listed[0]}, "wall_seconds": 0}


def test_the_list_can_be_cut(home: RunHome) -> None:
    for key in ("a", "b", "c"):
        home.add(key)
    home.add("d", RunState.RUNNING, **driven())
    assert [one["run"] for one in home.json("runs", "--limit", "2")] == ["d.1", "c.1"]
    assert [one["run"] for one in home.json("runs", "--open")] == ["d.1"]


def test_a_home_without_runs_is_an_empty_list_and_stays_as_it_is(home: RunHome) -> None:
    assert home.json("runs") == []
    assert home.call("runs") == (0, "", "no runs yet; crewcap run -p '...' starts one\n")
    assert not home.home.root.exists()


def test_who_means_run_is_told_so(home: RunHome) -> None:
    status, _, err = home.call("runs", "issues/fix.md")
    assert status == 2
    assert err.splitlines() == ["error: `crewcap runs` lists runs", "help: did you mean `crewcap run issues/fix.md`?"]


def test_on_a_terminal_no_line_is_wider_than_it(home: RunHome) -> None:
    home.add("fix-login", title="very " * 40)
    for columns in (80, 40, 20):
        with at_a_terminal("--home", str(home.home.root), "runs", home=home.folder, columns=columns) as desk:
            assert desk.end() == 0
            lines = desk.text.splitlines()
            assert lines[0].startswith("fix-login.1")
            assert max(columns_of(line) for line in lines) <= columns


def test_a_run_whose_driver_is_gone_is_called_cut_short(home: RunHome) -> None:
    home.add("dead", RunState.RUNNING, **cut_short())
    assert "cut short" in home.out("runs")


def test_where_no_run_is_open_that_is_said(home: RunHome) -> None:
    assert home.call("runs", "--open") == (0, "", "no runs yet; crewcap run -p '...' starts one\n")
    home.add("a")
    assert home.call("runs", "--open") == (0, "", "nothing is open\n")
