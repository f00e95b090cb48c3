"""Files that git ignores and tests need, copied from the user's own working folder into a workspace before setup.

    include = ["config/test.env", "*.local", "certs/"]

A pattern is a path inside the repository: `*` and `?` stay inside a folder, `**` crosses folders, a folder stands for
everything below it. A repository's own file may say it as well, so patterns are words of strangers: every step of
every path is opened in the folder before it, and no link is ever followed, neither where files come from nor where
they go to. What is there already, because git tracks it, stays as it is.

Copied files are never brought home: the workspace's own `info/exclude` lists them, and `Included.names` is for whoever
gathers the work. They often hold secrets, and the agent can read them: `Included.values` is for the filter.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces.sandbox.uids import is_root

MOST_FILES = 1_000
MOST_BYTES = 64 << 20
_MOST_LOOKED_AT = 200_000
_DEEPEST = 64
_NOT_ENTERED = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__"})  # by `**`; by name they are
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGEST_SETTINGS = 256 << 10
_MOST_VALUES = 64

_ASSIGNED = re.compile(
    r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]{0,100})[ \t]*[=:][ \t]*([^\n]{1,4096})$", re.MULTILINE
)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|PRIVATE|SIGNATURE|SALT", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]{6,})@")
_ORDINARY = re.compile(
    r"[a-z_-]+|[A-Z_-]+|[\d.:]+|(?:true|false|null|none)|[~./][\w./-]*|[\w.-]+:\d+|[a-z+]+://[^@]*", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """What was copied."""

    names: tuple[str, ...] = ()  # inside the repository
    said: tuple[str, ...] = ()  # a sentence each for people
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # what looks like a secret in them, by name


@dataclass(slots=True)
class _Copying:
    """One copy on its way: what was found, and how much of it."""

    source: int
    target: int
    uid: int | None
    names: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # neither file nor folder
    values: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    looked_at: int = 0


def copy_included(patterns: Sequence[str], *, source: Path | None, workspace: Path, uid: int | None) -> Included:
    """Copy what the patterns name; `source` = the user's working folder, None where the repository is elsewhere.

    `UnsafeEnvironment` where they name more than a workspace should be given.
    """
    if not patterns:
        return Included()
    if source is None:
        return Included(said=(f"include: {_listed(patterns)}: the repository is not on this machine, nothing to copy",))
    with _folder(source) as theirs, _folder(workspace) as ours:
        copying = _Copying(source=theirs, target=ours, uid=uid if is_root() else None)
        missing = [pattern for pattern in patterns if not _copy_pattern(copying, pattern)]
    names = tuple(dict.fromkeys(copying.names))
    _exclude(workspace, names)
    return Included(names=names, said=tuple(_said(names, missing, copying.odd)), values=copying.values)


def values_in(names: Sequence[str], *, source: Path) -> Mapping[str, str]:
    """What looks like a secret in these files of the user's working folder, as they are now."""
    values: dict[str, str] = {}
    with contextlib.suppress(OSError), _folder(source) as root:
        for path in names:
            *folders, name = path.split("/")
            with _walked(root, folders) as folder:
                content = _read(folder, name)[0] if folder is not None else None
            _learn(values, path, content or b"")
    return values


def _said(names: Sequence[str], missing: Sequence[str], odd: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"include: {_listed(names)}: the agent can read {'this' if len(names) == 1 else 'these'}"
    if odd:
        yield f"include: {_listed(odd)}: not copied, because only plain files are"
    if missing:
        yield f"include: {_listed(missing)}: no such file in your working folder"


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


# --- finding -----------------------------------------------------------------------------------------------------


def _copy_pattern(copying: _Copying, pattern: str) -> bool:
    """Copy what one pattern names; whether it named anything."""
    before = len(copying.names) + len(copying.odd)
    found = False
    for path in _matches(copying, copying.source, "", _steps(pattern)):
        found = True
        _copy(copying, path)
    return found or len(copying.names) + len(copying.odd) > before


def _steps(pattern: str) -> tuple[str, ...]:
    steps = tuple(step for step in pattern.replace("\\", "/").split("/") if step not in {"", "."})
    if ".." in steps or pattern.startswith(("/", "~")) or any(step.lower() == ".git" for step in steps):
        raise UnsafeEnvironment(f"include: {pattern} leads out of the repository", help="name a path inside it")
    return steps


def _matches(copying: _Copying, folder: int, path: str, steps: tuple[str, ...]) -> Iterator[str]:
    """Every file that the steps lead to from this folder; a folder at their end stands for what is below it."""
    step, rest = (steps[0], steps[1:]) if steps else ("**", ())
    if path.count("/") > _DEEPEST:
        return
    if step == "**" and rest:
        yield from _matches(copying, folder, path, rest)
    for name, is_folder in _entries(copying, folder, step):
        below = f"{path}/{name}" if path else name
        if is_folder and (step != "**" or name not in _NOT_ENTERED):
            with _entered(folder, name) as inner:
                if inner is not None:
                    yield from _matches(copying, inner, below, steps if step == "**" else rest)
        elif not is_folder and not rest:
            yield below


def _entries(copying: _Copying, folder: int, step: str) -> list[tuple[str, bool]]:
    """Names in a folder that fit one step, and which of them are folders; `.git` is none of them."""
    if not re.search(r"[*?\[]", step):
        names = [step]
    else:
        with contextlib.closing(os.scandir(folder)) as found:
            names = sorted(entry.name for entry in found if step == "**" or fnmatch.fnmatchcase(entry.name, step))
    copying.looked_at += len(names)
    if copying.looked_at > _MOST_LOOKED_AT:
        raise UnsafeEnvironment(
            f"include: more than {_MOST_LOOKED_AT:,} names had to be looked at", help="name the folders more exactly"
        )
    entries = []
    for name in names:
        with contextlib.suppress(OSError):
            if name.lower() != ".git":
                entries.append((name, stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)))
    return entries


