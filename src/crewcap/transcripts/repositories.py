"""Which repository a folder belongs to: worktrees count for the repository that they are of.

Nothing is run: a worktree's `.git` is a file that names its folder in the repository's own, whose `commondir` leads
back. A worktree that is gone is known by where tools put them. The name is that of the remote, else the path.
"""

from __future__ import annotations

import re
from pathlib import Path

_MOST_BYTES = 65_536
_REMOTE = re.compile(r'^\s*\[remote\s+"(?P<name>[^"]+)"\]\s*$')
_URL = re.compile(r"^\s*url\s*=\s*(?P<url>\S+)\s*$")
_HOSTED = re.compile(r"(?:\w+://)?(?:[^@/]*@)?[\w.-]+(?::\d+/|[:/])/*(?P<path>[^/:@]+(?:/[^/:@]+)+)\Z")

# Where tools put worktrees: `repo` is the repository's folder, `name` its name where the folder does not tell.
_HABITS = (
    re.compile(r".*/conductor/workspaces/(?P<name>[^/]+)/[^/]+(?:/.*)?\Z"),
    re.compile(r".*/\.?cyrus/(?:repos|workspaces|worktrees)/(?P<name>[^/]+)/[^/]+(?:/.*)?\Z"),
    re.compile(r".*/\.codex/worktrees/[^/]+/(?P<name>[^/]+)(?:/.*)?\Z"),
    re.compile(r"(?P<repo>/.+?)/\.(?:claude|conductor)/(?:worktrees?/)?[^/]+(?:/.*)?\Z"),
    re.compile(r"(?P<repo>/.+?)/\.worktrees?/.+\Z"),
    re.compile(r"(?P<repo>/.+?)[.-]worktrees?/.+\Z"),
)


class Repositories:
    """Looks folders up, each once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {"": ""}
        self._roots: dict[Path, str] = {}  # of folders and those above them; most share these

    def of(self, folder: str) -> str:
        """The repository's name; the folder itself where it is in none; empty for no folder."""
        found = self._known.get(folder)
        if found is None:
            found = self._known[folder] = self._find(folder)
        return found

    def _find(self, folder: str) -> str:
        path = Path(folder)
        if path.is_absolute():
            try:
                found = next((name for each in (path, *path.parents) if (name := self._at(each))), "")
            except (OSError, ValueError, RuntimeError):
                found = ""
            if found:
                return found
        return self._guess(folder)

    def _at(self, folder: Path) -> str:
        """The repository whose files are in this folder; empty for none."""
        found = self._roots.get(folder)
        if found is None:
            found = self._roots[folder] = _at(folder)
        return found

    def _guess(self, folder: str) -> str:
        """Where the folder is gone: by the habits of the tools that make worktrees."""
        for habit in _HABITS:
            found = habit.match(folder)
            if found is not None:
                return self.of(found["repo"]) if "repo" in habit.groupindex else found["name"]
        return folder


def _at(folder: Path) -> str:
    """The repository whose files are in this folder; empty for none."""
    git = folder / ".git"
    if git.is_dir():
        return _name(git, folder)
    if git.is_file():
        common = _common(git)
        return _name(common, common.parent if common.name == ".git" else common)
    return ""


def _common(git: Path) -> Path:
    """The repository's own folder, from a worktree's `.git` file."""
    told = _text(git).removeprefix("gitdir:").strip()
    folder = (git.parent / told).resolve()
    common = folder / "commondir"
    return (folder / _text(common).strip()).resolve() if common.is_file() else folder


def _name(git: Path, root: Path) -> str:
    """`acme/shop` where there is a remote, else the path."""
    config = git / "config"
    urls: dict[str, str] = {}
    remote = ""
    for line in _text(config).splitlines() if config.is_file() else ():
        section, url = _REMOTE.match(line), _URL.match(line)
        if line.lstrip().startswith("["):
            remote = section["name"] if section else ""
        elif url and remote:
            urls.setdefault(remote, url["url"])
    said = (urls.get("origin") or next(iter(urls.values()), "")).rstrip("/").removesuffix(".git")
    hosted = _HOSTED.match(said) if not said.startswith(("/", ".", "file:")) else None
    return hosted["path"] if hosted else str(root)


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MOST_BYTES)
