"""Settings and hooks that an agent left in its own repository and that would run commands elsewhere. No I/O.

None of them ever reaches a git on the host; they are named so that people see what a run tried. Some are planted by
tools that mean no harm (`husky` sets `core.hooksPath`), which is why this is a note and not a refusal.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

_COMMANDS = re.compile(
    r"core\.(?:hookspath|fsmonitor|sshcommand|pager|editor|askpass|gitproxy|alternaterefscommand)"
    r"|sequence\.editor|diff\.external|diff\..+\.(?:command|textconv)|filter\..+\.(?:clean|smudge|process)"
    r"|merge\..+\.driver|mergetool\..+|difftool\..+|alias\..+|pager\..+|browser\..+|man\..+|gpg\.(?:.+\.)?program"
    r"|credential\.(?:.+\.)?helper|url\..+\.(?:insteadof|pushinsteadof)|http\.(?:.+\.)?(?:proxy|extraheader|cookiefile)"
    r"|remote\..+\.(?:uploadpack|receivepack|vcs|proxy)|protocol\..+|include(?:if\..+)?\.path|trailer\..+\.(?:cmd|command)"
    r"|submodule\..+\.update|interactive\.difffilter|uploadpack\.packobjectshook|receive\..*|ssh\.variant"
    r"|extensions\.partialclone|remote\..+\.promisor",
    re.DOTALL,
)
_OURS = frozenset({"core.hookspath\n/dev/null"})
_LARGE = "filter.lfs."  # ours, or git-lfs's own
_MOST, _LONGEST = 100, 80


def planted_settings(listing: bytes) -> tuple[str, ...]:
    """From `git config --null --list`: each `key`, a line end and its value."""
    rows = dict.fromkeys(listing.decode("utf-8", "replace").split("\0"))
    keys = (row.partition("\n")[0] for row in rows if row not in _OURS and not row.startswith(_LARGE))
    return _few(key for key in dict.fromkeys(keys) if _COMMANDS.fullmatch(key))


def planted_hooks(listing: bytes) -> tuple[str, ...]:
    """From `ls -1` of its hooks."""
    names = (name for name in listing.decode("utf-8", "replace").split("\n") if name and not name.endswith(".sample"))
    return _few(f"hooks/{name}" for name in names)


def _few(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(_shown(name) for name in itertools.islice(found, _MOST))


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST])
