"""Death at a named point of the real `crewcap serve`, without a word of it in the product.

CREWCAP_DIE_AT names a folder. While a file `armed` lies there, every process of the serve looks at it whenever it
passes a point: `{"point", "passes", "victims", "note"}`. At the n-th pass the file is taken away, so that only one
dies of it, what was alive is written into `struck`, and the victims are killed, ourselves last.

The points are the calls of `CALLS`, before and after. They are put around the product's own functions as soon as their
module is imported, and modules that a process never imports cost it nothing.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "CREWCAP_DIE_AT"
_PR_SET_PDEATHSIG = 1
_FLAGS = {"worker": b"--worker", "gateway": b"--child"}  # which words tell the supervisor's children apart
Namer = Callable[..., str]


def _step(_host: object, _run: str, _attempt: int, step: str) -> str:
    return f"step.{step}"


def _event(_record: object, event: str, **_changes: object) -> str:
    return f"state.{event}"


CALLS: dict[str, dict[str, str | Namer]] = {
    "crewcap.stores.sqlite.runs": {"SqliteRuns.admit": "admit"},
    "crewcap.stores.sqlite.ledger": {
        "SqliteLedger.reserve_many": "reserve",
        "SqliteLedger.settle_and_reserve": "reserve",
        "SqliteLedger.settle_many": "settle",
    },
    "crewcap.runner.worker.engine": {"Engine.enqueue": "enqueue", "Engine.start": "engine"},
    "crewcap.runner.worker.dispatch": {"Dispatcher.mend": "mend"},
    "crewcap.runner.worker.worker": {"end_orphans": "orphans"},
    "crewcap.runner.worker.hosting": {"Host.perform": _step},
    "crewcap.runner.record": {"Record.move": _event},
    "crewcap.runner.tree": {
        "Tree.take": "branch",
        "Tree.lay_out": "workspace",
        "Tree.collect": "fetch",
        "Tree.publish": "publish",
    },
    "crewcap.runner.working": {"give_key": "key", "end_keys": "key_end", "_Listener.began": "agent"},
    "crewcap.runner.resuming": {"_answered": "answer"},
    "crewcap.gateway.client": {"GatewayHandle.open_door": "door", "GatewayHandle.close_door": "door_end"},
    "crewcap.gateway.provider.upstream": {"Upstream.post": "send"},
    "crewcap.trackers.files": {"Files.report": "report"},
    "crewcap.serve.supervisor": {
        "Supervisor._gateway_came": "gateway_came",
        "Supervisor._worker_came": "worker_came",
    },
}


def watch() -> None:
    """Put the points into whatever this process imports, where somebody wants it to die."""
    if not os.environ.get(VARIABLE):
        return
    sys.meta_path.insert(0, _Finder())
    if "serve" in sys.orig_argv and "--worker" not in sys.orig_argv:  # no serve outlives the night that started it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def at(point: str) -> None:
    """This point is passed now."""
    armed = Path(os.environ[VARIABLE], "armed")
    try:
        orders = json.loads(armed.read_text("utf-8"))
    except (OSError, ValueError):
        return
    if orders["point"] != point:
        return
    _PASSES[orders["id"]] = passed = _PASSES.get(orders["id"], 0) + 1
    if passed < orders["passes"]:
        return
    try:
        armed.rename(armed.with_name("taken"))
    except OSError:
        return  # another process was quicker
    strike(orders, armed.parent)


def strike(orders: dict[str, Any], folder: Path) -> None:
    """Kill the victims, and write down before who they are, and who lives by them."""
    others = [name for name in orders["victims"] if name != "self"]
    found = [who for name in others for who in named(name, Path(orders["note"]))]
    found += [(os.getpid(), _stat(os.getpid())[1])] if "self" in orders["victims"] else []
    everybody = [member for pid, started in found for member in family(pid, started)]
    fresh = folder / "struck.new"
    said = {"at": time.monotonic(), "point": orders["point"], "victims": found, "family": everybody}
    fresh.write_text(json.dumps(said), "utf-8")
    fresh.rename(folder / "struck")
    for pid, started in sorted(found, key=lambda who: who[0] == os.getpid()):
        if _stat(pid)[1] == started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def named(name: str, note: Path) -> list[tuple[int, str]]:
    """The supervisor that a note names, or its gateway or worker, also one that only starts; none that is gone."""
    try:
        said = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    pid, started = int(said["pid"]), str(said["started"])
    if _stat(pid)[1] != started:
        return []
    if name == "supervisor":
        return [(pid, started)]
    return [member for member in family(pid, started) if _is_child(member[0], pid, _FLAGS[name])]


def _is_child(pid: int, of: int, flag: bytes) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return flag in words and _stat(pid)[0] == of


def family(pid: int, started: str) -> list[tuple[int, str]]:
    """A process and all that descends from it."""
    names = os.listdir("/proc")  # noqa: PTH208  (many times faster)
    alive = {int(name): _stat(int(name)) for name in names if name.isdigit()}
    found = [(pid, started)]
    for member, _ in found:
        found += [(child, begun) for child, (parent, begun) in alive.items() if parent == member and begun]
    return found


def _stat(pid: int) -> tuple[int, str]:
    """Its parent and start time; no start time where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return 0, ""
    return int(fields[1]), "" if fields[0] in "ZX" else fields[19]


# --- points around functions ----------------------------------------------------------------------------------------

_PASSES: dict[str, int] = {}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as they are always found, and has them changed once they are there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del target
        if fullname not in CALLS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, CALLS[fullname])
        return spec


class _Loader(importlib.abc.Loader):
    """Runs a module and puts points around its calls."""

    def __init__(self, inner: Any, calls: dict[str, str | Namer]) -> None:
        self._inner = inner
        self._calls = calls

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._inner.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        for path, name in self._calls.items():
            owner, last = _owner(module, path)
            setattr(owner, last, _with_points(getattr(owner, last), name))


def find(module: str, path: str) -> Any:
    """The call that a point is put around; None where the product has none of that name."""
    return getattr(*_owner(importlib.import_module(module), path), None)


def _owner(module: ModuleType, path: str) -> tuple[Any, str]:
    *outer, last = path.split(".")
    return functools.reduce(getattr, outer, module), last


def _with_points(call: Callable[..., Any], name: str | Namer) -> Callable[..., Any]:
    def names(*given: Any, **named: Any) -> Iterator[str]:
        said = name if isinstance(name, str) else name(*given, **named)
        yield f"{said}.before"
        yield f"{said}.after"

    if inspect.iscoroutinefunction(call):

        @functools.wraps(call)
        async def later(*given: Any, **named: Any) -> Any:
            before, after = names(*given, **named)
            at(before)
            result = await call(*given, **named)
            at(after)
            return result

        return later

    @functools.wraps(call)
    def now(*given: Any, **named: Any) -> Any:
        before, after = names(*given, **named)
        at(before)
        result = call(*given, **named)
        at(after)
        return result

    return now
