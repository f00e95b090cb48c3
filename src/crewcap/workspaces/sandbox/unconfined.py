"""The last rung: no wall at all, only when it was spoken aloud; every run on it says so.

What is kept is tidiness: a scrubbed environment, limits of the kernel, and a supervisor that leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from crewcap.workspaces import Confined, Layout, Rung
from crewcap.workspaces.sandbox.child import ConfinedChild, Plan, begin
from crewcap.workspaces.sandbox.supervised import agent_uid, base_environ, here, program
from crewcap.workspaces.sandbox.uids import closed_to, give, is_root, no_users

_LOST = (
    "every file that your user can read or write is open to the agent",
    "the network is open: it can send what it reads to anywhere",
    "environments of your other processes can be read: a provider key there is not safe",
    "it can stop its own supervisor and outlive its run",
)
_LOST_AS_ROOT = "it runs as root, unless the whole way to the state directory is open to other users"


class Unconfined:
    """The rung; see the module."""

    rung: Rung = "unconfined"

    @property
    def loses(self) -> tuple[str, ...]:
        """Everything; said in words."""
        return (*_LOST, *((_LOST_AS_ROOT,) if is_root() else ()))

    def missing(self) -> str:
        """It needs what the supervisor needs."""
        return "" if sys.platform == "linux" else "it is built for Linux: run crewcap in a Linux container"

    def layout(self, *, workspace: Path, home: Path, objects: Path, binary: Path) -> Layout:
        """Everything stays where it is."""
        return here(workspace=workspace, home=home, objects=objects, binary=binary)

    def prepare(self, *, uid: int, owned: tuple[Path, ...]) -> None:
        """Give the run's folders to its user, where that user can come that far."""
        if is_root() and not no_users() and not any(closed_to(uid, tree) for tree in owned):
            for tree in owned:
                give(tree, uid)

    async def start(self, command: Confined, *, uid: int) -> ConfinedChild:
        """Start it; on the thread of the event loop, because its supervisor ends with that thread."""
        can_drop = not no_users() and not any(closed_to(uid, mount.source) for mount in command.mounts)
        user = agent_uid(uid) if can_drop else None
        if is_root() and user is None:
            await asyncio.to_thread(_take_back, command, uid)
        plan = Plan(
            rung=self.rung,
            program=program,
            environ=base_environ(command),
            uid=user,
            counted="apart" if user is not None else "never" if is_root() else "together",
        )
        return await begin(command, plan)


def _take_back(command: Confined, uid: int) -> None:
    """Folders that were given to a user who then cannot come as far as another one: git refuses those of others."""
    for mount in command.mounts:
        if mount.writable and mount.source.stat().st_uid == uid:
            give(mount.source, os.geteuid())
