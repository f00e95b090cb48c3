"""`doctor --repo`: a repository's setup and check, once, in the sandbox that its runs would get. It costs nothing.

The same mirror, workspace, fittings, way out and commands as in a run, without an agent, a key and a gateway; what it
made is removed again, but for the prepared tree, and the repository itself is only read. Where nothing is set for the
repository, what is usual for its kind is tried, and said ready to paste.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from crewcap import logs
from crewcap.cli.context import Call
from crewcap.cli.start.fitness import Finding
from crewcap.cli.start.patience import Patience
from crewcap.core.harmless import last_lines
from crewcap.core.runs import Check
from crewcap.runner import project, reach
from crewcap.runner.fitting import OWNER, PASSABLE, Fitted, Plot, fit_out, furnish
from crewcap.runner.grounds import Found, find_repository, grounds_of
from crewcap.runner.lending import Lent
from crewcap.runner.plan import usual_timeout_s
from crewcap.runner.scrubbed import scrubbed
from crewcap.runner.setup import SetUp, set_up
from crewcap.runner.worker.rehearsals import rehearsing
from crewcap.settings.models import RepoSettings
from crewcap.settings.repository import FILE
from crewcap.settings.starter import Project, guess
from crewcap.workspaces.egress.log import asked_and_refused, hosts_line, read_log
from crewcap.workspaces.sandbox.ladder import choose
from crewcap.workspaces.sandbox.uids import lease

_BRANCH = "crewcap/doctor-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is tried: what is set, else what is usual for such a project."""

    project: RepoSettings
    guessed: Project | None = None
    fresh: bool = False  # setup is run, whatever an earlier one made
    timeout_s: int = 0  # of a run there


async def rehearse(call: Call, repo: str, *, fresh: bool = False) -> AsyncIterator[Finding]:
    """What a run would meet before its first paid request."""
    call.home.make()
    logs.aside(call.home.logs)
    found = await asyncio.to_thread(find_repository, call.app, repo)
    if found.has_file:
        text = f"{FILE} is read at {found.base.commit[:8]}, under your settings"
        yield Finding(name="repository", level="ok", text=text)
    timeout_s = usual_timeout_s(found.settings, found.name)
    wanted = replace(await asyncio.to_thread(_wanted, call, found), fresh=fresh, timeout_s=timeout_s)
    if wanted.guessed:
        text = f"nothing is set for {found.name}; it looks like a project that is checked by `{wanted.guessed.check}`"
        yield Finding(name="repository", level="ok", text=text)
    with _plot(call, found, wanted.project) as plot:
        sandbox = choose(found.settings.defaults.sandbox, state=call.home.root)
        fitted = await asyncio.to_thread(fit_out, grounds_of(call.app, found.settings, sandbox), plot)
        async for finding in _tried(fitted, wanted, Patience(timeout_s, call.note)):
            yield finding


async def _tried(fitted: Fitted, wanted: _Wanted, patience: Patience) -> AsyncIterator[Finding]:
    """From an empty folder to a check."""
    lent, files = await asyncio.to_thread(_lay_out, fitted)
    site = fitted.rooms.site
    yield Finding(name="workspace", level="ok", text=f"{files:,} files of {fitted.plot.repo}, in {site.sandbox.rung}")
    network = reach.network(site.sandbox.rung, fitted.plot.project)
    yield Finding(name="network", level="ok", text=network)
    for text in reach.unheeded(site.sandbox.rung, fitted.plot.project):
        yield Finding(name="hosts", level="warn", text=text)
    for finding in (*_fitted(fitted), *_lent(lent)):
        yield finding
    async for finding in _commands(fitted, lent, wanted, patience):
        yield scrubbed(finding, lent.scrubber)


def _wanted(call: Call, found: Found) -> _Wanted:
    """What is set; where that is neither setup nor check, what such a project usually has."""
    if found.project.setup or found.project.check:
        return _Wanted(project=found.project)
    tracked = call.app.mirrors.tracked(found.repository, at=found.base.commit)
    guessed = guess({path for path in tracked if "/" not in path})
    if guessed is None:
        return _Wanted(project=found.project)
    usual = {"setup": guessed.setup, "check": guessed.check, "hosts": found.project.hosts or guessed.hosts}
    return _Wanted(project=found.project.model_copy(update=usual), guessed=guessed)


def _lay_out(fitted: Fitted) -> tuple[Lent, int]:
    """A run's workspace and home, as they are before setup; how many files that is."""
    plot, site = fitted.plot, fitted.rooms.site
    made = fitted.grounds.mirrors.make_workspace(
        plot.repository,
        base=plot.base,
        branch=_BRANCH,
        folder=site.workspace,
        objects_inside=site.layout.objects,
        supply=fitted.supply,
    )
    site.home.mkdir(mode=0o700)
    site.sandbox.prepare(uid=site.uid, owned=(site.workspace, site.home))
    return furnish(fitted), made.files


