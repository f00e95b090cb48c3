"""`crewcap shell`: a person inside a run's own sandbox, for "why do the tests fail in there?"."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.view import find_one
from crewcap.core.runs import Run
from crewcap.errors import CrewcapError, UsageError

if TYPE_CHECKING:
    from crewcap.runner.fitting import Plot
    from crewcap.runner.grounds import Found

_PASSED_ON = ("TERM", "COLORTERM", "NO_COLOR")
_COMMAND = f"{__name__}.command"
_SHELLS = (("/bin/bash", "--norc"), ("/bin/sh",))  # the run's own variables, as its check has them, and no more


class _WithCommand(click.Command):
    """What stands behind `--` is a command, whether a run was named before it or not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the command out; the rest is parsed as ever."""
        here = args.index("--") if "--" in args else len(args)
        ctx.meta[_COMMAND] = tuple(args[here + 1 :])
        return super().parse_args(ctx, args[:here])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usual ones, and the command."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(cls=_WithCommand, epilog="Example: crewcap shell fix-login.1 -- python3 -m pytest -x")
@click.argument("run", default="")
@click.option("--network", is_flag=True, help="With the way out to the repository's hosts that setup has.")
@common
@with_call
def shell(call: Call, *, run: str, network: bool) -> None:
    """Open RUN's own sandbox: its workspace, tools, services and variables; no key, no gateway, nothing billed.

    RUN is a name, a unique prefix, or nothing for the latest. COMMAND is run instead of a shell, and its exit status
    is ours. What you change in there is part of the run: the agent finds it when the run goes on.
    """
    found = find_one(call, run)
    _refuse_without_workspace(call, found)
    command: tuple[str, ...] = click.get_current_context().meta[_COMMAND]
    status = asyncio.run(_visit(call, found, command, network=network))
    click.get_current_context().exit(status)


async def _visit(call: Call, run: Run, command: tuple[str, ...], *, network: bool) -> int:
    """Nobody else drives the run meanwhile; its files are this visit's own, as they are those of each start."""
    from crewcap import logs  # noqa: PLC0415
    from crewcap.runner.fitting import fit_out  # noqa: PLC0415
    from crewcap.runner.grounds import grounds_of, repository_of  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.runner.visit import visit  # noqa: PLC0415
    from crewcap.workspaces.sandbox.ladder import choose  # noqa: PLC0415

    logs.aside(call.home.logs)
    found = repository_of(call.app, run)
    sandbox = choose(run.sandbox, state=call.home.root)  # type: ignore[arg-type]  # a rung, as it was stored
    with _alone(run, call.home.run(run.id)), _plot(call, run, found) as plot:
        fitted = await asyncio.to_thread(fit_out, grounds_of(call.app, found.settings, sandbox), plot)
        site = fitted.rooms.site
        owned = tuple(path for path in (site.workspace, site.home) if path.exists())
        await asyncio.to_thread(sandbox.prepare, uid=site.uid, owned=owned)
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        if terminal:
            call.note(
                f"{run.name} in {sandbox.rung}; no key, no gateway; what you change is part of the run; exit leaves"
            )
        async with fitted.rooms.opened("shell", network=network) as room:
            return await visit(room, command or _shell(), environ=_environ(call, run), terminal=terminal)


def _refuse_without_workspace(call: Call, run: Run) -> None:
    if (call.home.run(run.id) / "workspace").is_dir():
        return
    if not run.branch:
        raise UsageError(f"{run.name} has no workspace: it ended before one was made", help=f"crewcap show {run.name}")
    removed = run.workspace_removed_at
    gone = f"was removed on {removed.astimezone(UTC):%Y-%m-%d}" if removed else "is gone"
    if not run.commits:
        raise UsageError(f"{run.name}'s workspace {gone}; it had committed nothing", help=f"crewcap logs {run.name}")
    raise UsageError(
        f"{run.name}'s workspace {gone}; its work is on the branch {run.branch}", help=f"crewcap checkout {run.name}"
    )


@contextmanager
def _alone(run: Run, folder: Path) -> Iterator[None]:
    """Be the only one at work in the run's workspace; the agent of a live run has it for itself."""
    from crewcap.runner.ownership import AlreadyDriven, driving  # noqa: PLC0415

    try:
        with driving(run, folder):
            yield
    except AlreadyDriven:
        raise UsageError(
            f"{run.name} is at work, and its files have one user at a time: the agent, until it ends",
            help=f"crewcap logs -f {run.name} shows what it does; Ctrl-C where it was started pauses it",
        ) from None


@contextmanager
def _plot(call: Call, run: Run, found: Found) -> Iterator[Plot]:
    """The run's folders, with a user id of their own for as long as the visit lasts."""
    from crewcap.runner.fitting import OWNER, Plot  # noqa: PLC0415
    from crewcap.workspaces.sandbox.uids import lease  # noqa: PLC0415

    leased = lease(call.home.root / "uids")
    try:
        yield Plot(
            repo=found.name,
            repository=found.repository,
            base=found.base,
            project=found.project,
            folder=call.home.run(run.id),
            uid=leased.uid,
            trust=OWNER,
            binary=_program(call, run, found),
        )
    finally:
        leased.release()


def _program(call: Call, run: Run, found: Found) -> Path | None:
    """The agent's program, as the run has it inside; a visit does without where it is gone."""
    from crewcap.agents import AGENTS  # noqa: PLC0415
    from crewcap.runner.start import find_agent  # noqa: PLC0415

    try:
        return Path(find_agent(found.settings, AGENTS[run.agent](), call.environ).path)
    except (CrewcapError, KeyError):
        return None


def _shell() -> tuple[str, ...]:
    return next((words for words in _SHELLS if Path(words[0]).exists()), ("sh",))


def _environ(call: Call, run: Run) -> Mapping[str, str]:
    """What a terminal needs to know, and a prompt that says where one is."""
    passed = {name: call.environ[name] for name in _PASSED_ON if name in call.environ}
    return {"PS1": f"[{run.name}] \\w \\$ ", **passed}
