"""`crewcap logs`: a run's story, as it is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.cli.run_home import RunHome, cut_short, driven
from tests.cli.terminals import at_a_terminal

from crewcap.cli.screen.figures import columns_of
from crewcap.core.runs import Run, RunState, Verdict


def test_the_story_is_told_in_its_order(home: RunHome) -> None:
    run = home.add()
    home.runs.log(run.id, "step", "workspace: 2 files")
    home.runs.log(run.id, "agent", "run pytest\x1b[31m", seconds=3)
    lines = home.out("logs").splitlines()
    assert [line[10:] for line in lines] == ["step    workspace: 2 files", "agent   run pytest [31m"]
    assert all(line[2] == line[5] == ":" for line in lines)


def test_machines_get_one_object_a_line(home: RunHome) -> None:
    run = home.add()
    home.runs.log(run.id, "step", "one")
    home.runs.log(run.id, "agent", "two", seconds=3)
    first, second = (json.loads(line) for line in home.out("logs", "--json").splitlines())
    assert (first["kind"], first["text"]) == ("step", "one")
    assert (second["kind"], second["text"], second["seconds"]) == ("agent", "two", 3)
    assert second["seq"] > first["seq"]
    assert second["at"].endswith("+00:00")


def test_only_the_last_lines_are_shown_when_so_many_are_asked_for(home: RunHome) -> None:
    run = home.add()
    for number in range(5):
        home.runs.log(run.id, "agent", f"line {number}")
    assert [line[-6:] for line in home.out("logs", "-n", "2").splitlines()] == ["line 3", "line 4"]
    assert home.out("logs", "-n", "0") == ""
    assert len(home.out("logs", "-n", "99").splitlines()) == 5


@contextmanager
def following(home: RunHome, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`crewcap logs -f` in a process of its own."""
    command = [sys.executable, "-m", "crewcap", "--home", str(home.home.root), "logs", "-f", *words]
    known = {"HOME": str(home.folder), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, env=known
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def rest(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return [line.rstrip()[-5:] for line in process.stdout]


def end(home: RunHome, run: Run, state: RunState, **fields: Any) -> None:
    home.runs.save(replace(run, state=RunState.FINISHING))
    home.runs.save(replace(run, state=state, **fields))
    home.runs.log(run.id, "state", state)  # the driver stores first and tells then


def test_following_ends_with_the_run(home: RunHome) -> None:
    """Another process writes; each line comes once."""
    run = home.add(state=RunState.RUNNING, **driven())
    home.runs.log(run.id, "step", "one")
    with following(home) as process:
        assert next_line(process).endswith("one")
        home.runs.log(run.id, "step", "two")
        assert next_line(process).endswith("two")
        home.runs.log(run.id, "step", "three")
        end(home, run, RunState.DONE, verdict=Verdict.FINISHED)
        assert rest(process) == ["three", " done"]
        assert process.wait(timeout=30) == 0


def test_it_exits_as_the_run_did(home: RunHome) -> None:
    """`crewcap logs -f fix-login.1 && deploy`."""
    for key, state, verdict, status in (
        ("a", RunState.DONE, Verdict.FINISHED, 0),
        ("b", RunState.FAILED, Verdict.CHECK_FAILED, 1),
        ("c", RunState.STOPPED, Verdict.BUDGET_EXHAUSTED, 3),
        ("d", RunState.STOPPED, Verdict.CANCELLED, 130),
    ):
        home.add(key, state, verdict=verdict)
        assert home.call("logs", "-f", f"{key}.1")[0] == status
        assert home.call("logs", f"{key}.1")[0] == 0


def test_a_pause_is_said_and_lived_through(home: RunHome) -> None:
    """Who follows a run at night sees it paused, resumed by somebody, and done."""
    run = home.add(state=RunState.RUNNING, **driven())
    with following(home) as process:
        home.runs.log(run.id, "step", "one")
        assert next_line(process).endswith("one")
        end(home, run, RunState.WAITING, reason="the cap of $3.00 is used up")
        assert process.stderr is not None
        assert process.stderr.readline() == (
            "fix-login.1 waits: the cap of $3.00 is used up; crewcap resume fix-login.1, or crewcap stop fix-login.1"
            " (following on)\n"
        )
        for state in (RunState.QUEUED, RunState.PREPARING, RunState.RUNNING):
            home.runs.save(replace(run, state=state))
        assert next_line(process).endswith("waiting")
        home.runs.log(run.id, "step", "again")
        assert next_line(process).endswith("again")
        end(home, run, RunState.DONE, verdict=Verdict.FINISHED)
        assert rest(process) == [" done"]
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


def test_a_run_that_was_cut_short_is_followed_when_it_is_taken_up_again(home: RunHome) -> None:
    run = home.add("dead", RunState.RUNNING, **cut_short())
    with following(home, "dead") as process:
        assert process.stderr is not None
        assert "dead.1 was cut short while running" in process.stderr.readline()
        taken_up = replace(run, **driven())
        home.runs.save(taken_up)
        home.runs.log(run.id, "step", "again")
        assert next_line(process).endswith("again")
        end(home, taken_up, RunState.FAILED, verdict=Verdict.CHECK_FAILED)
        assert process.wait(timeout=30) == 1


def test_a_worker_that_outlives_its_serve_is_said_once_and_followed(home: RunHome) -> None:
    run = home.add(state=RunState.RUNNING, hosted=True, worker="local", **driven())
    with following(home) as process:
        assert process.stderr is not None
        has_it = f"crewcap serve has ended; its worker (process {os.getpid()}) has this run still"
        assert process.stderr.readline() == f"fix-login.1: {has_it} (following on)\n"
        home.runs.log(run.id, "step", "again")
        assert next_line(process).endswith("again")
        end(home, run, RunState.DONE, verdict=Verdict.FINISHED)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


def test_what_a_queued_run_waits_for_is_said_as_it_changes(home: RunHome) -> None:
    run = home.add(state=RunState.QUEUED, hosted=True, queued_for="repo shop has 2 of 2 slots", position=2)
    with following(home) as process:
        assert process.stderr is not None
        said = "fix-login.1 is queued: repo shop has 2 of 2 slots; place {} in the queue (following on)\n"
        assert process.stderr.readline() == said.format(2)
        home.runs.save(replace(run, position=1))
        assert process.stderr.readline() == said.format(1)


def test_following_ends_with_its_reader(home: RunHome) -> None:
    """`crewcap logs -f | head -1`, of a run that says nothing more."""
    run = home.add(state=RunState.RUNNING, **driven())
    home.runs.log(run.id, "step", "one")
    with following(home, "--json") as process:
        assert json.loads(next_line(process))["text"] == "one"
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=30) == 0


def test_ctrl_c_ends_the_following_and_not_the_run(home: RunHome) -> None:
    run = home.add(state=RunState.RUNNING, **driven())
    home.runs.log(run.id, "step", "one")
    with following(home) as process:
        assert next_line(process).endswith("one")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == ""
    stored = home.runs.get(run.id)
    assert stored is not None
    assert stored.state == RunState.RUNNING


@pytest.mark.parametrize("columns", [20, 40, 60, 80])
def test_on_a_terminal_a_long_line_goes_on_below_its_beginning(home: RunHome, columns: int) -> None:
    run = home.add()
    home.runs.log(run.id, "agent", "run " + "修正 word " * 40 + "end")
    with at_a_terminal("--home", str(home.home.root), "logs", home=home.folder, columns=columns) as desk:
        assert desk.end() == 0
        lines = desk.text.splitlines()
    assert max(columns_of(line) for line in lines) <= columns
    assert lines[-1].startswith("  ")
    assert lines[-1].endswith("end")
