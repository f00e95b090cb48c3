"""Several machines on one PostgreSQL, for tests of many workers: a state directory, a gateway and a worker each.

Everything is real but the model: `crewcap serve`'s processes, a server of PostgreSQL, git, the agent's own process. The
agent keeps a diary in one file, which tells who worked when.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.contracts.sandboxes import PYTHON
from tests.gateway.conftest import says, script
from tests.stores.postgres_server import Server
from tests.workspaces.repos import make_repository

from crewcap.app import App
from crewcap.cli.context import utc_now
from crewcap.core.budget import Scope
from crewcap.core.runs import Issue, Run
from crewcap.home import Home
from crewcap.runner import entry, jobs
from crewcap.runner.plan import Asked
from crewcap.runner.worker.engine import VERSION, migrate
from crewcap.runner.worker.fencing import Times
from crewcap.simulator.server import Simulator
from crewcap.trackers.prompts import Prompts
from crewcap.workspaces.sandbox.ladder import choose

ROOT = Path(__file__).resolve().parents[3]
KEY = "sk-ant-fake-provider-key-0001"
QUICK = Times(beat_s=0.3, fence_s=3.0, dead_after_s=7.0, mend_s=1.0, settle_s=0.5)  # 4 s for a worker to start again
LIMIT_S = 60.0


@dataclass(kw_only=True)
class Machine:
    """One state directory, and `crewcap serve` on it."""

    home: Home
    config: Path
    process: subprocess.Popen[str] | None = None
    worker_pid: int = 0
    gateway_pid: int = 0
    is_asked_to_end: bool = False

    @property
    def serve_log(self) -> str:
        return self.home.serve_log.read_text() if self.home.serve_log.exists() else ""

    @property
    def name(self) -> str:
        return self.home.root.parent.name

    def until_ready(self) -> None:
        """Wait until it says that it serves."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.serve_log)
        said = json.loads(line)
        self.worker_pid, self.gateway_pid = said["worker_pid"], said["gateway_pid"]

    def worker(self) -> int:
        """The worker's process, as the supervisor last wrote it down."""
        return int(json.loads(self.home.serve_note.read_text())["worker_pid"])

    def ask_to_end(self) -> None:
        """As Ctrl-C does, which said twice would hurry it."""
        if self.process is not None and not self.is_asked_to_end:
            self.process.send_signal(signal.SIGTERM)
            self.is_asked_to_end = True

    def end(self) -> None:
        """It ends in order."""
        self.ask_to_end()
        if self.process is not None:
            self.process.wait(LIMIT_S)
        self._close()

    def kill(self) -> None:
        """As a machine that loses its power: supervisor, gateway and worker at once, and with it the agents."""
        if self.process is not None:
            note = json.loads(self.home.serve_note.read_text()) if self.home.serve_note.exists() else {}
            for pid in (self.process.pid, note.get("worker_pid", 0), note.get("gateway_pid", 0)):
                if not pid:
                    continue
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(LIMIT_S)
        self._close()

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


