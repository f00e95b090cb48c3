"""Prepared trees: what a setup left behind, kept for later runs that would run the same setup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a setup's result depends on; equal recipes share a tree."""

    repository: str  # name of its mirror
    tracked: Mapping[str, str]  # path -> object, of the base commit (`Mirrors.tracked`)
    setup: str
    workspace: str  # as seen inside
    home: str  # as seen inside
    toolchains: tuple[str, ...] = ()  # the sentences of `find_toolchains`
    others: tuple[str, ...] = ()  # whatever else setup sees: hosts, services, contents of included files


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A tree was copied into a run's folders."""

    files: int
    bytes: int
    left_out: int = 0  # paths that were there already, which win


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLent:
    """None was; `reason` is empty where there simply is none yet."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a setup's result."""

    files: int = 0
    bytes: int = 0
    reason: str = ""  # why nothing was kept; empty = it was
    said: tuple[str, ...] = ()  # what is not part of it, a sentence each


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a clean-up freed."""

    trees: int = 0
    bytes: int = 0
    in_use: int = 0  # could not be removed, because a run is being given them


Stamp = tuple[int, int, int]
Before = Mapping[str, Stamp]


def look(workspace: Path) -> Before:
    """What lies in a workspace before its setup (after submodules, included files and large files were placed)."""
    del workspace
    return {}


class PreparedTrees:
    """All of one state directory. It blocks: call it off the event loop."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._clock = clock

    def key(self, recipe: Recipe) -> str:
        """The name of the tree that this recipe makes; empty = it is of no use to a later run."""
        del recipe
        return ""

    def lend(
        self, key: str, *, workspace: Path, home: Path, uid: int | None, disk_bytes: int | None = None
    ) -> Lent | NotLent:
        """Copy a kept tree into a run's fresh folders, as its user's own (`None`: stay the owner)."""
        del key, workspace, home, uid, disk_bytes
        return NotLent()

    def keep(self, key: str, *, workspace: Path, home: Path, before: Before) -> Kept:
        """Keep what a setup left, for runs to come: call it right after a setup that worked, before any agent.

        Only for a base commit on the default branch (`Mirrors.on_default_branch`), and only in folders in which no
        agent has worked yet.
        """
        del key, workspace, home, before
        return Kept(reason="nothing is kept yet")

    def sweep(self, max_bytes: int) -> Swept:
        """Remove the least recently used until the rest fits, and what killed writers left."""
        del max_bytes
        return Swept()
