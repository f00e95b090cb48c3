"""A confined process, from the handshake with its launcher to the last process that it left behind.

The launcher (`launcher.py`) gets its order through a memory file and tells us over a socket pair how far it is; the
kernel stamps its messages with its process id as *we* see it, so that we hold the agent's own process, not only the
sandbox's outer one. `begin` returns when the command really runs, or raises with the reason.

A process is over only when everything in it is. With a process namespace that is the end of the namespace's first
process, which the kernel lets go last; without one, the supervisor ends last (see `launcher.py`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewcap.errors import CommandNotExecutable, CommandNotFound, CrewcapError, UnsafeEnvironment
from crewcap.workspaces import Confined, Rung
from crewcap.workspaces.sandbox.cgroups import Cage, make_cage
from crewcap.workspaces.sandbox.limits import Counted, names_enforced, process_limits, tasks_in_namespace, tasks_of
from crewcap.workspaces.sandbox.outer import Allowance, Outer, hold, send, until_gone, until_readable
from crewcap.workspaces.sandbox.register import MARK, Entry, enter, myself, new_mark, start_time, strike, this_machine
from crewcap.workspaces.sandbox.watch import Watch

LAUNCHER = Path(__file__).with_name("launcher.py")
_START_S = 30.0
_GONE_S = 10.0
_ADDRESS_BYTES = 100  # unix socket addresses end at 107
_OF_THE_COMMAND = {b"N": CommandNotFound, b"X": CommandNotExecutable}  # the launcher's letters
_SIGNALLED = range(129, 193)  # 128 + a signal's number, as bubblewrap and shells report it


class Descriptors:
    """Memory files for one start: what is in them never stands on a disk or a command line."""

    def __init__(self) -> None:
        self.open: list[int] = []

    def hold(self, content: bytes) -> int:
        """A descriptor from which the child reads this."""
        descriptor = os.memfd_create("crewcap")
        self.open.append(descriptor)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def close(self) -> None:
        """Let go of our copies."""
        while self.open:
            os.close(self.open.pop())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a rung starts the launcher, and what the launcher shall do there."""

    rung: Rung
    program: Callable[[int], tuple[str, ...]]  # descriptor of the order -> command line
    descriptors: Descriptors = field(default_factory=Descriptors)
    environ: Mapping[str, str]  # what the command finds beside its own variables
    uid: int | None = None  # the user to become; None = stay
    has_namespace: bool = False  # a process namespace, and a network of its own
    counted: Counted
    landlock: Mapping[str, Any] | None = None
    filter: bytes = b""  # of system calls


