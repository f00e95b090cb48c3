"""Somebody who looks all the time at the places that runs take, in the database where they are taken.

It has one session of its own, which is open before any worker starts: whoever else needs sessions cannot starve it.
Each look is one statement, so what it compares is of one moment. A watch that ends before it is told to is a fault.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import asyncpg  # type: ignore[import-untyped]  # no types in the wheel

from crewcap.core.runs import AT_WORK

HOMELESS = "runs at work without a place"
SESSIONS = "sessions of the server"
_EVERY_S = 0.01
_LIMIT_S = 30.0
_LOOK = f"""
SELECT scope, count(*) FROM crewcap.slot GROUP BY scope
UNION ALL SELECT '{HOMELESS}', count(*) FROM crewcap.run
 WHERE is_open AND state = ANY($1::text[]) AND NOT EXISTS (SELECT FROM crewcap.slot WHERE slot.run = run.id)
UNION ALL SELECT '{SESSIONS}', count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


@dataclass
class Seen:
    """What was seen so far."""

    limits: Mapping[str, int]  # of places, by scope
    most: Counter[str] = field(default_factory=Counter)
    now: Mapping[str, int] = field(default_factory=dict)  # places that the last look found taken
    looks: int = 0
    wrong: list[str] = field(default_factory=list)

    def take(self, rows: Sequence[tuple[str, int]]) -> None:
        """One look."""
        self.looks += 1
        for name, count in rows:
            self.most[name] = max(self.most[name], count)
            if count > {HOMELESS: 0, **self.limits}.get(name, count):
                self.wrong.append(f"{name}: {count}")
        self.now = {name: count for name, count in rows if name not in {HOMELESS, SESSIONS}}


@contextmanager
def watching(url: str, limits: Mapping[str, int]) -> Iterator[Seen]:
    """Look from before the block begins until after it ended."""
    seen, began, over = Seen(limits), threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_watch(url, seen, began, over)), daemon=True)
    thread.start()
    try:
        assert began.wait(_LIMIT_S), "the watch never began"
        yield seen
    finally:
        over.set()
        thread.join(_LIMIT_S)


async def _watch(url: str, seen: Seen, began: threading.Event, over: threading.Event) -> None:
    try:
        db = await asyncpg.connect(url)
        try:
            while True:
                is_last = over.is_set()
                seen.take([tuple(row) for row in await db.fetch(_LOOK, sorted(AT_WORK))])
                began.set()
                if is_last:
                    return
                await asyncio.sleep(_EVERY_S)
        finally:
            await db.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        seen.wrong.append(f"the watch ended after {seen.looks} looks: {error!r}")
        began.set()
