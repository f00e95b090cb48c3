"""What setup and check left lying about in a workspace before its agent came: it is not the agent's work.

A project whose `.gitignore` does not name its build's folders (`node_modules`, `__pycache__`) would otherwise get them
on the branch. They are listed where git looks for what this clone alone ignores; it is done inside, because git is
never run by us in a folder that a stranger's program could write.
"""

from __future__ import annotations

import re

from crewcap.workspaces.repository.harvest import ENVIRON, Perform

_MOST = 2_000
_LIST = ("git", "-c", "core.fsmonitor=false", "ls-files", "--others", "--exclude-standard", "--directory", "-z")
_WRITE = 'mkdir -p .git/info && for each; do printf "%s\\n" "$each"; done >> .git/info/exclude'
# A submodule whose folder holds something new would be taken for one that the agent worked in.
_IN_SUBMODULES = """test -e .gitmodules && git -c core.fsmonitor=false submodule foreach --quiet --recursive '
    list=$(git rev-parse --git-path info/exclude) && mkdir -p "${list%/*}" &&
    git -c core.fsmonitor=false ls-files --others --exclude-standard --directory | sed "s:^:/:" >> "$list"'"""


async def leave_out(perform: Perform) -> tuple[str, ...]:
    """Have git ignore every file that is new in the workspace; their names, folders as a whole."""
    await perform(("/bin/sh", "-c", _IN_SUBMODULES), ENVIRON)
    listed = await perform(_LIST, ENVIRON)
    names = [name for name in listed.stdout.decode("utf-8", "surrogateescape").split("\0") if name][:_MOST]
    if listed.status != 0 or not names:
        return ()
    await perform(("/bin/sh", "-c", _WRITE, "sh", *map(_pattern, names)), ENVIRON)
    return tuple(names)


def _pattern(name: str) -> str:
    """A name as a pattern that fits it alone."""
    return "/" + re.sub(r"([\\*?\[ #!])", r"\\\1", name)
