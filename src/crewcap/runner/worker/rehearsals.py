"""What a `doctor --repo` leaves that was killed: its folder, with a workspace and what was lent to it.

Whoever rehearses holds the lock in its folder before that has its name and for as long as it lives, and the kernel lets
go of it however that ends. A folder of that name without a holder is rubbish.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from crewcap.errors import CrewcapError
from crewcap.home import Home
from crewcap.runner.ownership import holding, is_held
from crewcap.runner.worker.orphans import end_orphans_in
from crewcap.runner.worker.trash import in_trash, throw
from crewcap.workspaces.removal import remove_tree

_PREFIX = "doctor-"
WHY = "left by a `doctor --repo` that was killed"


@contextmanager
def rehearsing(home: Home) -> Iterator[Path]:
    """A folder to rehearse in, which nothing is left of."""
    making = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=home.root))
    with holding(making):
        folder = making.rename(making.with_name(making.name.removeprefix(".")))
        try:
            yield folder
        finally:
            _clear(home, folder)


def left_rehearsals(home: Home) -> Sequence[Path]:
    """Folders of dead ones."""
    folders = (path for path in home.root.glob(f"{_PREFIX}*") if path.is_dir() and not path.is_symlink())
    return sorted(path for path in folders if not is_held(path))


def remove_rehearsals(home: Home, *, tell: Callable[[str, str], None]) -> None:
    """Into the trash with them; `tell` takes each name and why it stays, or nothing. It blocks."""
    for folder in left_rehearsals(home):
        try:
            tell(folder.name, _remove(home, folder))
        except (CrewcapError, OSError) as error:
            tell(folder.name, str(error))


def _remove(home: Home, folder: Path) -> str:
    with holding(folder) as is_ours:
        if not is_ours:
            return "somebody is at work in it"
        end_orphans_in(folder)
        return throw(home.root, (), folder.name)


def _clear(home: Home, folder: Path) -> None:
    """Out of its place first: what is still at work in a thread of ours finds it gone, and makes nothing more there."""
    throw(home.root, (), folder.name)
    for tree in in_trash(home.root):
        if tree.name.endswith(f"-{folder.name}"):
            with suppress(OSError):
                remove_tree(tree)
