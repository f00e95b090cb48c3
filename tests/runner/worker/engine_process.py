"""A worker for tests that kill it: `python -m tests.runner.worker.engine_process STORE EXECUTOR JOURNAL [HOLD]`.

Each step is a line in the journal, written before it is done. The step named HOLD is never done. A line on standard
input is a call (`["enqueue", "run", 1]`), a line on standard output its answer; the first line says that it started.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crewcap.core.runs import RunId
from crewcap.errors import CrewcapError
from crewcap.runner.worker.engine import STEPS, Engine


class Worker:
    """An engine, and what is asked of it."""

    def __init__(self, store: str, executor: str, journal: Path, hold: str) -> None:
        self.engine = Engine(
            store=store, executor=executor, perform=self._perform, job=self._job, runs_at_once=8, jobs_at_once=2
        )
        self._executor = executor
        self._journal = journal
        self._hold = hold

    async def answer(self, name: str, *given: Any) -> Any:
        if name == "listening":
            return _listening()
        if name == "enqueue_all":
            for run in given:
                await self.engine.enqueue(RunId(run), 1)
            return None
        found = await getattr(self.engine, name)(*given)
        return [asdict(each) for each in found] if name == "unfinished" else found

    async def _perform(self, run: RunId, attempt: int, step: str) -> str:
        with self._journal.open("a") as journal:
            journal.write(f"{self._executor} {run} {attempt} {step}\n")
        if step == self._hold:
            await asyncio.Event().wait()
        return (*STEPS, "")[STEPS.index(step) + 1]

    async def _job(self, name: str, key: str) -> None:
        """None is asked for."""


def _listening() -> list[str]:
    """Sockets of the network that this process listens on, over TCP."""
    ours = {link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    rows = [row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/self/net/{kind}").read_text().splitlines()]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in ours]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> int:
    store, executor, journal, *rest = sys.argv[1:]
    worker = Worker(store, executor, Path(journal), rest[0] if rest else "")
    try:
        await worker.engine.start()
    except CrewcapError as error:
        say(f"error: {error.message}; {error.help}")
        return error.exit_status
    say("started")
    while line := await asyncio.to_thread(sys.stdin.readline):
        say(json.dumps(await worker.answer(*json.loads(line))))
    await worker.engine.stop(within_s=5.0)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
