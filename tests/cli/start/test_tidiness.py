"""What `doctor` says of the house."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.runner.rig import ISSUE, utc_now

from crewcap.core.runs import Run, RunId, RunState
from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns
from crewcap.workspaces.sandbox.register import FOLDER, Entry, enter, start_time, this_machine


def _doctor(home: Home, **environ: str) -> dict[str, list[dict[str, Any]]]:
    argv = [sys.executable, "-m", "crewcap", "--home", str(home.root), "doctor", "--json"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **environ})
    findings: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(said.stdout.splitlines()[-1])["findings"]:
        findings.setdefault(finding["name"], []).append(finding)
    return findings


def _ended_run(home: Home) -> Run:
    """A year ago, with its workspace."""
    home.make()
    SqliteLedger(home, clock=utc_now, monotonic=time.monotonic).close()
    runs = SqliteRuns(home, clock=utc_now)
    then = utc_now() - timedelta(days=365)
    queued = Run(
        id=RunId("01RUN"),
        name="old",
        issue=ISSUE,
        state=RunState.QUEUED,
        repo="shop",
        repo_path="/nonexistent",
        created_at=then,
        ended_at=then,
    )
    run = runs.create(queued)
    runs.save(replace(run, state=RunState.FAILED))
    runs.close()
    (home.run(run.id) / "workspace").mkdir(parents=True)
    (home.run(run.id) / "workspace" / "big").write_bytes(bytes(3 << 20))
    return run


def test_a_tidy_house_has_nothing_to_say_but_its_size(tmp_path: Path) -> None:
    home = Home(tmp_path / "state")
    home.logs.mkdir(parents=True)
    found = _doctor(home, TMPDIR=str(tmp_path))
    assert [each["level"] for each in found["size"]] == ["ok"]
    assert {"room", "workspaces", "trash", "doors", "orphans"}.isdisjoint(found)


def test_everything_that_was_left_is_told_with_what_helps(tmp_path: Path) -> None:
    home = Home(tmp_path / "state")
    run = _ended_run(home)
    (home.root / "housekeeping.json").write_text(json.dumps({"kept": {"01FOREIGN": {"why": "it is odd", "at": ""}}}))
    (home.root / "trash" / "0-workspace").mkdir(parents=True)
    door = tmp_path / "crewcap-door"
    door.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door / "gw.sock"))
    os.utime(door, (0, 0))
    sleeper = subprocess.Popen(["sleep", "1000"])
    started = start_time(sleeper.pid)
    entry = Entry(
        mark="a" * 32,
        machine=this_machine(),
        owner=1,
        owner_started="another's",
        outer=sleeper.pid,
        outer_started=started,
        command=sleeper.pid,
        command_started=started,
    )
    enter(home.run(run.id) / FOLDER, entry)
    try:
        found = _doctor(home, TMPDIR=str(tmp_path))
    finally:
        sleeper.kill()
        sleeper.wait()
    assert [each["text"] for each in found["workspaces"]] == [
        "kept longer than `retention` says: old.1",
        "01FOREIGN stays: it is odd",
    ]
    assert found["size"][0]["facts"]["runs"] >= 3 << 20
    assert "runs 3 MiB" in found["size"][0]["text"]
    assert found["trash"][0]["text"].endswith("trash/0-workspace")
    assert found["doors"][0]["text"].endswith(str(door))
    assert found["orphans"][0]["facts"]["pids"] == [str(sleeper.pid)]
    assert f"kill -9 {sleeper.pid}" in found["orphans"][0]["help"]


def test_below_the_floor_of_the_settings_no_run_starts(tmp_path: Path) -> None:
    """And both `doctor` and `run` say so."""
    settings = tmp_path / "config.toml"
    settings.write_text('[defaults]\ndisk_floor = "999999G"\n')
    home = Home(tmp_path / "state")
    home.make()
    [told] = _doctor(home, CREWCAP_CONFIG=str(settings), TMPDIR=str(tmp_path))["room"]
    assert told["level"] == "fail"
    assert "999999.0 GiB are needed to start" in told["text"]
    words = ("--home", str(home.root), "--config", str(settings), "run", "-p", "x")
    done = subprocess.run([sys.executable, "-m", "crewcap", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, told["text"] in done.stderr) == (4, True), done.stderr
