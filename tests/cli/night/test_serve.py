"""`crewcap serve` as a user and a service manager start it: the real gateway, the real worker, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import MODEL, add_key
from tests.serve.conftest import LIMIT_S, is_alive, until

from crewcap.core.budget import ALL
from crewcap.home import Home
from crewcap.prices import load
from crewcap.runner.worker.presence import serving
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.usage.index import UsageIndex

SECRET = "sk-ant-fake-canary-of-serve"
SETTINGS = """
[providers.anthropic]
key = { env = "ANTHROPIC_API_KEY" }
base_url = "http://127.0.0.1:9"
prices = "anthropic"
[serve]
drain = "10s"
"""


class Serve:
    """One home, and `crewcap serve` on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "state")
        self.config = folder / "config.toml"
        self.config.write_text(SETTINGS)
        self.started: list[subprocess.Popen[str]] = []
        self.pids: set[int] = set()

    def popen(self, *words: str, key: str = SECRET) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "crewcap", "serve", "--home", str(self.home.root)]
        process = subprocess.Popen(
            [*command, "--config", str(self.config), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **({"ANTHROPIC_API_KEY": key} if key else {})},
        )
        self.started.append(process)
        return process

    def start(self, *words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Start it on a free port and read the one object that it prints."""
        process = self.popen("--listen", "127.0.0.1:0", "--json", *words)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        said: dict[str, Any] = json.loads(line)
        self.pids |= {said["gateway_pid"], said["worker_pid"]}
        return process, said

    def noted(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.home.serve_note.read_text())
        self.pids |= {found["gateway_pid"], found["worker_pid"]} - {0}
        return found

    def boot(self) -> str:
        return str(json.loads(self.home.gateway_note.read_text())["boot"])

    def clean_up(self) -> None:
        with suppress(OSError):
            self.noted()
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=LIMIT_S)
        for pid in self.pids:
            if str(self.home.root).encode() in _shown(pid, "cmdline"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.communicate(timeout=LIMIT_S)


def _shown(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def healthy(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/healthz", timeout=LIMIT_S) as answer:
        return bool(answer.status == 200)
    return False


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made = Serve(tmp_path)
    yield made
    made.clean_up()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serve, dict[str, Any]]]:
    """One that nobody hurts, for several tests, and what it said."""
    made = Serve(tmp_path_factory.mktemp("serve"))
    try:
        yield made, made.start("--slots", "3")[1]
    finally:
        made.clean_up()


def test_it_says_where_it_is_and_is_found_by_other_commands(running: tuple[Serve, dict[str, Any]]) -> None:
    serve, said = running
    assert (said["pid"], said["slots"], said["schedules"]) == (serve.started[0].pid, 3, [])
    assert healthy(said["url"])
    found = serving(serve.home)
    assert found is not None
    assert (found.pid, found.url, found.worker_pid) == (said["pid"], said["url"], said["worker_pid"])


def test_a_second_one_on_the_same_home_is_refused_with_the_pid_of_the_first(
    running: tuple[Serve, dict[str, Any]],
) -> None:
    serve, said = running
    second = serve.popen()
    out, err = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 4
    assert err.splitlines()[0] == f"error: crewcap serve runs already on {serve.home.root} (process {said['pid']})"
    assert (out, len(err.splitlines())) == ("", 2)


def test_no_provider_key_is_in_any_environment_or_argument_and_none_in_the_worker(
    running: tuple[Serve, dict[str, Any]],
) -> None:
    """Looked for in every process of the machine, and in all that the worker remembers."""
    _, said = running
    needle = SECRET.encode()
    mine = os.getpid()
    seen = [
        (pid, name)
        for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
        for name in ("environ", "cmdline")
        if pid != mine and needle in _shown(pid, name)
    ]
    assert seen == []
    assert b"PATH=" in _shown(said["worker_pid"], "environ")
    if os.geteuid() == 0:
        assert not _remembers(said["worker_pid"], needle)
        assert _remembers(said["gateway_pid"], needle), "a canary that nobody has proves nothing"


def _remembers(pid: int, needle: bytes) -> bool:
    """Whether a process has these bytes in what it may write to."""
    areas = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for area in areas:
            if area[1].startswith("rw"):
                begin, end = (int(part, 16) for part in area[0].split("-"))
                with suppress(OSError, ValueError):
                    memory.seek(begin)
                    if needle in memory.read(end - begin):
                        return True
    return False


def test_gateway_and_worker_are_started_again_when_they_are_killed(serve: Serve) -> None:
    """The gateway with a new boot at the same address, and with the keys: it would not start without."""
    process, said = serve.start("--log-format", "json", "-v")
    boot = serve.boot()
    os.kill(said["gateway_pid"], signal.SIGKILL)
    until(lambda: serve.noted()["gateway_pid"] != said["gateway_pid"], "the gateway is started again")
    gateway = serve.noted()["gateway_pid"]
    assert serve.boot() != boot
    assert serve.noted()["url"] == said["url"]
    assert healthy(said["url"])
    os.kill(said["worker_pid"], signal.SIGKILL)
    until(lambda: serve.noted()["worker_pid"] != said["worker_pid"], "the worker is started again")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert SECRET not in err
    log = [json.loads(line) for line in serve.home.serve_log.read_text().splitlines()]
    assert {process.pid, gateway} <= {line["pid"] for line in log}
    assert "the gateway was killed by SIGKILL; it is started again in 0.1 s" in [line["event"] for line in log]
    assert "the gateway was killed by SIGKILL; it is started again in 0.1 s" in err
    assert serving(serve.home) is None
    assert not serve.home.serve_note.exists()
    assert not [pid for pid in serve.pids if is_alive(pid)]


def test_an_answer_under_way_is_read_to_its_end_before_it_goes(serve: Serve) -> None:
    """SIGTERM: nothing new is taken, what is under way ends, and the books know what it cost."""
    steps = (Step(name="slow", say="Yes.", output_tokens=400, events=40, pace_ms=25),)
    with Simulator.in_thread(Script(name="slow", steps=steps), book=load()) as simulator:
        serve.config.write_text(SETTINGS.replace("http://127.0.0.1:9", simulator.url))
        process, said = serve.start()
        ledger = SqliteLedger(serve.home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
        client = _client(said["url"], add_key(ledger, "1.00").secret)
        until(lambda: simulator.meter.bills, "the provider answers")
        process.send_signal(signal.SIGTERM)
        answer, _ = client.communicate(timeout=LIMIT_S)
        _, err = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, err) == (0, "")
        assert b"message_stop" in answer
        assert ledger.open_holds() == ()
        assert ledger.totals(ALL).spent == simulator.meter.total()
        ledger.close()


def _client(url: str, secret: str) -> subprocess.Popen[bytes]:
    """A client in a process of its own, so that it goes on while we look elsewhere."""
    body = {"model": MODEL, "max_tokens": 1_000, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    code = (
        "import sys, urllib.request as u\n"
        "request = u.Request(sys.argv[1], sys.argv[3].encode(), {'x-api-key': sys.argv[2]})\n"
        "sys.stdout.write(u.urlopen(request).read().decode())"
    )
    arguments = [sys.executable, "-c", code, f"{url}/v1/messages", secret, json.dumps(body)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def test_past_usage_is_imported_while_it_serves_where_that_is_set(serve: Serve) -> None:
    """What an agent of this machine wrote before, and what it wrote while the worker was dead."""
    serve.config.write_text(SETTINGS + "watch_usage = true\n")
    _transcript(serve, "before")
    _, said = serve.start("--log-format", "json", "-v")
    until(lambda: _imported(serve) == 1, "what was there is imported")
    until(lambda: "past usage: 1 transcript read" in serve.home.serve_log.read_text(), "the log says so")
    _transcript(serve, "later")
    os.kill(said["worker_pid"], signal.SIGKILL)
    until(lambda: _imported(serve) == 2, "the next worker goes on with it")


def _transcript(serve: Serve, name: str) -> None:
    usage = {"input_tokens": 10, "output_tokens": 20}
    message = {"id": f"msg_{name}", "role": "assistant", "model": MODEL, "usage": usage}
    line = {"type": "assistant", "timestamp": "2026-11-02T06:00:00Z", "sessionId": name, "message": message}
    folder = serve.folder / ".claude" / "projects" / "-home-ana-shop"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text(json.dumps({**line, "cwd": "/home/ana/shop", "requestId": name}) + "\n")


def _imported(serve: Serve) -> int:
    if not serve.home.usage.exists():
        return 0
    index = UsageIndex(serve.home.usage)
    try:
        return sum(each.messages for each in index.sums())
    finally:
        index.close()


def test_when_it_is_killed_gateway_and_worker_end(serve: Serve) -> None:
    process, said = serve.start()
    process.kill()
    process.wait(timeout=LIMIT_S)
    until(lambda: not is_alive(said["worker_pid"]) and not is_alive(said["gateway_pid"]), "both end")
    assert serving(serve.home) is None


def _wrong_settings(serve: Serve) -> None:
    serve.config.write_text("[serve]\ndrian = 1\n")


def _damaged_books(serve: Serve) -> None:
    serve.home.make()
    serve.home.ledger.write_bytes(bytes(range(256)) * 64)


def _doubtful_clock(serve: Serve) -> None:
    """The books saw tomorrow: a clock that was set back since."""
    serve.home.make()
    at = datetime.now(UTC)
    ticks = 0.0
    ledger = SqliteLedger(serve.home, clock=lambda: at, monotonic=lambda: ticks)
    ledger.start_boot()
    at += timedelta(days=3)
    ledger.start_boot()
    assert ledger.doubt()
    ledger.close()


def _nothing(serve: Serve) -> None:
    del serve


@pytest.mark.parametrize(
    ("prepare", "words", "key", "status", "message"),
    [
        (_wrong_settings, [], SECRET, 2, "line 2: serve.drian"),
        (_nothing, ["--listen", "8787"], SECRET, 2, "--listen '8787' is not HOST:PORT"),
        (_nothing, ["--listen", "0.0.0.0:0"], SECRET, 2, "does not listen on 0.0.0.0"),
        (_nothing, ["--listen", "127.0.0.1:0"], "", 4, "ANTHROPIC_API_KEY"),
        (_damaged_books, ["--listen", "127.0.0.1:0"], SECRET, 5, "is not a database"),
        (_doubtful_clock, ["--listen", "127.0.0.1:0"], SECRET, 5, "clock"),
    ],
    ids=["settings", "words", "address", "key", "books", "clock"],
)
def test_what_cannot_start_is_one_clear_line_and_no_loop(
    serve: Serve, prepare: Callable[[Serve], None], words: list[str], key: str, status: int, message: str
) -> None:
    prepare(serve)
    process = serve.popen(*words, key=key)
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (status, ""), err
    assert message in err.splitlines()[0]
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 2
    assert SECRET not in err
    assert serving(serve.home) is None


def test_a_port_that_is_taken_is_named(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        _, err = serve.popen("--listen", address).communicate(timeout=LIMIT_S)
    assert serve.started[-1].returncode == 2
    assert f"error: cannot listen on {address}" in err


def test_it_prints_a_unit_for_this_state_directory_and_starts_nothing(serve: Serve) -> None:
    out, err = serve.popen("--print-unit", "user").communicate(timeout=LIMIT_S)
    assert serve.started[-1].returncode == 0, err
    assert f"--home {serve.home.root}" in out
    assert f"--config {serve.config}" in out
    assert "TimeoutStopSec=25s" in out
    assert SECRET not in out
    assert "~/.config/systemd/user/crewcap.service" in err
    assert not serve.home.root.exists()


def test_the_worker_is_for_crewcap_itself(serve: Serve) -> None:
    """Without a supervisor's line it does not begin; what it refuses is one object, for the supervisor to read."""
    out, _ = serve.popen("--worker").communicate(timeout=LIMIT_S)
    assert serve.started[-1].returncode == 2
    assert json.loads(out)["error"]["help"] == "use: crewcap serve"
