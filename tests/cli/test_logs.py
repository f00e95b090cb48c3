"""`crewcap logs`: a run's story, as it is written."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

from tests.cli.run_home import RunHome, cut_short, driven

from crewcap.core.runs import RunState


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


def test_following_ends_with_the_run(home: RunHome) -> None:
    """Another process writes; each line comes once."""
    run = home.add(state=RunState.RUNNING, **driven())
    home.runs.log(run.id, "step", "one")
    command = [sys.executable, "-m", "crewcap", "--home", str(home.home.root), "logs", "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"HOME": str(home.folder)}) as following:
        assert following.stdout is not None
        assert following.stdout.readline().rstrip().endswith("one")
        home.runs.log(run.id, "step", "two")
        assert following.stdout.readline().rstrip().endswith("two")
        home.runs.save(replace(run, state=RunState.FINISHING))
        home.runs.log(run.id, "step", "three")
        home.runs.save(replace(run, state=RunState.DONE))
        assert [line.rstrip()[-5:] for line in following.stdout] == ["three"]
    assert following.returncode == 0


def test_nobody_waits_for_a_run_that_was_cut_short_or_waits_itself(home: RunHome) -> None:
    home.add("dead", RunState.RUNNING, **cut_short())
    assert home.out("logs", "-f", "dead") == ""
    home.add("broke", RunState.WAITING)
    assert home.out("logs", "-f", "broke") == ""
