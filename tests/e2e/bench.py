"""What every test here stands on: a user's repository, a provider that follows a script, and the real commands.

Nothing is replaced: `crewcap` runs as its own process with its own gateway, the agent is the real Claude Code in a
real sandbox, git is git. Only the provider is scripted, and it bills on a meter of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from crewcap.agents.claude_code import ClaudeCode
from crewcap.agents.find import find
from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Run
from crewcap.home import Home
from crewcap.simulator.server import Simulator
from crewcap.stores import LoggedEvent, Totals
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns

MODEL = "claude-sonnet-5-5"
CHECK = "python3 -m unittest discover -s tests"
PROVIDER_KEY = "sk-ant-fake-canary-0a1b2c3d4e5f6789"
ISSUE = "issues/fix-login.md"
LIMIT_S = 60
SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str
    seconds: float


@dataclass(kw_only=True)
class Going:
    """A command that was started; it never outlives its test."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, limit_s: float = LIMIT_S) -> Done:
        """Wait for its end."""
        try:
            status = self.process.wait(limit_s)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in (self.out, self.err))
        return Done(status=status, out=out, err=err, seconds=time.monotonic() - self.began)


@dataclass(kw_only=True)
class Bench:
    """A user's machine: a home folder, a repository named shop, settings, and the provider."""

    root: Path
    simulator: Simulator
    _started: list[Going] = field(default_factory=list)

    @property
    def shop(self) -> Path:
        return self.root / "shop"

    @property
    def home(self) -> Home:
        return Home(self.root / "state")

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    def set_up(self) -> None:
        """The demo's project as a repository of the user's, and a settings file."""
        shutil.copytree(str(resources.files("crewcap.demo") / "project"), self.shop, ignore=_CACHES)
        self.git("init", "--quiet", "-b", "main")
        self.commit("start")
        self.configure()

    def configure(self, **tables: str) -> None:
        """Write the settings, with more lines in some of the tables (`repo` is the shop's)."""
        lines = {"provider": "", "repo": "", "defaults": "", "gateway": "", "more": "", **tables}
        check = "" if "check" in lines["repo"] else f'check = "{CHECK}"'
        self.config.write_text(
            f"""
[providers.anthropic]
key = {{ env = "ANTHROPIC_API_KEY" }}
base_url = "{self.simulator.url}"
prices = "anthropic"
{lines["provider"]}
[defaults]
model = "{MODEL}"
{lines["defaults"]}
[gateway]
{lines["gateway"]}
[repos.shop]
url = "{self.shop}"
{check}
{lines["repo"]}
{lines["more"]}
""",
            encoding="utf-8",
        )

    # the user's own commands

    def git(self, *words: str) -> str:
        """Git as the user runs it."""
        identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.invalid")
        done = subprocess.run(
            ("git", *identity, *words), cwd=self.shop, env=self.environ(), check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)

    def environ(self, key: str = PROVIDER_KEY) -> dict[str, str]:
        """A user's environment."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "ANTHROPIC_API_KEY": key,
        }

    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> Going:
        """Start a crewcap command in the repository."""
        command = [sys.executable, "-m", "crewcap", "--home", str(self.home.root), "--config", str(self.config)]
        return self._start([*command, *words], environ or {})

    def _start(self, command: list[str], environ: Mapping[str, str]) -> Going:
        number = len(self._started)
        out, err = self.root / f"out-{number}", self.root / f"err-{number}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                cwd=self.shop,
                env={**self.environ(), **environ},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        going = Going(process=process, out=out, err=err)
        self._started.append(going)
        return going

    def crewcap(self, *words: str) -> Done:
        """A crewcap command from its start to its end."""
        done = self.start(*words).end()
        self.simulator.idle_in_thread(LIMIT_S)
        return done

    def agent(self) -> str:
        """Claude Code's program."""
        return find(ClaudeCode(), path=os.environ["PATH"]).path

    def bare(self, *words: str) -> Done:
        """Claude Code as it is, in the repository, without anything of ours."""
        home = self.root / "bare"
        home.mkdir()
        environ = {
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": self.simulator.url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",  # else it refuses this permission mode to root
        }
        agent = [self.agent(), "--permission-mode", "bypassPermissions", "--model", MODEL]
        done = self._start([*agent, "--tools", "Bash,Edit,Read,Agent", *words], environ).end()
        self.simulator.idle_in_thread(LIMIT_S)
        return done

    def clean_up(self) -> None:
        """End what a test left, and the gateway that it may have left in turn."""
        for going in self._started:
            if going.process.poll() is None:
                going.process.kill()
                going.process.wait()
        until(lambda: not self.gateways(), "the gateway is gone")
        for log in sorted(self.home.logs.glob("*")):
            print(log.read_text(encoding="utf-8", errors="replace"))  # noqa: T201  (shown where a test failed)

    # what came of it

    def gateways(self) -> list[int]:
        """Gateways of this home that are alive."""
        mark = os.fsencode(self.home.root)
        return [process.pid for process in processes() if b"gateway" in process.words and mark in process.words]

    @contextmanager
    def runs(self) -> Iterator[SqliteRuns]:
        """The store of runs."""
        store = SqliteRuns(self.home, clock=utc_now)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        """The books."""
        books = SqliteLedger(self.home, clock=utc_now, monotonic=time.monotonic, zone="UTC")
        try:
            yield books
        finally:
            books.close()

    def run(self, name: str = "") -> Run:
        """A run as it is stored; the latest one."""
        with self.runs() as store:
            (found,) = store.find(name)
            return found

    def story(self) -> list[LoggedEvent]:
        """Everything that was written down of the latest run."""
        with self.runs() as store:
            return list(store.story(store.find("")[0].id))

    def totals(self) -> Totals:
        """What the ledger counts over everything."""
        with self.ledger() as books:
            return books.totals(Scope("all"))

    def charged(self) -> Money:
        """What the ledger counts as gone: spent and uncertain."""
        totals = self.totals()
        return totals.spent + totals.uncertain

    def metered(self) -> Money:
        """What the provider will bill."""
        return self.simulator.meter.total()

    def wait_for_answer(self, number: int) -> None:
        """Wait until so many answers have begun; the provider bills them before their first byte."""
        until(lambda: len(self.simulator.meter.bills) >= number, f"answer {number} began")

    def verify(self) -> tuple[str, ...]:
        """What is wrong with the books."""
        with self.ledger() as books:
            return books.verify().problems

    def steps(self) -> list[str]:
        """Steps of the script that were asked for, in order."""
        return [record.step for record in self.simulator.log.messages()]

    def branches(self) -> list[str]:
        """Branches of the user's repository."""
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()


