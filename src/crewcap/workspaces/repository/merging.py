"""Whether a run's branch still fits: the branch that it started from may have moved while it worked.

It is tried in the trusted mirror alone, without a working tree, and with git's own way of merging: a driver or a filter
that a repository asks for is a command, and the mirror's configuration knows none. Nothing is merged anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crewcap.workspaces.repository.git import Git

_SHOWN = 3
_CLEAN, _CONFLICTS = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """How a run's branch and the one that it started from stand to each other now."""

    onto: str = ""  # the branch that it started from; empty = it started from none
    moved_by: int = 0  # commits there that the run did not know
    conflicts: tuple[str, ...] = ()
    is_tried: bool = True  # whether git could say if it merges

    @property
    def sentence(self) -> str:
        """For people; empty = nothing moved."""
        if not self.moved_by:
            return ""
        commits = "1 commit" if self.moved_by == 1 else f"{self.moved_by:,} commits"
        return f"{self.onto} moved by {commits}; {self._outcome()}"

    def _outcome(self) -> str:
        if not self.is_tried:
            return "whether it merges could not be tried (git 2.38 can)"
        if not self.conflicts:
            return "merges cleanly"
        named = ", ".join(self.conflicts[:_SHOWN])
        more = len(self.conflicts) - _SHOWN
        return f"conflicts in {named}{f' and {more} more' if more > 0 else ''}; the work is kept on its branch"


def try_merge(git: Git, mirror: Path, *, onto: str, now: str, base: str, tip: str) -> Merge:
    """The branch `onto`, which stands at `now`, and a run's work; every commit is in the mirror."""
    moved = int(git.inside(mirror, "rev-list", "--count", now, f"^{base}").text)
    if not moved:
        return Merge(onto=onto)
    words = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", now, tip)
    tried = git.inside(mirror, *words, fails=True)
    if tried.status not in {_CLEAN, _CONFLICTS}:
        return Merge(onto=onto, moved_by=moved, is_tried=False)
    _, *names = tried.stdout.decode("utf-8", "replace").split("\0")
    paths = tuple("".join(char if char.isprintable() else "?" for char in name) for name in names if name)
    return Merge(onto=onto, moved_by=moved, conflicts=paths if tried.status == _CONFLICTS else ())