class Fleet:
    """Machines, their one database, and a house of our own beside them that only writes runs down and looks."""

    def __init__(self, folder: Path, server: Server | None, simulator: Simulator, *, settings: str = "") -> None:
        """Without a server there is one machine, whose books are a file: `alone`."""
        self.folder, self.simulator = folder, simulator
        self._server = server
        self.url = server.migrated() if server is not None else ""
        if self.url:
            migrate(self.url)
        self.user = make_repository(folder / "shop")
        self.diary = folder / "diary"
        self.diary.touch()
        self.diary.chmod(0o666)
        self.settings = settings
        self.machines: list[Machine] = []
        self._agent = folder / "claude"
        program = Path(__file__).with_name("fleet_agent.py").read_text().replace("@DIARY@", str(self.diary))
        self._agent.write_text(f"#!/usr/bin/env -S {PYTHON} -I -S\n{program}")
        self._agent.chmod(0o755)

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    # machines

    def machine(self, name: str, *, url: str = "", more: str = "") -> Machine:
        """A machine with its settings; nothing is started."""
        folder = self.folder / name
        folder.mkdir()
        config = folder / "config.toml"
        store = f'[store]\nurl = "{url or self.url}"' if self.url else ""
        config.write_text(f"""
[providers.anthropic]
key = {{ env = "ANTHROPIC_API_KEY" }}
base_url = "{self.simulator.url}"
prices = "anthropic"
{store}
[defaults]
sandbox = "unconfined"
agent_path = {{ claude = "{self._agent}" }}
[serve]
drain = "3s"
[repos.shop]
url = "{self.user}"
{self.settings}
{more}
""")
        return Machine(home=Home(folder / "state"), config=config)

    def serve(
        self, name: str, *, times: Times = QUICK, version: str = VERSION, url: str = "", more: str = ""
    ) -> Machine:
        """A machine that serves."""
        machine = self.start(name, times=times, version=version, url=url, more=more)
        machine.until_ready()
        return machine

    def start(
        self, name: str, *, times: Times = QUICK, version: str = VERSION, url: str = "", more: str = ""
    ) -> Machine:
        """A machine that will serve in a moment."""
        known = next((it for it in self.machines if it.name == name), None)
        machine = known or self.machine(name, url=url, more=more)
        place = [str(machine.home.root), str(machine.config)]
        module = ["tests.runner.worker.fleet_serve", *place, json.dumps(asdict(times)), version]
        if not self.url and version == VERSION:
            module = ["crewcap", "serve", "--home", place[0], "--config", place[1], "--listen", "127.0.0.1:0", "--json"]
        machine.process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT, env=self.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        machine.is_asked_to_end = False
        if known is None:
            self.machines.append(machine)
        return machine

    def ready(self, *names: str) -> list[Machine]:
        """These machines, serving; those that do already are left as they are, the others start beside each other."""
        serving = {it.name: it for it in self.machines if it.process and it.process.poll() is None}
        started = {name: self.start(name) for name in names if name not in serving}
        for machine in started.values():
            machine.until_ready()
        return [serving.get(name) or started[name] for name in names]

    def environ(self) -> dict[str, str]:
        known = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return {**known, "HOME": str(self.folder), "ANTHROPIC_API_KEY": KEY, "GIT_CONFIG_GLOBAL": os.devnull}

    def crewcap(self, machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
        """A command at one of the machines."""
        place = ("--home", str(machine.home.root), "--config", str(machine.config))
        return subprocess.run(
            [sys.executable, "-m", "crewcap", *place, *words],
            cwd=self.user, env=self.environ(), check=False, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip

    def end_machines(self) -> None:
        """All of them, beside each other."""
        for machine in self.machines:
            machine.ask_to_end()
        for machine in self.machines:
            machine.end()

    def end(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.end_machines()
        for machine in self.machines:
            machine.kill()
        if "app" in self.__dict__:
            self.app.close()

    # runs

    @cached_property
    def desk(self) -> Machine:
        """A machine that serves nothing; the one and only where the books are a file."""
        return self.machine("desk") if self.url else self.machines[0]

    @cached_property
    def app(self) -> App:
        """What is built on it."""
        return App(home=self.desk.home, config_path=self.desk.config, environ=self.environ(), clock=utc_now)

    def add(self, key: str, task: str = "seconds=0", *, repo: str = "shop", **fields: Any) -> Run:
        """A run for whoever serves, written down as `crewcap run` does."""
        issue = Issue(tracker="prompt", key=key, title=f"{task} {key}", body=f"{task} {key}")
        order, job = self._order
        asked = {"wish": fields["cap"]} if "cap" in fields else {}  # what may wait is queued with what was asked for
        plan = replace(job.plan, issue=issue, repo=repo, **asked, **fields)
        return entry.write_down(order, plan, job.found, hosted=True)

    @cached_property
    def _order(self) -> tuple[Any, Any]:
        asked, issue = Asked(user="ana"), Issue(tracker="prompt", key="first", title="first", body="first")
        job = jobs.prepare(self.app, issue, Prompts(), asked, repo="shop")
        sandbox = choose("unconfined", state=self.app.home.root)
        return jobs.make_order(self.app, job, sandbox, tell=lambda _: None, keys={}), job

    def runs(self) -> list[Run]:
        return list(self.app.runs.list(limit=10_000))

    def run(self, run: Run) -> Run:
        found = self.app.runs.get(run.id)
        assert found is not None
        return found

    def still_open(self) -> list[Run]:
        return list(self.app.runs.list(open_only=True, limit=10_000))

    def story(self, run: Run) -> list[str]:
        return [f"{it.kind}: {it.text}" for it in self.app.runs.story(run.id)]

    def spent(self, run: Run) -> int:
        totals = self.app.ledger.totals(Scope(f"run:{run.id}"))
        return (totals.spent + totals.uncertain).nano

    # what agents did

    def lines(self, what: str = "") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.diary.read_text().splitlines()]
        return [line for line in found if what in {"", line["what"]}]

    def starts(self, run: Run) -> list[dict[str, Any]]:
        return [line for line in self.lines("start") if line["session"] == run.session]

    def overlaps(self, *runs: Run) -> list[str]:
        """Sessions of these runs in which two agents worked at once."""
        sessions = {run.session for run in runs}
        return overlapping([line for line in self.lines() if line["session"] in sessions])

    def at_work(self) -> list[int]:
        """Agents that live: started, and their process is there."""
        return [line["pid"] for line in self.lines("start") if _is_alive(line["pid"], str(self._agent))]

    def until(self, is_so: Callable[[], object], what: str, *, limit_s: float = LIMIT_S) -> None:
        """Wait for something that other processes do."""
        end = time.monotonic() + limit_s
        while not is_so():
            if time.monotonic() > end:
                told = [f"{run.name} {run.state} {run.attempt} {run.queued_for} {run.reason}" for run in self.runs()]
                logs = [machine.serve_log[-3_000:] for machine in self.machines]
                raise AssertionError("\n".join([f"in {limit_s:.0f} s never: {what}", *told, *logs]))
            time.sleep(0.05)  # each look asks the database


@contextmanager
def a_fleet(folder: Path, server: Server | None, book: Any, *, settings: str = "") -> Iterator[Fleet]:
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator.in_thread(script(says()), book=book))
        fleet = Fleet(folder, server, simulator, settings=settings)
        stack.callback(fleet.end)
        yield fleet


def overlapping(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sessions in which a second agent began while an earlier one still wrote into the diary."""
    found = []
    for session in {line["session"] for line in lines}:
        own = [line for line in lines if line["session"] == session]
        begun = [line for line in own if line["what"] == "start"]
        for earlier, later in pairwise(begun):
            last = max(line["at"] for line in own if line["pid"] == earlier["pid"])
            if last > later["at"]:
                found.append(session)
    return found


class Relay:
    """A line to the database that can be cut, so that nothing arrives any more and nobody is told."""

    def __init__(self, path: Path, target: Path) -> None:
        self.folder = path
        path.mkdir(mode=0o755)
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path / ".s.PGSQL.5432"))
        self._listener.listen(100)
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._target))
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65_536):
                self._open.wait()
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


def _is_alive(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
