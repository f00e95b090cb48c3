"""docs/torture.md: its first part tells of the books, and each section after it is written anew by itself."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from pathlib import Path

_NEXT = "\n## "


def keep(path: Path, part: str) -> None:
    """Put a part in the place of the one before: the section that its heading names, or the first part."""
    page = path.read_text("utf-8") if path.exists() else ""
    path.write_text(with_part(page, part), encoding="utf-8")


def with_part(page: str, part: str) -> str:
    """The page with this part in it; a new section comes last."""
    head, *sections = f"\n{page}".split(_NEXT)
    if not part.startswith("## "):
        return _joined(part, sections)
    named = {section.partition("\n")[0]: section for section in sections}
    fresh = part.removeprefix("## ")
    named[fresh.partition("\n")[0]] = fresh
    return _joined(head, list(named.values()))


def made_by(command: str, at: datetime) -> str:
    """What was run, when and where."""
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[2]:.0f} while it ran"
    return f"`python -m torture {command}`, {at:%Y-%m-%d %H:%M} UTC,\n{where}."


def _joined(head: str, sections: list[str]) -> str:
    return "\n\n".join([head.strip(), *(f"## {section.strip()}" for section in sections)]).lstrip() + "\n"
