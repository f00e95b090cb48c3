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

AUTHOR, EMAIL = "crewcap", "crewcap@users.noreply.invalid"

ENVIRON: Mapping[str, str] = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": AUTHOR,
    "GIT_AUTHOR_EMAIL": EMAIL,
    "GIT_COMMITTER_NAME": AUTHOR,
    "GIT_COMMITTER_EMAIL": EMAIL,
    "GIT_EDITOR": "true",
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


async def harvest(perform: Perform, *, base: str, message: str, objects: str, spare: str) -> Harvest:
    """Everything that was done since `base`, as a bundle.

    `objects` = where the mirror's objects are seen inside, `spare` = a path inside that may be made and thrown away.
    """
    environ = {**ENVIRON, "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}

    async def run(*argv: str) -> Said:
        return await perform(argv, environ)

    bundle = await _gather(run, _git(), base=base, message=message)
    if bundle is not None:
        return Harvest(bundle)
    for argv in _fresh_repository(spare, base=base):
        await run(*argv)
    bundle = await _gather(run, _git(f"--git-dir={spare}", "--work-tree=."), base=base, message=message)
    await run("rm", "-rf", spare)
    return Harvest(bundle or b"", salvaged=True)


async def _gather(
    run: Callable[..., Awaitable[Said]], git: tuple[str, ...], *, base: str, message: str
) -> bytes | None:
    """The bundle, empty when there is nothing; None = this repository does not work."""
    staged = await run(*git, "add", "--all", "--ignore-errors", "--", ".")
    if staged.status not in _MOSTLY:
        await run("rm", "-f", *_LOCKS)
        await run(*git, "add", "--all", "--ignore-errors", "--", ".")
    committed = await run(*git, "commit", "--quiet", "--no-verify", "--message", message)
    counted = await run(*git, "rev-list", "--count", "HEAD", "--branches", f"^{base}")
    if committed.status not in _MOSTLY or counted.status != 0:
        return None
    if int(counted.stdout.strip() or b"0") == 0:
        return b""
    written = await run(*git, "bundle", "create", "--quiet", "-", "HEAD", "--branches", f"^{base}")
    return written.stdout if written.status == 0 else None


def _fresh_repository(spare: str, *, base: str) -> tuple[tuple[str, ...], ...]:
    """A repository beside the broken one, with its index at the base commit."""
    git = _git(f"--git-dir={spare}", "--work-tree=.")
    return (
        ("rm", "-rf", spare),
        ("git", "init", "--quiet", "--bare", "--template=", "--initial-branch=salvaged", spare),
        (*git, "config", "core.bare", "false"),
        (*git, "update-ref", "HEAD", base),
        (*git, "read-tree", base),
    )


def _git(*where: str) -> tuple[str, ...]:
    return ("git", *where, *_QUIET)
