"""A run's files: how they get into its workspace, and how its work comes home."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crewcap.core.harmless import one_line
from crewcap.core.runs import Run
from crewcap.errors import CrewcapError
from crewcap.runner.process import Outcome, Site
from crewcap.workspaces.removal import remove_aside, set_aside
from crewcap.workspaces.repository.harvest import Harvest, Perform, harvest
from crewcap.workspaces.repository.large_home import bring_large
from crewcap.workspaces.repository.leftovers import leave_out
from crewcap.workspaces.repository.locked import open_top
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base, Repository
from crewcap.workspaces.repository.review import Returned, Spurned
from crewcap.workspaces.repository.strays import Strays
from crewcap.workspaces.repository.supplies import NOTHING_MORE, Supply
from crewcap.workspaces.repository.taking_up import take_up

RULES = ("CLAUDE.md", "AGENTS.md")
_GIT_S = 300.0
_FEW, _FLAGS = 5, 20  # how many are named in one breath, and in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Where a run starts from, and the branch that is its own from now on."""

    base: str
    base_branch: str
    branch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid(Taken):
    """A workspace that is ready."""

    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What of a run's work is in the mirror."""

    commit: str = ""
    commits: int = 0
    files: int = 0
    added: int = 0
    removed: int = 0
    notes: tuple[str, ...] = ()  # what deserves a second look, each a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One run's side of git."""

    mirrors: Mirrors
    repository: Repository
    at: str = ""  # branch, tag or commit to start from; empty = HEAD
    supply: Supply = NOTHING_MORE  # what its workspace is made of beside the commit

    async def take(self, run: Run) -> Taken:
        """Take a branch for the run; what it took in an earlier start stays its own."""
        if run.branch:
            return Taken(base=run.base, base_branch=run.base_branch, branch=run.branch)
        base = await asyncio.to_thread(self.mirrors.update, self.repository, at=run.base or self.at)
        base = Base(commit=base.commit, branch=run.base_branch or base.branch)
        branch = await asyncio.to_thread(
            self.mirrors.take_branch, self.repository, _slug(run), base=base, at_least=_number(run)
        )
        return Taken(base=base.commit, base_branch=base.branch, branch=branch)

    async def lay_out(self, run: Run, site: Site) -> Laid:
        """Make the workspace anew; what a run that was cut short before had of it is thrown away."""
        taken = await self.take(run)
        for folder in (site.workspace, site.home):
            set_aside(folder)
        making = asyncio.to_thread(
            self.mirrors.make_workspace,
            self.repository,
            base=Base(commit=taken.base, branch=taken.base_branch),
            branch=taken.branch,
            folder=site.workspace,
            objects_inside=site.layout.objects,
            supply=self.supply,
        )
        made, _ = await asyncio.gather(making, asyncio.to_thread(remove_aside, site.workspace.parent))
        site.home.mkdir(mode=0o700)
        site.sandbox.prepare(uid=site.uid, owned=(site.workspace, site.home))
        return Laid(base=taken.base, base_branch=taken.base_branch, branch=taken.branch, files=made.files)

    async def bring_back(self, run: Run, site: Site) -> str:
        """Put what an earlier start committed into a workspace that was made anew; why not, where that cannot be."""
        try:
            is_here = await asyncio.to_thread(self.mirrors.have_work, self.repository, run.branch, commit=run.commit)
        except CrewcapError as error:
            return one_line(error.message, limit=200)
        if not is_here:
            return f"{self.repository.name} does not have it"
        return "" if await take_up(_inside(site), run.commit) else "git could not put it into the workspace"

    def is_there(self, site: Site) -> bool:
        """Whether the run's workspace stands on this machine; what its agent closed is opened to be seen."""
        _open_tops(site)
        return (site.workspace / ".git").is_dir() and site.home.is_dir()

    async def take_over(self, site: Site) -> None:
        """Give the folders of an earlier start to this one, whose user may be another one."""
        owned = tuple(folder for folder in (site.workspace, site.home) if folder.exists())
        await asyncio.to_thread(site.sandbox.prepare, uid=site.uid, owned=owned)

    async def leave_out(self, site: Site) -> tuple[str, ...]:
        """What lies about before the agent comes is none of its work; its names."""
        return await leave_out(_inside(site), keep=site.leftovers)

    async def collect(self, run: Run, site: Site, *, without: tuple[str, ...] = ()) -> Kept:
        """Commit inside the sandbox, bring the bundle out, and take it into the mirror with every object checked."""
        perform = _inside(site)
        await asyncio.to_thread(_open_tops, site)
        brought = await harvest(
            perform,
            base=run.base,
            message=_message(run),
            objects=site.layout.objects,
            spare=f"{site.layout.home}/.crewcap-spare.git",
            supply=self.supply,
            without=without,
            leftovers=site.leftovers,
        )
        base = Base(commit=run.base, branch=run.base_branch)
        taken = await asyncio.to_thread(
            self.mirrors.receive, self.repository, brought.bundle, base=base, branch=run.branch, message=_message(run)
        )
        match taken:
            case Returned():
                large = await self._bring_large(perform, run, taken.commit)
                return _kept(taken, brought, large)
            case Spurned(reason):
                return Kept(notes=(f"its work was not taken: {reason}",))
            case _:
                return Kept(notes=_seen(brought))

    async def _bring_large(self, perform: Perform, run: Run, tip: str) -> tuple[str, ...]:
        """Contents of the large files that came as pointers; a sentence on each that did not come."""
        wanted = await asyncio.to_thread(self.mirrors.missing_large, self.repository, base=run.base, tip=tip)
        keep = partial(self.mirrors.keep_large, self.repository)
        return await bring_large(perform, wanted, keep=keep) if self.supply.large else ()

    async def publish(self, run: Run) -> str:
        """Place the branch in the user's own repository; why not, where it could not be."""
        return (await asyncio.to_thread(self.mirrors.publish, self.repository, run.branch, base=run.base)).reason

    async def changes(self, run: Run) -> tuple[bytes, tuple[str, ...]]:
        """Everything that its commits changed and say, and the names of the files that they changed."""
        return await asyncio.to_thread(self.mirrors.changes, self.repository, base=run.base, tip=run.commit)

    async def moved(self, run: Run) -> str:
        """What became of the branch that the run started from, as far as it can be asked; empty = it stayed."""
        base = Base(commit=run.base, branch=run.base_branch)
        try:
            merge = await asyncio.to_thread(self.mirrors.merge, self.repository, base=base, tip=run.commit)
        except CrewcapError:
            return ""  # it was deleted, or cannot be reached now; the work is kept in any case
        return merge.sentence

    def rules(self, site: Site) -> tuple[str, ...]:
        """The project's rules files, by the names at which the agent sees them."""
        return tuple(f"{site.layout.workspace}/{name}" for name in RULES if os.path.lexists(site.workspace / name))

    def has_session(self, run: Run, site: Site) -> bool:
        """Whether an earlier start of the agent left a session to go on in."""
        return any(name.startswith(run.session) for name in _names_below(site.home))


