"""What a night happens to: a repository with issues, a home, the real `crewcap serve`, and somebody who watches.

Everything is the product's own but the provider, which is scripted and bills on a meter of its own, and the agent,
which is `night_agent.py` in the place of Claude Code. The provider's key is another one in each town, so that its
meter tells them apart.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import crewcap
from crewcap.app import App
from crewcap.core.money import Money
from crewcap.core.runs import Run
from crewcap.home import Home
from crewcap.runner import entry, jobs
from crewcap.runner.plan import Asked
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns
from crewcap.trackers.files import Files
from crewcap.workspaces.sandbox.ladder import choose
from torture.night_processes import Member, pids, start_of, words_of

MODEL = "claude-sonnet-5-5"
HERE = Path(__file__).parent
PRODUCT = tuple(Path(path).parent for path in crewcap.__path__)  # the one that we ourselves know
START_LIMIT_S = 60.0
DRAIN_S = 6
LOOK_S = 0.05
INTERPRETER = "/usr/bin/python3"
_SAYS = "I look at it, and then I change what is to be changed. "
SCRIPT = Script(name="night", steps=(Step(name="answer", say=_SAYS * 4, output_tokens=200, events=6, pace_ms=25),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """A death that came."""

    at: float  # monotonic
    victims: tuple[Member, ...]
    family: tuple[Member, ...]  # victims, and who lived by them


@dataclass(kw_only=True)
class Town:
    """One home with what belongs to it."""

    root: Path
    simulator: Simulator
    key: str = field(default_factory=lambda: f"sk-ant-fake-{secrets.token_hex(12)}")
    serve: subprocess.Popen[bytes] | None = None
    starts: int = 0
    _app: App | None = None

    def set_up(self, issues: int) -> None:
        """The repository, its issues, the agent and the settings."""
        self.shop.mkdir(parents=True)
        self.fate.mkdir()
        (self.root / "tmp").mkdir()
        for number in range(issues):
            path = self.issue(number)
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"# Mend thing {number}\n\nIt is broken in {number} places.\n", "utf-8")
        self.git("init", "--quiet", "-b", "main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "start")
        agent = (HERE / "night_agent.py").read_text("utf-8")
        self.agent.write_text(f"#!{INTERPRETER} -IS\n{agent}", "utf-8")
        self.agent.chmod(0o755)
        self.config.write_text(self._settings(), "utf-8")

    def _settings(self) -> str:
        return f"""
