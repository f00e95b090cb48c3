"""`crewcap runs --watch`: all runs while they work, on a terminal, in a pipe, for machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.cli.run_home import RunHome, driven, utc_now
from tests.cli.terminals import at_a_terminal, plain

from crewcap.core.runs import RunState, Verdict


@contextmanager
def watching(home: RunHome, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command with its results in a pipe."""
    command = [sys.executable, "-m", "crewcap", "--home", str(home.home.root), "runs", "--watch", *words]
    known = {"HOME": str(home.folder), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, env=known
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_terminal_is_drawn_anew_when_something_happens(home: RunHome) -> None:
    run = home.add("fix-login", RunState.RUNNING, title="Login fails 修正", **driven())
    home.hold(run, "0.11")
    with at_a_terminal("--home", str(home.home.root), "runs", "--watch", home=home.folder) as desk:
        before = desk.wait_for("+$0.11")
        assert "Login fails 修正" in plain(desk.text)
        home.spend(run, "0.16")
        home.runs.log(run.id, "agent", "edit src/login.py")
        before = desk.wait_for("edit src/login.py", after=before)
        assert "$0.16/3.00" in plain(desk.text)
        home.runs.save(replace(run, state=RunState.FINISHING))
        home.runs.save(replace(run, state=RunState.DONE, verdict=Verdict.FINISHED, ended_at=utc_now()))
        desk.wait_for("0 live, 1 ended", after=before)
        desk.type("q")
        assert desk.end() == 0


def test_a_terminal_without_colour_or_letters_gets_neither(home: RunHome) -> None:
    home.add("fix-login", RunState.WAITING, title="caf\xe9", verdict=Verdict.BUDGET_EXHAUSTED)
    environ = {"NO_COLOR": "1", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with at_a_terminal("--home", str(home.home.root), "runs", "--watch", home=home.folder, environ=environ) as desk:
        desk.wait_for("caf?")
        desk.type("q")
        assert desk.end() == 0
        assert desk.text.isascii()
        assert "\x1b[33m" not in desk.text


def test_a_home_without_runs_is_watched_until_there_is_one(home: RunHome) -> None:
    with at_a_terminal("--home", str(home.home.root), "runs", "--watch", home=home.folder) as desk:
        before = desk.wait_for("no run is open")
        assert not home.home.root.exists()
        home.add("first", RunState.RUNNING, **driven())
        desk.wait_for("first.1", after=before)
        desk.type("q")
        assert desk.end() == 0


def test_a_pipe_gets_a_line_and_ends_with_its_reader(home: RunHome) -> None:
    home.spend(home.add("fix-login", RunState.RUNNING, **driven()), "1")
    with watching(home) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "1 live, 0 ended   live runs $1.00 so far" in line
        assert "worst case if all goes wrong: $2.00" in line
        assert "\x1b" not in line
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_machines_get_an_object_for_every_run_and_then_for_every_change(home: RunHome) -> None:
    first = home.add("a", RunState.RUNNING, **driven())
    home.add("b", RunState.DONE, verdict=Verdict.FINISHED)
    with watching(home, "--json") as process:
        assert process.stdout is not None
        said = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [(one["run"], one["state"]) for one in said] == [("a.1", "running"), ("b.1", "done")]
        home.spend(first, "0.16")
        changed = json.loads(process.stdout.readline())
        assert (changed["run"], changed["cost_usd"], changed["turns"]) == ("a.1", "0.160000000", 1)
        assert changed["worst_case_usd"] == "2.840000000"
        assert changed["at"] > said[0]["at"]
        process.stdout.close()
        assert process.wait(timeout=30) == 0
