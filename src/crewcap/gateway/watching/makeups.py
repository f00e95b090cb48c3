"""What prompts are made of, seen by the gateway: counted after requests have ended, in a thread, and added up.

A request's body is kept until the next round, a second later at most, or until there are many; there its letters are
counted by part and their shares applied to the tokens that were billed. The sums of a key, a model and a quarter of an
hour are written together, once a round. Nothing waits for this, and what there is no room for is left out: shares of
what was counted are as good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crewcap.core.budget import KeyId
from crewcap.core.bundles import quarter_of
from crewcap.core.makeup import Makeup, MakeupRow, shared_out
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.stores import Reports
from crewcap.wire.makeup import of_request

FLUSH_S = 1.0
MANY_BYTES = 2 * 2**20  # of bodies; they do not wait for the round
MOST_BYTES = 32 * 2**20  # of bodies that wait to be counted

Do = Callable[..., "asyncio.Future[Any]"]


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt that was billed."""

    dialect: str
    body: bytes
    tokens: int
    key: KeyId
    model: str
    at: datetime


class Makeups:
    """A watcher of requests."""

    def __init__(self, store: Reports, *, do: Do) -> None:
        self._store = store
        self._do = do
        self._waiting: list[_Prompt] = []
        self._size_bytes = 0
        self._has_many = asyncio.Event()
        self._rows: list[MakeupRow] = []  # that are not written yet

    def ended(self, ended: Ended) -> None:
        """Keep what is to be counted."""
        request, usage = ended.request, ended.closed.usage
        if not usage.prompt or self._size_bytes + len(request.body) > MOST_BYTES:
            return
        self._size_bytes += len(request.body)
        model = ended.closed.model or request.model
        at = ended.sent.sent_at.astimezone(UTC)
        dialect = request.dialect.name
        self._waiting.append(_Prompt(dialect, request.body, usage.prompt, request.key.id, model, at))
        if self._size_bytes >= MANY_BYTES:
            self._has_many.set()

    def declined(self, declined: Declined) -> None:
        """What was not sent is no prompt."""

    async def relieve(self) -> None:
        """Wait until there are many bodies, and count them."""
        await self._has_many.wait()
        await self._count()

    async def flush(self) -> None:
        """Count and write; what cannot be written is tried again."""
        await self._count()
        rows, self._rows = _summed(self._rows), []
        try:
            if rows:
                await self._do(self._store.note_makeup, rows)
        except BaseException:
            self._rows += rows
            raise

    async def _count(self) -> None:
        """Turn bodies into rows; those of a count that is called off are still there for the next one."""
        prompts, self._waiting, self._size_bytes = self._waiting, [], 0
        self._has_many.clear()
        try:
            if prompts:
                self._rows += await asyncio.to_thread(_counted, prompts)
        except asyncio.CancelledError:
            self._waiting += prompts
            raise


def _counted(prompts: Sequence[_Prompt]) -> list[MakeupRow]:
    counted = ((prompt, shared_out(of_request(prompt.dialect, prompt.body), prompt.tokens)) for prompt in prompts)
    fresh = [
        MakeupRow(key=prompt.key, quarter=quarter_of(prompt.at), model=prompt.model, requests=1, tokens=tokens)
        for prompt, tokens in counted
    ]
    return _summed(fresh)


def _summed(rows: Sequence[MakeupRow]) -> list[MakeupRow]:
    """One row for each key, quarter and model."""
    sums: dict[tuple[KeyId, int, str], tuple[int, Makeup]] = {}
    for row in rows:
        name = (row.key, row.quarter, row.model)
        requests, tokens = sums.get(name, (0, Makeup()))
        sums[name] = (requests + row.requests, tokens + row.tokens)
    return [
        MakeupRow(key=key, quarter=quarter, model=model, requests=requests, tokens=tokens)
        for (key, quarter, model), (requests, tokens) in sums.items()
    ]
