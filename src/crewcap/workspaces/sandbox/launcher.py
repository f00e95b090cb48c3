"""The first program of a sandbox: it prepares the last things from within, then becomes the agent.

It is started as `python3 -I -S launcher.py FD`, imports the standard library alone and reads its order as JSON from
descriptor FD, so that no argument and no variable of an agent ever stands in a command line. What it does, in order:

1. For each way out it listens on 127.0.0.1 inside and hands that listener over a socket that it was given as an open
   descriptor to whoever serves it: the gateway, setup's proxy (`L` and the listener; `K` comes back). No path of such a
   socket exists inside, so the agent cannot reach it, and no relay stays behind.
2. It says `R` to the process that started it and waits for `G`. A parent that died meanwhile cannot answer, so
   nothing ever starts without an owner: `die-with-parent` alone loses that race for the first five milliseconds.
3. It lowers limits, gives up its user, its capabilities and the right to gain new ones, and executes the command.
   The parent reads the end of the control stream as "started", or a letter and a sentence as "could not": `E`; `N` and
   `X` where only the command is to blame, which was not found or is no program.

Where there is no process namespace (`supervise`), it forks first: the child does all of the above, the parent stays as
a subreaper, to which every orphan of the run falls, and leaves none alive when the command ends or its own parent dies.
"""

# pathlib would make up a third of this program's start:
# ruff: noqa: PTH103, PTH104, PTH108, PTH120, PTH123, PTH208

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
import termios
import time
from typing import Any, NoReturn

REFUSED = 97  # something here did not work; the reason went to the parent
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as a shell ends for a command like that
_ANSWER_S = 10.0
_HUNT_S = 0.003
_NICE = 5  # whoever sits at the machine comes first

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 36, 38
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION = 0x20080522
_LANDLOCK_CREATE, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT = 444, 445, 446
_KEYCTL, _JOIN_SESSION = {"x86_64": 250, "aarch64": 219}, 1
_RULE_OF_A_PATH, _RULE_OF_A_PORT, _CONNECT_TCP = 1, 2, 2
_LIBC = ctypes.CDLL(None, use_errno=True)

Order = dict[str, Any]


class _Refusal(Exception):
    """One sentence for the parent."""


class _NoCommand(Exception):
    """All is well but the command itself; a sentence about it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def main() -> NoReturn:
    """Do what the order in the given descriptor says."""
    with os.fdopen(int(sys.argv[1]), "rb") as stream:
        order: Order = json.load(stream)
    if order["supervise"]:
        _supervise(order)
    _become(order)


def _become(order: Order) -> NoReturn:
    """Steps 1 to 3; never comes back."""
    _close_all_but(order["control"], order["terminal"], *(door for door, _ in order["doors"]))
    control = socket.socket(fileno=order["control"])
    control.set_inheritable(False)  # its end tells the parent that the command runs
    status = REFUSED
    try:
        for door, port in order["doors"]:
            _hand_out_listener(door, port)
        _wait_for_parent(control)
        rules = _landlock_ruleset(order["landlock"]) if order["landlock"] else None
        _lower_limits(order["limits"])
        _leave_keyring()
        _drop(order["uid"], order["gid"])
        if order["terminal"] is not None:
            _sit_down(order["terminal"])
        if order["supervise"]:
            _end_with(order["supervisor"])
        _no_new_privileges()
        if rules is not None:
            _enter_landlock(rules)
        if order["filter"]:
            _enter_filter(base64.b64decode(order["filter"]))
        _make_temporary_folder(order["environ"])
        _make_files(order["files"])
        _enter_folder(order["cwd"])
        _reset_signals()
        _execute(order["argv"], order["environ"])
    except _NoCommand as error:
        status = error.status
        with contextlib.suppress(OSError):
            control.sendall((b"N" if status == NOT_FOUND else b"X") + str(error).encode("utf-8", "replace"))
    except (_Refusal, OSError) as error:
        with contextlib.suppress(OSError):
            control.sendall(b"E" + str(error).encode("utf-8", "replace"))
    os._exit(status)


def _close_all_but(*kept: int | None) -> None:
    """Nothing that was open by accident may stay open in the command."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


