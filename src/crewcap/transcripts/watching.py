"""Importing again and again, for a service that runs for weeks.

Each round looks at every transcript's size and time and reads what has changed, in a thread, at most so many bytes of
it: the first round after an installation may find gigabytes, and a service has other things to do. What is left is read
in the next round, which then comes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from crewcap.transcripts.importing import Importer, Outcome

EVERY_S = 30.0
BYTES_A_ROUND = 64_000_000


async def watch(
    importer: Importer,
    roots: Callable[[], Iterable[Path]],
    *,
    every_s: float = EVERY_S,
    bytes_a_round: int = BYTES_A_ROUND,
) -> AsyncIterator[Outcome]:
    """One outcome a round, until whoever asks for them stops; `roots` is asked each time, agents may be installed."""
    while True:
        outcome = await asyncio.to_thread(importer.run, roots(), most_bytes=bytes_a_round)
        yield outcome
        await asyncio.sleep(0 if outcome.left else every_s)