[providers.anthropic]
key = {{ env = "ANTHROPIC_API_KEY" }}
base_url = "{self.simulator.url}"
prices = "anthropic"
[defaults]
model = "{MODEL}"
cap = "1.00"
agent_path = {{ claude = "{self.agent}" }}
[slots]
all = 5
repo = 5
[serve]
listen = "127.0.0.1:0"
drain = "{DRAIN_S}s"
[repos.shop]
url = "{self.shop}"
check = "ls"
"""

    # places

    @property
    def shop(self) -> Path:
        """The user's repository."""
        return self.root / "shop"

    @property
    def home(self) -> Home:
        """The state directory."""
        return Home(self.root / "state")

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.root / "config.toml"

    @property
    def agent(self) -> Path:
        """The agent's program."""
        return self.root / "agent"

    @property
    def fate(self) -> Path:
        """What the processes look into, to know where to die."""
        return self.root / "fate"

    def issue(self, number: int) -> Path:
        """An issue's file."""
        return self.shop / "issues" / f"thing-{number}.md"

    # the product's own commands

    def environ(self) -> dict[str, str]:
        """A user's environment, in which the product passes the night's points."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "ANTHROPIC_API_KEY": self.key,
            "PYTHONPATH": os.pathsep.join((str(HERE / "night_site"), *map(str, PRODUCT))),
            "TMPDIR": str(self.root / "tmp"),
            "CREWCAP_DIE_AT": str(self.fate),
        }

    def command(self, *words: str) -> list[str]:
        """A command of ours on this home."""
        return [sys.executable, "-m", "crewcap", "--home", str(self.home.root), "--config", str(self.config), *words]

    def start(self) -> None:
        """Start `crewcap serve`, without waiting for it."""
        self.starts += 1
        with (self.root / "serve.log").open("ab") as said:
            self.serve = subprocess.Popen(
                self.command("serve", "--verbose"),
                cwd=self.shop,
                env=self.environ(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Wait until it has a gateway and a worker; whether it came so far before it ended."""
        return self.until(lambda: self.is_ready() or self._has_ended(), START_LIMIT_S) and self.is_ready()

    def is_ready(self) -> bool:
        """Whether it takes runs."""
        said = self.note()
        is_ours = self.serve is not None and said.get("pid") == self.serve.pid and self.serve.poll() is None
        return is_ours and bool(said.get("url")) and bool(said.get("worker_pid"))

    def _has_ended(self) -> bool:
        return self.serve is None or self.serve.poll() is not None

    def end(self, number: signal.Signals, limit_s: float) -> int | None:
        """End it by a signal to itself; its exit status, None where it did not end in time."""
        assert self.serve is not None
        with suppress(ProcessLookupError):
            self.serve.send_signal(number)
        try:
            return self.serve.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End the supervisor at once, and see that it is gone."""
        if self.serve is not None:
            self.serve.kill()
            self.serve.wait()

    def perform(self, *words: str, limit_s: float = 60) -> subprocess.CompletedProcess[str]:
        """A command from its start to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=self.shop,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def hand_over(self, number: int, *, cap: str = "") -> Run:
        """What `crewcap run ISSUE` does where a serve is alive, without a process for each."""
        tracker = Files(self.shop)
        issue = tracker.read(str(self.issue(number)))
        asked = Asked(login="ana", cap=Money.usd(cap) if cap else None)
        job = jobs.prepare(self.app, issue, tracker, asked, repo=str(self.shop))
        sandbox = choose(job.plan.sandbox, state=self.home.root)  # type: ignore[arg-type]  # settings checked it
        order = jobs.make_order(self.app, job, sandbox, tell=lambda _: None, keys={})
        return entry.write_down(order, job.plan, job.found, hosted=True)

    @property
    def app(self) -> App:
        """The product as a command has it; without the provider's key."""
        if self._app is None:
            environ = {**self.environ(), "ANTHROPIC_API_KEY": "set"}
            self._app = App(home=self.home, config_path=self.config, environ=environ, clock=utc_now)
        return self._app

    @property
    def runs(self) -> SqliteRuns:
        """Runs."""
        found = self.app.runs
        assert isinstance(found, SqliteRuns)
        return found

    @property
    def ledger(self) -> SqliteLedger:
        """The books."""
        found = self.app.ledger
        assert isinstance(found, SqliteLedger)
        return found

    # deaths

    def note(self) -> dict[str, Any]:
        """What the serve says of itself."""
        try:
            return dict(json.loads(self.home.serve_note.read_text("utf-8")))
        except (OSError, ValueError):
            return {}

    def arm(self, point: str, *, passes: int, victims: Sequence[str], own: str = "") -> None:
        """Whoever passes this point for the n-th time from now kills the victims, of whom it is `own`, perhaps."""
        (self.fate / "struck").unlink(missing_ok=True)
        orders = {
            "id": secrets.token_hex(4),
            "point": point,
            "passes": passes,
            "victims": ["self" if who == own else who for who in victims],  # it may have no name yet
            "note": str(self.home.serve_note),
        }
        fresh = self.fate / "armed.new"
        fresh.write_text(json.dumps(orders), "utf-8")
        fresh.rename(self.fate / "armed")

    def disarm(self) -> None:
        """Nobody dies there any more."""
        (self.fate / "armed").unlink(missing_ok=True)

    def struck(self) -> Struck | None:
        """What came of it."""
        try:
            said = json.loads((self.fate / "struck").read_text("utf-8"))
        except FileNotFoundError:
            return None
        return Struck(
            at=said["at"],
            victims=tuple(Member(pid, started) for pid, started in said["victims"]),
            family=tuple(Member(pid, started) for pid, started in said["family"]),
        )

    def until(self, is_so: Callable[[], object], limit_s: float) -> bool:
        """Wait for what other processes do; whether it came in time."""
        end = time.monotonic() + limit_s
        while not is_so():
            if time.monotonic() > end:
                return False
            time.sleep(LOOK_S)
        return True

    def close(self) -> None:
        """Leave nothing open and nobody alive."""
        self.kill()
        for member in self.everybody():
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
        if self._app is not None:
            self._app.close()

    def everybody(self) -> list[Member]:
        """Whoever has this town's folder in its words, but for ourselves."""
        mark = os.fsencode(self.root) + b"/"
        found = [Member(pid, start_of(pid)) for pid in pids() if pid != os.getpid() and mark in words_of(pid)]
        return [member for member in found if member.started]

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.invalid")
        done = subprocess.run(
            ("git", *identity, *words), cwd=self.shop, env=self.environ(), check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def branches(self) -> list[str]:
        """Branches of the user's repository that are ours."""
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/crewcap").splitlines()


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
