"""What a commit says about its submodules, and what of it we do. No I/O: bytes of git in, values and sentences out.

`.gitmodules` is text of the repository, so of anybody: an address could be a command (`ext::`), an option (`-u...`), a
path of this machine or another protocol; a name or a path could lead out of the workspace. So nothing here is
handed to `git submodule`: we read the file ourselves, take what is plain, and say what we did not take.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from crewcap.errors import UsageError
from crewcap.workspaces.repository.repositories import parse_address

MOST_DEEP, MOST = 5, 100
_KEY = re.compile(r"submodule\.(?P<name>.+)\.(?P<what>[a-z0-9-]+)", re.DOTALL)
_CLOSED = re.compile(r"\.{1,2}|\.git|git~\d+|-.*|.*[. ]", re.IGNORECASE)  # parts of a path that mean something to git
_SCP = re.compile(r"(?P<host>[^/:]+):(?P<path>[^:]*)")
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A submodule that a commit has, with what it says of it."""

    name: str
    path: str
    commit: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """What can be fetched, and a sentence on everything else."""

    modules: tuple[Declared, ...] = ()
    said: tuple[str, ...] = ()


def read_declarations(listing: bytes, *, links: Mapping[str, str]) -> Declarations:
    """From `git config --null --list` of a `.gitmodules`, and the commit's links (path -> commit)."""
    entries = _entries(listing)
    by_path = {entry["path"].rstrip("/"): (name, entry) for name, entry in entries.items() if "path" in entry}
    modules: list[Declared] = []
    said: list[str] = []
    for path, commit in sorted(links.items()):
        name, entry = by_path.get(path, ("", {}))
        if reason := _unfit(name, path, entry) or _clash(name, modules):
            said.append(f"the submodule {shown(path)} is an empty folder inside: {reason}")
            continue
        if entry.get("update", "").startswith("!"):
            said.append(f"the submodule {shown(path)} names a command for its updates; it was not run")
        modules.append(Declared(name=name, path=path, commit=commit, url=entry["url"]))
    if len(modules) > MOST:
        said.append(f"only the first {MOST} of {len(modules)} submodules were fetched")
    return Declarations(modules=tuple(modules[:MOST]), said=tuple(said))


def address(url: str, *, parent: str) -> str:
    """A submodule's address, made whole; `UsageError` where it is none that we would fetch from.

    `parent` is where the repository around it is known to be: an address, or a path of this machine that its owner
    named. Only beside such a path may another path be reached, and only by a relative address.
    """
    if not url.startswith(("./", "../")):
        return parse_address(url).address
    joined = _join(url, parent)
    return joined if parent.startswith("/") else parse_address(joined).address


def shown(text: str) -> str:
    """Somebody's words for a line of ours: printable, and not endless."""
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}..."


def is_plain(path: str) -> bool:
    """Whether this leads to a place below where it starts, and means nothing to git."""
    parts = path.split("/")
    return path.isprintable() and not set(path) & set("\\:") and all(map(_is_open, parts))


def _is_open(part: str) -> bool:
    return bool(part) and not _CLOSED.fullmatch(part)


def _entries(listing: bytes) -> dict[str, dict[str, str]]:
    """Name -> key -> value; the last one counts, as with git."""
    entries: dict[str, dict[str, str]] = {}
    for row in listing.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = row.partition("\n")
        if found := _KEY.fullmatch(key):
            entries.setdefault(found["name"], {})[found["what"]] = value
    return entries


def _unfit(name: str, path: str, entry: Mapping[str, str]) -> str:
    """Why this one is not fetched; empty = it can be tried."""
    if not entry:
        return ".gitmodules does not name it"
    if not is_plain(path) or not is_plain(name):
        return "its name or its path is not a plain one"
    if not entry.get("url"):
        return ".gitmodules gives no address for it"
    if entry["url"].startswith("-") or not entry["url"].isprintable():
        return f"{shown(entry['url'])} is no address"
    return ""


def _clash(name: str, modules: Iterable[Declared]) -> str:
    """Two names of which one lies in the other's folder would share a repository."""
    mine = f"{name}/".casefold()
    for other in modules:
        theirs = f"{other.name}/".casefold()
        if mine.startswith(theirs) or theirs.startswith(mine):
            return f"its name lies in that of {shown(other.path)}"
    return ""


def _join(url: str, parent: str) -> str:
    """A relative address beside its parent's, as git joins them; never above the host."""
    head, parts = _split(parent)
    for part in _steps(url):
        if part == "..":
            if not parts:
                raise UsageError(f"{shown(url)} leads out of {shown(parent)}", help="correct it in .gitmodules")
            parts.pop()
        else:
            parts.append(part)
    return head + "/".join(parts)


def _steps(url: str) -> Iterator[str]:
    return (part for part in url.split("/") if part not in {"", "."})


def _split(parent: str) -> tuple[str, list[str]]:
    """(what never changes, the parts of its path)."""
    if parent.startswith("/"):
        return "/", [part for part in parent.split("/") if part]
    if "://" in parent:
        parts = urlsplit(parent)
        return f"{parts.scheme}://{parts.netloc}/", [part for part in parts.path.split("/") if part]
    if found := _SCP.fullmatch(parent):
        return f"{found['host']}:", [part for part in found["path"].split("/") if part]
    raise UsageError(f"{shown(parent)} is no address", help="name the repository with --repo")
