"""`crewcap show`: everything about one run, for machines and for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.cli.run_home import MODEL, RunHome, cut_short, driven

from crewcap.core.money import Money
from crewcap.core.runs import RunState, Verdict

PROMISED = {
    *("run", "run_id", "issue", "state", "verdict", "reason", "agent", "model"),
    *("cost_usd", "uncertain_usd", "held_usd", "cap_usd", "left_usd", "turns"),
    *("branch", "base", "commit", "check", "api_seconds", "wall_seconds", "lines_added", "lines_removed"),
    *("tokens", "cache_hit", "workspace", "resume"),
}  # INTERFACE, "JSON"


def test_every_field_that_is_promised_is_there_with_what_the_books_say(home: RunHome) -> None:
    run = home.finished()
    home.spend(run, "0.10")
    home.spend(run, "0.05", uncertain="0.02")
    home.hold(run, "0.40")
    said = home.json("show")
    assert set(said) >= PROMISED
    assert (said["run"], said["run_id"], said["issue"]) == ("fix-login.1", run.id, "files/fix-login")
    assert (said["state"], said["verdict"], said["reason"]) == ("done", "finished", "the check is green")
    assert (said["agent"], said["agent_version"], said["model"]) == ("claude", "2.1.330", MODEL)
    money = {name: said[name] for name in ("cost_usd", "uncertain_usd", "held_usd", "cap_usd", "left_usd")}
    assert money == {
        "cost_usd": "0.170000000",
        "uncertain_usd": "0.020000000",
        "held_usd": "0.400000000",
        "cap_usd": "3.000000000",
        "left_usd": "2.430000000",
    }
    assert (said["turns"], said["refused"]) == (3, 0)
    assert (said["branch"], said["base"], said["commit"]) == ("crewcap/fix-the-sum-1", run.base, run.commit)
    assert (said["commits"], said["files_changed"], said["lines_added"], said["lines_removed"]) == (1, 1, 1, 1)
    assert said["check"] == {
        "before": {"result": "failed", "summary": "1 failed", "seconds": 0.0, "tail": ""},
        "after": {"result": "passed", "summary": "1 passed", "seconds": 1.5, "tail": ""},
    }
    assert said["tokens"] == {
        "input": 200, "cache_read": 1_800, "write_5m": 18_000, "write_1h": 0, "output": 800, "thinking": 100,
    }  # fmt: skip
    assert said["cache_hit"] == 0.09
    assert said["workspace"] == str(home.home.run(run.id) / "workspace")
    assert 119 < said["wall_seconds"] < 200
    assert said["resume"] is None
    assert said["ended_at"].endswith("+00:00")


def test_a_run_that_did_nothing_yet_has_every_field_too(home: RunHome) -> None:
    home.add(state=RunState.QUEUED, started_at=None)
    said = home.json("show", "fix-login.1")
    assert set(said) >= PROMISED
    empty = ("verdict", "branch", "base", "commit", "resume", "ended_at")
    assert {name: said[name] for name in empty} == dict.fromkeys(empty)
    assert (said["cost_usd"], said["left_usd"], said["wall_seconds"], said["cache_hit"]) == (
        "0.000000000",
        "3.000000000",
        0.0,
        0.0,
    )


def test_a_run_that_waits_says_how_it_goes_on(home: RunHome) -> None:
    home.add(state=RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED)
    assert home.json("show")["resume"].startswith("crewcap resume fix-login.1")


def test_more_than_the_cap_leaves_nothing_and_not_less(home: RunHome) -> None:
    run = home.add(cap=Money.usd("0.01"))
    home.spend(run, "0.05")
    assert home.json("show")["left_usd"] == "0.000000000"


def test_people_read_how_it_began_and_how_it_ended(home: RunHome) -> None:
    home.spend(home.finished(title="Fix \x1b[31mthe login"), "0.10")
    lines = home.out("show").splitlines()
    assert lines[0] == "fix-login.1   Fix the login"
    assert lines[1] == f"  agent     Claude Code 2.1.330, {MODEL}   (default; no route matched)"
    assert "done   $0.10 of $3.00 [#...................]   1 turn   2:00" in lines
    assert any(line.startswith("  branch    crewcap/fix-the-sum-1   1 commit, 1 file, +1 -1") for line in lines)
    assert "  next      crewcap diff fix-login.1     crewcap checkout fix-login.1" in lines


def test_the_head_names_the_hosts_that_setup_may_reach(home: RunHome) -> None:
    home.finished()
    home.config.write_text(f'[repos.shop]\nurl = "{home.user}"\nhosts = ["python"]\n')
    assert "  sandbox   bubblewrap; network: model gateway; python hosts in setup only" in home.out("show").splitlines()


def test_a_live_run_says_where_its_story_is(home: RunHome) -> None:
    home.add(state=RunState.RUNNING, **driven())
    assert home.out("show").splitlines()[-2:] == ["  running", "  next      crewcap logs -f fix-login.1"]


def test_a_run_that_was_cut_short_is_not_called_live(home: RunHome) -> None:
    """Nobody drives it: it waits for its command to be given again."""
    home.add(state=RunState.RUNNING, **cut_short())
    lines = home.out("show").splitlines()
    assert lines[-2] == "  running   cut short: the process that drove it is gone"
    assert lines[-1] == "  next      crewcap resume fix-login.1   or   crewcap stop fix-login.1"


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", "other.1"), ("fix-login.2", "fix-login.2"), ("fix-logo", "fix-logo.1"), ("o", "other.1")],
)
def test_a_run_is_named_as_people_say_it(home: RunHome, asked: str, found: str) -> None:
    for key in ("fix-login", "fix-login", "fix-logo", "other"):
        home.add(key)
    assert home.json("show", *([asked] if asked else []))["run"] == found


def test_a_run_is_named_by_its_long_id_too(home: RunHome) -> None:
    run = home.add()
    assert home.json("show", run.id)["run"] == home.json("show", run.id[:-1])["run"] == "fix-login.1"


def test_a_name_that_fits_several_is_refused_with_them(home: RunHome) -> None:
    for _ in range(2):
        home.add()
    assert home.refused("show", "fix") == (2, "'fix' fits 2 runs: fix-login.2, fix-login.1")


def test_a_run_that_is_not_there_is_refused(home: RunHome) -> None:
    assert home.refused("show") == (2, f"there is no run yet in {home.home.root}")
    home.add()
    assert home.refused("show", "nope") == (2, f"no run is named 'nope' in {home.home.root}")


def test_a_queued_run_says_why_it_waits_its_place_and_when_it_may_begin(home: RunHome) -> None:
    opens = datetime(2026, 11, 23, 20, tzinfo=UTC)
    home.add(state=RunState.QUEUED, hosted=True, queued_for="repo shop has 2 of 2 slots", position=3, opens_at=opens)
    why = "repo shop has 2 of 2 slots; place 3 in the queue; it opens at 2026-11-23 20:00 UTC"
    assert f"  queued   {why}\n" in home.out("show")
    assert why in home.out("status")
    assert why in home.out("runs")
    said = home.json("show")
    assert (said["queued_for"], said["position"], said["opens_at"]) == (
        "repo shop has 2 of 2 slots",
        3,
        opens.isoformat(),
    )
    assert (said["waits_for"], said["question"], said["attempt"]) == (None, None, 1)


def test_what_a_run_waits_for_is_there_for_machines(home: RunHome) -> None:
    opens = datetime(2026, 11, 23, tzinfo=UTC)
    why = "paused at a limit that it shares: all has $0.00 left of $5.00 this day"
    home.add(state=RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED, reason=why, waits_for="money", opens_at=opens)
    said = home.json("show")
    assert (said["waits_for"], said["opens_at"], said["reason"]) == ("money", opens.isoformat(), why)
    assert said["question"] is None  # of a version that asked nothing
    assert f"why       {why}" in home.out("show")
    assert why in home.out("runs")


def test_a_base_that_moved_is_told_whole(home: RunHome) -> None:
    words = (
        "main moved by 1 commit; conflicts in src/a.py, src/b.py, src/c.py and 12 more; the work is kept on its branch"
    )
    home.finished(merge=words)
    assert f"  base      {words}" in home.out("show").splitlines()
    assert home.json("show")["merge"] == words
