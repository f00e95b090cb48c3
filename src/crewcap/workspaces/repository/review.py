"""What came back from a run, as people judge it: how much changed, and which paths deserve a second look. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

FlagKind = Literal["ci", "hooks", "symlink", "submodule", "git settings", "agent settings", "odd name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A path that can do more than its words say."""

    kind: FlagKind
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """Work that was taken into the mirror."""

    branch: str
    commit: str
    commits: int
    files_changed: int
    lines_added: int
    lines_removed: int
    flags: tuple[Flag, ...] = ()
    rewrote_history: bool = False  # its own commits did not follow from where it started; the result is one that does
    left_behind: int = 0  # other branches with commits of their own, which were not taken
    unsigned: str = ""  # why its commits are not signed, though they should be


@dataclass(frozen=True, slots=True)
class NoChange:
    """The run left nothing that differs from where it started."""


@dataclass(frozen=True, slots=True)
class Spurned:
    """What came back was not taken; nothing of it is in the mirror."""

    reason: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """The head of a git bundle: which refs it brings."""

    refs: dict[str, str]
    size: int  # of the head, in bytes; the pack follows


_CI = re.compile(
    r"(?:^|/)(?:\.github/(?:workflows|actions)/|\.gitlab-ci\.yml$|\.gitlab/ci/|\.circleci/|\.buildkite/|\.woodpecker|"
    r"\.drone\.yml$|\.travis\.yml$|appveyor\.yml$|azure-pipelines\.yml$|bitbucket-pipelines\.yml$|Jenkinsfile|\.ci/)",
    re.IGNORECASE,
)
_HOOKS = re.compile(
    r"(?:^|/)(?:\.husky/|\.githooks/|\.pre-commit-config\.ya?ml$|lefthook\.ya?ml$|\.envrc$)", re.IGNORECASE
)
_GIT = re.compile(r"(?:^|/)(?:\.gitmodules|\.gitattributes|\.lfsconfig)$", re.IGNORECASE)
_AGENT = re.compile(
    r"(?:^|/)(?:\.claude/|\.codex/|\.gemini/|\.cursor/|\.mcp\.json$|\.crewcap\.toml$|CLAUDE\.md$|AGENTS\.md$|GEMINI\.md$)",
    re.IGNORECASE,
)
_BY_NAME: tuple[tuple[FlagKind, re.Pattern[str]], ...] = (
    ("ci", _CI),
    ("hooks", _HOOKS),
    ("git settings", _GIT),
    ("agent settings", _AGENT),
)
_MODES: dict[str, FlagKind] = {"120000": "symlink", "160000": "submodule"}
_ODD = re.compile(r"(?:^|/)-|\ufffd")  # what a careless command takes for an option; what is no UTF-8
_LONGEST = 400
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read_raw_diff(output: bytes) -> Iterator[Flag]:
    """Flags from `git diff --raw -z --no-renames`: entries of `:old new id id status` and a path."""
    words = output.decode("utf-8", "replace").split("\0")
    for head, path in zip(words[::2], words[1::2], strict=False):
        new_mode = head.split(" ")[1]
        kinds = [kind for kind, pattern in _BY_NAME if pattern.search(path)]
        if new_mode in _MODES:
            kinds.insert(0, _MODES[new_mode])
        if _ODD.search(path) or not path.isprintable() or len(path) > _LONGEST:
            kinds.append("odd name")
        yield from (Flag(kind=kind, path=_shown(path)) for kind in kinds)


def read_numstat(output: bytes) -> tuple[int, int, int]:
    """(files, lines added, lines removed) from `git diff --numstat -z --no-renames`; binary files have no lines."""
    rows = [row.split("\t", 2) for row in output.decode("utf-8", "replace").split("\0") if row]
    return len(rows), _total(row[0] for row in rows), _total(row[1] for row in rows)


def read_bundle(content: bytes) -> Bundle | Spurned:
    """The head of a bundle; anything that an ordinary `git bundle create` would not write there is refused."""
    head, end, _ = content.partition(b"\n\n")
    first, *lines = head.decode("utf-8", "replace").split("\n")
    if first not in {"# v2 git bundle", "# v3 git bundle"} or not end:
        return Spurned("it is not a git bundle")
    refs = {}
    for line in lines:
        commit, _, name = line.removeprefix("-").partition(" ")
        if line.startswith("@"):
            if not line.startswith("@object-format="):
                return Spurned(f"the bundle asks for {line[:60]!r}")
        elif not _OBJECT.fullmatch(commit) or not name.isprintable():
            return Spurned("the bundle's head is damaged")
        elif not line.startswith("-"):
            refs[name] = commit
    return Bundle(refs, len(head) + len(end))


def _shown(path: str) -> str:
    """A path for a line of ours, whatever an agent put in it."""
    plain = "".join(char if char.isprintable() else "?" for char in path)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."


def _total(cells: Iterable[str]) -> int:
    return sum(int(cell) for cell in cells if cell.isdigit())
