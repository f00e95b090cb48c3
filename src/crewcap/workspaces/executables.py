"""What a program needs beside its one file to start inside: an agent that is a script, its package, its interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crewcap.workspaces import Fittings


def find_needs(executable: Path, *, environ: Mapping[str, str]) -> Fittings:
    """Nothing for a program that is complete in one file; a script is to be started at its own path. It blocks."""
    del executable, environ
    return Fittings()
