"""Files and folders of a workspace that its own user closed to itself, opened again before its work is taken.

Git passes over what it cannot read, with a warning that nobody sees, and takes it for unchanged: an agent's `chmod 000`
would cost its work without a word. So whatever the run's user may not read or enter is opened to it, inside the
sandbox, as that user and below the workspace alone; nothing of the run is alive then. What another user owns stays as
it is, and is named.

Git keeps one bit of a file's mode, whether its owner may execute it. Who takes all rights away takes that one, too, and
means something else; so a file that the index knows as executable gets it back with the right to read it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

_MOST = 100
_CLOSED_FOLDER = r"-type d \( ! -readable -o ! -executable \)"
_CLOSED = rf"\( {_CLOSED_FOLDER} -o -type f ! -readable \)"
# Root may read what it closed, and the mode is another one all the same.
_CLOSED_FILE = r"-type f \( ! -readable -o ! -perm -u=r \)"
# Of git's own: folders and all files but objects are written, too.
_CLOSED_GIT = r"\( -type d ! -writable -o -type f ! -writable ! -path '*/objects/*' \)"
_ANY = rf"\( {_CLOSED_FOLDER} -o {_CLOSED_FILE} -o \( -path ./.git -o -path './.git/*' \) {_CLOSED_GIT} \)"
# A folder is opened before `find` goes down into it, so these are opened one by one; files may be opened by the crowd.
_OPEN = rf"""
test -n "$(find . {_ANY} -print -quit 2>&1)" || exit 0
exec 2>/dev/null
find . {_CLOSED_FOLDER} -exec chmod u+rx -- {{}} \;
find ./.git -type d ! -writable -exec chmod u+w -- {{}} \;
find ./.git {_CLOSED_GIT} -exec chmod u+rw -- {{}} +
find ./.git -type f ! -readable -exec chmod u+r -- {{}} +
{{
    find . -path ./.git -prune -o {_CLOSED_FILE} -print0
    git -c core.fsmonitor=false ls-files -z --stage | LC_ALL=C sed -zn 's:^100755 [0-9a-f]* 0\t:./:p'
}} | LC_ALL=C sort -z | uniq -zd | xargs -0 -r chmod u+x --
find . -path ./.git -prune -o {_CLOSED_FILE} -exec chmod u+r -- {{}} +
find . -path ./.git -prune -o {_CLOSED} -print0 -prune | head -z -n {_MOST}
"""
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Said(Protocol):
    @property
    def stdout(self) -> bytes: ...


async def open_locked(run: Callable[..., Awaitable[_Said]]) -> tuple[str, ...]:
    """Open what its user closed; what stayed closed, by name, folders as a whole."""
    said = await run("/bin/sh", "-c", _OPEN)
    names = said.stdout.decode("utf-8", "surrogateescape").split("\0")
    return tuple(name.removeprefix("./") for name in names if name)


def open_top(folder: Path) -> None:
    """Open a folder of a run itself, in which else no command of it could start. A link in its place is left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, _FOLDER)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode & stat.S_IRWXU != stat.S_IRWXU:
                Path(f"/proc/self/fd/{descriptor}").chmod(mode | stat.S_IRWXU)
        finally:
            os.close(descriptor)
