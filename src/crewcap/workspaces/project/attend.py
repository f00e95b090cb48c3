"""The program that stands beside a command which needs services: it starts them, runs the command, and ends them.

Each command of a run has a sandbox of its own, so a service lives exactly as long as the command that needs it; only
its data stays, in the run's home. It is started as `python3 -I -S attend.py ORDER MODE COMMAND...`, imports the
standard library alone, and reads from the file ORDER what to start and how to know that it answers. In order:

1. It takes the lock of the run's services. Process ids and ports mean nothing from one sandbox to the next, so no
   server could see that another one is at work on the same files; this lock can, and the servers hold it too.
2. It makes what is missing, removes what a killed server left behind, starts the servers, waits until they answer.
3. It starts the command as its child, with stdin, stdout, stderr and terminal as they are; passes on what signals it
   gets; and lets go of stdin and stdout itself, so that their ends are the command's.
4. When the command has ended it asks the servers to end, and ends as the command did.

Servers are asked, because a killed one loses what it may lose in a crash: PostgreSQL empties unlogged tables and skips
numbers of sequences. They are built to lose nothing else: when all of this is killed, the next start recovers.
"""

# pathlib would make up a third of this program's start:
# ruff: noqa: PTH103, PTH104, PTH108, PTH110, PTH118, PTH123, PTH202

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from typing import Any, NoReturn

NOT_STARTED = 98  # a service did not start; the reason went to stderr
NOT_FOUND = 127
_LOOK_S = 0.01
_LARGEST_LOG = 4 << 20
_TAIL_BYTES = 3_000
_TAIL_LINES = 20
_END_S = (15.0, 5.0, 5.0)
_TOLD = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_WATCHED = _TOLD | {signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2}

Order = dict[str, Any]
Service = dict[str, Any]


class _NotStarted(Exception):
    """One sentence, and perhaps the service's own last words."""


class _Ended(Exception):
    """Somebody wants this to end before the command was started."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> NoReturn:
    """Do what the order says."""
    with open(sys.argv[1], "rb") as file:
        order: Order = json.load(file)
    mode, command = sys.argv[2], sys.argv[3:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    running: dict[int, Service] = {}
    try:
        if not _take_lock(order, wait=mode == "wait"):
            _say("another command of this run has its services; here they are not started")
            _execute(command)
        _tell_of_a_restart(order)
        _start_all(order, running)
        child = _spawn_command(command)
    except _NotStarted as refusal:
        _say(str(refusal))
        _stop_all(running)
        os._exit(NOT_STARTED)
    except _Ended as told:
        _stop_all(running)
        _end_like(told.number)
    status = _see_through(child, running)
    _stop_all(running)
    _end_like(status)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"crewcap: {text}\n".encode("utf-8", "replace"))


# --- the lock ----------------------------------------------------------------------------------------------------


def _take_lock(order: Order, *, wait: bool) -> bool:
    """Whether the services are ours; the descriptor stays open, here and in the servers."""
    os.makedirs(order["folder"], mode=0o700, exist_ok=True)
    lock = os.open(os.path.join(order["folder"], "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.set_inheritable(lock, True)
    order["lock"] = lock
    until = time.monotonic() + (order["patience_s"] if wait else 0)
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                if not wait:
                    os.close(lock)
                    return False
                raise _NotStarted("another command of this run still uses its services") from None
            _pause()
        else:
            return True


def _tell_of_a_restart(order: Order) -> None:
    """Services write without flushing, which a machine that loses its power does not forgive."""
    note, boot = os.path.join(order["folder"], "boot"), ""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    with contextlib.suppress(OSError), open(note, encoding="ascii", errors="replace") as file:
        if file.read(100).strip() != boot:
            _say("this machine was restarted since; if it lost power, what the services hold may be damaged")
    with contextlib.suppress(OSError), open(note, "w", encoding="ascii") as file:
        file.write(boot)


# --- starting ----------------------------------------------------------------------------------------------------


def _start_all(order: Order, running: dict[int, Service]) -> None:
    """Make, tidy and start each service; come back when all of them answer."""
    until = time.monotonic() + order["patience_s"]
    for service in order["services"]:
        for folder in service["folders"]:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        if not os.path.exists(service["made"]):
            _make(service, until)
        _refuse_other_version(service)
        for leftover in service["leftovers"]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leftover)
        running[_spawn_service(service["argv"], service["log"])] = service
    waiting = list(running)
    while waiting:
        _refuse_dead(running, waiting)
        waiting = [pid for pid in waiting if not _answers(running[pid]["answers"])]
        if waiting and time.monotonic() > until:
            slow = running[waiting[0]]
            raise _NotStarted(f"{slow['name']} does not answer after {order['patience_s']:.0f} s{_tail(slow)}")
        if waiting:
            _pause()


def _make(service: Service, until: float) -> None:
    """Make a service's data beside its place and move it there, so that half of it is never taken for all."""
    if not service["make"]:
        return
    for argv in service["make"]:
        shutil.rmtree(service["making"], ignore_errors=True)
        if _run(argv, service["log"], until) == 0:
            os.rename(service["making"], service["made"])
            return
    raise _NotStarted(f"{service['name']} could not make its data{_tail(service)}")


