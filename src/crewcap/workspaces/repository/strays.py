"""What a run made and git passes over without a word: it does not come home, so it is named.

That are repositories inside the run's own, of which git takes a pointer or nothing, whatever is neither file, folder
nor link, and what could not be opened to be read (`locked`). What the project ignores is none of its work, nor is what
setup left (`leftovers`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

_MOST = 100
_FIND = (
    "find . -path ./.git -prune -o -name node_modules -prune -o -name .git -print0 -prune"
    f" -o ! -type f ! -type d ! -type l -print0 | head -z -n {_MOST}"
)
_IGNORED = 'printf "%s\\0" "$@" | git -c core.fsmonitor=false check-ignore --no-index -z --stdin'


class _Said(Protocol):
    @property
    def stdout(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Strays:
    """Names of what stayed behind."""

    repositories: tuple[str, ...] = ()
    specials: tuple[str, ...] = ()  # pipes, sockets, devices
    locked: tuple[str, ...] = ()

    def with_locked(self, names: Collection[str]) -> tuple[str, ...]:
        """What is locked, and those of the names that are in none of these already."""
        whole = {*self.repositories, *self.locked}
        others = {name.removesuffix("/") for name in names if whole.isdisjoint(_at_and_above(name))}
        return tuple(sorted({*self.locked} | others))


async def find_strays(
    run: Callable[..., Awaitable[_Said]], *, but: Collection[str], locked: Collection[str] = ()
) -> Strays:
    """Look inside, where git may be run; `but` = submodules and lent files, of which others speak."""
    found = [name.removeprefix("./") for name in _names(await run("/bin/sh", "-c", _FIND))]
    nested = [name.removesuffix("/.git") for name in found if name.endswith("/.git")]
    outermost = [name for name in nested if not any(name.startswith(f"{other}/") for other in nested)]
    special = [
        name
        for name in found
        if not name.endswith("/.git") and not any(name.startswith(f"{other}/") for other in nested)
    ]
    closed = [name for name in locked if {*but, *nested}.isdisjoint(_at_and_above(name))]
    seen = [name for name in (*outermost, *special, *closed) if name not in but]
    ignored = set(_names(await run("/bin/sh", "-c", _IGNORED, "sh", *seen))) if seen else set()
    return Strays(
        repositories=tuple(sorted({*outermost} - ignored - {*but})),
        specials=tuple(sorted({*special} - ignored - {*but})),
        locked=tuple(sorted({*closed} - ignored)),
    )


def _at_and_above(name: str) -> set[str]:
    """A path and the folders that it lies in."""
    parts = name.removesuffix("/").split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}


def _names(said: _Said) -> list[str]:
    return [name for name in said.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
