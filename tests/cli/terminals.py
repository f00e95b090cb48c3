"""A command at a terminal of its own, as a person has it: keys go in, and what it draws comes out."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
_CODE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07)")


class Desk:
    """A terminal with a command at work on it."""

    def __init__(self, words: tuple[str, ...], *, columns: int, rows: int, environ: Mapping[str, str]) -> None:
        self.master, self._slave = os.openpty()
        self.resize(columns, rows, tell=False)
        self.modes_before = self.modes
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "crewcap", *words],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env={**environ, "TERM": "xterm"},
        )

    @property
    def modes(self) -> list[Any]:
        """How the terminal treats keys."""
        return termios.tcgetattr(self._slave)

    def resize(self, columns: int, rows: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:  # the kernel tells the session that owns the terminal, which no test can be
            self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def wait_for(self, words: str, *, after: int = 0) -> int:
        """Read until the words were drawn; how much was read by then."""
        until = time.monotonic() + PATIENCE_S
        while words not in plain(self.text[after:]):
            assert time.monotonic() < until, f"{words!r} was never drawn: {self.text[-2000:]!r}"
            self._read(0.2)
        return len(self.text)

    def end(self) -> int:
        """The exit status, with all that was drawn read."""
        until = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < until, "it did not end"
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            self.text += os.read(self.master, 65_536).decode("utf-8", "replace")
        return bool(ready)


def plain(text: str) -> str:
    """What was drawn, without how."""
    return _CODE.sub("", text)


@contextmanager
def at_a_terminal(
    *words: str, home: Path, columns: int = 80, rows: int = 24, environ: Mapping[str, str] | None = None
) -> Iterator[Desk]:
    """`crewcap` with these words at a terminal."""
    known = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(environ or {})}
    desk = Desk(words, columns=columns, rows=rows, environ=known)
    try:
        yield desk
    finally:
        desk.close()
