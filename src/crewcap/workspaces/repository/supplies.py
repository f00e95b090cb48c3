"""What a workspace is made of beside the commit itself: which folders, which submodules, which large files. No I/O.

The theory. Whatever a run needs of git is fetched by us before the agent lives, into trusted places that no agent can
write, and shown inside read-only. A `Supply` says what was found at one commit and where it lies; making it a second
time finds everything in place and asks no network, so that a run that goes on can do it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crewcap.workspaces import Fittings, Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of a repository a run wants: the settings `paths`, `submodules` and `lfs`."""

    paths: tuple[str, ...] = ()  # folders; none = all of it
    submodules: bool = True
    lfs: bool = True

    def holds(self, path: str) -> bool:
        """Whether a workspace of this extent has that path: files of the root and of folders on the way come along."""
        if not self.paths:
            return True
        parent, inside = path.rpartition("/")[0], f"{path}/"
        return not parent or any(
            inside.startswith(f"{folder}/") or f"{folder}/".startswith(f"{parent}/") for folder in self.paths
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What there is at one commit of one repository, for one extent."""

    objects: Path | None = None  # of the mirror that has the commit; None = nothing beside the commit was looked at
    commit: str = ""
    extent: Extent = Extent()
    files: int | None = None  # in the workspace; None = not counted
    modules: tuple[Submodule, ...] = ()
    large: Path | None = None  # the store of large files; None = this commit has none
    said: tuple[str, ...] = ()  # a sentence each for people: what was refused, what is missing

    def fittings(self, *, objects_inside: str) -> Fittings:
        """What must be shown inside beside the repository's own objects, which are seen at `objects_inside`."""
        mounts = (
            Mount(source=real, target=seen_inside(real, objects=self.objects, objects_inside=objects_inside))
            for real in self.borrowed()
        )
        return Fittings(mounts=tuple(dict.fromkeys(mounts)), said=self.said)

    def borrowed(self) -> Iterator[Path]:
        """Folders of trusted places that the workspace reads from."""
        if self.large is not None:
            yield self.large
        for module in self.modules:
            if module.supply.objects is not None:
                yield module.supply.objects
            yield from module.supply.borrowed()

    def placed(self, below: str = "") -> Iterator[tuple[Submodule, str]]:
        """Its submodules and the folders that they lie in, the outer ones first."""
        for module in self.modules:
            yield module, below + module.path
            yield from module.supply.placed(f"{below}{module.path}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submodule:
    """A submodule that was fetched."""

    name: str
    path: str
    url: str  # where people know it; never a credential
    supply: Supply


def seen_inside(real: Path, *, objects: Path | None, objects_inside: str) -> str:
    """Where a borrowed folder is seen: at its own place where the sandbox keeps real paths, else beside the objects."""
    if objects is None or objects_inside in {str(objects), str(objects.resolve())}:
        return str(real.resolve())
    return str(PurePosixPath(objects_inside).parent / "more" / real.parent.name / real.name)


NOTHING_MORE = Supply()  # the commit alone, all of it
