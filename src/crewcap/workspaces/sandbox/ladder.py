"""Which sandbox a run gets. Nothing slides down by itself: it is refused, with the word that accepts the loss."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import LADDER, SANDBOXES, Limits, Rung, Sandbox
from crewcap.workspaces.sandbox.cgroups import make_cage
from crewcap.workspaces.sandbox.limits import names_enforced, process_limits
from crewcap.workspaces.sandbox.uids import FIRST, closed_to, is_root

Wanted = Literal["auto"] | Rung
_BY_ITSELF: tuple[Rung, ...] = ("bubblewrap", "landlock")
_ANOTHER = "as root the agent is another user, who may not pass through"
Table = Mapping[Rung, Callable[[], Sandbox]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One rung, really tried on this machine."""

    rung: Rung
    missing: str  # empty = it can be used
    loses: tuple[str, ...]


def probe_all(*, state: Path | None = None, sandboxes: Table = SANDBOXES) -> tuple[Tried, ...]:
    """Every rung, the strongest first; `state` is the state directory in which runs would lie."""
    built = [sandboxes[rung]() for rung in LADDER]
    return tuple(Tried(rung=s.rung, missing=_missing(s, state), loses=s.loses) for s in built)


def choose(wanted: Wanted, *, state: Path | None = None, sandboxes: Table = SANDBOXES) -> Sandbox:
    """The sandbox that was asked for, or the better of the two that `auto` may take; else a refusal."""
    allowed = _BY_ITSELF if wanted == "auto" else (wanted,)
    reasons: dict[str, str] = {}
    for rung in allowed:
        sandbox = sandboxes[rung]()
        reasons[rung] = _missing(sandbox, state)
        if not reasons[rung]:
            return sandbox
    if wanted != "auto":
        raise UnsafeEnvironment(
            f"the {wanted} sandbox cannot be had here: {reasons[wanted]}",
            help="crewcap doctor tries every kind of sandbox; `--sandbox auto` takes the strongest that works",
        )
    raise UnsafeEnvironment(
        "no sandbox can be had here. " + ". ".join(f"{rung}: {reason}" for rung, reason in reasons.items()),
        help="open one of these; or accept that nothing is protected, with `--sandbox unconfined`",
    )


def limits_here(limits: Limits) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(names of the limits that hold, of those that do not, how runs are counted), by really making a control group."""
    cage = make_cage(limits)
    way = ""
    if cage is not None:
        with subprocess.Popen(("sleep", "60"), stdin=subprocess.DEVNULL) as process:  # noqa: S607  (the system's)
            taken = cage.add(process.pid)
            process.kill()
        way = cage.way if taken else ""
        held = names_enforced(limits, cage if taken else None, process_limits(limits, counted="apart"))
        cage.remove()
    else:
        held = names_enforced(limits, None, process_limits(limits, counted="apart"))
    return held, tuple(name for name in limits.asked() if name not in held), way


def strongest(*, state: Path | None = None, sandboxes: Table = SANDBOXES) -> Sandbox:
    """The best that this machine has, down to none: for the demo alone, whose agent follows a script."""
    built = [sandboxes[rung]() for rung in LADDER]
    usable = [sandbox for sandbox in built if not _missing(sandbox, state)]
    if not usable:
        raise UnsafeEnvironment("no run can be started on this system", help="use Linux, or a Linux container")
    return usable[0]


def _missing(sandbox: Sandbox, state: Path | None) -> str:
    """Why a rung cannot be used here, also for the state directory's sake."""
    if reason := sandbox.missing():
        return reason
    if sandbox.rung == "landlock" and state is not None and is_root():
        return _closed(state)
    return ""


def _closed(state: Path) -> str:
    """Landlock keeps real paths, and as root the agent is another user, who must be able to walk there."""
    existing = next(path for path in (state, *state.parents) if path.exists())
    if existing != state and (closed := closed_to(FIRST, existing / "below")):
        return f"{_ANOTHER} {closed}: `chmod o+x {closed}`"
    mirrors = state / "mirrors"
    if not mirrors.exists():  # both would be made for their owner alone
        return f"{_ANOTHER} {mirrors}: `install -d -m 711 {state} {mirrors}`"
    closed = closed_to(FIRST, mirrors / "below")
    return f"{_ANOTHER} {closed}: `chmod o+x {closed}`" if closed else ""
