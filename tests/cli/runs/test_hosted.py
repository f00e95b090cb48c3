"""`crewcap run` and `crewcap resume` where a real serve carries the runs out: handed over, followed, paused, left."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.cli.live_home import GOES_ON_ASKING, asking_program, command, crewcap, furnish
from tests.cli.run_home import RunHome, cut_short, driven, utc_now
from tests.cli.runs.test_show import PROMISED
from tests.gateway.conftest import says, script
from tests.serve.conftest import until

from crewcap.core.runs import Run, RunState, Verdict
from crewcap.prices import load
from crewcap.simulator.server import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator.in_thread(script(says(pace_ms=5)), book=load()) as running:
        yield running


@contextmanager
def served(home: RunHome) -> Iterator[None]:
    """`crewcap serve` on this home, until the block ends."""
    words = command(home, "serve", "--listen", "127.0.0.1:0", "--json")
    with subprocess.Popen(
        words, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "it serves"
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=60)
            finally:
                process.kill()


@contextmanager
def at_work(home: RunHome, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on beside the test."""
    with subprocess.Popen(
        command(home, *words), env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_that_is_handed_over_looks_like_one_of_our_own(
    home: RunHome, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head, the steps, and at its cap, at its end and after Ctrl-C the same block, object and exit status."""
    furnish(home, simulator.url, monkeypatch)
    with served(home):
        paused = crewcap(home, "run", "issues/fix-sum.md", "--cap", "0.001")
        assert paused.returncode == 3, paused.stderr
        lines = paused.stdout.splitlines()
        assert lines[0] == "fix-sum.1   Fix the sum"
        assert [line.split()[0] for line in lines[1:5]] == ["agent", "money", "from", "sandbox"]
        assert any(re.search(r"check before +1 failed", line) for line in lines)
        assert any(line.startswith("paused at the cap   $0.00 of $0.001") for line in lines), paused.stdout
        assert any(line.startswith("  answer    crewcap resume fix-sum.1 --add ") for line in lines)
        assert "fix-sum.1  handed to crewcap serve" in paused.stderr

        done = crewcap(home, "resume", "fix-sum.1", "--add", "1", "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert set(said) >= PROMISED
        assert (said["state"], said["verdict"], said["turns"]) == ("done", "finished", 1)
        assert "check after     1 passed" in done.stderr
        assert "edit   adder.py" in done.stderr
        assert "check before" not in done.stderr, "old lines are not told again"
        assert re.search(r"^done   \$0\.\d+ of \$1\.00", done.stderr, re.MULTILINE), done.stderr

        (home.folder / "claude").write_text((home.folder / "claude").read_text().replace(*GOES_ON_ASKING))
        with at_work(home, "run", "-p", "ask", "--cap", "20", "--max-turns", "10000") as process:
            until(lambda: state(home) == RunState.RUNNING, "it works")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "pause           asked for; Ctrl-C again stops the run" in out
        assert re.search(r"^paused   \$", out, re.MULTILINE), out
        assert state(home) == RunState.WAITING


def test_a_run_whose_worker_was_killed_is_gone_on_with_and_its_story_says_so(
    home: RunHome, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(home, simulator.url, monkeypatch, agent=asking_program())
    said = "its worker was ended; a new one goes on with it"
    with served(home), at_work(home, "run", "-p", "ask", "--cap", "20", "--max-turns", "10000") as process:
        until(lambda: state(home) == RunState.RUNNING, "it works")
        (run,) = home.runs.find("")
        os.kill(run.owner_pid, signal.SIGKILL)
        until(lambda: said in [event.text for event in home.runs.story(run.id)], "its story says so")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert [event.text for event in home.runs.story(run.id)].count(said) == 1


FOLLOW = """
import sys
from crewcap.cli.complaints import complaint
from crewcap.cli.context import make_call
from crewcap.cli.runs.hosted import follow_hosted
from crewcap.errors import CrewcapError
call = make_call({"home": sys.argv[1], "config": sys.argv[2]})
try:
    sys.exit(follow_hosted(call, call.app.runs.find("")[0]))
except CrewcapError as error:
    complaint(error).say(as_json=False)
    sys.exit(error.exit_status)
"""


@contextmanager
def following(home: RunHome) -> Iterator[subprocess.Popen[str]]:
    """What `crewcap run` does once it has handed its run over, for a run that the test drives."""
    words = [sys.executable, "-c", FOLLOW, str(home.home.root), str(home.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            read_to(process, "  sandbox")
            yield process
        finally:
            process.kill()


def read_to(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return line.rstrip()
    raise AssertionError(f"it never said {words!r}")


def test_the_second_ctrl_c_stops_the_run_and_the_third_ends_the_command_alone(home: RunHome) -> None:
    run = home.add(state=RunState.RUNNING, hosted=True, worker="local", **driven())
    with following(home) as process:
        process.send_signal(signal.SIGINT)
        read_to(process, "pause           asked for; Ctrl-C again stops the run")
        process.send_signal(signal.SIGINT)
        read_to(process, "stop            asked for; Ctrl-C again ends this command alone")
        assert [word.kind for word in home.runs.unheard(run.id)] == ["pause", "stop"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "fix-login.1 was asked to stop; crewcap logs -f fix-login.1 shows when it has\n"
    assert state(home) == RunState.RUNNING


def test_after_the_second_ctrl_c_a_run_is_followed_to_where_it_stopped(home: RunHome) -> None:
    run = home.add(state=RunState.RUNNING, hosted=True, worker="local", **driven())
    with following(home) as process:
        for word in ("pause  ", "stop  "):
            process.send_signal(signal.SIGINT)
            read_to(process, word)
        home.runs.save(replace(run, state=RunState.FINISHING))
        home.runs.save(replace(run, state=RunState.STOPPED, verdict=Verdict.CANCELLED, ended_at=utc_now()))
        out, err = process.communicate(timeout=60)
    assert "stopped" in out
    assert (process.returncode, err) == (130, "")


def test_a_queued_run_says_why_it_waits_as_that_changes_and_ctrl_c_keeps_it_from_starting(home: RunHome) -> None:
    run = home.add(state=RunState.QUEUED, hosted=True, queued_for="repo shop has 2 of 2 slots", position=3)
    home.home.serve_lock.touch()
    with home.home.serve_lock.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with following(home) as process:
            assert read_to(process, "queued").endswith(
                "queued          repo shop has 2 of 2 slots; place 3 in the queue"
            )
            home.runs.save(replace(run, position=1))
            assert read_to(process, "queued").endswith("place 1 in the queue")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.splitlines()[1].startswith("paused   $0")
    (stored,) = home.runs.find("")
    assert (stored.state, stored.waits_for, stored.verdict) == (RunState.WAITING, "answer", Verdict.CANCELLED)
    assert stored.question is not None
    assert stored.question.choices == ("go on", "stop")


def test_a_worker_that_was_ended_is_said_and_so_is_a_serve_that_is_gone(home: RunHome) -> None:
    """With serve alive there is nothing to do; without it there is."""
    run = home.add(state=RunState.RUNNING, hosted=True, worker="local", **cut_short())
    home.home.serve_lock.touch()
    with home.home.serve_lock.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with following(home) as process:
            assert read_to(process, "worker").endswith("its worker was ended; serve starts another one")
            fcntl.flock(lock, fcntl.LOCK_UN)
            words = read_to(process, "serve ").split(maxsplit=2)[2] + " " + read_to(process, "").strip()
            what = "it has ended, and the run stands still; go on with: crewcap serve, or here: crewcap resume"
            assert words == f"{what} fix-login.1"
            end(home, run)
            assert "done" in process.communicate(timeout=60)[0]
    assert process.returncode == 0


def test_nobody_waits_for_ever_on_a_worker_that_outlives_its_serve(home: RunHome) -> None:
    """It stands still, or goes on with nobody who watches it: that is said, with the way to follow and to go on."""
    home.add(state=RunState.RUNNING, hosted=True, worker="local", **driven())
    with following(home) as process:
        assert f"it has ended; its worker (process {os.getpid()}) has this run" in read_to(process, "serve ")
        out, err = process.communicate(timeout=60)
    assert (process.returncode, "still working" in out) == (4, False)
    assert err.splitlines() == [
        f"error: crewcap serve has ended, and its worker (process {os.getpid()}) has fix-login.1 still",
        "help: crewcap logs -f fix-login.1 follows it; crewcap serve ends that worker and goes on with the run",
    ]


def test_what_was_told_before_a_run_was_resumed_is_not_told_again(home: RunHome) -> None:
    run = home.add(state=RunState.RUNNING, hosted=True, worker="local", **driven())
    for kind, text in (
        ("step", "workspace: 2 files"),
        ("state", "resumed by kim with a cap of $3.00"),
        ("step", "setup: reused"),
        ("agent", "run pytest"),
        ("agent", "said I am done"),
        ("step", "agent ended: finished: done"),
        ("step", "check after: 2 passed"),
    ):
        home.runs.log(run.id, kind, text)
    with following(home) as process:
        assert read_to(process, "").endswith("setup           reused")
        assert read_to(process, "").split()[1:-1] == ["turn", "0", "run", "pytest"]
        assert read_to(process, "").endswith("check after     2 passed")
        end(home, run)
        process.communicate(timeout=60)
    assert process.returncode == 0


def end(home: RunHome, run: Run) -> None:
    home.runs.save(replace(run, state=RunState.FINISHING))
    home.runs.save(replace(run, state=RunState.DONE, verdict=Verdict.FINISHED, ended_at=utc_now()))


def state(home: RunHome) -> RunState | None:
    found = home.runs.find("") if home.home.ledger.exists() else []
    return found[0].state if found else None
