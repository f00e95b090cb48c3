"""A provider with batch APIs, a home, and a kennel of gateways that die when they are told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.gateway.batch.jobs import Desk

from crewcap.prices import Book
from crewcap.simulator.batch import BatchScript
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator

ANSWERS = Script(name="batch", steps=(Step(name="yes", say="Reviewed: {{task}}", output_tokens=120),))


@pytest.fixture
def simulator(book: Book) -> Iterator[Simulator]:
    with Simulator.in_thread(ANSWERS, book=book, batches=BatchScript(polls=2)) as simulator:
        yield simulator


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    found = Desk.open(tmp_path / "home")
    yield found
    found.ledger.close()


@dataclass
class Kennel:
    """Forks gateways."""

    process: subprocess.Popen[str]

    def begin(self, desk: Desk, simulator: Simulator, step: str = "", passes: int = 1) -> int:
        """A gateway that goes on with every batch; its process."""
        assert self.process.stdin is not None
        wish = {"home": str(desk.home.root), "url": simulator.url, "step": step, "passes": passes}
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        return int(self._line()["child"])

    def end(self) -> int:
        """How it ended."""
        return self._line()["status"]

    def run(self, desk: Desk, simulator: Simulator, step: str = "", passes: int = 1) -> bool:
        """One whole life; whether it was killed at its step."""
        self.begin(desk, simulator, step, passes)
        status = self.end()
        assert status in {0, -signal.SIGKILL}
        return status != 0

    def _line(self) -> dict[str, int]:
        assert self.process.stdout is not None
        said: dict[str, int] = json.loads(self.process.stdout.readline())
        return said


@pytest.fixture(scope="session")
def kennel() -> Iterator[Kennel]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.batch.dying"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ},
    ) as process:
        yield Kennel(process)
        assert process.stdin is not None
        process.stdin.close()