class ConfinedChild:
    """A command that runs inside; the `Child` of the protocol."""

    def __init__(
        self, outer: Outer, *, command: Confined, plan: Plan, cage: Cage | None, rlimits: Mapping[str, int], mark: str
    ) -> None:
        self.pid = 0  # the command's own, as this machine counts; known after the handshake
        self.limit_hit = ""  # name of the limit that ended it
        self.limits_met: tuple[str, ...] = ()  # names of those at which the kernel ended or refused a process of it
        self.stdin: asyncio.StreamWriter | None = outer.stdin
        self.stdout = outer.stdout
        self.stderr = outer.stderr
        self._plan = plan
        self._limits = command.limits
        self._folders = tuple(mount.source for mount in command.mounts if mount.writable)
        self._register = command.register
        self._mark = mark
        self._cage = cage
        self._rlimits = rlimits
        self._outer = outer
        self._command: int | None = None
        self._first: int | None = None  # process of the namespace
        self._watching: asyncio.Task[None] | None = None
        outer.when_flooded(lambda: self._end_at("output"))
        self._end = asyncio.ensure_future(self._see_through())

    @property
    def enforced(self) -> tuple[str, ...]:
        """Names of the limits that hold here."""
        return names_enforced(self._limits, self._cage, self._rlimits)

    @property
    def unenforced(self) -> tuple[str, ...]:
        """Names of those that were asked for and do not."""
        return tuple(name for name in self._limits.asked() if name not in self.enforced)

    async def wait(self) -> int:
        """Its exit status; negative = ended by that signal. Nothing of it is alive afterwards."""
        return await asyncio.shield(self._end)

    async def stop(self, *, ask_s: float = 10.0, term_s: float = 10.0) -> int:
        """Ask (SIGINT), then SIGTERM, then end everything in it; its exit status."""
        for number, patience_s in ((signal.SIGINT, ask_s), (signal.SIGTERM, term_s)):
            if self._end.done() or not send(self._command, number):
                break
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self.wait(), patience_s)
        self.end_all()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self.wait(), _GONE_S)
        self._end_by_force()
        return await self.wait()

    def end_all(self) -> None:
        """End everything in it at once."""
        if self._command is None:
            self._outer.end_with_children()
        elif self._first is not None:
            send(self._first, signal.SIGKILL)
        else:
            send(self._outer.handle, signal.SIGTERM)  # the supervisor hunts down what is left, then ends
            send(self._outer.handle, signal.SIGCONT)

    async def admit(self, pid: int) -> None:
        """Take the command's process in, while it still waits for our word."""
        self.pid = pid
        first = _parent_of(pid) if self._plan.has_namespace else 0
        self._first = hold(first) if first else None
        self._command = hold(pid)
        if self._cage is not None and not await asyncio.to_thread(self._cage.add, pid):
            self._cage.remove()
            self._cage = None
        if self._register is not None:
            enter(self._register, self._entry())
        self._watching = asyncio.ensure_future(self._watch())

    def _entry(self) -> Entry:
        """Who it is, for a later start that finds it without an owner."""
        (owner, owner_started), outer = myself(), self._outer.pid
        return Entry(
            mark=self._mark,
            machine=this_machine(),
            owner=owner,
            owner_started=owner_started,
            outer=outer,
            outer_started=start_time(outer),
            command=self.pid,
            command_started=start_time(self.pid),
            uid=self._plan.uid if not self._plan.has_namespace else None,
            groups=tuple(map(str, self._cage.folders)) if self._cage else (),
        )

    def _end_by_force(self) -> None:
        """For a supervisor that does not answer, because something inside got at it."""
        if self._cage is not None:
            self._cage.kill()
        send(self._command, signal.SIGKILL)
        send(self._outer.handle, signal.SIGKILL)

    async def _watch(self) -> None:
        """End it at the first limit that the kernel does not end it for."""
        watch = Watch(
            limits=self._limits,
            folders=self._folders,
            cage=lambda: self._cage,
            tasks=self._tasks if "nproc" in self._rlimits else None,
            most_tasks=self._rlimits.get("nproc", 0),
        )
        self._end_at(await watch.until_exceeded())

    def _tasks(self) -> int:
        """How many processes and threads the kernel counts for it where no control group does."""
        if self._plan.uid is None and self._plan.has_namespace:
            return tasks_in_namespace(self.pid)
        return tasks_of(os.geteuid() if self._plan.uid is None else self._plan.uid)

    def _end_at(self, name: str) -> None:
        if not self.limit_hit:
            self.limit_hit = name
            self.end_all()

    async def _see_through(self) -> int:
        """Wait for the end, make sure that it is one, and tidy up."""
        try:
            status = await self._outer.ended()
            if self._watching is not None:
                self._watching.cancel()
            if self._first is not None:
                send(self._first, signal.SIGKILL)
                await until_gone(self._first, _GONE_S)
            status = 128 - status if status in _SIGNALLED and self._plan.has_namespace else status
            self.limit_hit = self.limit_hit or self._limit_of_the_kernel(status)
            self.limits_met = tuple(self._met(status))
            if self._cage is not None:
                self._cage.kill()
                self._cage.remove()
            if self._register is not None:
                strike(self._register, self._mark)
        finally:
            self._let_go()
        return status

    def _limit_of_the_kernel(self, status: int) -> str:
        """Which limit made the kernel end the command; empty = none."""
        if status == -signal.SIGXFSZ:
            return "file size"
        if status == -signal.SIGKILL and self._cage is not None and self._cage.ended_for_memory():
            return "memory"
        return ""

    def _met(self, status: int) -> Iterator[str]:
        """Where the kernel stood in its way, whether or not that ended it; asked while its group is there."""
        if self._cage is not None and self._cage.ended_for_memory():
            yield "memory"
        if self._cage is not None and self._cage.refused_processes():
            yield "processes"
        if status in {-signal.SIGXFSZ, 128 + signal.SIGXFSZ}:
            yield "file size"

    def _let_go(self) -> None:
        held, self._command, self._first = (self._outer.handle, self._command, self._first), None, None
        self._outer.handle = None
        for handle in held:
            if handle is not None:
                os.close(handle)


