"""What is seen of prompt caches on the wire: per conversation what it kept, what was lost, and where it broke.

A request that reads less than the last one of its conversation left in the cache, and comes before that ran out, has
lost something. Only then are the two bodies compared, in a thread, and only the first few times in a conversation: an
agent whose prefix breaks every turn is known after that. Rows are written together, a moment after the requests that
they tell of; they are advice, and no money rests on them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crewcap.core.pricing import Usage, Write
from crewcap.core.savings import FORGOTTEN, LEAST_LOST, CacheTurn, again
from crewcap.gateway.money.admission import Request
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.stores import CacheTurns
from crewcap.wire import Dialect
from crewcap.wire.outline import difference

FLUSH_S = 1.0
MOST_CONVERSATIONS = 4_096
MOST_WAITING = 4_096  # rows that could not be written yet
MOST_EXPLAINED = 3  # breaks of one conversation whose bodies are compared
LARGEST_BODY = 8 * 2**20

LIFETIMES_S: Mapping[str, Mapping[Write, int]] = {
    "anthropic": {"none": 300, "5m": 300, "1h": 3_600},
    "openai": {"none": 300, "5m": 1_800, "1h": 43_200},
    "gemini": {"none": 300, "5m": 300, "1h": 300},
}
"""How long a provider keeps what a request of each kind wrote, in seconds."""

Do = Callable[..., "asyncio.Future[Any]"]
Name = tuple[str, str, str, str, str]


@dataclass(slots=True)
class _Seen:
    """A conversation as its last request left it."""

    kept: int = 0
    lives_s: int = 0
    over: float = 0.0
    explained: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    """A turn, with the two bodies to compare where it lost something."""

    turn: CacheTurn
    dialect: Dialect | None = None
    before: bytes = b""
    now: bytes = b""


class Savings:
    """What one gateway has seen."""

    def __init__(self, store: CacheTurns, *, do: Do, bodies: Callable[[Request], Sequence[bytes]]) -> None:
        self._store = store
        self._do = do
        self._bodies = bodies  # settled ones of a request's conversation, the newest last
        self._seen: OrderedDict[Name, _Seen] = OrderedDict()
        self._rows: list[_Row] = []

    def ended(self, ended: Ended) -> None:
        """Compare what was read with what the last request had left."""
        request, usage = ended.request, ended.reading.usage
        if ended.end != "complete" or usage is None or request.ask.samplings != 1 or not request.ask.conversation:
            return
        kept = usage.cache_read + usage.write_5m + usage.write_1h
        name = _name(request)
        before = self._seen.pop(name, None)
        if not kept and (before is None or not before.kept):
            return
        seen = self._seen[name] = before or _Seen()
        if len(self._rows) < MOST_WAITING:
            self._rows.append(self._row(ended, usage, seen, is_first=before is None))
        seen.kept, seen.over = kept, ended.over
        seen.lives_s = LIFETIMES_S[request.dialect.name][request.ask.write]
        if len(self._seen) > MOST_CONVERSATIONS:
            self._seen.popitem(last=False)

    def declined(self, declined: Declined) -> None:
        """What was not sent has no cache."""

    async def flush(self) -> None:
        """Write what was seen since the last time; what cannot be written is tried again."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            turns = await asyncio.to_thread(lambda: [_explained(row) for row in rows])
            await self._do(self._store.note, turns)
        except BaseException:
            self._rows = (rows + self._rows)[:MOST_WAITING]
            raise

    def _row(self, ended: Ended, usage: Usage, seen: _Seen, *, is_first: bool) -> _Row:
        request = ended.request
        gap_s = max(0.0, ended.started - seen.over)
        turn = CacheTurn(
            hold=request.hold,
            run=request.key.run,
            key=request.key.id,
            conversation=request.ask.conversation,
            gap_ms=None if is_first else int(gap_s * 1_000),
            kept=seen.kept,
        )
        lost = seen.kept - usage.cache_read
        if is_first or lost < LEAST_LOST or gap_s > seen.lives_s:
            return _Row(turn)
        card = next((card for card in request.cards if card.id == ended.closed.card), request.cards[0])
        turn = replace(turn, lost=lost, cost=again(usage, card.rates_for(usage.prompt), lost))
        before = next((body for body in reversed(self._bodies(request)) if body is not request.body), b"")
        seen.explained += 1
        if not before or seen.explained > MOST_EXPLAINED or len(before) + len(request.body) > LARGEST_BODY:
            return _Row(turn)
        return _Row(turn, request.dialect, before, request.body)


def _name(request: Request) -> Name:
    key = request.key
    return key.run or key.id, request.provider.name, request.model, request.agent, request.ask.conversation


def _explained(row: _Row) -> CacheTurn:
    """The turn with the place at which its prefix broke."""
    if row.dialect is None:
        return row.turn
    before, now = row.dialect.outline(row.before), row.dialect.outline(row.now)
    if before is None or now is None:
        return row.turn
    return replace(row.turn, broke=str(difference(before, now) or FORGOTTEN))
