"""The project's own commands, setup and check: the only place where a shell is used, and it is inside a sandbox."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crewcap.core.runs import Check
from crewcap.runner import checks
from crewcap.runner.process import TIMED_OUT, Outcome
from crewcap.runner.rooms import Phase, Rooms

_TAIL = 600  # letters of what a failed setup said


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """How a setup went."""

    command: str
    seconds: float
    failed: str = ""  # "exit 1", "ran out of time"; empty = it worked
    tail: str = ""  # the end of what it said, where it failed


async def set_up(rooms: Rooms, command: str, *, limit_s: float) -> SetUp:
    """Run the project's setup."""
    outcome = await _shell(rooms, "setup", command, limit_s)
    if outcome.status == 0:
        return SetUp(command=command, seconds=outcome.seconds)
    failed = "ran out of time" if outcome.status == TIMED_OUT else f"exit {outcome.status}"
    tail = checks.text_of(outcome.both).strip()[-_TAIL:]
    return SetUp(command=command, seconds=outcome.seconds, failed=failed, tail=tail)


async def check(rooms: Rooms, command: str, *, limit_s: float) -> Check:
    """Run the project's own check."""
    outcome = await _shell(rooms, "check", command, limit_s)
    judged = checks.judge(exit_status=outcome.status, output=outcome.both, seconds=outcome.seconds)
    return replace(judged, summary="ran out of time") if outcome.status == TIMED_OUT else judged


async def _shell(rooms: Rooms, phase: Phase, command: str, limit_s: float) -> Outcome:
    async with rooms.opened(phase) as site:
        return await site.perform(("/bin/sh", "-c", command), timeout_s=limit_s)
