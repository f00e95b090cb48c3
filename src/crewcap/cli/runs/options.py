"""What can be said about a run on the command line, as values."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from crewcap.core.money import Money, MoneyError
from crewcap.core.runs import Issue
from crewcap.errors import UsageError
from crewcap.trackers import Tracker

_DURATION = re.compile(r"(?:(\d{1,3})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s)?\Z")
_ELSEWHERE = re.compile(r"#?\d+\Z|[\w.-]+/[\w.-]+#\d+\Z|linear:|https?://")


class Cap(click.ParamType[Money]):
    """An amount of money that something may cost."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Money:
        """Read it exactly; a cap of nothing would refuse everything."""
        if isinstance(value, Money):
            return value
        try:
            amount = Money.usd(str(value))
        except MoneyError as error:
            self.fail(str(error), param, ctx)
        if not amount:
            self.fail("a cap of 0 refuses every request; the smallest useful one is a few cents", param, ctx)
        return amount


class Duration(click.ParamType[int]):
    """A stretch of time with its unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        match = _DURATION.match(str(value))
        seconds = (
            sum(int(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
        )
        if not seconds:
            self.fail(f"{value!r} is not a stretch of time; write 45m, 90s or 1h30m", param, ctx)
        return seconds


_OPTIONS = (
    click.option("-p", "--prompt", metavar="TEXT", help="The task itself, instead of an issue."),
    click.option("--repo", metavar="PATH|NAME", help="The repository; by default the one around the issue, or here."),
    click.option("--cap", "--max-budget-usd", type=Cap(), help="The most that this run may cost, in dollars."),
    click.option("--agent", default="", help="claude."),
    click.option("--model", default="", help="sonnet, opus, haiku, or a full id."),
    click.option("--effort", type=click.Choice(["low", "medium", "high", "xhigh", "max"]), help="How hard it thinks."),
    click.option("--max-turns", type=click.IntRange(1, 10_000), help="Requests in all, subagents included."),
    click.option("--timeout", type=Duration(), help="Wall clock of setup, first check and agent: 45m."),
    click.option(
        "--sandbox",
        type=click.Choice(["auto", "bubblewrap", "landlock", "unconfined"]),
        help="The rung; auto never slides down.",
    ),
    click.option("--dry-run", is_flag=True, help="Show everything that would happen, and spend nothing."),
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `run`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_issue(reference: str | None, prompt: str | None, *, command: str = "run") -> tuple[Issue, Tracker]:
    """The issue that is meant, and where it lives."""
    from crewcap.trackers.files import Files  # noqa: PLC0415  (one of three)
    from crewcap.trackers.prompts import Prompts, Stdin  # noqa: PLC0415

    if reference is not None and prompt is not None:
        raise UsageError(f"both an issue ({reference}) and -p say what the task is", help="leave one of them out")
    tracker: Tracker
    if prompt is not None:
        tracker = Prompts()
        return tracker.read(prompt), tracker
    if not reference:
        raise UsageError(
            "name an issue, or say the task with -p",
            help=f'crewcap {command} issues/fix.md, or crewcap {command} -p "..."',
        )
    if reference == "-":
        tracker = Stdin(sys.stdin.buffer)
        return tracker.read(reference), tracker
    if _ELSEWHERE.match(reference) and not Path(reference).exists():
        raise UsageError(
            f"{reference}: this version reads issues from files and from -p; no tracker for it is connected",
            help="save the issue as a .md file and name that",
        )
    tracker = Files(Path.cwd())
    return tracker.read(reference), tracker
