"""A terminal with a person at it: a pseudo-terminal of our own, what is typed, and what stands on it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LIMIT_S = 60


@dataclass(kw_only=True)
class Terminal:
    """A command at a terminal; `with Terminal.start(...) as terminal`."""

    process: subprocess.Popen[bytes]
    master: int
    shown: str = ""
    _raw: bytes = b""
    _read: int = 0  # letters of it that an `expect` has passed

    @classmethod
    def start(
        cls, argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str], rows: int = 24, columns: int = 80
    ) -> Self:
        """Start it with a terminal of that size."""
        master, slave = os.openpty()
        _resize(master, rows, columns)
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env={**environ, "TERM": "xterm"},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=_sit_down,  # noqa: PLW1509  (this process has no threads but those that only wait)
            )
        finally:
            os.close(slave)
        return cls(process=process, master=master)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size."""
        _resize(self.master, rows, columns)

    def expect(self, words: str) -> None:
        """Wait until this stands on it, after what was expected before."""
        end = time.monotonic() + LIMIT_S
        while (found := self.shown.find(words, self._read)) < 0:
            left = end - time.monotonic()
            assert left > 0, f"never shown: {words!r}, but {self.shown[self._read :]!r}"
            assert self._take(left), f"not shown to the end: {words!r}, but {self.shown[self._read :]!r}"
        self._read = found + len(words)

    def end(self) -> int:
        """Wait for the command's end; its exit status."""
        end = time.monotonic() + LIMIT_S
        while self._take(max(0.0, end - time.monotonic())):
            assert time.monotonic() < end, f"goes on: {self.shown[self._read :]!r}"
        return self.process.wait(LIMIT_S)

    def is_raw(self) -> bool:
        """Whether keys are passed on one by one, as an open shell needs it and nobody else wants it left."""
        return not termios.tcgetattr(self.master)[3] & termios.ICANON

    def _take(self, limit_s: float) -> bool:
        """Read what is shown next; False when the command has let go of the terminal."""
        if not select.select([self.master], [], [], limit_s)[0]:
            return True
        try:
            chunk = os.read(self.master, 1 << 16)
        except OSError:
            return False
        self._raw += chunk
        self.shown = self._raw.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(chunk)


def _sit_down() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _resize(master: int, rows: int, columns: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
