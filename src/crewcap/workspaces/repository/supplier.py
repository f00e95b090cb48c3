"""Fetching what a workspace needs beside its commit: submodules, each into a trusted mirror of its own; large files.

A submodule's mirror belongs to the repository around it, so that no other repository's runs ever see its objects.
Where it is fetched from, in this order: the user's own clone of it, which needs no network and no credential; the
address that the user set for it; the address in `.gitmodules`. What cannot be had is said, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from crewcap.errors import CrewcapError
from crewcap.workspaces.repository.finding import configured
from crewcap.workspaces.repository.git import Git
from crewcap.workspaces.repository.large_store import LargeStore
from crewcap.workspaces.repository.repositories import Base, Repository, at_place
from crewcap.workspaces.repository.submodules import MOST_DEEP, Declared, address, read_declarations, shown
from crewcap.workspaces.repository.supplies import Extent, Submodule, Supply

_LINK = "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of a commit."""

    mode: str
    object_id: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplier:
    """What there is at a commit, and the fetching of it."""

    git: Git
    mirror: Callable[[Repository], Path]
    has: Callable[[Repository, str], bool]  # a commit, in the repository's mirror
    bring: Callable[[Repository, str], None]  # the same, made true
    lfs: bool = True

    def supply(self, repository: Repository, *, base: Base, extent: Extent) -> Supply:
        """Everything that `extent` asks for at this commit."""
        found = self._supply(repository, base.commit, extent, url=self._known_as(repository), depth=0)
        missing = [path for path in extent.paths if not self._has_folder(repository, base, path)]
        said = tuple(f"paths names {shown(path)}, which {base.commit[:8]} does not have" for path in missing)
        return replace(found, said=(*said, *found.said))

    def _supply(self, repository: Repository, commit: str, extent: Extent, *, url: str, depth: int) -> Supply:
        mirror = self.mirror(repository)
        entries = [entry for entry in self._entries(mirror, commit) if extent.holds(entry.path)]
        links = {entry.path: entry.object_id for entry in entries if entry.mode == _LINK}
        modules = _Modules()
        if links and extent.submodules:
            modules = self._modules(repository, commit, links, url=url, depth=depth)
        store = LargeStore(git=self.git, mirror=mirror, repository=repository, known_as=url)
        large, said = store.fill(entries, commit=commit) if extent.lfs else (None, ())
        return Supply(
            objects=mirror / "objects",
            commit=commit,
            extent=extent,
            files=len(entries),
            modules=tuple(modules.found),
            large=large,
            said=(*modules.said, *said),
        )

    # --- submodules -----------------------------------------------------------------------------------------------

    def _modules(self, repository: Repository, commit: str, links: dict[str, str], *, url: str, depth: int) -> _Modules:
        if depth == MOST_DEEP:
            return _Modules(
                said=[f"submodules more than {MOST_DEEP} deep were not fetched: {shown(next(iter(links)))}"]
            )
        blob = f"--blob={commit}:.gitmodules"
        listing = self.git.inside(self.mirror(repository), "config", blob, "--null", "--list", fails=True)
        declared = read_declarations(listing.stdout, links=links)
        modules = _Modules(said=list(declared.said))
        for each in declared.modules:
            self._module(repository, each, modules, url=url, depth=depth)
        return modules

    def _module(self, parent: Repository, declared: Declared, modules: _Modules, *, url: str, depth: int) -> None:
        """Fetch it from the first place that has it."""
        own = parent.git_dir / "modules" / declared.name if parent.git_dir else None
        repository = _submodule(parent, declared, own if own is not None and own.is_dir() else None)
        theirs = configured(self.git, parent, f"submodule.{declared.name}.url")
        named, reason = _named(declared, url)
        places = [str(repository.git_dir or ""), theirs, named]
        if reason := self._fetch(repository, declared.commit, places, reason):
            way = "git submodule update --init in your own clone, which is fetched from first"
            modules.said.append(f"the submodule {shown(declared.path)} is an empty folder inside: {reason}; {way}")
            return
        known_as = theirs or named or str(own)
        inner = self._supply(repository, declared.commit, Extent(lfs=self.lfs), url=known_as, depth=depth + 1)
        modules.found.append(Submodule(name=declared.name, path=declared.path, url=known_as, supply=inner))
        modules.said += [f"{shown(declared.path)}: {sentence}" for sentence in inner.said]

    def _fetch(self, repository: Repository, commit: str, places: Iterable[str], reason: str) -> str:
        """Have its commit in its mirror, from the first of these places that gives it; why not, if none did."""
        if self.has(repository, commit):
            return ""
        for place in dict.fromkeys(filter(None, places)):
            try:
                self.bring(at_place(repository, place), commit)
            except CrewcapError as error:
                reason = shown(error.message.removeprefix(f"{repository.name} cannot be read: "))
            else:
                return ""
        return reason

    def _known_as(self, repository: Repository) -> str:
        """Where relative addresses start: at the place where a local repository came from, if it came from one."""
        if repository.local is None:
            return repository.address
        origin = configured(self.git, repository, "remote.origin.url")
        return origin or str(repository.local)

    # --- what a commit has ----------------------------------------------------------------------------------------

    def _entries(self, mirror: Path, commit: str) -> Iterator[Entry]:
        listed = self.git.inside(mirror, "ls-tree", "-r", "-z", "--full-tree", commit).stdout
        for row in listed.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            head, _, path = row.partition("\t")
            mode, _, object_id = head.split(" ")
            yield Entry(mode=mode, object_id=object_id, path=path)

    def _has_folder(self, repository: Repository, base: Base, path: str) -> bool:
        asked = ("cat-file", "-t", f"{base.commit}:{path}")
        return self.git.inside(self.mirror(repository), *asked, fails=True).text == "tree"


@dataclass(slots=True)
class _Modules:
    """What was fetched so far, and what is to be said."""

    found: list[Submodule] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def _submodule(parent: Repository, declared: Declared, own: Path | None) -> Repository:
    """A submodule as a repository, known by the one around it; the user's own clone of it lies in `own`."""
    return Repository(
        name=declared.name.rpartition("/")[2],
        address="",
        protocol="file",
        identity=f"{parent.identity} submodule {declared.name}",
        git_dir=own,
        object_format=parent.object_format,
    )


def _named(declared: Declared, url: str) -> tuple[str, str]:
    """(the address that the commit names for it, why it is not asked)."""
    try:
        return address(declared.url, parent=url), "it is nowhere to be had"
    except CrewcapError as error:
        return "", shown(f"{error.message}; {error.help}")
