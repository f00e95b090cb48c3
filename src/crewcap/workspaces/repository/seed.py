"""A new repository with one commit, for the demo: made on the host from files of ours, before any agent lives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crewcap.workspaces.repository.authorship import AUTHOR, EMAIL
from crewcap.workspaces.repository.git import Git


def make_repository(folder: Path, *, message: str, environ: Mapping[str, str]) -> None:
    """Put everything in a folder into a first commit on `main`."""
    git = Git(environ)
    there = ("-C", str(folder))
    git.run("init", "--quiet", "--template=", "--initial-branch=main", str(folder))
    git.run(*there, "add", "--all")
    who = ("-c", f"user.name={AUTHOR}", "-c", f"user.email={EMAIL}")
    git.run(*there, *who, "commit", "--quiet", "--no-verify", "--message", message)
