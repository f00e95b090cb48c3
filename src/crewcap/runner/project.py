"""The project's own commands, in the room of their phase: the only place where a shell is used, and it is inside."""

from __future__ import annotations

from dataclasses import replace

from crewcap.core.runs import Check
from crewcap.runner import checks
from crewcap.runner.process import TIMED_OUT, Outcome
from crewcap.runner.rooms import Phase, Rooms

IN_CHECK = "before its agent began, with its check"


def out_of_time(timeout_s: int, where: str) -> str:
    """Why a run ends before its agent began."""
    return f"its time, {timeout_s} s, was up {where}; nothing was spent"


def in_setup(command: str) -> str:
    """Where that was."""
    return f"in its setup `{command}`"


async def check(rooms: Rooms, command: str, *, limit_s: float) -> Check:
    """Run the project's own check; one that was ended by us says why."""
    outcome = await perform(rooms, "check", command, limit_s=limit_s)
    judged = checks.judge(exit_status=outcome.status, output=outcome.both, seconds=outcome.seconds)
    if outcome.limit_hit or outcome.status == TIMED_OUT:
        return replace(judged, result="failed", summary=outcome.failed)
    return replace(judged, summary=f"{judged.summary}; {outcome.strain}") if outcome.strain else judged


async def perform(rooms: Rooms, phase: Phase, command: str, *, limit_s: float) -> Outcome:
    """Run one command of the project's to its end."""
    async with rooms.opened(phase) as site:
        return await site.perform(("/bin/sh", "-c", command), timeout_s=limit_s)