def utc_now() -> datetime:
    return datetime.now(UTC)


def until(is_so: Callable[[], object], what: str, *, limit_s: float = LIMIT_S) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end, f"in {limit_s:.0f} s never: {what}"
        time.sleep(0.02)


@dataclass(frozen=True, kw_only=True)
class Process:
    """A living process, told apart from later ones of its number by its start."""

    pid: int
    parent: int
    started: str
    namespace: str  # of processes; empty where it cannot be told
    words: tuple[bytes, ...] = ()


def processes() -> list[Process]:
    """Everything that runs and that we can see."""
    return [found for path in Path("/proc").iterdir() if path.name.isdigit() and (found := _read(path)) is not None]


def family(pid: int) -> list[Process]:
    """A process and everything that descends from it."""
    everything = processes()
    found = [process for process in everything if process.pid == pid]
    for member in found:
        found += [process for process in everything if process.parent == member.pid]
    return found


def survivors(before: list[Process]) -> list[Process]:
    """Who of these is still there, or anybody else in the sandboxes that they were in."""
    own = _namespace(Path("/proc/self"))
    inside = {process.namespace for process in before} - {own, ""}
    known = {(process.pid, process.started) for process in before}
    return [one for one in processes() if (one.pid, one.started) in known or one.namespace in inside]


def _read(path: Path) -> Process | None:
    try:
        fields = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
        words = tuple((path / "cmdline").read_bytes().split(b"\0"))
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    return Process(
        pid=int(path.name), parent=int(fields[1]), started=fields[19], namespace=_namespace(path), words=words
    )


def _namespace(path: Path) -> str:
    try:
        return str((path / "ns" / "pid").readlink())
    except OSError:
        return ""


_CACHES = shutil.ignore_patterns("__pycache__")
