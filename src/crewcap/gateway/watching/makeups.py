"""What prompts are made of, seen by the gateway: counted after requests have ended, in a thread, and added up.

A request's body is kept until the next round, a second later at most; there its letters are counted by part, their
shares applied to the tokens that were billed, and the sums of a key, a model and a quarter of an hour written together.
Nothing waits for this, and what there is no room for is left out: shares of what was counted are as good.
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
MOST_BYTES = 32 * 2**20  # of bodies that wait for their round

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
        self._rows: list[MakeupRow] = []  # that could not be written yet

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

    def declined(self, declined: Declined) -> None:
        """What was not sent is no prompt."""

    async def flush(self) -> None:
        """Count and write; what cannot be written is tried again."""
        prompts, self._waiting, self._size_bytes = self._waiting, [], 0
        rows, self._rows = self._rows, []
        try:
            rows = await asyncio.to_thread(_added_up, rows, prompts) if prompts else rows
            if rows:
                await self._do(self._store.note_makeup, rows)
        except BaseException:
            self._rows = rows
            raise


def _added_up(rows: Sequence[MakeupRow], prompts: Sequence[_Prompt]) -> list[MakeupRow]:
    """One row for each key, quarter and model."""
    sums: dict[tuple[KeyId, int, str], tuple[int, Makeup]] = {}
    counted = ((prompt, shared_out(of_request(prompt.dialect, prompt.body), prompt.tokens)) for prompt in prompts)
    fresh = [
        MakeupRow(key=prompt.key, quarter=quarter_of(prompt.at), model=prompt.model, requests=1, tokens=tokens)
        for prompt, tokens in counted
    ]
    for row in (*rows, *fresh):
        name = (row.key, row.quarter, row.model)
        requests, tokens = sums.get(name, (0, Makeup()))
        sums[name] = (requests + row.requests, tokens + row.tokens)
    return [
        MakeupRow(key=key, quarter=quarter, model=model, requests=requests, tokens=tokens)
        for (key, quarter, model), (requests, tokens) in sums.items()
    ]