# --- the way to the gateway, and the parent's word ---------------------------------------------------------------


def _hand_out_listener(descriptor: int, port: int) -> None:
    """Listen inside, let whoever is behind the door have the listener, and keep nothing of it."""
    with socket.socket(fileno=descriptor) as door, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        door.settimeout(_ANSWER_S)
        try:
            socket.send_fds(door, [b"L"], [listener.fileno()])
            answer = door.recv(1)
        except OSError as error:
            raise _Refusal(f"the listener at port {port} was not taken: {error}") from None
        if answer != b"K":
            raise _Refusal(f"the run's door for port {port} was closed instead of taking the sandbox's listener")


def _wait_for_parent(control: socket.socket) -> None:
    """Say that all is ready; go on only when whoever started us is still there to say so."""
    control.settimeout(_ANSWER_S)
    control.sendall(b"R")
    if control.recv(1) != b"G":
        raise _Refusal("the process that started this sandbox is gone")
    control.settimeout(None)


# --- giving up rights --------------------------------------------------------------------------------------------


def _lower_limits(limits: dict[str, int]) -> None:
    """Lower what the kernel counts for each process; a core dump could hold what nobody should keep."""
    for name, most in {"core": 0, **limits}.items():
        kind = getattr(resource, f"RLIMIT_{name.upper()}")
        soft, hard = resource.getrlimit(kind)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        keeps = (
            name == "nofile" and soft != resource.RLIM_INFINITY
        )  # programs count on a low one until they ask for more
        resource.setrlimit(kind, (min(soft, value) if keeps else value, value))
    os.nice(_NICE)


def _leave_keyring() -> None:
    """Have a keyring of its own: the one of a login is handed down to whatever is started in it."""
    call = _KEYCTL.get(os.uname().machine)
    if call is not None:
        _LIBC.syscall(ctypes.c_long(call), ctypes.c_long(_JOIN_SESSION), None)  # a kernel without keyrings has no keys


def _drop(uid: int | None, gid: int | None) -> None:
    """Become the run's own user, with no group and no capability to come back by."""
    os.setsid()
    os.umask(0o022)
    if uid is None or gid is None:
        return
    with contextlib.suppress(_Refusal):  # past the kernel's last one, or not ours to drop: harmless under no_new_privs
        for capability in range(_LAST_CAPABILITY + 1):
            _prctl("capabilities", _PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _LIBC.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24))  # the inheritable ones stay by themselves


def _sit_down(terminal: int) -> None:
    """Make it the terminal of this session, which is a new one, and its three streams."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in (0, 1, 2):
        os.dup2(terminal, stream)
    os.close(terminal)


def _end_with(supervisor: int) -> None:
    """Die with the supervisor; dropping the user had switched that off, and it may be gone already."""
    _prctl("end with the supervisor", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        raise _Refusal("the supervisor of this sandbox is gone")


def _no_new_privileges() -> None:
    """Nothing that is executed from here on may gain rights."""
    _prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def _reset_signals() -> None:
    """Python ignores two signals for itself, and a shell two for what it puts in the background; both are inherited."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


# --- what is there before the command ----------------------------------------------------------------------------


def _make_temporary_folder(environ: dict[str, str]) -> None:
    """Where the sandbox has no /tmp of its own, it is a folder in the run's home that is not there yet."""
    with contextlib.suppress(OSError, KeyError):
        os.makedirs(environ["TMPDIR"], mode=0o700, exist_ok=True)


