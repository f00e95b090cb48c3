"""Bringing large files home: a commit brings pointers, and the contents are asked for one by one.

Each is read inside the sandbox, from where git's filter kept it or from the file itself, and let into the trusted
store under its SHA-256 only; from there `publish` places it in the user's own clone, whose git-lfs then pushes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from crewcap.workspaces.repository.harvest import Perform
from crewcap.workspaces.repository.large_files import LargeFile

MOST_BYTES = 200 << 20  # of one file; a command inside may say a little more than that in all


async def bring_large(
    perform: Perform, wanted: Iterable[tuple[str, LargeFile]], *, keep: Callable[[LargeFile, bytes], bool]
) -> tuple[str, ...]:
    """Have the contents of these (path, pointer); a sentence for each that did not come."""
    said = []
    for path, large in wanted:
        if large.size > MOST_BYTES:
            said.append(f"{path} is a pointer: its {large.size / 1e6:,.0f} MB are more than are brought home")
        elif not await _bring(perform, path, large, keep):
            said.append(f"{path} is a pointer to a large file that nobody has")
    return tuple(said)


async def _bring(perform: Perform, path: str, large: LargeFile, keep: Callable[[LargeFile, bytes], bool]) -> bool:
    for place in (f".git/lfs/objects/{large.place}", f"./{path}"):
        said = await perform(("cat", "--", place), {})
        if said.status == 0 and await asyncio.to_thread(keep, large, said.stdout):
            return True
    return False
