"""What must be true after a night: of every run, of the processes, of the repository and of the books."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Run, RunState
from torture.law import judge
from torture.night_eyes import Eyes
from torture.night_processes import described
from torture.night_town import MODEL, Town

TURNS = 3
_GONE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What came of one."""

    billed: Money
    charged: Money
    uncertain: Money
    starts: int  # of agents
    broken: tuple[str, ...]


def judge_night(town: Town, runs: Sequence[Run], eyes: Eyes, *, exact: bool, faults: Sequence[str]) -> Night:
    """Look at a town whose serve has ended in order; `exact`: its gateway was never killed."""
    town.until(lambda: not town.everybody() and not eyes.still_here(), _GONE_S)
    town.simulator.idle_in_thread(30)
    stored = {run.id: run for run in town.runs.list(limit=1_000)}
    broken = [*faults, *eyes.faults, *_survivors(town)]
    for run in runs:
        found = stored.pop(run.id, None)
        broken += [f"{run.name} is lost"] if found is None else _of_run(town, found)
    broken += [f"{run.name} was made by nobody" for run in stored.values()]
    broken += _of_repository(town, runs)
    billed = town.simulator.meter.by_key.get(town.key, ZERO)
    verdict = judge(town.ledger, billed, faults=tuple(_of_books(town)))
    broken += verdict.broken
    totals = town.ledger.totals(Scope("all"))
    if exact and verdict.charged != billed:
        broken.append(f"no gateway was killed, {billed.exact()} was billed and {verdict.charged.exact()} is charged")
    starts = sum(line.startswith("start") for run in runs for line in _life(town, run))
    return Night(
        billed=billed, charged=verdict.charged, uncertain=totals.uncertain, starts=starts, broken=tuple(broken)
    )


def _survivors(town: Town) -> Iterator[str]:
    for member in town.everybody():
        yield f"alive after the end: {described(member.pid)}"


def _of_run(town: Town, run: Run) -> Iterator[str]:
    """It ended well, once, for no more than its cap, and told its issue once."""
    if run.state != RunState.DONE:
        yield f"{run.name} is {run.state}: {run.verdict} {run.reason}; {_last_words(town, run)}"
        return
    totals = town.ledger.totals(Scope(f"run:{run.id}"))
    cost = totals.spent + totals.uncertain + totals.held
    if cost > run.cap:
        yield f"{run.name} cost {cost.exact()} of {run.cap.exact()}"
    if totals.requests < TURNS:
        yield f"{run.name} has {totals.requests} requests in the books, and its agent made {TURNS}"
    if any(line.startswith("twice") for line in _life(town, run)):
        yield f"{run.name} had two agents at once: {_life(town, run)}"
    text = Path(run.issue.source).read_text("utf-8")
    blocks = text.count(f"<!-- crewcap:{run.name} -->"), text.count("<!-- crewcap:")
    if blocks != (1, 1):
        yield f"{run.name} has {blocks[0]} of {blocks[1]} reports in its issue"
    if "**Done**" not in text:
        yield f"the issue of {run.name} does not say that it is done: {text[-400:]!r}"
    files = set(town.git("ls-tree", "-r", "--name-only", run.branch).splitlines())
    lost = {f"work/{run.session}-{turn}.txt" for turn in range(TURNS)} - files
    if lost:
        yield f"{run.branch} lacks {sorted(lost)}"


def _life(town: Town, run: Run) -> list[str]:
    """What its agents wrote down of themselves."""
    path = town.home.run(run.id) / "home" / "life"
    return path.read_text("utf-8").splitlines() if path.exists() else []


def _last_words(town: Town, run: Run) -> str:
    return " | ".join(f"{event.kind} {event.text}" for event in list(town.runs.story(run.id))[-12:])


def _of_repository(town: Town, runs: Sequence[Run]) -> Iterator[str]:
    """A branch for each run, and no more. A death right after a number was taken costs that number, in the mirror."""
    branches = {run.branch for run in town.runs.list(limit=1_000)}
    if sorted(town.branches()) != sorted(branches) or len(branches) != len(runs):
        yield f"branches are {town.branches()}, and the runs have {sorted(branches)}"


def _of_books(town: Town) -> Iterator[str]:
    """No place is taken, no key opens anything, and the product's own word on the ledger."""
    if taken := {scope: count for scope, count in town.runs.taken().items() if count}:
        yield f"places are still taken: {taken}"
    if alive := [key.id for key in tuple(town.ledger.keys()) if key.revoked_at is None]:
        yield f"keys that still open something: {alive}"
    said = town.perform("ledger", "verify")
    if said.returncode:
        yield f"ledger verify ended with {said.returncode}: {said.stdout[-300:]} {said.stderr[-300:]}"
    if strangers := {bill.model for bill in town.simulator.meter.bills if bill.key == town.key} - {MODEL}:
        yield f"other models were asked: {strangers}"
