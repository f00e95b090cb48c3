"""`crewcap cap suggest`: which caps the runs so far speak for, and what each would have done to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.money.past import jobs_of, read_since, zone_of
from crewcap.cli.screen.amounts import folded, room, table
from crewcap.cli.screen.figures import many
from crewcap.core.calibration import PILOT, Replay, Suggestion, suggest, teaching
from crewcap.core.history import Job
from crewcap.core.money import Money
from crewcap.errors import CrewcapError

_EVERYTHING = "all runs"
_CENT = 10_000_000


@click.group(epilog="Example: crewcap cap suggest --since 60d")
@common
@click.pass_context
def cap(ctx: click.Context, /, **options: object) -> None:
    """Caps of runs, from what runs have cost."""
    remember(ctx, options)


@cap.command("suggest", epilog="Example: crewcap cap suggest --since 60d")
@click.option("--since", metavar="D", default="90d", show_default=True, help="How far back: 30d, or 2026-11-01.")
@click.option("--apply", "is_applied", is_flag=True, help="Write the suggestion for all runs into your settings.")
@common
@with_call
def suggest_(call: Call, *, since: str, is_applied: bool) -> None:
    """Suggest a cap: twice the average, as is usual, beside one that cuts fewer good runs, each replayed on the books.

    Below ten runs it is a pilot's: $5.00 and 10 turns. Programs on keys of their own are no runs and teach nothing.
    """
    past = teaching(jobs_of(call, since=read_since(since, call.clock(), zone_of(call))))
    found = {name: suggest(jobs) for name, jobs in _groups(past).items()}
    cap = _applicable(found[_EVERYTHING]) if is_applied else None
    applied = _apply(call, cap) if cap is not None else None
    if call.as_json:
        call.emit([_object(name, each) for name, each in found.items()])
    else:
        for line in folded(_words(found), room(call.environ)):
            call.out(line)
    if cap is not None:
        call.note(f"defaults.cap is {cap.show()} now, in {applied}")


def _groups(past: Sequence[Job]) -> Mapping[str, Sequence[Job]]:
    """All runs, then each workflow on each model where there is more than one."""
    groups: dict[str, list[Job]] = {_EVERYTHING: list(past)}
    for job in past:
        groups.setdefault(f"{job.workflow}, {job.model}", []).append(job)
    return groups if len(groups) > 2 else {_EVERYTHING: groups[_EVERYTHING]}


def _applicable(found: Suggestion) -> Money:
    """The cap that may be written; what no good run speaks for would pause the next one."""
    if found.cap is None:
        raise CrewcapError(
            f"{_none_good(found)}; defaults.cap stays as it is",
            help="crewcap runs shows what became of them; crewcap config show the cap that holds",
        )
    return found.cap


def _apply(call: Call, cap: Money) -> Path:
    """Write the default cap; only that line of the file changes."""
    from crewcap.settings import edit, place  # noqa: PLC0415  (only here)

    path = call.config_path or place.usual_path(call.environ)
    _ = call.app.settings  # a file that cannot be read is not written over
    text = path.read_text("utf-8") if path.exists() else ""
    edit.write_over(path, edit.with_value(text, "defaults", "cap", _spelled(cap)))
    return path


def _spelled(amount: Money) -> str:
    """`5.00`, as a settings file has it; suggestions are whole cents."""
    dollars, cents = divmod(amount.nano // _CENT, 100)
    return f"{dollars}.{cents:02d}"


def _words(found: Mapping[str, Suggestion]) -> Iterator[str]:
    for name, each in found.items():
        if each.is_pilot:
            yield f"{name}: {_shown(each.cap)}, {each.turns} turns, pilot: {each.jobs} of {PILOT} runs seen"
            continue
        if each.cap is None:
            yield f"{name}: {_none_good(each)} (average {_shown(each.average)})"
            continue
        seen = f"from {many(each.jobs, 'run')}, average {_shown(each.average)}, p95 {_shown(each.p95)}"
        yield f"{name}: {each.cap.show()}   {seen}"
        yield from (f"  {line}" for line in table(_rows(each), right=frozenset({1})))
        if each.censored:
            yield f"  {many(each.censored, 'run')} ended at a cap and would have cost more: the figures are low"


def _none_good(each: Suggestion) -> str:
    return f"none of {many(each.jobs, 'run')} was good, so nothing speaks for a cap"


def _shown(amount: Money | None) -> str:
    return amount.show() if amount is not None else "-"


def _exact(amount: Money | None) -> str | None:
    return amount.exact() if amount is not None else None


def _rows(each: Suggestion) -> list[tuple[str, str, str]]:
    named = [("2 x average", each.usual), ("max(2 x average, 1.5 x p95)", each.robust)]
    named += [(f"cuts at most {rate} % of good runs", replay) for rate, replay in each.by_rate]
    return [(name, replay.cap.show(), _done(replay)) for name, replay in named if replay is not None]


def _done(replay: Replay) -> str:
    """What the cap would have done."""
    wasted = f", {replay.wasted.show()} wasted" if replay.good_cut else ""
    saved = f", {replay.saved.show()} saved on {many(replay.bad_cut, 'other')}" if replay.bad_cut else ""
    return f"would have cut {replay.good_cut} of {replay.good} good runs{wasted}{saved}"


def _object(name: str, each: Suggestion) -> dict[str, object]:
    return {
        "for": name,
        "runs": each.jobs,
        "good_runs": each.good,
        "pilot": each.is_pilot,
        "cap_usd": _exact(each.cap),
        "max_turns": each.turns,
        "average_usd": _exact(each.average),
        "p95_usd": _exact(each.p95),
        "ended_at_a_cap": each.censored,
        "rules": [
            {"rule": rule, **_replayed(replay)}
            for rule, replay in (
                ("2 x average", each.usual),
                ("max(2 x average, 1.5 x p95)", each.robust),
                *((f"cuts at most {rate} %", replay) for rate, replay in each.by_rate),
            )
            if replay is not None
        ],
    }


def _replayed(replay: Replay) -> dict[str, object]:
    return {
        "cap_usd": replay.cap.exact(),
        "good_runs": replay.good,
        "good_runs_cut": replay.good_cut,
        "other_runs_cut": replay.bad_cut,
        "wasted_usd": replay.wasted.exact(),
        "saved_usd": replay.saved.exact(),
    }
