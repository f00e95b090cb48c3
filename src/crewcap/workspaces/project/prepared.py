"""Prepared trees: what a setup left behind, kept for later runs that would run the same setup.

The rule that makes a shared cache safe (Clinejection used one that agents could write): a tree is written once, by a
setup on the default branch, before any agent has worked in that run's folders; it lies where no sandbox has a mount;
and a run gets a copy that is its own. So nothing that an agent does in one run can be seen in another.

What is kept is what the setup added: in the workspace everything that was not there before it, but git's own folder;
in the home the caches of `HOME_KEPT`, and what has no dot before its name. What it changed in files that were there
is not kept, and said.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from crewcap.workspaces.project.pack import (
    Damaged,
    Entry,
    Index,
    PackWriter,
    TooBig,
    placing,
    read_index,
)
from crewcap.workspaces.project.recipes import Recipe, is_input, name_of
from crewcap.workspaces.project.services import DATA
from crewcap.workspaces.sandbox.uids import is_root
from crewcap.workspaces.untrusted_tree import Found, folder_below, open_folder, walk

__all__ = ["Before", "Kept", "Lent", "NotLent", "PreparedTrees", "Recipe", "Swept", "look"]

MOST_BYTES = 20 << 30  # of one tree
MOST_ENTRIES = 1_000_000
ROOM_BYTES = 40 << 30  # of all trees; the longest unused go first
_SUFFIX, _UNFINISHED = ".tree", ".new"
_NAMES_SAID = 3

# Below the home: caches and tools that later commands of the project use without a network. Not among them, on
# purpose: .config, .ssh, .gitconfig, .npmrc, .profile and the folders of agents, through which a setup could steer
# programs that it does not start itself.
HOME_KEPT = (
    *(".cache", ".local/bin", ".local/lib", ".local/include", ".local/share"),  # pip --user, uv, pnpm, playwright
    *(".npm", ".yarn", ".bun", ".deno", ".cargo/bin", ".cargo/registry", ".cargo/git", ".rustup", "go"),
    *(".gem", ".bundle", ".m2/repository", ".gradle/caches", ".gradle/wrapper", ".nuget", ".dotnet", ".composer/cache"),
    *(".mix", ".hex", ".pub-cache", ".nvm", ".pyenv", ".virtualenvs", ".stack", ".cabal"),
    DATA,  # what setup migrated
)
# Of no use without the network that they were made for, or of nobody's use at all.
_HOME_LEFT = (".cache/pip", ".npm/_logs", ".npm/_update-notifier-last-checked", ".local/share/claude")

Stamp = tuple[int, int, int]  # time, size and number of a file
Before = Mapping[str, Stamp]  # path -> stamp; (0, 0, 0) = a folder
_FOLDER_STAMP: Stamp = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A tree was copied into a run's folders."""

    files: int
    bytes: int
    left_out: int = 0  # paths that were there already, which win


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLent:
    """None was; `reason` is empty where there simply is none yet."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a setup's result."""

    files: int = 0
    bytes: int = 0
    reason: str = ""  # why nothing was kept; empty = it was
    said: tuple[str, ...] = ()  # what is not part of it, a sentence each


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a clean-up freed."""

    trees: int = 0
    bytes: int = 0
    in_use: int = 0  # could not be removed, because a run is being given them

    @property
    def said(self) -> tuple[str, ...]:
        """For people; nothing where nothing was freed."""
        if not self.trees:
            return ()
        what = "a prepared tree" if self.trees == 1 else f"{self.trees} prepared trees"
        return (f"{_size(self.bytes)} freed: {what} that had not been used for longest",)


def look(workspace: Path) -> Before:
    """What lies in a workspace before its setup: call it when submodules and included files have been placed."""
    found = walk(workspace, enter=_not_git, lost=[])
    return {one.path: _stamp(one) for one in found}


class PreparedTrees:
    """All of one state directory. It blocks: call it off the event loop."""

    def __init__(
        self, folder: Path, clock: Callable[[], datetime], *, most_bytes: int = MOST_BYTES, room_bytes: int = ROOM_BYTES
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._most_bytes = most_bytes
        self._room_bytes = room_bytes

    def key(self, recipe: Recipe) -> str:
        """The name of the tree that this recipe makes; empty where each run's workspace has a path of its own."""
        return "" if Path(recipe.workspace).is_relative_to(self._folder.parent) else name_of(recipe)

    def lend(
        self, key: str, *, workspace: Path, home: Path, uid: int | None = None, disk_bytes: int | None = None
    ) -> Lent | NotLent:
        """Copy a kept tree into a run's fresh folders, as its user's own."""
        if not key:
            return NotLent()
        try:
            pack = os.open(self._place(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return NotLent()
        try:
            fcntl.flock(pack, fcntl.LOCK_SH)
            return self._hand_out(pack, {"workspace": workspace, "home": home}, uid, disk_bytes)
        except Damaged:
            self._place(key).unlink(missing_ok=True)
            return NotLent(reason="the prepared tree was damaged; it is thrown away and made anew")
        except OSError as error:
            return NotLent(reason=f"the prepared tree could not be copied: {error.strerror}")
        finally:
            os.close(pack)

    def keep(self, key: str, *, workspace: Path, home: Path, before: Before) -> Kept:
        """Keep what a setup left, for runs to come: call it right after a setup that worked, before any agent.

        Only for a base commit on the default branch (`Mirrors.on_default_branch`), and only in folders in which no
        agent has worked yet.
        """
        if not key:
            return Kept(
                reason="the tree that setup made is not kept: under this sandbox every run has paths of its own"
            )
        place = self._place(key)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with _new_file(place) as out:
                writer = PackWriter(out, most_bytes=self._most_bytes, most_entries=MOST_ENTRIES)
                kept = _write(writer, workspace=workspace, home=home, before=before)
        except TooBig as error:
            return Kept(reason=f"the tree that setup made is not kept: {error}")
        except OSError as error:
            return Kept(reason=f"the tree that setup made could not be kept: {os.strerror(error.errno or errno.EIO)}")
        return replace(kept, said=(*kept.said, *self.sweep(self._room_bytes).said))

    def forget(self, key: str) -> None:
        """Have the next setup of this recipe run anew; a run that is being given the tree still gets all of it."""
        if key:
            self._place(key).unlink(missing_ok=True)

    def sweep(self, max_bytes: int) -> Swept:
        """Remove the least recently used until the rest fits, and what killed writers left."""
        trees = bytes_ = in_use = 0
        for path, size in self._surplus(max_bytes):
            if _remove(path):
                trees += path.suffix == _SUFFIX
                bytes_ += size
            else:
                in_use += path.suffix == _SUFFIX
        return Swept(trees=trees, bytes=bytes_, in_use=in_use)

    def _surplus(self, max_bytes: int) -> Iterator[tuple[Path, int]]:
        """Unfinished ones, then what is beyond the room there is, the longest unused first."""
        files = [(path, path.lstat()) for path in self._folder.glob("*/*") if path.is_file()]
        yield from ((path, info.st_size) for path, info in files if path.suffix == _UNFINISHED)
        kept = sorted(((i.st_mtime_ns, path, i.st_size) for path, i in files if path.suffix == _SUFFIX), reverse=True)
        room = max_bytes
        surplus = []
        for _, path, size in kept:
            room -= size
            if room < 0:
                surplus.append((path, size))
        yield from reversed(surplus)

    def _hand_out(
        self, pack: int, folders: Mapping[str, Path], uid: int | None, disk_bytes: int | None
    ) -> Lent | NotLent:
        index = read_index(pack)
        if disk_bytes is not None and index.bytes > disk_bytes:
            return NotLent(reason=f"the prepared tree ({_size(index.bytes)}) is bigger than `disk` allows")
        owner = uid if is_root() else None
        with contextlib.ExitStack() as stack:
            left_out = 0
            for name, folder in folders.items():
                work = stack.enter_context(placing(folder, pack=pack, uid=owner))
                work.place(index.trees.get(name, []))
                left_out += work.left_out
            _set_back(folders["workspace"], index.times)
        now = int(self._clock().timestamp() * 1e9)
        os.utime(pack, ns=(now, now))
        return Lent(files=index.files - left_out, bytes=index.bytes, left_out=left_out)

    def _place(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"


# --- what is kept ------------------------------------------------------------------------------------------------


def _write(writer: PackWriter, *, workspace: Path, home: Path, before: Before) -> Kept:
    """The whole tree into an open file, and what was not taken."""
    lost: list[str] = []
    seen: dict[str, Stamp] = {}
    trees = {
        "workspace": list(_added(writer, workspace, before, seen, lost)),
        "home": list(_taken(writer, walk(home, enter=_is_kept_of_home, lost=lost), lost)),
    }
    times = {path: stamp[0] for path, stamp in before.items() if stamp != _FOLDER_STAMP and is_input(path)}
    index = Index(trees=trees, times=times)
    writer.seal(index)
    changed = sorted(path for path, stamp in before.items() if seen.get(path) != stamp)
    return Kept(files=index.files, bytes=index.bytes, said=tuple(_said(changed, lost)))


def _added(
    writer: PackWriter, workspace: Path, before: Before, seen: dict[str, Stamp], lost: list[str]
) -> Iterator[Entry]:
    """What is new in the workspace, with the folders above it even where those are not."""
    known: list[Found] = []  # folders that were there before, above where we are
    for found in walk(workspace, enter=_not_git, lost=lost):
        known = [above for above in known if found.path.startswith(f"{above.path}/")]
        if found.path in before and (stamp := _stamp(found)):
            seen[found.path] = stamp
            if found.is_folder:
                known.append(found)
            continue
        yield from _taken(writer, [*known, found], lost)
        known = []


def _taken(writer: PackWriter, found: Iterator[Found] | list[Found], lost: list[str]) -> Iterator[Entry]:
    for one in found:
        if entry := writer.entry(one):
            yield entry
        else:
            lost.append(one.path)


def _said(changed: list[str], lost: list[str]) -> Iterator[str]:
    if changed:
        yield f"setup changed {_named(changed)}, which a later run that reuses its tree will not see"
    if lost:
        yield f"of what setup left, {_named(sorted(lost))} is not kept: no plain file, unreadable, or too deep"


def _named(paths: list[str]) -> str:
    shown = ", ".join(repr(path) for path in paths[:_NAMES_SAID])
    return shown if len(paths) <= _NAMES_SAID else f"{shown} and {len(paths) - _NAMES_SAID} more"


def _stamp(found: Found) -> Stamp:
    info = found.info
    return _FOLDER_STAMP if found.is_folder else (info.st_mtime_ns, info.st_size, info.st_ino)


def _not_git(path: str) -> bool:
    return path != ".git"


def _is_kept_of_home(path: str) -> bool:
    """Whether it is kept, or lies on the way to what is."""
    if any(_is_below(path, left) for left in _HOME_LEFT):
        return False
    is_its_own = not path.startswith(".")  # ~/venv: programs look for what steers them behind a dot
    return is_its_own or any(_is_below(path, kept) or _is_below(kept, path) for kept in HOME_KEPT)


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above}/")


# --- files -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _new_file(place: Path) -> Iterator[BinaryIO]:
    """A file that takes its place when all of it is written, or is not there at all."""
    new = place.with_name(f".{place.stem}-{secrets.token_hex(6)}{_UNFINISHED}")
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            yield out
            new.replace(place)
            _flush(place.parent)
    finally:
        new.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    at = open_folder(folder)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def _remove(path: Path) -> bool:
    """Remove it, unless somebody reads or writes it just now."""
    try:
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    return True


def _set_back(workspace: Path, times: Mapping[str, int]) -> None:
    """Give the files that the tree was made from the age that they had then.

    The tree has its old times and the workspace was made just now: `make` and its kind would make everything anew.
    """
    root = open_folder(workspace)
    try:
        for path, time_ns in times.items():
            folder, _, name = path.rpartition("/")
            with contextlib.suppress(OSError):
                at = folder_below(root, folder)
                try:
                    os.utime(name, ns=(time_ns, time_ns), dir_fd=at, follow_symlinks=False)
                finally:
                    os.close(at)
    finally:
        os.close(root)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{max(1, count >> 20)} MB"
