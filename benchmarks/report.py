"""How a benchmark says what it found: tables on the screen, in a Markdown file for people and a JSON one for programs.

Each carries the date, the commit, the versions, the machine's load and the command, because a figure without them says
nothing.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table; `note` is what a reader must know to read it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """The table as Markdown, its columns aligned for those who read the source."""
        cells = [list(self.head), *(list(row) for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.head))]
        lines = [_line(cells[0], widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
        lines += [_line(row, widths) for row in cells[1:]]
        return "\n".join([f"### {self.title}", "", *([self.note, ""] if self.note else []), *lines, ""])


def _checked_out() -> str:
    """What is checked out."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=FOLDER.parent
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


@dataclass(kw_only=True)
class Report:
    """Tables of one run, and the circumstances; to be made before anything is measured."""

    name: str
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    data: dict[str, object] = field(default_factory=dict)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _load: float = field(default_factory=lambda: os.getloadavg()[0])
    _commit: str = field(default_factory=_checked_out)

    def add(self, table: Table) -> None:
        """Show a table as soon as it is complete."""
        self.tables.append(table)
        print(table.markdown(), flush=True)

    def write(self, folder: Path) -> None:
        """Both files; the same name each time, so that the history is git's."""
        folder.mkdir(parents=True, exist_ok=True)
        facts = self._facts()
        lines = [f"# {self.name}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
        lines += [*(f"{note}\n" for note in self.notes), *(table.markdown() for table in self.tables)]
        (folder / f"{self.name}.md").write_text("\n".join(lines).rstrip() + "\n")
        told = {**facts, "tables": [asdict(table) for table in self.tables], **self.data}
        (folder / f"{self.name}.json").write_text(json.dumps(told, indent=1) + "\n")
        print(f"written: {folder}/{self.name}.md and .json", file=sys.stderr)

    def _facts(self) -> dict[str, str]:
        load = f"{self._load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end (this benchmark's own is in it)"
        return {
            "date": f"{self._began:%Y-%m-%d %H:%M} UTC, {(datetime.now(UTC) - self._began).total_seconds():.0f} s",
            "command": " ".join(["python -m", f"benchmarks.{self.name}", *sys.argv[1:]]),
            "commit": self._commit,
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            "machine": f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, {_python()}",
            "load": load,
        }


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"
