"""Processes under test: started on a port of ours, measured with all their children, ended by their id.

CPU is user and system time of the whole tree, from the kernel's own clock of each process (nanoseconds, ended threads
included). Memory is what is resident.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_LIMIT_S = 120


class NotRunning(Exception):
    """A process did not come up; the message is for a cell of a table."""


class Process:
    """One started program that answers HTTP on `port`."""

    def __init__(self, command: Sequence[str], *, port: int, environ: Mapping[str, str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self._command = list(command)
        self._environ = {**os.environ, **environ}
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *, path: str) -> float:
        """Start it and wait until it answers `path`; seconds that this took."""
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environ, cwd=self._log.parent
            )
        while not answers(self.port, path):
            if self._child.poll() is not None:
                raise NotRunning(f"it ended with status {self._child.returncode}: {last_line(self._log)}")
            if time.monotonic() - began > START_LIMIT_S:
                self.stop()
                raise NotRunning(f"no answer within {START_LIMIT_S} s")
            time.sleep(0.005)
        return time.monotonic() - began

    def stop(self) -> None:
        """Ask it to end, then insist."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """`kill -9`, and wait for the end."""
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._child is None:
            raise NotRunning("it was not started")
        return self._child.pid

    def cpu_s(self) -> float:
        """User and system time of it and its children so far."""
        return sum(_cpu_ns(pid) for pid in _tree(self.pid)) / 1e9

    def rss_mb(self) -> float:
        """Resident memory of it and its children."""
        return sum(_rss_kb(pid) for pid in _tree(self.pid)) / 1_024


@contextmanager
def running(process: Process, *, path: str) -> Iterator[Process]:
    """The process, started, and ended afterwards."""
    try:
        process.start(path=path)
        yield process
    finally:
        process.stop()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, path: str) -> bool:
    """Whether something there answers a GET of `path` with anything but a server error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def last_line(log: Path) -> str:
    """The end of a log, for a message."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "(it said nothing)"


def _tree(root: int) -> list[int]:
    """A process and everything below it."""
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children[parent].append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def _cpu_ns(pid: int) -> int:
    try:
        return time.clock_gettime_ns(~pid << 3 | 2)  # clock_getcpuclockid(3), which Python does not offer
    except OSError:
        return 0


def _rss_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
