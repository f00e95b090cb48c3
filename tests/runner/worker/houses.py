"""Houses on one PostgreSQL, and a queue between them, for tests of what workers decide: no process, no agent at work.

The queue keeps the engine's promises (an attempt exists once, what failed may be asked for again) and nothing more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.contracts.sandboxes import PYTHON
from tests.stores.postgres_server import Server
from tests.workspaces.repos import make_repository

from crewcap.app import App
from crewcap.core.money import Money
from crewcap.core.runs import Issue, Run, RunId, RunState
from crewcap.home import Home
from crewcap.runner.worker.engine import VERSION, Unfinished

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Queue:
    """What is asked for, as every worker of one store sees it; `worker` is who asks here."""

    attempts: dict[tuple[str, int], Unfinished] = field(default_factory=dict)
    jobs: list[tuple[str, str]] = field(default_factory=list)
    version: str = VERSION
    on_enqueue: Callable[[RunId, int], None] = lambda _run, _attempt: None

    async def enqueue(self, run: RunId, attempt: int, *, place: str = "") -> None:
        self.on_enqueue(run, attempt)
        found = Unfinished(run=run, attempt=attempt, executor="", version=self.version, state="enqueued", place=place)
        self.attempts.setdefault((run, attempt), found)

    async def enqueue_job(self, name: str, key: str) -> None:
        if (name, key) not in self.jobs:
            self.jobs.append((name, key))

    async def cancel(self, run: RunId, attempt: int) -> None:
        self.attempts.pop((run, attempt), None)

    async def unfinished(self) -> Sequence[Unfinished]:
        return tuple(self.attempts.values())

    async def take_up_jobs(self, alive: Collection[str]) -> int:
        del alive
        return 0

    def taken_by(self, run: Run, worker: str) -> None:
        """A worker has it now."""
        found = self.attempts[run.id, run.attempt]
        self.attempts[run.id, run.attempt] = replace(found, executor=worker, state="pending")


class Clock:
    """A clock of a test's own."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **span: float) -> None:
        self.at += timedelta(**span)


class Street:
    """Houses that share a database and a repository."""

    def __init__(self, folder: Path, server: Server | None, *, settings: str = "") -> None:
        self.folder = folder
        self.url = server.migrated() if server else ""
        self.user = make_repository(folder / "shop")
        self._settings = settings
        self._apps: list[App] = []
        self._agent = folder / "claude"
        self._agent.write_text(f"#!/usr/bin/env -S {PYTHON} -I -S\nprint('2.1.330 (Claude Code)')\n")
        self._agent.chmod(0o755)

    def house(self, name: str, clock: Clock | None = None) -> App:
        config = self.folder / f"{name}.toml"
        store = f'[store]\nurl = "{self.url}"' if self.url else ""
        config.write_text(f"""
{store}
[providers.anthropic]
key = {{ env = "ANTHROPIC_API_KEY" }}
[defaults]
sandbox = "unconfined"
agent_path = {{ claude = "{self._agent}" }}
[repos.shop]
url = "{self.user}"
{self._settings}
""")
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "ANTHROPIC_API_KEY": "sk-ant-fake-key"}
        app = App(home=Home(self.folder / name), config_path=config, environ=environ, clock=clock or Clock())
        self._apps.append(app)
        return app

    def end(self) -> None:
        for app in self._apps:
            app.close()


def queued(house: App, number: int, **fields: Any) -> Run:
    """A run that waits to be let in."""
    run = Run(
        id=RunId(f"01run{number:015d}"),
        name=f"issue-{number}",
        issue=Issue(tracker="files", key=f"issue-{number}", title="t", body="b"),
        state=RunState.QUEUED,
        repo="shop",
        repo_path="shop",
        agent="claude",
        agent_version="2.1.330",
        model="claude-sonnet-5",
        because="default",
        cap=Money.usd(1),
        cap_because="default",
        sandbox="unconfined",
        session=f"session-{number}",
        created_at=house.clock(),
        queued_at=house.clock(),
        scopes=(f"issue:files/issue-{number}", "repo:shop", "all"),
        hosted=True,
        trigger=f"test:{number}",
    )
    return house.runs.create(replace(run, **fields))
