"""The program beside a command that needs services, without any sandbox: real processes, small services of ours."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crewcap.workspaces.project import attend

ATTEND = (sys.executable, "-I", "-S", attend.__file__)
SERVER = """
import os, signal, socket, sys, time
path, note = sys.argv[1:3]
def end(number, frame):
    open(note, "a").write("ended ")
    sys.exit(0)
signal.signal(signal.SIGINT, end)
print("here it begins", flush=True)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
open(note, "a").write("started ")
while True:
    asked, _ = server.accept()
    asked.recv(10)
    try:
        asked.sendall(b"yes")
    except OSError:  # who asked did not wait: this machine is busy
        pass
"""
BROKEN = "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"
DEAF = "import time; time.sleep(60)"


@dataclass
class Bench:
    """An order for `attend`, and the processes that were started on it."""

    folder: Path
    services: list[dict[str, Any]] = field(default_factory=list)
    patience_s: float = 20
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def serve(self, name: str, program: str = SERVER, **more: Any) -> None:
        socket = self.folder / f"{name}.sock"
        self.services.append({
            "name": name, "folders": [str(self.folder / name)], "log": str(self.folder / name / "log"),
            "stop": [2, 3, 9], "make": [], "making": "", "made": str(self.folder / name), "expects": {},
            "leftovers": [str(socket)], "argv": [sys.executable, "-c", program, str(socket), str(self.note)],
            "answers": {"kind": "socket", "path": str(socket), "ask": "hello", "says": "yes"}, **more,
        })  # fmt: skip

    @property
    def note(self) -> Path:
        return self.folder / "note"

    def told(self) -> str:
        return self.note.read_text() if self.note.exists() else ""

    def start(self, *argv: str, mode: str = "wait") -> subprocess.Popen[str]:
        order = self.folder / "order.json"
        order.write_text(
            json.dumps({"folder": str(self.folder), "patience_s": self.patience_s, "services": self.services})
        )
        process = subprocess.Popen(
            (*ATTEND, str(order), mode, *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *argv: str, mode: str = "wait", say: str = "") -> tuple[int, str, str]:
        process = self.start(*argv, mode=mode)
        out, err = process.communicate(say, timeout=30)
        return process.returncode, out, err


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Everything that it started is gone afterwards."""
    made = Bench(tmp_path)
    yield made
    for process in made.started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def test_a_command_runs_when_its_service_answers_and_the_service_is_asked_to_end_after_it(bench: Bench) -> None:
    bench.serve("one")
    done = bench.run("sh", "-c", f"cat; cat {bench.note}; echo aside >&2; exit 7", say="typed ")
    assert done == (7, "typed started ", "aside\n")
    assert bench.told() == "started ended "


def test_several_services_are_all_there(bench: Bench) -> None:
    bench.serve("one")
    bench.serve("two")
    assert bench.run("true")[0] == 0
    assert sorted(bench.told().split()) == ["ended", "ended", "started", "started"]


