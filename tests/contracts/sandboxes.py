"""What the contract of sandboxes needs: a run's folders, programs to confine, and a look at what is left alive."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from crewcap.workspaces import SANDBOXES, Child, Confined, Layout, Limits, Mount, Rung, Sandbox
from crewcap.workspaces.sandbox.uids import is_root, lease

T = TypeVar("T")
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a confined command ended."""

    status: int
    out: bytes
    stderr: str
    limit_hit: str
    enforced: tuple[str, ...]

    @property
    def stdout(self) -> str:
        """Its output as text."""
        return self.out.decode("utf-8", "replace")

    def said(self) -> Any:
        """Its output as JSON."""
        assert self.status == 0, self
        return json.loads(self.stdout)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A run's folders and the sandbox around them."""

    sandbox: Sandbox
    layout: Layout
    uid: int
    root: Path
    objects: Path

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def command(self, *argv: str, environ: Mapping[str, str] | None = None, **other: Any) -> Confined:
        """A command with the run's own things."""
        mounts = (
            Mount(source=self.workspace, target=self.layout.workspace, writable=True),
            Mount(source=self.home, target=self.layout.home, writable=True),
            Mount(source=self.objects, target=self.layout.objects),
        )
        variables = {"HOME": self.layout.home, **(environ or {})}
        return Confined(argv=argv, environ=variables, cwd=self.layout.workspace, mounts=mounts, **other)

    def python(self, program: str, *argv: str, **other: Any) -> Confined:
        """A Python program of a test's."""
        return self.command(PYTHON, "-I", "-c", program, *argv, **other)

    async def start(self, command: Confined) -> Child:
        """Start it."""
        return await self.sandbox.start(command, uid=self.uid)

    async def see_through(self, command: Confined, *, stdin: bytes = b"") -> Outcome:
        """Start it and wait for its end."""
        child = await self.start(command)
        assert child.stdin is not None
        child.stdin.write(stdin)
        child.stdin.close()
        out, err = await asyncio.gather(child.stdout.read(), child.stderr.read())
        status = await child.wait()
        return Outcome(
            status=status,
            out=out,
            stderr=err.decode("utf-8", "replace"),
            limit_hit=child.limit_hit,
            enforced=child.enforced,
        )

    def perform(self, command: Confined, *, stdin: bytes = b"") -> Outcome:
        """The same, for tests that do nothing meanwhile."""
        return within(lambda: self.see_through(command, stdin=stdin))

    def plain(self, *argv: str, **other: Any) -> Outcome:
        """A command and its end."""
        return self.perform(self.command(*argv, **other))

    def probe(self, program: str, *argv: str, **other: Any) -> Any:
        """What a Python program inside prints as JSON."""
        return self.perform(self.python(program, *argv, **other)).said()


@contextlib.contextmanager
def ground(rung: Rung, *, closed: bool | None = None) -> Iterator[Ground]:
    """Folders of a run. They lie below a 0700 folder wherever the rung can live with that, as a state directory is."""
    sandbox = SANDBOXES[rung]()
    below = Path(tempfile.mkdtemp(prefix="crewcap-test-"))
    if (rung != "bubblewrap" and is_root()) if closed is None else not closed:
        below.chmod(0o711)
    held = lease(below / "uids")
    try:
        root = below / "runs" / "one"
        made = Ground(sandbox=sandbox, layout=_layout(sandbox, root), uid=held.uid, root=root, objects=root / "objects")
        for folder in (made.workspace, made.home, made.objects):
            folder.mkdir(parents=True)
        made = replace(made, layout=_layout(sandbox, root))
        sandbox.prepare(uid=held.uid, owned=(made.workspace, made.home))
        yield made
    finally:
        held.release()
        shutil.rmtree(below, ignore_errors=True)


def _layout(sandbox: Sandbox, root: Path) -> Layout:
    places = {name: root / name for name in ("workspace", "home", "objects")}
    return sandbox.layout(**places, binary=Path("/usr/bin/env"))


