"""`crewcap workspace`: what runs left on the disk, and house-keeping by hand."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.errors import CrewcapError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crewcap.runner.worker.fates import Fate
    from crewcap.runner.worker.housekeeping import Swept


@click.group(invoke_without_command=True, epilog="Example: crewcap workspace list")
@common
@click.pass_context
def workspace(ctx: click.Context, /, **options: object) -> None:
    """The workspaces of runs on this disk, and removing those whose time is over."""
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@workspace.command("list", epilog="Example: crewcap workspace list --json")
@common
@with_call
def list_(call: Call) -> None:
    """Each workspace that there is, with its size: which would go with the next sweep, and why each other one stays."""
    found, sizes = _looked(call, call.app.settings.defaults.retention_s)
    if call.as_json:
        call.emit([_object(fate, sizes) for fate in found])
    else:
        _foretell(call, found, sizes)


@workspace.command(epilog="Example: crewcap workspace sweep --dry-run")
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would go and why each other one stays.")
@click.option("--older-than", metavar="TIME", help="Ended so long ago (12h, 3d); by default as `retention` says.")
@common
@with_call
def sweep(call: Call, *, dry_run: bool, older_than: str | None) -> None:
    """Remove the workspaces of runs that ended long ago, now: what `crewcap serve` does by itself, once an hour.

    Never of a run that is open, and never work that is not in the mirror: that is saved there first, or the workspace
    stays. Branches stay in any case. It also empties the trash and removes what killed processes left.
    """
    retention_s = _seconds(older_than) if older_than else call.app.settings.defaults.retention_s
    if not dry_run:
        _sweep(call, retention_s)
        return
    found, sizes = _looked(call, retention_s)
    if call.as_json:
        call.emit({"dry_run": True, "workspaces": [_object(fate, sizes) for fate in found]})
    else:
        _foretell(call, found, sizes)


def _seconds(said: str) -> int:
    from crewcap.settings.values import Wrong, read_keeping  # noqa: PLC0415  (not for --help)

    try:
        return read_keeping(said)
    except Wrong as wrong:
        raise UsageError(f"--older-than: {wrong.message}", help=wrong.help) from None


def _looked(call: Call, retention_s: int) -> tuple[Sequence[Fate], Mapping[str, int]]:
    """What there is, and how large it is."""
    from crewcap.runner.worker.fates import fates, fates_of_rehearsals  # noqa: PLC0415  (not for --help)

    if call.app.is_new:
        found = fates_of_rehearsals(call.home)
    else:
        found = fates(call.app, now=call.clock(), retention_s=retention_s)
    return found, asyncio.run(_sizes(found))


def _foretell(call: Call, found: Sequence[Fate], sizes: Mapping[str, int]) -> None:
    from crewcap.runner.room import shown  # noqa: PLC0415  (these: not for --help)
    from crewcap.runner.worker.trash import in_trash  # noqa: PLC0415

    for fate in found:
        _row(call, "would go" if fate.goes else "stays", fate.name, f"{shown(sizes[fate.name])}, {fate.why}")
    going = [fate.name for fate in found if fate.goes]
    trash = len(in_trash(call.home.root))
    more = f"; {trash} more in the trash" if trash else ""
    call.out(f"{len(going)} of {len(found)} would go, {shown(sum(sizes[name] for name in going))}{more}")


async def _sizes(found: Sequence[Fate]) -> Mapping[str, int]:
    """Bytes of those that can be measured."""
    from crewcap.workspaces.sandbox.watch import held_bytes  # noqa: PLC0415  (only here)

    return {fate.name: await held_bytes([fate.folder]) for fate in found}


def _object(fate: Fate, sizes: Mapping[str, int]) -> Mapping[str, object]:
    return {
        "run": fate.name,
        "goes": fate.goes,
        "why": fate.why,
        "bytes": sizes[fate.name],
        "folder": str(fate.folder),
    }


def _sweep(call: Call, retention_s: int) -> None:
    from datetime import timedelta  # noqa: PLC0415  (these: not for --help)

    from crewcap.runner.worker.housekeeping import sweep as keep_house  # noqa: PLC0415
    from crewcap.runner.worker.housekeeping import sweep_rehearsals  # noqa: PLC0415

    def tell(name: str, why: str) -> None:
        if not call.as_json:
            _row(call, "stays" if why else "removed", name, why)

    if call.app.is_new:
        swept = asyncio.run(sweep_rehearsals(call.home, tell=tell))
    else:
        now = call.clock()
        working = keep_house(call.app, now=now, retention_s=retention_s, again_after=timedelta(0), tell=tell)
        swept = asyncio.run(working)
    if swept.is_elsewhere:
        raise CrewcapError("another process is keeping this house just now", help="wait a moment and try again")
    _say_swept(call, swept)


def _say_swept(call: Call, swept: Swept) -> None:
    from crewcap.runner.room import shown  # noqa: PLC0415  (not for --help)

    if call.as_json:
        said = {"removed": swept.removed, "kept": swept.kept, "saved": swept.saved, "maintained": swept.maintained}
        call.emit({"dry_run": False, **said, "freed_bytes": swept.freed_bytes})
        return
    for ref in swept.saved:
        _row(call, "saved", ref, "")
    count = len(swept.removed)
    call.out(f"{count} workspace{'' if count == 1 else 's'} removed, {shown(swept.freed_bytes)} freed")


def _row(call: Call, what: str, name: str, why: str) -> None:
    """One line, or on a narrow screen as many as it takes."""
    from crewcap.cli.screen.figures import NARROW, Screen, wrap  # noqa: PLC0415  (not for --help)

    columns = Screen.of(sys.stdout, call.environ).columns
    if columns < NARROW:
        for line in wrap(f"{what} {name}{f': {why}' if why else ''}", columns):
            call.out(line)
    else:
        call.out(f"{what:<8}  {name:<20}  {why}".rstrip())