async def begin(command: Confined, plan: Plan) -> ConfinedChild:
    """Start the launcher as planned and see it through to the command; called on the event loop's own thread."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    child: ConfinedChild | None = None
    try:
        with theirs, contextlib.closing(plan.descriptors):
            child = await _spawn(command, plan, theirs)
        async with asyncio.timeout(_START_S):  # `wait_for` loses a cancellation that comes in the moment of the end
            await _shake_hands(child, ours)
    except (TimeoutError, OSError) as error:
        raise await _not_started(child, plan, str(error) or f"no answer in {_START_S:.0f} s") from None
    except (CommandNotFound, CommandNotExecutable):
        await _said_at_the_end(child)
        raise
    except BaseException:
        if child is not None:
            child.end_all()
        raise
    finally:
        ours.close()
    return child


async def _spawn(command: Confined, plan: Plan, control: socket.socket) -> ConfinedChild:
    """Start the outer process with an empty environment and exactly the descriptors that it needs."""
    rlimits, mark = process_limits(command.limits, counted=plan.counted), new_mark()
    with contextlib.ExitStack() as open_doors:
        doors = [
            (open_doors.enter_context(_door(outlet.socket)).fileno(), outlet.port)
            for outlet in (command.outlets if plan.has_namespace else ())
        ]
        order = _order(command, plan, control=control.fileno(), doors=doors, rlimits=rlimits, mark=mark)
        number = plan.descriptors.hold(json.dumps(order).encode())
        terminal = [] if command.terminal is None else [command.terminal]
        passed = [*plan.descriptors.open, control.fileno(), *(door for door, _ in doors), *terminal]
        outer = await Outer.start(plan.program(number), passed=passed, allowance=Allowance(command.limits.output_bytes))
    cage = make_cage(command.limits)
    return ConfinedChild(outer, command=command, plan=plan, cage=cage, rlimits=rlimits, mark=mark)


def _order(
    command: Confined,
    plan: Plan,
    *,
    control: int,
    doors: list[tuple[int, int]],
    rlimits: Mapping[str, int],
    mark: str,
) -> dict[str, Any]:
    """What the launcher reads."""
    marked = {} if plan.has_namespace or command.register is None else {MARK: mark}
    return {
        "supervise": not plan.has_namespace,
        "control": control,
        "doors": doors,
        "uid": plan.uid,
        "gid": plan.uid,
        "limits": rlimits,
        "landlock": plan.landlock,
        "filter": base64.b64encode(plan.filter).decode(),
        "argv": command.argv,
        "environ": {**plan.environ, **command.environ, **marked},
        "cwd": command.cwd,
        "terminal": command.terminal,
        "files": {path: base64.b64encode(content).decode() for path, content in command.files.items()},
    }


async def _shake_hands(child: ConfinedChild, control: socket.socket) -> None:
    """Learn which process the command will be, hold it, let it go on, and hear whether it could."""
    loop = asyncio.get_running_loop()
    word, pid = await _hear(control)
    if word == b"R":
        await child.admit(pid)
        await loop.sock_sendall(control, b"G")
        word = await loop.sock_recv(control, 1)
        if word == b"":
            return
        if wrong := _OF_THE_COMMAND.get(word):
            raise wrong((await loop.sock_recv(control, 4_096)).decode("utf-8", "replace"))
    reason = await loop.sock_recv(control, 4_096) if word == b"E" else b""
    raise OSError(reason.decode("utf-8", "replace") or "it ended before it could start the command")


async def _hear(control: socket.socket) -> tuple[bytes, int]:
    """The launcher's first word, and its process id as the kernel translated it for us."""
    await until_readable(control.fileno())
    word, extra, _, _ = control.recvmsg(1, socket.CMSG_SPACE(struct.calcsize("3i")))
    pids = [struct.unpack("3i", data[:12])[0] for _, kind, data in extra if kind == socket.SCM_CREDENTIALS]
    return word, pids[0] if pids else 0


async def _not_started(child: ConfinedChild | None, plan: Plan, reason: str) -> CrewcapError:
    """The error for a start that did not become a command, with what the outer process said."""
    words = await _said_at_the_end(child)
    return UnsafeEnvironment(
        f"the {plan.rung} sandbox did not start: {reason}" + (f" ({words})" if words else ""),
        help="`crewcap doctor` tries every kind of sandbox here and says what each one needs",
    )


async def _said_at_the_end(child: ConfinedChild | None) -> str:
    """End what was started, and see it gone; what it said."""
    said = b""
    if child is not None:
        child.end_all()
        with contextlib.suppress(TimeoutError):
            said = await asyncio.wait_for(child.stderr.read(2_000), _GONE_S)
            await asyncio.wait_for(child.wait(), _GONE_S)
    return said.decode("utf-8", "replace").strip()


@contextlib.contextmanager
def _door(path: Path) -> Iterator[socket.socket]:
    """An outlet's socket, connected: the launcher gets the descriptor, so that no path of it exists inside."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(_GONE_S)
        try:
            _connect(door, path)
        except OSError as error:
            raise UnsafeEnvironment(
                f"nobody answers at this run's door, {path}: {error.strerror or error}",
                help="the gateway or the proxy behind it may have ended; start the run again",
            ) from None
        yield door


def _connect(door: socket.socket, path: Path) -> None:
    """Connect, by way of a folder's descriptor when the path is longer than an address may be."""
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        door.connect(os.fspath(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        door.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _parent_of(pid: int) -> int:
    """The parent of a process; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
