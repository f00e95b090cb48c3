"""`crewcap doctor`: whether this machine is fit, and the command that makes it so."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.screen.figures import NARROW, Screen, wrap
from crewcap.errors import SettingsError, UnsafeEnvironment, UsageError

if TYPE_CHECKING:
    from crewcap.cli.start.fitness import Finding

_ENDERS = (signal.SIGTERM, signal.SIGHUP)


@click.command(epilog="Example: crewcap doctor --repo .")
@click.option("--repo", metavar="PATH|NAME", help="Also run this repository's setup and check once, in the sandbox.")
@click.option(
    "--fresh", is_flag=True, help="Run that setup even where an earlier one's result could be reused; keep it."
)
@common
@with_call
def doctor(call: Call, *, repo: str | None, fresh: bool) -> None:
    """Look at everything that a run needs; spends nothing, prints no secret.

    Exits as a run would: 2 where settings are wrong, your own or a repository's, 4 where this machine is not fit.
    """
    if fresh and repo is None:
        raise UsageError("--fresh is about one repository's setup", help="crewcap doctor --repo PATH|NAME --fresh")
    findings = asyncio.run(_findings(call, repo, fresh=fresh))
    failures = [finding for finding in findings if finding.level == "fail"]
    if call.as_json:
        call.emit({"fit": not failures, "findings": [asdict(finding) for finding in findings]})
    else:
        summary, columns = _summary([finding.name for finding in failures]), Screen.of(sys.stdout, call.environ).columns
        for line in wrap(summary, columns) if columns < NARROW else [summary]:
            call.out(line)
    if failures:
        is_said_wrong = any(finding.code in {UsageError.code, SettingsError.code} for finding in failures)
        click.get_current_context().exit((UsageError if is_said_wrong else UnsafeEnvironment).exit_status)


async def _findings(call: Call, repo: str | None, *, fresh: bool) -> list[Finding]:
    """Every finding, said as soon as it is found."""
    from crewcap.cli.start.fitness import carefully, examine  # noqa: PLC0415  (looks import what they look at)
    from crewcap.cli.start.rehearsal import rehearse  # noqa: PLC0415

    found = []
    for finding in examine(call):
        found.append(finding)
        _say(call, finding)
    if repo is not None:
        with _ended_by_signals():
            async for finding in carefully("repository", rehearse(call, repo, fresh=fresh)):
                found.append(finding)
                _say(call, finding)
    return found


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Who is told to end does so as after Ctrl-C, and removes what it made."""
    loop, task, met = asyncio.get_running_loop(), asyncio.current_task(), list[int]()

    def end(number: int) -> None:
        met.append(number)
        if task is not None:
            task.cancel()

    wanted = [number for number in _ENDERS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in wanted:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if not met:
            raise
        raise click.exceptions.Exit(128 + met[0]) from None
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


def _say(call: Call, finding: Finding) -> None:
    """One line, and below it what opens what is closed."""
    if call.as_json:
        return
    mark = click.style(f"{finding.level:<4}", fg={"ok": "green", "warn": "yellow", "fail": "red"}[finding.level])
    columns = Screen.of(sys.stdout, call.environ).columns
    for line in _narrow(finding, mark, columns) if columns < NARROW else _wide(finding, mark):
        call.out(line)


def _wide(finding: Finding, mark: str) -> Iterator[str]:
    first, *rest = finding.text.split("\n")
    yield f"{mark}  {finding.name:<10}  {first}"
    for line in rest:
        yield f"{'':<18}| {line}"
    if finding.help and finding.level != "ok":
        yield f"{'':<18}-> {finding.help}"


def _narrow(finding: Finding, mark: str, columns: int) -> Iterator[str]:
    yield f"{mark} {finding.name}"
    yield from (f"  {line}" for line in wrap(finding.text, columns - 2))
    if finding.help and finding.level != "ok":
        yield from (f"  {line}" for line in wrap(f"-> {finding.help}", columns - 2))


def _summary(failed: Sequence[str]) -> str:
    if not failed:
        return "fit: crewcap demo shows it, crewcap run -p '...' starts"
    return f"not fit: {', '.join(dict.fromkeys(failed))}"