def _refuse_other_version(service: Service) -> None:
    """Data of another version is not touched: its server would, at best, refuse it."""
    for path, wanted in service["expects"].items():
        with open(path, encoding="utf-8", errors="replace") as file:
            found = file.read(100).strip()
        if found != wanted:
            raise _NotStarted(f"this run's data is of {service['name']} {found}, and here is {wanted}: start it anew")


def _run(argv: list[str], log: str, until: float) -> int:
    """Run a program to its end, or until its time is up."""
    pid = _spawn_service(argv, log)
    try:
        while time.monotonic() < until:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                pid = 0
                return os.waitstatus_to_exitcode(status)
            _pause()
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return -signal.SIGKILL


def _refuse_dead(running: dict[int, Service], waiting: list[int]) -> None:
    for pid in waiting:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            service = running.pop(pid)
            raise _NotStarted(f"{service['name']} did not start ({_how(status)}){_tail(service)}")


def _pause() -> None:
    """Wait for a moment; who wants us to end need not wait."""
    told = signal.sigtimedwait(_TOLD, _LOOK_S)
    if told is not None:
        raise _Ended(told.si_signo)


def _answers(how: dict[str, Any]) -> bool:
    """Whether a service is ready: a line of a file of its own, or an answer at its socket."""
    if how["kind"] == "line":
        with contextlib.suppress(OSError, IndexError), open(how["path"], encoding="utf-8", errors="replace") as file:
            return bool(file.read(4_096).splitlines()[how["line"]].strip() == how["says"])
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.settimeout(1)
        asked.connect(how["path"])
        asked.sendall(how["ask"].encode())
        return asked.recv(64).startswith(how["says"].encode())
    return False


# --- processes ---------------------------------------------------------------------------------------------------


def _spawn_service(argv: list[str], log: str) -> int:
    """Start a program with nothing of ours but the lock; a key pressed at a terminal is not meant for it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _log_to(log)
        _reset_signals()
        os.execvpe(argv[0], argv, os.environ)  # noqa: S606  (there is no shell anywhere)
    except OSError as error:
        os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
    os._exit(NOT_FOUND)


def _log_to(log: str) -> None:
    size = os.path.getsize(log) if os.path.exists(log) else 0
    kept = 0 if size < _LARGEST_LOG else os.O_TRUNC
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | kept, 0o600)
    for target, source in ((0, nothing), (1, out), (2, out)):
        os.dup2(source, target)


def _spawn_command(argv: list[str]) -> int:
    """Start the command; from then on its streams are its own."""
    pid = os.fork()
    if pid == 0:
        _execute(argv)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return pid


def _execute(argv: list[str]) -> NoReturn:
    """Become the command; every descriptor of ours closes by itself but the lock, which is for servers."""
    try:
        os.closerange(3, 256)
        _reset_signals()
        os.execvpe(argv[0], argv, os.environ)  # noqa: S606  (there is no shell anywhere)
    except OSError as error:
        _say(f"cannot start {argv[0]} in the sandbox: {error.strerror}")
    os._exit(NOT_FOUND)


def _reset_signals() -> None:
    """Python ignores two signals for itself, and we block some; what is executed would inherit that."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *_WATCHED):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _see_through(command: int, running: dict[int, Service]) -> int:
    """Wait for the command's end; its wait status."""
    while True:
        told = signal.sigwaitinfo(_WATCHED)
        if told.si_signo != signal.SIGCHLD:
            if told.si_code <= 0:  # sent by somebody; what a terminal sends (above 0), the command gets as well
                with contextlib.suppress(ProcessLookupError):
                    os.kill(command, told.si_signo)
            continue
        for pid, status in _reaped():
            if pid == command:
                return status
            if pid in running:
                service = running.pop(pid)
                _say(f"{service['name']} ended by itself ({_how(status)}){_tail(service)}")


def _reaped() -> list[tuple[int, int]]:
    """Children that have ended."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found.append((pid, status))
    return found


def _stop_all(running: dict[int, Service]) -> None:
    """Ask each to end, then insist."""
    for step, patience_s in enumerate(_END_S):
        for pid, service in running.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, service["stop"][step])
        until = time.monotonic() + patience_s
        while running and time.monotonic() < until:
            signal.sigtimedwait({signal.SIGCHLD}, _LOOK_S)
            for pid, _ in _reaped():
                running.pop(pid, None)
        if not running:
            return


# --- words -------------------------------------------------------------------------------------------------------


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _tail(service: Service) -> str:
    """The end of a service's log."""
    with contextlib.suppress(OSError), open(service["log"], "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").strip().splitlines()[-_TAIL_LINES:]
        return "; it said last:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
    return ""


def _end_like(status: int) -> NoReturn:
    """End as the command ended, so that whoever waits for us sees its status or its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


if __name__ == "__main__":
    main()
