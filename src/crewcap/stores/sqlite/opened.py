"""Whether the ledger's file is still the one that was opened.

Who restores books moves the lost file away and puts another one in its place. A program that has the old one open keeps
it under its new name: it would show, and write, books that nobody keeps any more. So whoever has the file open for long
looks at its name each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import LedgerError


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file by its name and by what the kernel calls it, which no other file is called while it is open."""

    path: Path
    device: int
    inode: int

    @classmethod
    def at(cls, path: Path) -> OpenedFile:
        """The one that has this name now."""
        found = path.stat()
        return cls(path, found.st_dev, found.st_ino)

    def refuse_replaced(self) -> None:
        """`LedgerError` where the name is nobody's, or another file's."""
        try:
            if self == OpenedFile.at(self.path):
                return
        except OSError:
            pass  # nobody's: between the two steps of a restore
        raise replaced(self.path)


def replaced(path: Path) -> LedgerError:
    """What those are told who have other books open than those that are here now."""
    return LedgerError(
        f"the ledger {path} was replaced while this command had it open",
        help="crewcap status shows the one that is there now; crewcap logs -f RUN follows a run in it",
    )