def _make_files(files: dict[str, str]) -> None:
    """Put the files there that the command expects, as the user that it runs as.

    Each is whole at every moment: another command of the run may have the same file, and be reading it.
    """
    for path, content in files.items():
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        beside = f"{path}.{os.urandom(8).hex()}"
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(base64.b64decode(content))
            os.rename(beside, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise


def _enter_folder(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise _Refusal(f"cannot work in {folder}: {error.strerror}") from None


def _execute(argv: list[str], environ: dict[str, str]) -> None:
    try:
        os.execvpe(argv[0], argv, environ)  # noqa: S606  (there is no shell anywhere)
    except OSError as error:
        if not _is_there(argv[0], environ):
            raise _NoCommand(NOT_FOUND, f"{argv[0]}: not found in the sandbox") from None
        raise _NoCommand(NOT_EXECUTABLE, f"{argv[0]}: cannot be started in the sandbox: {error.strerror}") from None


def _is_there(name: str, environ: dict[str, str]) -> bool:
    """Whether a file of this name can be seen; a folder in PATH that may not be entered says nothing about it."""
    folders = [""] if "/" in name else os.get_exec_path(environ)
    return any(os.path.exists(os.path.join(folder, name)) for folder in folders)  # noqa: PTH110, PTH118  (as above)


# --- Landlock, and a filter of calls, where there is no network namespace ------------------------------------------


def _landlock_ruleset(order: Order) -> int:
    """A ruleset as `landlock.py` worked it out for this kernel; paths are opened while we may still see them."""
    attributes = struct.pack("=QQQ", order["handled_files"], order["handled_net"], order["scopes"])[: order["size"]]
    ruleset = _syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    for path, rights in order["rules"]:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            _syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_OF_A_PATH, struct.pack("=Qi", rights, target), 0)
        finally:
            os.close(target)
    for port in order["ports"]:
        _syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_OF_A_PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0)
    return ruleset


def _enter_landlock(ruleset: int) -> None:
    _syscall(_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _enter_filter(program: bytes) -> None:
    """Have the kernel ask this program (see `seccomp.py`) about every call from here on."""
    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    _prctl("seccomp", _PR_SET_SECCOMP, 2, ctypes.addressof(head))


def _prctl(name: str, option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    if _LIBC.prctl(ctypes.c_int(option), *words) != 0:
        raise _Refusal(f"{name}: {_errno()}")


def _syscall(number: int, *arguments: int | bytes) -> int:
    words = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    result = int(_LIBC.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise _Refusal(f"Landlock: {_errno()}")
    return result


def _errno() -> str:
    return os.strerror(ctypes.get_errno())


# --- where there is no process namespace --------------------------------------------------------------------------


class _Told(Exception):
    """Somebody wants this run to end, or the process that owned it is gone."""


def _supervise(order: Order) -> None:
    """Fork; the child returns to become the command, the parent stays until nothing of the run is left."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until there is somebody to end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _tell)
    _prctl("subreaper", _PR_SET_CHILD_SUBREAPER, 1)
    _prctl("end with the parent", _PR_SET_PDEATHSIG, signal.SIGTERM)
    order["supervisor"] = os.getpid()
    command = os.fork()
    if command == 0:
        return
    os.close(order["control"])
    for door, _ in order["doors"]:
        os.close(door)
    if order["terminal"] is not None:
        os.close(order["terminal"])
    _let_go_of_streams()
    status = int(signal.SIGKILL)
    with contextlib.suppress(_Told):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        status = _await(command)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _leave_none(order["uid"])
    _end_like(status)


def _tell(_number: int, _frame: object) -> None:
    raise _Told


def _let_go_of_streams() -> None:
    """Whoever reads the command's output must see its end when the command ends."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def _await(command: int) -> int:
    """Reap everything that falls to us until the command itself has ended."""
    while True:
        child, status = os.waitpid(-1, 0)
        if child == command:
            return status


def _leave_none(uid: int | None) -> None:
    """Stop, then kill, all descendants until there are none; orphans of the killed fall to us in turn."""
    while _has_children():
        family = _descendants(os.getpid())
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for member in family:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(member, number)
        if uid is not None:
            _kill_all_of(uid)
        time.sleep(_HUNT_S)


def _has_children() -> bool:
    """Collect the children that have ended; whether any are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _kill_all_of(uid: int) -> None:
    """Everything of a user of its own in one call, which no fork can outrun. Root's would be the whole machine."""
    if uid == 0:
        return
    killer = os.fork()
    if killer == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(killer, 0)


def _descendants(root: int) -> list[int]:
    """Everything that descends from a process, from one look at /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
                if fields[0] not in b"ZX":
                    children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [root]
    while queue:
        members = children.get(queue.pop(), [])
        found += members
        queue += members
    return found


def _end_like(status: int) -> NoReturn:
    """End as the command ended, so that the parent sees its status or its signal."""
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
