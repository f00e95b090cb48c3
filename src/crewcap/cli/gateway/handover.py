"""Settings and prices, read by a process of their own and handed over as frozen values.

Checking a settings file and compiling prices takes a library of models and a library of prices, a quarter of a
gateway's memory, and is over in a moment. So a process that ends does it, at the start and whenever the files have
changed: the gateway imports its server meanwhile, its requests wait for no compiler, and what it holds is what it uses.

That process is told where the settings are and *which* variables are set, never what they hold: no key is in it.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from crewcap.errors import CrewcapError, InternalError

if TYPE_CHECKING:
    from crewcap.prices import Book
    from crewcap.settings.served import Served

_SAID = ("HOME", "CREWCAP_CONFIG")  # what settings are read by; of other variables they ask only whether they are set
_OWN = ("HOME", "PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT")
_START = "from crewcap.cli.gateway.handover import answer; answer()"


class Handover:
    """A process that reads settings and prices; each thing that it read is asked for once."""

    def __init__(self, config_path: Path | None, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (our own code, in this interpreter)
            [sys.executable, "-P", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("CREWCAP_DEBUG") else subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name in _OWN or name.startswith("PYTHON")},
            start_new_session=True,  # Ctrl-C is for the gateway
        )
        said = {name: value if name in _SAID else "set" for name, value in environ.items() if value}
        question = {"config": str(config_path) if config_path else None, "environ": said}
        assert self._process.stdin is not None  # noqa: S101  (it is a pipe)
        self._process.stdin.write(json.dumps(question).encode())
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Which process reads."""
        return self._process.pid

    def settings(self) -> Served:
        """The settings, which come first, or the error that they are."""
        return cast("Served", self._next())

    def book(self) -> Book:
        """The prices, which come second; then there is nothing more to come."""
        try:
            return cast("Book", self._next())
        finally:
            self._end()

    def _next(self) -> object:
        assert self._process.stdout is not None  # noqa: S101  (it is a pipe)
        try:
            found = pickle.load(self._process.stdout)  # noqa: S301  (our own process wrote it)
        except (EOFError, pickle.UnpicklingError):
            found = InternalError("the settings could not be read: the process that reads them ended")
        if isinstance(found, CrewcapError):
            self._end()
            raise found
        return found

    def _end(self) -> None:
        """Leave nothing behind; whatever it still writes is for nobody."""
        assert self._process.stdout is not None  # noqa: S101  (it is a pipe)
        self._process.stdout.close()
        self._process.wait()


def read(config_path: Path | None, environ: Mapping[str, str]) -> tuple[Served, Book]:
    """Read settings and prices now."""
    handover = Handover(config_path, environ)
    return handover.settings(), handover.book()


def answer() -> None:
    """What the process does: a question on stdin, the answers on stdout, the last of them perhaps an error."""
    gc.disable()  # what is made here goes with the process
    question = json.load(sys.stdin)
    config = question["config"]
    try:
        for found in _read(Path(config) if config else None, question["environ"]):
            _hand_over(found)
    except CrewcapError as error:
        _hand_over(error)
    except Exception as error:  # noqa: BLE001  (a defect is told where the commands of ours tell theirs)
        _hand_over(InternalError(f"the settings could not be read: {type(error).__name__}: {error}"))


def _hand_over(found: object) -> None:
    sys.stdout.buffer.write(pickle.dumps(found, protocol=pickle.HIGHEST_PROTOCOL))
    sys.stdout.buffer.flush()


def _read(config_path: Path | None, environ: Mapping[str, str]) -> Iterator[object]:
    from crewcap import config  # noqa: PLC0415  (for this process alone)

    settings = config.load(config_path, environ).served()
    yield settings
    from crewcap import prices  # noqa: PLC0415  (as above; after the settings, that nobody waits for it)
    from crewcap.settings.price_lists import check_price_lists  # noqa: PLC0415  (as above)

    book = prices.load(settings.price_overrides or None)
    check_price_lists(settings, lambda: book.lists)
    book.prepare(one.prices for one in settings.providers.values())
    yield book
