"""Bringing work home, the half that runs inside the sandbox: commit what lies about, count, write a bundle to stdout.

The host never runs git on a folder that an agent could write: a filter, a hook or a driver planted there would run as
the host (facts: 25 of 30 tried actions did). Here it can only hurt the sandbox, which has no key and no way out.

The agent may have committed, left everything dirty, switched or deleted branches, or broken its repository altogether.
For the last there is a second way: a fresh repository beside its work, started from the base commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from crewcap.workspaces.repository import large_files
from crewcap.workspaces.repository.authorship import Authorship
from crewcap.workspaces.repository.locked import open_locked
from crewcap.workspaces.repository.plants import planted_hooks, planted_settings
from crewcap.workspaces.repository.strays import Strays, find_strays
from crewcap.workspaces.repository.supplies import NOTHING_MORE, Supply, seen_inside

ENVIRON: Mapping[str, str] = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    **Authorship().environ,  # for git to be content; every commit is made again as ours
    "GIT_EDITOR": "true",
    "GIT_NO_REPLACE_OBJECTS": "1",
}
_QUIET = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "commit.gpgSign=false"),
    *(
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=false",
        "-c",
        "core.safecrlf=false",
        "-c",
        "advice.addEmbeddedRepo=false",
    ),
)
_MOSTLY = (0, 1)  # 1 = nothing to commit; or a file that could not be added, which the others do not wait for
_MOST_NAMED = 100
_LOCKS = (".git/index.lock", ".git/HEAD.lock", ".git/config.lock", ".git/packed-refs.lock")


class Said(Protocol):
    """How a command inside ended."""

    @property
    def status(self) -> int:
        """Its exit status."""
        ...

    @property
    def stdout(self) -> bytes:
        """What it wrote."""
        ...


# Runs a command in the sandbox, in the workspace, with these variables beside the usual ones.
Perform = Callable[[tuple[str, ...], Mapping[str, str]], Awaitable[Said]]


@dataclass(frozen=True, slots=True)
class Harvest:
    """What came out; an empty bundle = nothing changed."""

    bundle: bytes
    salvaged: bool = False  # the agent's repository was broken; its files were taken on top of the base commit
    work_inside: tuple[str, ...] = ()  # submodules that the agent worked in; nothing of that is taken
    planted: tuple[str, ...] = ()  # settings and hooks of its repository that run commands; they stayed inside
    strays: Strays = Strays()  # noqa: RUF009  (frozen)
    untaken: tuple[str, ...] = ()  # what git could not read or add


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What a repository gave."""

    bundle: bytes
    untaken: tuple[str, ...] = ()


