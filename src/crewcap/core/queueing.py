"""In which order queued runs have their turn.

    1. Priority. A run that waits catches up with those above it: by 10 for an hour of waiting, as far as a priority
       that another queued run asked for. So a run of priority 0 is level with one of 50 after five hours, and an
       endless stream of those is no longer before it. Where nobody is above, waiting changes nothing here.
    2. Fairness. Of runs that are level, the one is first whose repository and user have least already: runs at work,
       and turns before this one in the same order, both added up. A repository with a hundred queued runs and one
       with a single run take turns, and who has nothing at work is never behind who has.
    3. Age: the longest wait first, within a repository and user always.

Everything follows from what is queued and what is at work, so every worker makes the same order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from crewcap.core.budget import Scope
from crewcap.core.runs import RunId

A_POINT = timedelta(minutes=6)  # of waiting is worth one of priority: 10 an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A queued run."""

    run: RunId
    repo: Scope
    user: Scope
    since: datetime  # when it was queued, this time
    priority: int = 0


_Group = tuple[Scope, Scope]


def fair_order(entries: Iterable[Entry], taken: Mapping[Scope, int], *, now: datetime) -> Iterator[Entry]:
    """Queued runs, whose turn is first; `taken` has the runs at work by scope (repositories and users matter).

    It is made as it is read: whoever stops at the first few has no work with the rest.
    """
    waiting = sorted(entries, key=_age)
    levels = sorted({entry.priority for entry in waiting})
    lifted = {entry.run: _level(entry, levels, now) for entry in waiting}
    load = dict(taken)
    by_level = sorted(waiting, key=lambda entry: -lifted[entry.run])  # stable: by age within a level
    for _, level in groupby(by_level, key=lambda entry: lifted[entry.run]):
        yield from _take_turns(level, load)


def _take_turns(level: Iterable[Entry], load: dict[Scope, int]) -> Iterator[Entry]:
    """Runs that are level, from the oldest of each repository and user; `load` is told of every turn."""
    queues: dict[_Group, list[Entry]] = {}
    for entry in level:
        queues.setdefault((entry.repo, entry.user), []).append(entry)
    for queue in queues.values():
        queue.reverse()  # the oldest is at the end
    while queues:
        group = min(queues, key=lambda group: (load.get(group[0], 0) + load.get(group[1], 0), _age(queues[group][-1])))
        entry = queues[group].pop()
        if not queues[group]:
            del queues[group]
        for scope in group:
            load[scope] = load.get(scope, 0) + 1
        yield entry


def _level(entry: Entry, levels: Sequence[int], now: datetime) -> int:
    """The highest priority that was asked for and that this run has caught up with; at least its own."""
    reached = entry.priority + max(0, (now - entry.since) // A_POINT)
    return levels[bisect_right(levels, reached) - 1]


def _age(entry: Entry) -> tuple[datetime, RunId]:
    return entry.since, entry.run