def test_it_ends_by_the_signal_that_ended_the_command(bench: Bench) -> None:
    bench.serve("one")
    assert bench.run("sh", "-c", "kill -USR1 $$")[0] == -signal.SIGUSR1
    assert bench.run("sh", "-c", "kill -KILL $$")[0] == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once_and_the_command_decides(bench: Bench, number: signal.Signals) -> None:
    bench.serve("one")
    program = (  # what it says is written at once: a signal in the middle of a `print` could not print
        "import os, signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(os.write(1, b'heard\\n') - 1))\n"
        "os.write(1, b'ready\\n')\ntime.sleep(60)"
    )
    process = bench.start(sys.executable, "-c", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (5, "heard\n")
    assert bench.told() == "started ended "


def test_who_wants_it_to_end_need_not_wait_for_a_service(bench: Bench) -> None:
    bench.serve("deaf", DEAF)
    process = bench.start("true")
    log = bench.folder / "deaf" / "log"
    _until(log.exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_a_service_that_does_not_start_is_told_with_its_last_words(bench: Bench) -> None:
    bench.serve("one")
    bench.serve("broken", BROKEN)
    status, out, err = bench.run("echo", "never")
    assert (status, out) == (attend.NOT_STARTED, "")
    assert err == "crewcap: broken did not start (exit 3); it said last:\n  no such luck\n"


def test_a_service_that_never_answers_is_given_up(bench: Bench) -> None:
    bench.patience_s = 0.3
    bench.serve("deaf", DEAF)
    status, _, err = bench.run("true")
    assert (status, err) == (attend.NOT_STARTED, "crewcap: deaf does not answer after 0 s\n")


def test_a_program_that_is_not_there_is_told(bench: Bench) -> None:
    bench.serve("one")
    assert bench.run("/no/such/program") == (
        127,
        "",
        "crewcap: cannot start /no/such/program in the sandbox: No such file or directory\n",
    )


def test_a_service_that_ends_under_a_command_is_told(bench: Bench) -> None:
    bench.serve("one")
    program = (
        "import os, signal, sys, time, pathlib\n"
        "mine = os.getppid()\n"
        "found = [p for p in pathlib.Path('/proc').glob('[0-9]*/stat') if p.read_text().rpartition(')')[2].split()[1]"
        " == str(mine) and p.parent.name != str(os.getpid())]\n"
        "os.kill(int(found[0].parent.name), 9)\n"
        "while found[0].exists(): time.sleep(0.01)"
    )
    status, _, err = bench.run(sys.executable, "-c", program)
    assert status == 0
    assert err == "crewcap: one ended by itself (signal 9); it said last:\n  here it begins\n"


class TestData:
    """What a service keeps."""

    def test_it_is_made_once_and_never_by_halves(self, bench: Bench) -> None:
        made, making = bench.folder / "data", bench.folder / "making"
        make = [
            sys.executable,
            "-c",
            f"import os; os.mkdir({str(making)!r}); open({str(bench.note)!r}, 'a').write('made ')",
        ]
        making.mkdir()
        (making / "half").touch()  # an earlier start was killed in the middle
        bench.serve("one", make=[["false"], make], making=str(making), made=str(made))
        assert bench.run("true")[0] == 0
        assert bench.run("true")[0] == 0
        assert bench.told() == "made started ended started ended "
        assert list(made.iterdir()) == []

    def test_data_that_cannot_be_made_is_told(self, bench: Bench) -> None:
        bench.serve("one", make=[["sh", "-c", "echo full >&2; exit 1"]], made=str(bench.folder / "data"), making="/x/y")
        assert bench.run("true")[::2] == (
            attend.NOT_STARTED,
            "crewcap: one could not make its data; it said last:\n  full\n",
        )

    def test_data_of_another_version_is_not_touched(self, bench: Bench) -> None:
        (bench.folder / "version").write_text("14\n")
        bench.serve("one", expects={str(bench.folder / "version"): "15"})
        status, _, err = bench.run("true")
        assert (status, err) == (
            attend.NOT_STARTED,
            "crewcap: this run's data is of one 14, and here is 15: start it anew\n",
        )
        assert bench.told() == ""

    def test_a_restart_of_the_machine_is_told_once(self, bench: Bench) -> None:
        (bench.folder / "boot").write_text("another boot")
        bench.serve("one")
        assert "this machine was restarted" in bench.run("true")[2]
        assert bench.run("true")[2] == ""


class TestTwoCommandsAtOnce:
    """Two servers on the same files would destroy them."""

    def test_the_second_waits_for_the_first(self, bench: Bench) -> None:
        bench.serve("one")
        first = bench.start("cat")
        _until(lambda: bench.told() == "started ")
        second = bench.start("true")
        first.communicate("", timeout=30)
        second.communicate(timeout=30)
        assert (first.returncode, second.returncode) == (0, 0)
        assert bench.told() == "started ended started ended "

    def test_it_does_not_wait_for_ever(self, bench: Bench) -> None:
        bench.patience_s = 0.2
        bench.serve("one")
        with _locked(bench.folder / "lock"):
            assert bench.run("true")[::2] == (
                attend.NOT_STARTED,
                "crewcap: another command of this run still uses its services\n",
            )

    def test_a_shell_goes_on_without_and_says_so(self, bench: Bench) -> None:
        bench.serve("one")
        with _locked(bench.folder / "lock"):
            status, out, err = bench.run("echo", "hello", mode="without")
        assert (status, out) == (0, "hello\n")
        assert err == "crewcap: another command of this run has its services; here they are not started\n"
        assert bench.told() == ""

    def test_the_command_cannot_hold_the_lock_beyond_its_own_life(self, bench: Bench) -> None:
        """A process that it leaves behind inherits nothing."""
        bench.serve("one")
        left = bench.start("sh", "-c", "sleep 30 >/dev/null 2>&1 & echo $!")
        out, _ = left.communicate(timeout=30)
        try:
            with _locked(bench.folder / "lock"):
                pass
        finally:
            os.kill(int(out), signal.SIGKILL)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _until(happened: Any) -> None:
    limit = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.01)
