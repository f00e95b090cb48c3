"""`doctor --repo`: a repository's setup and check, once, in the sandbox that its runs would get. It costs nothing.

The same mirror, workspace, sandbox and commands as in a run, without an agent, a key and a way out; what it made is
removed again, and the repository itself is only read.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from crewcap.cli.context import Call
from crewcap.cli.fitness import Finding
from crewcap.cli.run_job import name_of
from crewcap.runner import checks
from crewcap.runner.process import TIMED_OUT, Site
from crewcap.settings.models import RepoSettings, Settings
from crewcap.settings.repository import FILE, merge
from crewcap.workspaces.ladder import choose
from crewcap.workspaces.repositories import Repository
from crewcap.workspaces.uids import lease

LIMIT_S = 1_800.0
_BRANCH = "crewcap/doctor-1"
_PASSABLE = 0o711
_SHOWN_LINES = 20


async def rehearse(call: Call, repo: str) -> AsyncIterator[Finding]:
    """What a run would meet before its first paid request."""
    call.home.make()
    known = call.app.settings.repos.get(repo)
    repository = call.app.mirrors.repository((known.url or ".") if known else repo)
    name = repo if known else name_of(call.app.settings, repository)
    base = await asyncio.to_thread(call.app.mirrors.update, repository)
    settings = call.app.settings
    if (own := call.app.mirrors.file(repository, at=base.commit, path=FILE)) is not None:
        settings = merge(settings, name, own, where=f"{FILE} of {name}")
        yield Finding(name="repository", level="ok", text=f"{FILE} is read at {base.commit[:8]}, under your settings")
    project = settings.repos.get(name, RepoSettings())
    with _site(call, settings, repository) as site:
        made = await asyncio.to_thread(
            call.app.mirrors.make_workspace,
            repository,
            base=base,
            branch=_BRANCH,
            folder=site.workspace,
            objects_inside=site.layout.objects,
        )
        site.home.mkdir(mode=0o700)
        site.sandbox.prepare(uid=site.uid, owned=(site.workspace, site.home))
        yield Finding(name="workspace", level="ok", text=f"{made.files:,} files of {name}, in {site.sandbox.rung}")
        async for finding in _commands(site, project):
            yield finding


async def _commands(site: Site, project: RepoSettings) -> AsyncIterator[Finding]:
    """Setup must work; a check may be red, for that may be what an issue is about."""
    if project.setup:
        setup = await _perform(site, "setup", project.setup)
        yield setup
        if setup.level == "fail":
            return
    if project.check:
        yield await _perform(site, "check", project.check)
    else:
        help_ = f'check = "make test" in {FILE}, or under [repos.NAME]; crewcap init --repo guesses one'
        yield Finding(name="check", level="warn", text="none is set, so no run's work will be checked", help=help_)


async def _perform(site: Site, name: str, command: str) -> Finding:
    """One of the project's own commands: the only place where a shell is used, and it is inside."""
    outcome = await site.perform(("/bin/sh", "-c", command), timeout_s=LIMIT_S)
    if outcome.status == TIMED_OUT:
        return Finding(name=name, level="fail", text=f"{command}: not done within {LIMIT_S:.0f} s")
    judged = checks.judge(exit_status=outcome.status, output=outcome.both, seconds=outcome.seconds)
    if judged.result == "passed":
        return Finding(name=name, level="ok", text=f"{command}: {judged.summary}, {outcome.seconds:.1f} s")
    said = "\n".join(judged.tail.strip().splitlines()[-_SHOWN_LINES:])
    help_ = "runs start from here; `crewcap run` says so and goes on" if name == "check" else "correct it, then again"
    level = "warn" if name == "check" else "fail"
    return Finding(name=name, level=level, text=f"{command}: {judged.summary}\n{said}".strip(), help=help_)  # type: ignore[arg-type]  # one of two words of Level


@contextmanager
def _site(call: Call, settings: Settings, repository: Repository) -> Iterator[Site]:
    """A run's folders and sandbox, for as long as it is looked at."""
    sandbox = choose(settings.defaults.sandbox, state=call.home.root)
    leased = lease(call.home.root / "uids")
    folder = Path(tempfile.mkdtemp(prefix="doctor-", dir=call.home.root))
    folder.chmod(_PASSABLE)
    workspace, home, binary = folder / "workspace", folder / "home", Path(sys.executable).resolve()
    objects = call.app.mirrors.objects(repository)
    try:
        layout = sandbox.layout(workspace=workspace, home=home, objects=objects, binary=binary)
        yield Site(
            sandbox=sandbox,
            layout=layout,
            uid=leased.uid,
            workspace=workspace,
            home=home,
            objects=objects,
            binary=binary,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        leased.release()
