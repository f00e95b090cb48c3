"""What runs leave in the state directory, and whether its time is over."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from crewcap.core.runs import OPEN_STATES, Run
from crewcap.home import Home

WORKSPACE = ("workspace", "home")  # of a run's folder: its clone, and the agent's private home with the session
TRANSCRIPT = "agent.jsonl"
NO_FOLDER, NO_RUN = "it is a link or a file, and no run's folder", "it belongs to no run in these books"
_ASIDE = re.compile(r"\.gone-[0-9a-f]{16}")  # what a start of the run had set aside (`removal.set_aside`)


def run_folders(home: Home) -> Sequence[Path]:
    """Everything below `runs`."""
    folder = home.root / "runs"
    return () if folder.is_symlink() or not folder.is_dir() else sorted(folder.iterdir())


def is_folder(path: Path) -> bool:
    """Whether it is one of ours, and no link to another."""
    return path.is_dir() and not path.is_symlink()


def there(folder: Path) -> list[str]:
    """What of a run's folder goes first."""
    return [name for name in WORKSPACE if os.path.lexists(folder / name)]


def foreign(folder: Path) -> str:
    """What stands in the place of a folder of ours, in words; empty where nothing does."""
    strange = next((name for name in there(folder) if not is_folder(folder / name)), "")
    return f"its {strange} is a link or a file, and not a folder of ours" if strange else ""


def aside(folder: Path) -> list[str]:
    """What was to go already."""
    return [path.name for path in folder.iterdir() if _ASIDE.fullmatch(path.name)]


def has_remains(folder: Path) -> bool:
    """Whether there is anything to do at all."""
    return bool(there(folder) or aside(folder)) or (folder / TRANSCRIPT).is_file()


def is_over(run: Run, now: datetime, retention_s: float) -> bool:
    """Whether it has ended, and so long ago."""
    return run.state not in OPEN_STATES and now >= goes_at(run, retention_s)


def goes_at(run: Run, retention_s: float) -> datetime:
    """When the workspace of a run that has ended may go."""
    return (run.ended_at or run.created_at) + timedelta(seconds=retention_s)
