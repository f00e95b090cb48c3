"""`crewcap usage check`: a run's transcripts beside its ledger, and the difference explained."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.view import find_one
from crewcap.cli.screen.figures import Screen, many
from crewcap.cli.usage.commands import usage
from crewcap.core.budget import Scope
from crewcap.core.runs import Run
from crewcap.core.usage_check import Checked, Difference, check


@usage.command("check", epilog="Example: crewcap usage check fix-login.1")
@click.argument("run", default="")
@common
@with_call
def check_(call: Call, *, run: str) -> None:
    """Compare what a run's agent wrote down (the latest run by default) with what the ledger has of it.

    The ledger is right: it saw every request. The difference is explained to the last unit; requests that only a
    transcript has did not go through the gateway, and exit status 1 says so.
    """
    found = find_one(call, run)
    checked = _check(call, found)
    if call.as_json:
        call.emit(_object(found, checked))
    else:
        call.out("\n".join(Screen.of(sys.stdout, call.environ).lines(_lines(found, checked))))
    if _went_around(checked):
        click.get_current_context().exit(1)


def _check(call: Call, run: Run) -> Checked:
    from crewcap.transcripts import READERS, reader  # noqa: PLC0415  (not for --help)
    from crewcap.transcripts.importing import read_here  # noqa: PLC0415
    from crewcap.transcripts.pricing import Pricing  # noqa: PLC0415

    pricing = Pricing(call.app.book)
    told = read_here([reader(name) for name in READERS], [call.home.run(run.id) / "home"])
    entries = call.app.ledger.entries(scope=Scope(f"run:{run.id}"))
    return check([(each, pricing.cost(each)) for each in told], entries)


def _went_around(checked: Checked) -> bool:
    return any(each.why.startswith("only in transcripts") for each in checked.differences)


def _lines(run: Run, checked: Checked) -> list[str]:
    difference = checked.ledger - checked.transcripts
    lines = [
        f"{run.name}  {run.issue.title}",
        f"  ledger       {checked.ledger.show():>9}   ({checked.ledger.exact()})",
        f"  transcripts  {checked.transcripts.show():>9}   ({checked.transcripts.exact()})",
        f"  difference   {difference.show():>9}   {many(checked.matched, 'answer')} in both",
    ]
    lines += [f"  {_told(each)}" for each in checked.differences]
    if not checked.differences:
        lines.append("  every answer is in both, at the same cost")
    if checked.unpriced:
        lines.append(f"  {many(checked.unpriced, 'message')} without a price")
    return lines


def _told(each: Difference) -> str:
    return f"  {each.amount.show():>9}  {many(each.requests, 'request')}: {each.why}"


def _object(run: Run, checked: Checked) -> dict[str, object]:
    return {
        "run": run.name,
        "run_id": run.id,
        "ledger_usd": checked.ledger.exact(),
        "transcripts_usd": checked.transcripts.exact(),
        "difference_usd": (checked.ledger - checked.transcripts).exact(),
        "matched": checked.matched,
        "unpriced_messages": checked.unpriced,
        "differences": _differences(checked.differences),
    }


def _differences(found: Sequence[Difference]) -> list[dict[str, object]]:
    return [{"why": each.why, "requests": each.requests, "amount_usd": each.amount.exact()} for each in found]
