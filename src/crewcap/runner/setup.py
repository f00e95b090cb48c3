"""The project's setup: what an earlier one made, lent again, else the command itself and what it made kept.

A tree is lent where everything that setup depends on is the same (`workspaces/project/recipes`), and kept only where
the run starts from the default branch: what somebody's branch makes of a setup is no other run's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crewcap.runner import checks, project
from crewcap.runner.fitting import Fitted, prepared_trees, recipe_of
from crewcap.runner.process import Outcome
from crewcap.workspaces.egress.log import asked_and_refused, hosts_line, read_log
from crewcap.workspaces.project.prepared import Kept, Lent, NotLent, look
from crewcap.workspaces.project.recipes import only_installs
from crewcap.workspaces.sandbox.uids import is_root

if TYPE_CHECKING:
    from crewcap.workspaces.project.prepared import PreparedTrees

_TAIL = 600  # letters of what a failed setup said
_NOT_FOUND = 127  # of a shell
_KEYS = {"memory": 'memory = "SIZE"', "disk": 'disk = "SIZE"'}  # limits that a repository's settings can raise


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """How a setup went."""

    command: str
    seconds: float
    reused: bool = False  # nothing was run: what an earlier setup made was copied
    files: int = 0  # that were copied, or kept
    kept: bool = False
    notes: tuple[str, ...] = ()  # what else is worth saying, a sentence each
    failed: str = ""  # "exit 1", "ran out of time"; empty = it worked
    tail: str = ""  # the end of what it said, where it failed
    refused: tuple[str, ...] = ()  # hosts that it asked for and that are not in `hosts`
    hosts: str = ""  # the setting that would have let it reach them
    limits: tuple[str, ...] = ()  # names of those that ended it or a process of it

    @property
    def told(self) -> str:
        """In one line."""
        if self.failed:
            return f"{self.command}: {self.failed}"
        if self.reused:
            same = "lock file" if only_installs(self.command) else "commit"
            return f"{self.command}: reused, {same} unchanged ({_time(self.seconds)})"
        return f"{self.command}: done in {_time(self.seconds)}{', kept' if self.kept else ''}"

    @property
    def asked(self) -> str:
        """What it asked for in vain, and what lets it; empty = nothing."""
        if not self.refused:
            return ""
        are = "which is" if len(self.refused) == 1 else "which are"
        return f"setup asked for {', '.join(self.refused)}, {are} not in hosts; add: {self.hosts}"

    @property
    def way_round(self) -> str:
        """What helps one that failed in this way; empty = nothing is known."""
        if keys := [key for name, key in _KEYS.items() if name in self.limits]:
            return f"give it more: {' and '.join(keys)} under [repos.NAME] of your own settings"
        if self.failed == f"exit {_NOT_FOUND}":
            return (
                'a program that it calls is not inside: tools = ["~/.local/bin/PROGRAM"] under [repos.NAME] shows one'
            )
        return f"let it reach what it asked for: {self.hosts}" if self.refused else ""


async def set_up(fitted: Fitted, *, included: Collection[str], limit_s: float, fresh: bool = False) -> SetUp:
    """Have everything in the workspace that setup makes; `fresh` = what an earlier one made is forgotten first."""
    command, began = fitted.plot.project.setup, time.monotonic()
    trees = prepared_trees(fitted.grounds)
    recipe = await asyncio.to_thread(recipe_of, fitted, included)
    key = trees.key(recipe)
    if fresh:
        await asyncio.to_thread(trees.forget, key)
    given = await asyncio.to_thread(_lend, trees, key, fitted)
    if isinstance(given, Lent):
        return SetUp(command=command, seconds=time.monotonic() - began, reused=True, files=given.files)
    notes = (given.reason,) if given.reason else ()
    site = fitted.rooms.site
    before = await asyncio.to_thread(look, site.workspace)
    earlier = len(read_log(fitted.network_log))
    outcome = await project.perform(fitted.rooms, "setup", command, limit_s=limit_s)
    if outcome.failed:
        return _failed(command, outcome, fitted, earlier)
    if not await asyncio.to_thread(
        fitted.grounds.mirrors.on_default_branch, fitted.plot.repository, commit=fitted.plot.base.commit
    ):
        return SetUp(command=command, seconds=outcome.seconds, notes=(*notes, "not kept: not on the default branch"))
    kept = await asyncio.to_thread(trees.keep, key, workspace=site.workspace, home=site.home, before=before)
    return _kept(command, outcome, kept, notes)


def _lend(trees: PreparedTrees, key: str, fitted: Fitted) -> Lent | NotLent:
    site = fitted.rooms.site
    return trees.lend(
        key,
        workspace=site.workspace,
        home=site.home,
        uid=site.uid if is_root() else None,
        disk_bytes=site.limits.disk_bytes,
    )


def _kept(command: str, outcome: Outcome, kept: Kept, notes: tuple[str, ...]) -> SetUp:
    return SetUp(
        command=command,
        seconds=outcome.seconds,
        kept=not kept.reason,
        files=kept.files,
        notes=(*notes, *((kept.reason,) if kept.reason else ()), *kept.said),
    )


def _failed(command: str, outcome: Outcome, fitted: Fitted, earlier: int) -> SetUp:
    """What it said at last, and which hosts it was refused this time."""
    log = read_log(fitted.network_log)[earlier:]
    return SetUp(
        command=command,
        seconds=outcome.seconds,
        failed=outcome.failed,
        tail=checks.text_of(outcome.both).strip()[-_TAIL:],
        refused=asked_and_refused(log),
        hosts=hosts_line(log),
        limits=(outcome.limit_hit, *outcome.limits_met),
    )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
