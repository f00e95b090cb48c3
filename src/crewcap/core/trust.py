"""What somebody may do in a repository, as trackers call it, and what that lets a run of theirs have."""

from __future__ import annotations

# Who sits at the keyboard is the owner; the other words are those of GitHub and GitLab.
WRITERS = frozenset({"owner", "admin", "maintain", "maintainer", "write", "developer"})


def may_write(trust: str) -> bool:
    """Whether a run that this person started may have the project's secrets and private files."""
    return trust.lower() in WRITERS
