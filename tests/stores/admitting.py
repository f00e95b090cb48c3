"""A process that brings runs to work as fast as there are places: `python -m tests.stores.admitting`.

KIND URL HOME RUN...   waits for a line; prints when each run had its places, and when it was about to give them back
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import replace

from tests.stores.run_books import opened_by

from crewcap.core.budget import ALL, Scope
from crewcap.core.runs import RunId, RunState
from crewcap.stores import RunStore

SLOTS = {ALL: 5, **{Scope(f"repo:{number}"): 2 for number in range(4)}}
AT_ONCE = 3  # of one process: several of them want more than there is


def main() -> None:
    kind, url, home, *ids = sys.argv[1:]
    store = opened_by(kind, url, home)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    waiting, begun = deque(map(RunId, ids)), deque[tuple[RunId, int]]()
    while waiting or begun:
        if waiting and _begins(store, waiting[0]):
            begun.append((waiting.popleft(), time.monotonic_ns()))
            if len(begun) < AT_ONCE:
                continue
        waiting.rotate(-1)
        if begun:
            _end(store, *begun.popleft())


def _begins(store: RunStore, run: RunId) -> bool:
    if store.admit(run, slots=SLOTS) is not None:
        return False
    found = store.get(run)
    assert found is not None
    store.save(replace(found, state=RunState.PREPARING))
    return True


def _end(store: RunStore, run: RunId, begin: int) -> None:
    found, end = store.get(run), time.monotonic_ns()
    assert found is not None
    store.save(replace(found, state=RunState.STOPPED))
    sys.stdout.write(f"{run} {begin} {end}\n")


if __name__ == "__main__":
    main()
