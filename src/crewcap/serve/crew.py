"""The two programs that a supervisor keeps alive, and what each of them is told.

Neither finds a provider's key in its environment or its arguments. The gateway is handed the keys; the worker is told
no more than which variables are set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crewcap.logs import Format
from crewcap.serve import fellow
from crewcap.serve.children import Program
from crewcap.serve.keys import SealedKeys

COMMAND = (sys.executable, "-P", "-m", "crewcap")  # -P: no folder `crewcap` where we stand is taken for it
WORKER = (*COMMAND, "serve", "--worker")
SYSTEMDS = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """What they are started with."""

    home: Path
    config: Path | None
    environ: Mapping[str, str] = field(repr=False)  # without a provider's key
    names: frozenset[str]  # of the variables that are set, those of the keys as well
    keys: SealedKeys
    log_format: Format
    log_file: tuple[str, int, int]  # its path, how large it may become, how many old ones are kept
    slots: int | None
    verbose: bool
    worker_command: tuple[str, ...] = WORKER

    def gateway(self, listen: str, *, first: bool) -> Program:
        """The only one that is handed keys."""
        words = ("gateway", "--child", "--listen", listen, *(("--first",) if first else ()))
        return self._program("gateway", (*COMMAND, *words), self.keys.hand_over)

    def worker(self) -> Program:
        """The one that does the runs."""
        slots = ("--slots", str(self.slots)) if self.slots else ()
        return self._program("worker", (*self.worker_command, *slots), lambda pipe: fellow.hand_over(self.names, pipe))

    def _program(self, name: str, words: tuple[str, ...], hand_over: Callable[[int], None]) -> Program:
        config = ("--config", str(self.config)) if self.config is not None else ()
        verbose = ("--verbose",) if self.verbose else ()
        log = ("--log-format", self.log_format, "--log-file", *map(str, self.log_file))
        command = (*words, "--home", str(self.home), *config, *log, *verbose)
        return Program(name=name, command=command, environ=self.environ, hand_over=hand_over)


def without(environ: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """An environment for children: without these, and without what systemd says to us alone."""
    return {name: value for name, value in environ.items() if name not in {*names, *SYSTEMDS}}
