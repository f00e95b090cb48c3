"""`doctor --repo`: a repository's setup and check, once, in the sandbox that its runs would get. It costs nothing.

The same mirror, workspace, sandbox and commands as in a run, without an agent, a key and a way out; what it made is
removed again, and the repository itself is only read.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from crewcap.cli.context import Call
from crewcap.cli.fitness import Finding
from crewcap.cli.grounds import Found, find_repository, grounds_of
from crewcap.core.runs import Check
from crewcap.runner import project
from crewcap.runner.fitting import PASSABLE, Plot, fit_out
from crewcap.runner.rooms import Rooms
from crewcap.settings.models import RepoSettings
from crewcap.settings.repository import FILE
from crewcap.workspaces import Sandbox
from crewcap.workspaces.ladder import choose
from crewcap.workspaces.uids import lease

LIMIT_S = 1_800.0
_BRANCH = "crewcap/doctor-1"
_SHOWN_LINES = 20


async def rehearse(call: Call, repo: str) -> AsyncIterator[Finding]:
    """What a run would meet before its first paid request."""
    call.home.make()
    found = await asyncio.to_thread(find_repository, call, repo)
    if found.has_file:
        text = f"{FILE} is read at {found.base.commit[:8]}, under your settings"
        yield Finding(name="repository", level="ok", text=text)
    with _plot(call, found) as plot:
        fitted = await asyncio.to_thread(fit_out, grounds_of(call, found.settings, _sandbox(call, found)), plot)
        site = fitted.rooms.site
        made = await asyncio.to_thread(
            call.app.mirrors.make_workspace,
            found.repository,
            base=found.base,
            branch=_BRANCH,
            folder=site.workspace,
            objects_inside=site.layout.objects,
            supply=fitted.supply,
        )
        site.home.mkdir(mode=0o700)
        site.sandbox.prepare(uid=site.uid, owned=(site.workspace, site.home))
        yield Finding(
            name="workspace", level="ok", text=f"{made.files:,} files of {found.name}, in {site.sandbox.rung}"
        )
        async for finding in _commands(fitted.rooms, found.project):
            yield finding


async def _commands(rooms: Rooms, wanted: RepoSettings) -> AsyncIterator[Finding]:
    """Setup must work; a check may be red, for that may be what an issue is about."""
    if wanted.setup:
        done = await project.set_up(rooms, wanted.setup, limit_s=LIMIT_S)
        yield _set_up(done)
        if done.failed:
            return
    if wanted.check:
        yield _checked(wanted.check, await project.check(rooms, wanted.check, limit_s=LIMIT_S))
    else:
        help_ = f'check = "make test" in {FILE}, or under [repos.NAME]; crewcap init --repo guesses one'
        yield Finding(name="check", level="warn", text="none is set, so no run's work will be checked", help=help_)


def _set_up(done: project.SetUp) -> Finding:
    if not done.failed:
        return Finding(name="setup", level="ok", text=f"{done.command}: passed, {done.seconds:.1f} s")
    text = f"{done.command}: {done.failed}\n{_last_lines(done.tail)}".strip()
    return Finding(name="setup", level="fail", text=text, help="correct it, then again")


def _checked(command: str, check: Check) -> Finding:
    if check.result == "passed":
        return Finding(name="check", level="ok", text=f"{command}: {check.summary}, {check.seconds:.1f} s")
    text = f"{command}: {check.summary}\n{_last_lines(check.tail)}".strip()
    help_ = "runs start from here; `crewcap run` says so and goes on"
    return Finding(name="check", level="warn", text=text, help=help_)


def _last_lines(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-_SHOWN_LINES:])


def _sandbox(call: Call, found: Found) -> Sandbox:
    return choose(found.settings.defaults.sandbox, state=call.home.root)


@contextmanager
def _plot(call: Call, found: Found) -> Iterator[Plot]:
    """Folders and a user of its own, for as long as it is looked at."""
    leased = lease(call.home.root / "uids")
    folder = Path(tempfile.mkdtemp(prefix="doctor-", dir=call.home.root))
    folder.chmod(PASSABLE)
    try:
        yield Plot(
            repository=found.repository,
            commit=found.base.commit,
            project=found.project,
            folder=folder,
            uid=leased.uid,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        leased.release()
