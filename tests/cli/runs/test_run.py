"""`crewcap run` and `crewcap resume`: real commands and gateway; the agent and the provider follow a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.fake_claude import VERSION
from tests.cli.live_home import CHECK, ISSUE, crewcap, furnish
from tests.cli.run_home import RunHome
from tests.cli.runs.test_show import PROMISED
from tests.gateway.conftest import says, script
from tests.workspaces.repos import git

from crewcap.core.money import Money
from crewcap.core.runs import Verdict
from crewcap.prices import Book, load
from crewcap.simulator.server import Simulator


@pytest.fixture(scope="module")
def book() -> Book:
    return load()


@pytest.fixture
def simulator(book: Book) -> Iterator[Simulator]:
    with Simulator.in_thread(script(says()), book=book) as running:
        yield running


@pytest.fixture
def desk(home: RunHome, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> RunHome:
    """A repository with an issue, settings for the scripted provider, and an agent that settings name."""
    furnish(home, simulator.url, monkeypatch)
    return home


def test_a_run_at_its_cap_waits_and_with_more_money_it_becomes_a_branch(desk: RunHome, simulator: Simulator) -> None:
    """The exit status says it, the object has every field, the issue has the report, and the books have the bill."""
    done = crewcap(desk, "run", "issues/fix-sum.md", "--cap", "0.001", "--json")
    assert done.returncode == 3, done.stderr
    paused = json.loads(done.stdout)
    assert set(paused) >= PROMISED
    assert (paused["run"], paused["state"], paused["verdict"]) == ("fix-sum.1", "waiting", "budget_exhausted")
    assert (paused["cost_usd"], paused["cap_usd"], paused["refused"]) == ("0.000000000", "0.001000000", 1)
    assert (paused["agent_version"], paused["sandbox"], paused["repo"]) == (VERSION, "unconfined", "acme/shop")
    assert "crewcap resume fix-sum.1" in paused["resume"]
    assert "**Paused at the cap**" in (desk.user / "issues" / "fix-sum.md").read_text()

    asked = paused["question"]
    assert Money.usd("0.01") < Money.usd(asked["least_usd"]) < Money.usd("0.50"), "the gateway said what would do"
    short = crewcap(desk, "resume", "--add", "0.001")
    assert (short.returncode, short.stdout) == (3, "")
    error, help_ = short.stderr.splitlines()
    assert "and its next turn needs up to $0.0" in error
    assert desk.json("show")["state"] == "waiting", "what would be paused again is not started"

    enough = help_.removeprefix("help: crewcap resume fix-sum.1 --add ")
    done = crewcap(desk, "resume", "--add", enough, "-m", "now, please")
    assert done.returncode == 0, done.stderr
    assert f"raised by {Money.usd(enough)}" in done.stdout
    assert "check after     1 passed" in done.stdout
    said = desk.json("show")
    assert (said["run"], said["state"], said["verdict"], said["turns"]) == ("fix-sum.1", "done", "finished", 1)
    assert said["cost_usd"] == simulator.meter.total().exact() != Money(0).exact()
    assert said["check"]["before"]["summary"] == "1 failed"
    assert git(desk.user, "show", "crewcap/fix-sum-1:adder.py").endswith("a + b")
    issue = (desk.user / "issues" / "fix-sum.md").read_text()
    assert issue.startswith(ISSUE)
    assert issue.count("<!-- crewcap:fix-sum.1 -->") == 1
    assert "**Done**: `crewcap/fix-sum-1`, checks green (1 passed)" in issue
    assert "sk-ant-fake" not in issue + "".join(desk.out("logs"))


def test_a_dry_run_shows_everything_and_starts_nothing(desk: RunHome, simulator: Simulator) -> None:
    (desk.user / "adder.py").write_text("# changed\n")
    lines = desk.out("run", "issues/fix-sum.md", "--cap", "2", "--dry-run").splitlines()
    assert lines[0] == "fix-sum (dry run)   Fix the sum"
    assert any(line.startswith(f"  agent     Claude Code {VERSION}, claude-sonnet-") for line in lines)
    assert any(line.startswith("  money     cap $2.00 (--cap)") for line in lines)
    assert any("your 2 uncommitted files are not part of it" in line for line in lines)
    assert f"  check     {CHECK}" in lines
    assert "2 + 2 should be 4." in lines
    assert desk.json("runs") == []
    assert simulator.log.records == []
    assert git(desk.user, "branch", "--format=%(refname:short)") == "main"


def test_machines_get_the_plan_as_one_object(desk: RunHome) -> None:
    said: dict[str, Any] = desk.json("run", "-p", "fix the sum", "--dry-run", "--model", "haiku", "--max-turns", "7")
    assert (said["issue"], said["repo"], said["sandbox"]) == ("prompt/fix-the-sum", "acme/shop", "unconfined")
    assert said["model"].startswith("claude-haiku-")
    assert (said["max_turns"], said["timeout_seconds"], said["check"]) == (7, 2_700, CHECK)
    assert (said["cap_usd"], said["cap_because"], said["because"]) == (
        "5.000000000",
        "your default",
        "--model, --max-turns",
    )
    assert {one["scope"]: one["left_usd"] for one in said["budgets"]} == {
        "all": "25.000000000",
        "issue:prompt/fix-the-sum": "10.000000000",
    }
    assert "fix the sum" in said["prompt"]
    assert said["base"] == git(desk.user, "rev-parse", "main")


def test_a_dry_run_estimates_as_estimate_does(desk: RunHome) -> None:
    words = ("run", "issues/fix-sum.md", "--dry-run")
    assert "  estimate  $2.00 to $5.00   published, not yours" in desk.out(*words).splitlines()
    model = desk.json(*words)["model"]
    for _ in range(10):
        desk.spend(desk.add("old", model=model, verdict=Verdict.FINISHED), "0.25")
    found = desk.json(*words)["estimate"]
    assert (found["basis"], found["runs_seen"], found["p50_usd"]) == ("history", 10, "0.250000000")
    assert desk.json("estimate", "issues/fix-sum.md").items() >= found.items()


def test_a_repositorys_own_file_is_read_from_its_commit_and_may_only_lower(desk: RunHome) -> None:
    (desk.user / ".crewcap.toml").write_text('check = "true"\ncap = 0.70\ninstructions = "Be brief."\n')
    assert desk.json("run", "-p", "x", "--dry-run")["cap_usd"] == "5.000000000"
    git(desk.user, "add", ".")
    git(desk.user, "commit", "--quiet", "-m", "settings")
    said = desk.json("run", "-p", "x", "--dry-run")
    assert (said["cap_usd"], said["cap_because"]) == ("0.700000000", "the repository's own cap")
    assert said["check"] == CHECK  # the user's own word stands above the file's
    assert "Be brief." in said["prompt"]


def test_a_limit_of_runs_lets_nothing_begin_in_one_clear_line(desk: RunHome, simulator: Simulator) -> None:
    """Exit 3, who said no, when it opens and what would raise it; no run is written down."""
    desk.out("budget", "set", "repo:acme/shop", "runs/day", "0")
    done = crewcap(desk, "run", "issues/fix-sum.md")
    assert (done.returncode, done.stdout) == (3, "")
    error, help_ = done.stderr.splitlines()
    assert error.startswith("error: nothing was started: repo:acme/shop has used 0 of its 0 runs this day (")
    assert "it opens at " in error
    assert help_ == "help: raise it with: crewcap budget set repo:acme/shop runs/day NUMBER"
    assert desk.json("runs") == []
    assert simulator.log.records == []


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_tools_that_no_run_may_see_are_refused_before_a_run_is_written_down(
    desk: RunHome, words: tuple[str, ...]
) -> None:
    text = desk.config.read_text()
    desk.config.write_text(text.replace('[repos."acme/shop"]\n', '[repos."acme/shop"]\ntools = ["~/.ssh"]\n'))
    line = desk.config.read_text().split("\n").index('tools = ["~/.ssh"]') + 1
    done = crewcap(desk, "run", "-p", "x", *words)
    assert (done.returncode, done.stdout) == (2, "")
    what = "tools: ~/.ssh holds credentials or private settings, which no run may see"
    assert done.stderr.splitlines()[0] == f"error: {desk.config}, line {line}: {what}"
    assert desk.json("runs") == []