async def harvest(
    perform: Perform,
    *,
    base: str,
    message: str,
    objects: str,
    spare: str,
    supply: Supply = NOTHING_MORE,
    without: tuple[str, ...] = (),
    leftovers: str = "",
) -> Harvest:
    """Everything that was done since `base`, as a bundle.

    `objects` = where the mirror's objects are seen inside, `spare` = a path inside that may be made and thrown away,
    `supply` = what the workspace was made of, `without` = files of the user's own that were lent to it,
    `leftovers` = the list of what setup left, which a repository that the agent broke or began anew has lost.
    """
    environ = {**ENVIRON, "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}
    always = (*_QUIET, "-c", f"core.excludesFile={leftovers}", *_filters(supply, objects))

    async def run(*argv: str) -> Said:
        return await perform(argv, environ)

    locked = await open_locked(run)
    inside = await _work_inside(run, supply)
    planted = await _planted(run)
    but = (*(module.path for module in supply.modules), *without)
    strays = await find_strays(run, but=(*but, *(folder for _, folder in supply.placed())), locked=locked)
    if supply.extent.paths:
        await _keep_the_rest(run, ("git", *always))
    gathered = await _gather(run, ("git", *always), base=base, message=message, but=without)
    is_broken = gathered is None
    if gathered is None:
        git = ("git", f"--git-dir={spare}", "--work-tree=.", *always)
        for argv in _fresh_repository(git, spare, base=base, supply=supply):
            await run(*argv)
        gathered = await _gather(run, git, base=base, message=message, but=but) or _Gathered(b"")
        await run("rm", "-rf", spare)
    return Harvest(
        gathered.bundle,
        salvaged=is_broken,
        work_inside=inside,
        planted=planted,
        strays=strays,
        untaken=strays.with_locked(gathered.untaken),
    )


async def _planted(run: Callable[..., Awaitable[Said]]) -> tuple[str, ...]:
    """What would have run on a host that used this folder as a repository. Nothing of it leaves the sandbox."""
    settings = await run("git", "config", "--file", ".git/config", "--no-includes", "--null", "--list")
    hooks = await run("ls", "-1", ".git/hooks")
    return (*planted_settings(settings.stdout), *planted_hooks(hooks.stdout))


async def _keep_the_rest(run: Callable[..., Awaitable[Said]], git: tuple[str, ...]) -> None:
    """What was not laid out is not deleted, though the index or its notes on that may be gone."""
    if (await run("test", "-s", ".git/index")).status != 0:
        await run(*git, "read-tree", "HEAD")
    await run(*git, "sparse-checkout", "reapply")


async def _work_inside(run: Callable[..., Awaitable[Said]], supply: Supply) -> tuple[str, ...]:
    """Submodules that hold commits or changes of the agent's."""
    changed = []
    for module, folder in supply.placed():
        git = ("git", "-C", folder, *_QUIET)
        status = await run(*git, "status", "--porcelain", "--ignore-submodules=all")
        head = await run(*git, "rev-parse", "HEAD")
        moved = head.status == 0 and head.stdout.decode("ascii", "replace").strip() != module.supply.commit
        if moved or (status.status == 0 and status.stdout):
            changed.append(folder)
    return tuple(changed)


async def _gather(
    run: Callable[..., Awaitable[Said]],
    git: tuple[str, ...],
    *,
    base: str,
    message: str,
    but: tuple[str, ...] = (),
) -> _Gathered | None:
    """The bundle, empty when there is nothing; None = this repository does not work."""
    left_out = tuple(f":(exclude,literal,top){folder}" for folder in but)
    add = (*git, "add", "--all", "--sparse", "--ignore-errors", "--", ".", *left_out)
    staged = await run(*add)
    if staged.status not in _MOSTLY:
        await run("rm", "-f", *_LOCKS)
        staged = await run(*add)
    untaken = await _untaken(run, git, left_out) if staged.status else ()
    committed = await run(*git, "commit", "--quiet", "--no-verify", "--message", message)
    counted = await run(*git, "rev-list", "--count", "HEAD", "--branches", f"^{base}")
    if committed.status not in _MOSTLY or counted.status != 0:
        return None
    if int(counted.stdout.strip() or b"0") == 0:
        return _Gathered(b"", untaken)
    written = await run(*git, "bundle", "create", "--quiet", "-", "HEAD", "--branches", f"^{base}")
    return _Gathered(written.stdout, untaken) if written.status == 0 else None


async def _untaken(
    run: Callable[..., Awaitable[Said]], git: tuple[str, ...], left_out: tuple[str, ...]
) -> tuple[str, ...]:
    """What differs from the index still, though all of it was to be added."""
    changed = await run(*git, "diff-files", "--name-only", "--ignore-submodules=all", "-z", "--", ".", *left_out)
    new = await run(*git, "ls-files", "--others", "--exclude-standard", "-z", "--", ".", *left_out)
    names = (changed.stdout + new.stdout).decode("utf-8", "surrogateescape").split("\0")
    return tuple(name for name in dict.fromkeys(names) if name)[:_MOST_NAMED]


def _fresh_repository(git: tuple[str, ...], spare: str, *, base: str, supply: Supply) -> tuple[tuple[str, ...], ...]:
    """A repository beside the broken one, with its index at the base commit."""
    folders = supply.extent.paths
    return (
        ("rm", "-rf", spare),
        ("git", "init", "--quiet", "--bare", "--template=", "--initial-branch=salvaged", spare),
        (*git, "config", "core.bare", "false"),
        (*git, "update-ref", "HEAD", base),
        *(((*git, "sparse-checkout", "set", "--cone", "--", *folders),) if folders else ()),
        (*git, "read-tree", base),
        *(((*git, "sparse-checkout", "reapply"),) if folders else ()),
    )


def _filters(supply: Supply, objects: str) -> tuple[str, ...]:
    """The filters of large files, whatever became of the workspace's own settings."""
    if supply.large is None:
        return ()
    store = seen_inside(supply.large, objects=supply.objects, objects_inside=objects)
    return tuple(word for key, value in large_files.settings(store).items() for word in ("-c", f"{key}={value}"))
