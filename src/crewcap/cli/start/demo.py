"""`crewcap demo`: the product at work in a minute, without a key, a network or a bill."""

from __future__ import annotations

from pathlib import Path

import click

from crewcap.cli.context import Call, common, with_call

BOOKS_DIFFER = 5


@click.command(epilog="Example: crewcap demo")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("crewcap-demo"), show_default=True, help="Kept."
)
@common
@with_call
def demo(call: Call, *, folder: Path) -> None:
    """Watch the real Claude Code fix a bug under a cap, and a runaway with and without one.

    Act 1: an issue becomes a branch. Act 2: the same runaway twice, bare with its own --max-budget-usd and through
    crewcap. The agent, git and the gateway are real; the provider follows a script, so nothing is billed. Exit status
    5 if the provider's meter and our ledger differ by a single unit.
    """
    from crewcap.demo.play import play  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.demo.stage import build  # noqa: PLC0415

    books = play(call, build(folder.absolute(), call.environ))
    if call.as_json:
        call.emit({"meter_usd": books.meter.exact(), "ledger_usd": books.ledger.exact(), "equal": books.is_equal})
    click.get_current_context().exit(0 if books.is_equal else BOOKS_DIFFER)