# --- copying -----------------------------------------------------------------------------------------------------


def _copy(copying: _Copying, path: str) -> None:
    """Copy one file, unless the workspace has that name already."""
    *folders, name = path.split("/")
    if _is_there(copying.target, folders, name):
        return
    with _walked(copying.source, folders) as theirs:
        content, mode = _read(theirs, name) if theirs is not None else (None, 0)
    if content is None:
        copying.odd.append(path)
        return
    copying.bytes += len(content)
    if len(copying.names) >= MOST_FILES or copying.bytes > MOST_BYTES:
        raise UnsafeEnvironment(
            f"include: more than {MOST_FILES:,} files or {MOST_BYTES >> 20} MB would be copied into the workspace",
            help="name what the tests really need",
        )
    with _made(copying.target, folders, copying.uid) as ours:
        if ours is not None and _write(ours, name, content, mode, copying.uid):
            copying.names.append(path)
            _learn(copying.values, path, content)


def _is_there(root: int, folders: Sequence[str], name: str) -> bool:
    """Whether the workspace has it: git tracks it, or an earlier pattern named it."""
    with _walked(root, folders) as folder:
        if folder is None:
            return False
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return True


def _read(folder: int, name: str) -> tuple[bytes | None, int]:
    """The content and mode of a plain file; None for everything else."""
    try:
        descriptor = os.open(name, _READ_FILE, dir_fd=folder)
    except OSError:
        return None, 0
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return None, 0
        return file.read(MOST_BYTES + 1), stat.S_IMODE(info.st_mode) & 0o777


def _write(folder: int, name: str, content: bytes, mode: int, uid: int | None) -> bool:
    """Make a file that was not there; whether it was not."""
    try:
        descriptor = os.open(name, _WRITE_FILE, 0o600, dir_fd=folder)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if uid is not None:
            os.fchown(descriptor, uid, uid)
        os.fchmod(descriptor, mode | 0o600)
    return True


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    """A folder whose own path is ours, links included."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _entered(folder: int, name: str) -> Iterator[int | None]:
    """A folder below; None where it is no folder (any more), or a link."""
    try:
        descriptor = os.open(name, _READ_FOLDER, dir_fd=folder)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _walked(root: int, folders: Sequence[str]) -> Iterator[int | None]:
    """The folder at the end of a path, each step entered from the one before."""
    with contextlib.ExitStack() as stack:
        at: int | None = root
        for name in folders:
            at = stack.enter_context(_entered(at, name)) if at is not None else None
        yield at


@contextlib.contextmanager
def _made(root: int, folders: Sequence[str], uid: int | None) -> Iterator[int | None]:
    """The same, with what is missing made for the run's user."""
    with contextlib.ExitStack() as stack:
        at: int | None = root
        for name in folders:
            if at is None:
                break
            is_new = True
            try:
                os.mkdir(name, 0o755, dir_fd=at)
            except FileExistsError:
                is_new = False
            at = stack.enter_context(_entered(at, name))
            if at is not None and is_new and uid is not None:
                os.fchown(at, uid, uid)
        yield at


# --- what must not come home -------------------------------------------------------------------------------------


def _exclude(workspace: Path, names: Sequence[str]) -> None:
    """List them where git looks for what this clone alone ignores."""
    if not names:
        return
    folders = [".git", "info"]
    with _folder(workspace) as root, _made(root, folders, None) as info:
        if info is None:
            return
        descriptor = os.open("exclude", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644, dir_fd=info)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(b"\n" + _pattern_of(name) for name in names) + b"\n")


def _pattern_of(name: str) -> bytes:
    """A name as a pattern that fits it alone; an end of line in it is a letter between tab and vertical tab."""
    escaped = re.sub(rb"([\\*?\[ #!])", rb"\\\1", os.fsencode(name))
    return b"/" + escaped.replace(b"\r", b"[\r]").replace(b"\n", b"[\t-\v]")


def _learn(values: dict[str, str], path: str, content: bytes) -> None:
    """What looks like a secret in a file of settings: ordinary words and numbers do not."""
    if len(content) > _LARGEST_SETTINGS or b"\0" in content:
        return
    for name, written in _ASSIGNED.findall(content.decode("utf-8", "replace")):
        value = written.strip().rstrip(",").strip().strip("\"'")
        passwords = _PASSWORD.findall(value)
        is_secret = len(value) >= (6 if _SECRET_NAME.search(name) else 9) and not _ORDINARY.fullmatch(value)
        for each in (*passwords, *((value,) if is_secret else ())):
            if len(values) < _MOST_VALUES:
                values[f"{name} of {path}" if each is value else f"password in {name} of {path}"] = each
