"""What setup and check left lying about in a workspace before its agent came: it is not the agent's work.

A project whose `.gitignore` does not name its build's folders (`node_modules`, `__pycache__`) would otherwise get them
on the branch. They are listed where git looks for what this clone alone ignores; it is done inside, because git is
never run by us in a folder that a stranger's program could write. A copy of the list lies beside the workspace, where
the end of the run finds it though the agent broke its repository, or threw it away and began another.
"""

from __future__ import annotations

from crewcap.workspaces.repository.harvest import ENVIRON, Perform

_LIST = ("git", "-c", "core.fsmonitor=false", "ls-files", "--others", "--exclude-standard", "--directory", "-z")
# A name as a pattern that fits it alone. A list of patterns has lines: an end of line within a name is a letter between
# tab and vertical tab, and a carriage return at a pattern's end would be taken for a part of its line's.
_PATTERN = r"s/[]\\*?[ #!]/\\&/g; s/\r/[\r]/g; s/\n/[\t-\v]/g; s:^:/:"
_WRITE = f"""list=$(git rev-parse --git-path info/exclude) && mkdir -p "${{list%/*}}" &&
    {{ echo; {" ".join(_LIST)} | LC_ALL=C sed -z '{_PATTERN}' | tr '\\0' '\\n'; }} >> "$list\""""
# A submodule whose folder holds something new would be taken for one that the agent worked in.
_IN_SUBMODULES = 'test -e .gitmodules && git -c core.fsmonitor=false submodule foreach --quiet --recursive "$1"'


_KEEP = f'{_WRITE} && cp -- "$list" "$1"'


async def leave_out(perform: Perform, *, keep: str) -> tuple[str, ...]:
    """Have git ignore every file that is new in the workspace; their names, folders as a whole.

    `keep` = a path inside, beside the workspace, for a copy of the list.
    """
    await perform(("/bin/sh", "-c", _IN_SUBMODULES, "sh", _WRITE), ENVIRON)
    listed = await perform(_LIST, ENVIRON)
    names = tuple(name for name in listed.stdout.decode("utf-8", "surrogateescape").split("\0") if name)
    if listed.status != 0 or not names:
        return ()
    await perform(("/bin/sh", "-c", _KEEP, "sh", keep), ENVIRON)
    return names
