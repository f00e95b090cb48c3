"""The program that gives a person inside a sandbox a real terminal: job control, Ctrl-C, sizes, `tty`.

A sandbox's streams are pipes. This stands inside between them and a terminal of the sandbox's own, so that no terminal
of this machine is open to anything in there. It is started as `python3 -I -S teletype.py COMMAND...`, imports the
standard library alone, and hears on its stdin, in frames of a letter, four bytes of length and so many bytes:

    d    what was typed
    w    rows and columns, two bytes each; the first frame of all, and again whenever they change

What the terminal says goes to stdout as it is. When the command has ended, so does this, with its status; when stdin
ends, the terminal hangs up, and the command hears that as it would at any other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import sys
import termios
from typing import NoReturn

NOT_FOUND, NOT_EXECUTABLE = 127, 126
HEAD = struct.Struct("!cI")
SIZE = struct.Struct("!HH")
TYPED, RESIZED = b"d", b"w"
_TOLD = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_CHUNK = 1 << 16
_AHEAD = 1 << 18  # typed and not read by anybody yet: more has to wait
_LAST_S = 0.2  # for what still comes out of the terminal when its command has ended


def main() -> NoReturn:
    """Be the terminal of the command in our arguments."""
    rung, ring = os.pipe()
    os.set_blocking(ring, False)
    for number in (signal.SIGCHLD, *_TOLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(ring)
    master, terminal = os.openpty()  # ours stays open: a command that closes its own has not ended yet
    heard, typed = bytearray(), bytearray()
    while not _obey(heard, typed, master) and _hear(heard):
        pass
    pid = os.fork()
    if pid == 0:
        _become(sys.argv[1:], terminal)
    os.set_blocking(master, False)
    status = _relay(pid, master, rung, heard, typed)
    os._exit(status if status >= 0 else 128 - status)


def _become(argv: list[str], terminal: int) -> NoReturn:
    """The command, at its terminal."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, *_TOLD):
        signal.signal(number, signal.SIG_DFL)
    _sit_down(terminal)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  (there is no shell but the one that was asked for)
    except (FileNotFoundError, NotADirectoryError):
        _give_up(argv[0], "not found in the sandbox", NOT_FOUND)
    except OSError as error:
        _give_up(argv[0], f"cannot be started in the sandbox: {error.strerror}", NOT_EXECUTABLE)


def _give_up(name: str, why: str, status: int) -> NoReturn:
    os.write(2, f"{name}: {why}\n".encode("utf-8", "replace"))
    os._exit(status)


def _sit_down(terminal: int) -> None:
    """Make it the terminal of a session of its own, and its three streams."""
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in (0, 1, 2):
        os.dup2(terminal, stream)


def _relay(pid: int, master: int, rung: int, heard: bytearray, typed: bytearray) -> int:
    """Carry both ways until the command has ended; its status, negative where a signal ended it."""
    listens = True
    while True:
        _obey(heard, typed, master)
        reads = [master, rung, *([0] if listens and len(typed) < _AHEAD else [])]
        ready, writable, _ = select.select(reads, [master] if typed else [], [])
        if master in ready:
            _pass_on(master)
        if writable:
            _type(master, typed)
        if 0 in ready and not _hear(heard):
            listens = False
            _hang_up(pid, master)
        if rung in ready:
            if set(os.read(rung, _CHUNK)) & set(_TOLD):
                _hang_up(pid, master)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                while select.select([master], [], [], _LAST_S)[0] and _pass_on(master):
                    pass
                return os.waitstatus_to_exitcode(status)


def _hear(heard: bytearray) -> bool:
    """Take what came on stdin; whether there may be more."""
    chunk = os.read(0, _CHUNK)
    heard += chunk
    return bool(chunk)


def _obey(heard: bytearray, typed: bytearray, master: int) -> bool:
    """Do what every whole frame says; whether a size was among them."""
    sized = False
    while len(heard) >= HEAD.size:
        kind, length = HEAD.unpack_from(heard)
        if len(heard) < HEAD.size + length:
            break
        body = bytes(heard[HEAD.size : HEAD.size + length])
        del heard[: HEAD.size + length]
        if kind == TYPED:
            typed += body
        elif kind == RESIZED:
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE.unpack(body), 0, 0))
            sized = True
    return sized


def _type(master: int, typed: bytearray) -> None:
    with contextlib.suppress(BlockingIOError):
        del typed[: os.write(master, typed)]


def _pass_on(master: int) -> bool:
    """Say what the terminal says; whether it said anything."""
    try:
        chunk = os.read(master, _CHUNK)
    except BlockingIOError:
        return False
    while chunk:
        chunk = chunk[os.write(1, chunk) :]
    return True


def _hang_up(pid: int, master: int) -> None:
    """As a terminal that is closed: its session and what is in front of it are told, and woken where stopped."""
    for number in (signal.SIGHUP, signal.SIGCONT):
        with contextlib.suppress(OSError):
            os.killpg(os.tcgetpgrp(master), number)
        with contextlib.suppress(OSError):
            os.kill(pid, number)


if __name__ == "__main__":
    main()
