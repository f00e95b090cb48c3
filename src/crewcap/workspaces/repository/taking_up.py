"""Earlier work of a run in a workspace that was made anew: done inside, since its files are an agent's."""

from __future__ import annotations

from crewcap.workspaces.repository.harvest import ENVIRON, Perform

_RESET = ("git", "-c", "core.fsmonitor=false", "reset", "--quiet", "--hard")


async def take_up(perform: Perform, commit: str) -> bool:
    """Put the workspace's branch and files at a commit that the mirror has; whether that could be done."""
    return (await perform((*_RESET, commit), ENVIRON)).status == 0
