"""What came of a night, as lines for the terminal and as a section of docs/torture.md."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from torture.night_law import Night
from torture.night_points import POINTS
from torture.night_round import RUNS

HEADING = "## What a night's serve lived through"
_MEANINGS = {
    "moment": "at random moments alone",
    "term": "SIGTERM to the supervisor in the middle, then started again",
    "group": "SIGTERM to everybody at once, agents as well, then started again",
    "loop": "ten starts, each killed within 3 s",
    "answer": "`crewcap resume` dies between its answer and the queue, then the serve dies",
}

_FOUND = """\
What nights have found:

- A supervisor that was killed while its worker started left a worker that nobody had written down. It held the home's
  one seat for a worker, so the next `crewcap serve` ended with status 2, after which its unit does not start it again.
  Now such a worker gives its seat up at once, and the next one waits for it.
- A gateway or worker that was killed while `crewcap serve` started for the first time ended it with status 1. Now it is
  started once more: a child that was killed has refused nothing.
- A signal to everybody at once, agents as well, is heard by an agent before its worker: what a service manager had
  done was taken for the agent's own end, and five runs had failed. Now somebody else's signal decides nothing.
- A worker that is killed between the moment a branch's number is taken and the moment the run remembers it costs that
  number: the run goes on as `thing-1-2`, and the mirror keeps an empty `thing-1-1`. The user's repository has one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a round."""

    name: str
    seed: int
    kills: int
    told: tuple[str, ...]
    struck: tuple[str, ...]  # points
    recovered_s: float
    slowest_end_s: float
    night: Night

    @property
    def broken(self) -> tuple[str, ...]:
        """What broke the law."""
        return self.night.broken

    def line(self) -> str:
        """For the terminal."""
        money = f"billed {self.night.billed.exact()}, charged {self.night.charged.exact()}"
        end = f"{self.recovered_s:.1f} s, {self.night.starts} agents, {money}"
        law = "the law holds" if not self.broken else "BROKEN: " + "; ".join(self.broken)
        return f"{self.name}, seed {self.seed}: {'; '.join(self.told)}; all ended in {end}; {law}"


def summary(results: Sequence[Result]) -> str:
    """The figures of the whole."""
    kills, broken = sum(result.kills for result in results), sum(bool(result.broken) for result in results)
    points = {point for result in results for point in result.struck} & POINTS.keys()
    times = sorted(result.recovered_s for result in results)
    ends = max(result.slowest_end_s for result in results)
    return (
        f"{len(results)} rounds with {RUNS} runs each, {kills} processes killed, {len(points)} of {len(POINTS)} points;"
        f" {broken} rounds broke the law. From the last start until every run had ended: {times[len(times) // 2]:.1f} s"
        f" (median), {times[-1]:.1f} s (longest). Who outlived a death was gone {ends:.1f} s after it at the latest."
    )


def section(results: Sequence[Result], *, seed: int, within_s: float, at: datetime) -> str:
    """The page's part on nights."""
    head = _head(results, seed, within_s, at)
    tables = (*_points(results), "", *_others(results))
    return "\n".join([HEADING, "", *head, "", *tables, "", summary(results), "", _FOUND])


def _head(results: Sequence[Result], seed: int, within_s: float, at: datetime) -> Iterator[str]:
    kills = sum(result.kills for result in results)
    command = f"python -m torture night --seed {seed} --kills {kills} --within {within_s:.0f}"
    yield f"`{command}`, {at:%Y-%m-%d}, Python {platform.python_version()},"
    yield f"{os.cpu_count()} cores, load {os.getloadavg()[2]:.0f} while it ran."
    yield ""
    yield "The real `crewcap serve` with five runs alive; what is killed with SIGKILL is drawn for each death: worker,"
    yield "gateway, supervisor, or several of them. Then the supervisor starts them again, and we the supervisor."
    yield f"The law, after each round: within {within_s:.0f} s of the last start every run is done, with its three"
    yield "turns in the books, all its work in one branch and one report in its issue; no run ever had two agents; no"
    yield "process outlived its owner by 10 s (one whose supervisor died: by its drain and 10 s), none is alive at the"
    yield "end; no place is taken, no key opens anything, no hold is open; `ledger verify` is clean, no cap is passed,"
    yield "what is charged is at least what the provider's meter billed, and exactly that where no gateway was killed."


def _points(results: Sequence[Result]) -> Iterator[str]:
    struck = Counter(point for result in results for point in result.struck)
    yield "| point | deaths before it | deaths after it |"
    yield "|---|---|---|"
    for name in dict.fromkeys(name.rpartition(".")[0] for name in POINTS):
        meaning = POINTS[f"{name}.before"].meaning
        yield f"| {name}: {meaning} | {struck[f'{name}.before']} | {struck[f'{name}.after']} |"


def _others(results: Sequence[Result]) -> Iterator[str]:
    yield "| kind of round | rounds | killed | law broken | longest until all had ended |"
    yield "|---|---|---|---|---|"
    for name, meaning in {"points": "deaths at three points", **_MEANINGS}.items():
        mine = [result for result in results if name in {result.name, "" if result.name in _MEANINGS else "points"}]
        if not mine:
            continue
        kills, broken = sum(result.kills for result in mine), sum(bool(result.broken) for result in mine)
        longest_s = max(result.recovered_s for result in mine)
        yield f"| {name}: {meaning} | {len(mine)} | {kills} | {broken} | {longest_s:.1f} s |"
