"""What the tests of the engine share: an engine in this process, and workers in processes of their own."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from crewcap.core.runs import RunId
from crewcap.runner.worker.engine import STEPS, Engine, Perform

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 30.0


def after(step: str) -> str:
    """The step that follows where nothing goes wrong."""
    return (*STEPS, "")[STEPS.index(step) + 1]


class Floor:
    """What is performed: written down, and done as the test says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str]] = []
        self.jobs: list[tuple[str, str]] = []
        self.threads: set[int] = set()
        self.cleaned: list[str] = []
        self.held = asyncio.Event()  # a step is held
        self.hold = ""  # the step that is never done
        self.instead: Callable[[str, int, str], str] = lambda _run, _attempt, step: after(step)
        self.in_job: Callable[[str], None] = lambda _key: None
        self._changed = asyncio.Condition()

    async def perform(self, run: RunId, attempt: int, step: str) -> str:
        self.threads.add(threading.get_ident())
        self.seen.append((run, attempt, step))
        async with self._changed:
            self._changed.notify_all()
        if step == self.hold:
            self.held.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cleaned.append(f"{run}:{attempt}")
        return self.instead(run, attempt, step)

    async def job(self, name: str, key: str) -> None:
        self.jobs.append((name, key))
        async with self._changed:
            self._changed.notify_all()
        self.in_job(key)

    async def until(self, said: Callable[[], bool]) -> None:
        """Wait for what `perform` or `job` was called with."""
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(said)

    def steps(self, run: str, attempt: int = 1) -> list[str]:
        return [step for of, count, step in self.seen if (of, count) == (run, attempt)]


@asynccontextmanager
async def working(store: str, floor: Floor, *, perform: Perform | None = None, runs: int = 8) -> AsyncIterator[Engine]:
    engine = Engine(
        store=store,
        executor="local",
        perform=perform or floor.perform,
        job=floor.job,
        runs_at_once=runs,
        jobs_at_once=2,
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(within_s=5.0)


async def over(engine: Engine) -> None:
    """Wait until nothing waits and nothing is under way."""
    await states(engine, [])


async def states(engine: Engine, wanted: list[str]) -> None:
    """Wait until the engine holds so many attempts, in these states."""
    async with asyncio.timeout(LIMIT_S):
        while sorted(each.state for each in await engine.unfinished()) != wanted:  # noqa: ASYNC110  (another's store)
            await asyncio.sleep(0.02)


def rows(store: str, statement: str, *values: Any) -> list[Any]:
    """Look into the engine's file, or change it as no engine would."""
    with closing(sqlite3.connect(store)) as db, db:
        return db.execute(statement, values).fetchall()


class Worker:
    """A worker in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], journal: Path) -> None:
        self.process = process
        self._journal = journal

    def ask(self, name: str, *given: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *given]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.said())

    def said(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read())
        return line.strip()

    def journal(self) -> list[tuple[str, str, str, str]]:
        """(executor, run, attempt, step) of every step that began, by whichever worker of the journal."""
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        return [(executor, run, attempt, step) for executor, run, attempt, step in map(str.split, lines)]

    def until(self, said: Callable[[Self], bool]) -> None:
        """Ask again until it is so; a limit ends the worker, and with it the wait."""
        guard = threading.Timer(LIMIT_S, self.process.kill)
        guard.start()
        try:
            while not said(self):
                self.ask("unfinished")  # takes its time, and fails when the worker has ended
        finally:
            guard.cancel()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)

    def end(self) -> str:
        """End in order; what was said on stderr."""
        return self.process.communicate(timeout=LIMIT_S)[1]


@contextmanager
def worker(store: str, journal: Path, *, executor: str = "local", hold: str = "") -> Iterator[Worker]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runner.worker.engine_process", store, executor, str(journal), hold],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Worker(process, journal)
    finally:
        process.kill()
        process.wait(LIMIT_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