def _fitted(fitted: Fitted) -> Iterator[Finding]:
    """Toolchains, services, what git borrows, and what cannot be had."""
    for text in fitted.toolchains:
        is_missing = text.startswith("wanted ")
        help_ = 'install it, or name its folder: tools = ["~/..."] under [repos.NAME] of your own settings'
        yield Finding(name="tools", level="warn" if is_missing else "ok", text=text, help=help_ if is_missing else "")
    for text in fitted.said:
        yield Finding(name="sandbox", level="ok", text=text)
    for text in fitted.wanting:
        yield Finding(name="containers", level="warn", text=text)
    for text in reach.loosened_ports(fitted.plot.project):
        yield Finding(name="ports", level="ok", text=text)


def _lent(lent: Lent) -> Iterator[Finding]:
    for text in lent.said:
        name, _, said = text.partition(": ")
        yield Finding(name=name, level="ok", text=said)


async def _commands(fitted: Fitted, lent: Lent, wanted: _Wanted, patience: Patience) -> AsyncIterator[Finding]:
    """Setup must work; a check may be red, for that may be what an issue is about."""
    commands, anew = wanted.project, ""
    if commands.setup:
        begin = partial(set_up, fitted, included=lent.names, fresh=wanted.fresh)
        done = scrubbed(await patience.see("setup", lambda limit_s: begin(limit_s=limit_s)), lent.scrubber)
        for finding in _set_up(done, fitted):
            yield finding
        if patience.is_over:
            yield _out_of_time(wanted, project.in_setup(done.command))
        if done.failed or patience.is_over:
            return
        if done.reused:
            anew = "; its setup was reused: the same command with --fresh runs it anew"
    if not commands.check:
        help_ = f'check = "make test" in {FILE}, or under [repos.NAME]; crewcap init --repo guesses one'
        yield Finding(name="check", level="warn", text="none is set, so no run's work will be checked", help=help_)
        return
    command = commands.check
    check = await patience.see("check", lambda limit_s: project.check(fitted.rooms, command, limit_s=limit_s))
    check = scrubbed(check, lent.scrubber)  # before anything is cut: a part of a secret is known to nobody
    yield _checked(command, check, anew=anew)
    if patience.is_over:
        yield _out_of_time(wanted, project.IN_CHECK)
    if wanted.guessed and check.result == "passed":
        yield Finding(name="settings", level="warn", text=f"works with these lines in {FILE}\n{_lines(commands)}")


def _set_up(done: SetUp, fitted: Fitted) -> Iterator[Finding]:
    """How it went, and what it asked for in vain."""
    facts = {"seconds": round(done.seconds, 3), "reused": done.reused, "kept": done.kept, "files": done.files}
    if done.failed:
        text = f"{done.command}: {done.failed}\n{last_lines(done.tail)}".strip()
        yield Finding(
            name="setup", level="fail", text=text, help=done.way_round or "correct it, then again", facts=facts
        )
    else:
        yield Finding(name="setup", level="ok", text=done.told, facts=facts)
        yield from (Finding(name="setup", level="ok", text=note) for note in done.notes)
    yield from _hosts(fitted, is_fatal=bool(done.failed))


def _hosts(fitted: Fitted, *, is_fatal: bool) -> Iterator[Finding]:
    """Which hosts it reached, and which it was refused."""
    log = read_log(fitted.network_log)
    reached = tuple(dict.fromkeys(each.host for each in log if each.verdict == "opened"))
    refused = asked_and_refused(log)
    facts = {"reached": reached, "refused": refused}
    if reached:
        yield Finding(name="hosts", level="ok", text=f"reached {', '.join(reached)}", facts=facts)
    if refused:
        text = f"asked for {', '.join(refused)}: refused, not in hosts"
        yield Finding(name="hosts", level="fail" if is_fatal else "warn", text=text, help=hosts_line(log), facts=facts)
    others = {f"{each.host}: {each.reason}" for each in log if each.verdict == "refused"} if not refused else ()
    yield from (Finding(name="hosts", level="warn", text=f"refused {text}") for text in sorted(others))


def _checked(command: str, check: Check, *, anew: str) -> Finding:
    facts = {"seconds": check.seconds, "summary": check.summary}
    if check.result == "passed":
        text = f"{command}: {check.summary}, {check.seconds:.1f} s"
        return Finding(name="check", level="ok", text=text, facts=facts)
    text = f"{command}: {check.summary}\n{last_lines(check.tail)}".strip()
    help_ = f"runs start from here; `crewcap run` says so and goes on{anew}"
    return Finding(name="check", level="warn", text=text, help=help_, facts=facts)


def _out_of_time(wanted: _Wanted, where: str) -> Finding:
    help_ = "a shorter setup or check, or a longer `timeout` under [defaults] or of the route"
    return Finding(name="time", level="fail", text=project.out_of_time(wanted.timeout_s, where), help=help_)


def _lines(commands: RepoSettings) -> str:
    """Settings as a file has them."""
    values = {"setup": commands.setup, "check": commands.check, "hosts": list(commands.hosts)}
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items() if value)


@contextmanager
def _plot(call: Call, found: Found, wanted: RepoSettings) -> Iterator[Plot]:
    """Folders and a user of its own, for as long as it is looked at."""
    leased = lease(call.home.root / "uids")
    try:
        with rehearsing(call.home) as folder:
            folder.chmod(PASSABLE)
            yield Plot(
                repo=found.name,
                repository=found.repository,
                base=found.base,
                project=wanted,
                folder=folder,
                uid=leased.uid,
                trust=OWNER,
            )
    finally:
        leased.release()