def _open_tops(site: Site) -> None:
    """The folders around everything, which an agent may have closed to itself."""
    for folder in (site.workspace, site.home):
        open_top(folder)


def _inside(site: Site) -> Perform:
    """Git in the sandbox: by us it is never run in a folder that a stranger's program could write."""

    async def perform(argv: tuple[str, ...], environ: Mapping[str, str]) -> Outcome:
        return await site.perform(argv, timeout_s=_GIT_S, environ=environ)

    return perform


def _names_below(folder: Path) -> Iterator[str]:
    for _, _, names in os.walk(folder, followlinks=False):
        yield from names


def _slug(run: Run) -> str:
    """`fix-login` of `fix-login.2`."""
    return run.name.rpartition(".")[0] or run.name


def _number(run: Run) -> int:
    """2 of `fix-login.2`: its branch is called `crewcap/fix-login-2`, unless that is taken."""
    number = run.name.rpartition(".")[2]
    return int(number) if number.isdecimal() else 1


def _message(run: Run) -> str:
    """The message of the commit that gathers what the agent did not commit itself."""
    return f"{run.issue.title}\n\nRun {run.name}, {run.agent} with {run.model}."


def _seen(brought: Harvest) -> tuple[str, ...]:
    """What a run did that is no part of its work."""
    inside = (f"what it did inside the submodule {folder} was not taken" for folder in brought.work_inside)
    planted = ", ".join(brought.planted[:_FEW]) + (", ..." if len(brought.planted) > _FEW else "")
    names = f"its repository names commands, which stayed in the sandbox: {planted}"
    untaken = (f"not taken, because git could not read or add it: {_few(brought.untaken)}",) if brought.untaken else ()
    return (*inside, *((names,) if brought.planted else ()), *_stayed(brought.strays), *untaken)


def _stayed(strays: Strays) -> Iterator[str]:
    """What does not come home, since git has no way to take it."""
    if strays.repositories:
        yield f"files in repositories of their own were not taken: {_few(strays.repositories)}"
    if strays.specials:
        yield f"pipes, sockets and devices were not taken: {_few(strays.specials)}"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(one_line(name, limit=80) for name in names[:_FEW]) + (", ..." if len(names) > _FEW else "")


def _kept(taken: Returned, brought: Harvest, large: tuple[str, ...]) -> Kept:
    notes = [f"{flag.path} can do more than its words say ({flag.kind})" for flag in taken.flags[:_FLAGS]]
    if len(taken.flags) > _FLAGS:
        notes.append(f"{len(taken.flags) - _FLAGS:,} more paths can do more than their words say")
    notes += [*_seen(brought), *large]
    if taken.unsigned:
        notes.append(f"its commits are not signed: {taken.unsigned}")
    if brought.salvaged:
        notes.append("its repository was broken; its files were taken on top of the base commit")
    if taken.rewrote_history:
        notes.append("it rewrote history; its tree was taken as one commit")
    if taken.left_behind:
        others = "another branch" if taken.left_behind == 1 else f"{taken.left_behind} other branches"
        notes.append(f"what it committed on {others} was not taken")
    return Kept(
        commit=taken.commit,
        commits=taken.commits,
        files=taken.files_changed,
        added=taken.lines_added,
        removed=taken.lines_removed,
        notes=tuple(notes),
    )
