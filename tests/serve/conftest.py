"""A supervisor in a process of its own, with children that are quick to start and write down what they are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crewcap.home import Home
from crewcap.runner.ownership import start_time

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT_S = 30


def until(is_so: Callable[[], Any], what: str) -> Any:
    """Wait for it, with a limit; what it answered."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := is_so()):
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
    return found


def is_alive(pid: int) -> bool:
    return bool(start_time(pid))


class Served:
    """A folder, the supervisor in it, and what its children wrote down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        self.process: subprocess.Popen[str] | None = None
        self.said: dict[str, Any] = {}
        self.seen: set[int] = set()

    def start(self, *words: str, environ: dict[str, str] | None = None) -> Served:
        """Start it; `said` is its first line, empty where it did not start."""
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "supervised.py"), str(self.folder), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], **(environ or {})},
        )
        assert self.process.stdout is not None
        self.said = json.loads(self.process.stdout.readline() or "{}")
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it wrote on stderr."""
        assert self.process is not None
        _, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, err

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def diary(self, name: str, word: str = "") -> list[dict[str, Any]]:
        """What a child wrote down: all of it, or what has this word."""
        path = self.folder / f"{name}.diary"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.seen |= {line["pid"] for line in lines}
        return [line for line in lines if not word or line["word"] == word]

    def noted(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.home.serve_note.read_text())
        return found

    def clean_up(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=LIMIT_S)
        for name in ("gateway", "worker"):
            self.diary(name)
        for pid in self.seen:
            if b"diary" in _command(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.clean_up()
