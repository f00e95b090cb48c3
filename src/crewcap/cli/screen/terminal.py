"""A terminal as a screen that is drawn anew, given back as it was however we end.

The other screen of the terminal is used, so that what stood there before stands there afterwards. Signals only leave a
mark: whoever draws sees it between two frames, so that none of our bytes can follow the ones that give the terminal
back. A second Ctrl-C ends at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[J"  # the other screen, no cursor, empty
_LEAVE = "\x1b[?25h\x1b[?1049l"
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminal:
    """The terminal behind stdout, with the keys of stdin where that is one too."""

    def __init__(self) -> None:
        self._out = sys.stdout.fileno()
        self._keys = sys.stdin.fileno() if sys.stdin.isatty() else -1
        self._modes: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._wake: tuple[int, int] | None = None
        self.ended_by = 0  # the signal that wants us to end

    def __enter__(self) -> Self:
        sys.stdout.flush()
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = (reader, writer)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in _ENDS:
            self._handlers[number] = signal.signal(number, self._end)
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, _wake_up)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for end in self._wake or ():
            os.close(end)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        try:
            columns, rows = os.get_terminal_size(self._out)
        except OSError:
            return 80, 24
        return columns or 80, rows or 24

    def draw(self, lines: Iterable[str]) -> None:
        """A frame over the one before, in one piece: nothing flickers.

        A line is emptied before it is written: behind a letter in the last column, some terminals would erase that one.
        """
        rows = list(lines)[: self.size[1]]
        rest = "\r\n\x1b[J" if len(rows) < self.size[1] else ""
        self._write("\x1b[H" + "\r\n".join(f"\x1b[K{row}" for row in rows) + rest)

    def wait(self, seconds: float) -> str:
        """Until a key is typed (which is returned), the terminal has another size, a signal came, or so long."""
        until = time.monotonic() + seconds
        wake = self._wake[0] if self._wake else -1
        sources = [fd for fd in (wake, self._keys) if fd >= 0]
        ready, _, _ = select.select(sources, [], [], max(0.0, until - time.monotonic()))
        if wake in ready:
            with suppress(BlockingIOError):
                os.read(wake, 512)
        if self._keys not in ready:
            return ""
        typed = os.read(self._keys, 32).decode("ascii", "replace")
        if not typed:  # the terminal is gone
            self._keys, self.ended_by = -1, self.ended_by or signal.SIGHUP
        return typed

    def _take(self) -> None:
        if self._keys >= 0:
            self._modes = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys, termios.TCSANOW)
        self._write(_ENTER)

    def _give_back(self) -> None:
        with suppress(OSError):  # a terminal that is gone needs nothing
            self._write(_LEAVE)
        if self._modes is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._modes)

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Ask whoever draws to end; who asks twice does not wait for them."""
        del frame
        if self.ended_by:
            raise KeyboardInterrupt
        self.ended_by = number

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z gives the terminal back until we go on."""
        del number, frame
        self._give_back()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self._take()

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "ascii", "replace")
        while data:
            data = data[os.write(self._out, data) :]


def _wake_up(number: int, frame: FrameType | None) -> None:
    """The wake-up byte that the interpreter writes is all there is to it."""
    del number, frame