def within(work: Callable[[], Awaitable[T]], *, limit_s: float = 30) -> T:
    """Run it on an event loop of this thread, with a limit."""

    async def bounded() -> T:
        return await asyncio.wait_for(work(), limit_s)

    return asyncio.run(bounded())


class Family:
    """Everything that descends from this process: orphans fall to us, so nothing can leave unseen."""

    def __init__(self) -> None:
        self._before = set(_descendants())

    def alive(self) -> list[str]:
        """Command lines of what lives now and did not before."""
        return [_command_line(pid) for pid in _descendants() if pid not in self._before]

    def wait_until(self, number: int, limit_s: float = 10) -> None:
        """Until so many live."""
        end = time.monotonic() + limit_s
        while len(self.alive()) < number:
            assert time.monotonic() < end, self.alive()
            time.sleep(0.001)

    def alive_after(self, limit_s: float) -> list[str]:
        """What still lives when the time is up; returns as soon as nothing does."""
        end = time.monotonic() + limit_s
        while (left := self.alive()) and time.monotonic() < end:
            time.sleep(0.005)
        return left

    def end(self) -> None:
        """Leave nothing to the next test."""
        for pid in _descendants():
            if pid not in self._before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.alive_after(5)
        for pid in set(_descendants(dead=True)) - self._before:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def family() -> Iterator[Family]:
    """Adopt orphans for a while."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    members = Family()
    try:
        yield members
    finally:
        members.end()
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _descendants(*, dead: bool = False) -> list[int]:
    children: dict[int, list[int]] = {}
    states: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
                states[int(entry.name)] = fields[0]
    found, queue = [], [os.getpid()]
    while queue:
        members = children.get(queue.pop(), [])
        found += members
        queue += members
    return [pid for pid in found if (states[pid] in "ZX") == dead]


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (
            f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:200]
        )
    return str(pid)


# --- programs that a test confines --------------------------------------------------------------------------------

ZOO = """
import os, signal, subprocess, sys, time
def beast(*habits):
    if os.fork() == 0:
        for habit in habits: habit()
        while True: time.sleep(60)
def ignore():
    for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT): signal.signal(n, signal.SIG_IGN)
def again():
    if os.fork(): os._exit(0)
def quiet():
    null = os.open("/dev/null", os.O_RDWR)
    for n in (0, 1, 2): os.dup2(null, n)
def busy():
    while True: pass
beast(quiet)
beast(quiet, os.setsid)
beast(quiet, os.setsid, again)
beast(quiet, again, os.setsid, again, ignore)
beast(quiet, ignore)
beast(quiet, os.setsid, ignore, lambda: os.kill(os.getpid(), signal.SIGSTOP))
beast(quiet, os.setsid, busy)
subprocess.Popen(["nohup", "sleep", "1000"], stdin=-3, stdout=-3, stderr=-3, start_new_session=True)
print("ready", flush=True)
if sys.argv[1] == "leave": os._exit(0)
ignore()
while True: time.sleep(60)
"""

DRIVER = """
import asyncio, sys
from pathlib import Path
from crewcap.workspaces import Confined, Mount, SANDBOXES
rung, uid, python, workspace, home, inside, program = sys.argv[1:]
async def main():
    command = Confined(argv=(python, "-I", "-c", program, "stay"), environ={}, cwd=inside, mounts=(
        Mount(source=Path(workspace), target=inside, writable=True),))
    sandbox = SANDBOXES[rung]()
    sandbox.missing()
    print("starting", flush=True)
    child = await sandbox.start(command, uid=int(uid))
    print((await child.stdout.readline()).decode(), flush=True)
    await child.wait()
asyncio.run(main())
"""


def missing(rung: Rung) -> str:
    """Why a rung cannot be tried here; empty = it can."""
    return SANDBOXES[rung]().missing()


def limits(**amounts: int) -> Limits:
    """Limits that differ from the usual ones."""
    return Limits(**amounts)
