"""Prefix memory: what settled requests were billed as, for those that go on from them (MONEY 2.4).

An agent sends its whole conversation again with every turn. Bytes bound that four to five times too high; but the
request before this one was billed for nearly all of it, exactly. So the bound of a request that goes on from a settled
one is what that one was billed for, prompt and answer, and the bytes of what is new.

Only a whole answer with a true usage is remembered: complete, settled without an incident, from the model that was
asked, run once, its prompt not cut by an edit. Conversations are kept by run (or key, where there is no run), model and
agent, so that none is ever compared with another one's. A usage above any bound shows that one of the assumptions
does not hold for a model: until a restart nothing is remembered of it any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from crewcap.core import holding
from crewcap.core.pricing import Usage
from crewcap.gateway.money.admission import Recalled, Request
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.wire.outline import grown

log = logging.getLogger(__name__)

KEPT_BYTES = 32 * 2**20  # of all bodies together
LARGEST_BODY = 8 * 2**20
MOST_KEPT = 4_096  # conversations
OWNERS_SHARE = 4  # one run or key gets at most this part of the memory
BRANCHES = 2  # settled requests of one conversation: an agent may go back one turn
LARGE = 2**18  # bytes that are compared outside the event loop

Owner = str
Model = tuple[str, str]  # provider, full id


class _Name(NamedTuple):
    """Which conversation a request belongs to."""

    owner: Owner
    model: Model
    path: str
    agent: str
    conversation: str


@dataclass(frozen=True, slots=True)
class _Settled:
    """One answer whose bill is known."""

    body: bytes
    usage: Usage


class Prefixes:
    """The memory of one gateway: bounded, and gone with it."""

    def __init__(self, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[_Name, tuple[_Settled, ...]] = OrderedDict()  # the newest last, in both
        self._sizes: dict[Owner, int] = {}
        self._size_bytes = 0
        self._distrusted: set[Model] = set()

    def knows(self, request: Request) -> bool:
        """Whether something is remembered of this conversation."""
        return _name(request) in self._kept

    def bodies(self, request: Request) -> tuple[bytes, ...]:
        """The settled requests that are remembered of this conversation, the newest last."""
        return tuple(each.body for each in self._kept.get(_name(request), ()))

    async def recall(self, request: Request) -> Recalled | None:
        """The smallest bound by what is remembered; None where the request goes on from nothing that is."""
        settled = self._kept.get(_name(request), ())
        if request.ask.samplings != 1 or not settled:
            return None
        if len(request.body) + sum(len(each.body) for each in settled) < LARGE:
            return _smallest(request, settled)
        return await asyncio.to_thread(_smallest, request, settled)

    def ended(self, ended: Ended) -> None:
        """Remember an answer whose bill is known, or never again anything of its model."""
        request, usage = ended.request, ended.reading.usage
        if usage is None or request.ask.samplings != 1 or not request.body:
            return
        name = _name(request)
        if usage.prompt > ended.sent.prompt_bound:
            self._distrust(name.model)
        elif name.model not in self._distrusted and _is_true(ended) and len(request.body) <= LARGEST_BODY:
            self._keep(name, _Settled(request.body, usage))

    def declined(self, declined: Declined) -> None:
        """What was not sent teaches nothing."""

    def _keep(self, name: _Name, settled: _Settled) -> None:
        before = tuple(each for each in self._kept.pop(name, ()) if each.body != settled.body)
        self._add(name.owner, -sum(len(each.body) for each in before))
        after = self._kept[name] = (*before[1 - BRANCHES :], settled)
        self._add(name.owner, sum(len(each.body) for each in after))
        while self._sizes.get(name.owner, 0) > self._kept_bytes // OWNERS_SHARE:
            self._forget(next(each for each in self._kept if each.owner == name.owner))
        while self._size_bytes > self._kept_bytes or len(self._kept) > MOST_KEPT:
            self._forget(next(iter(self._kept)))

    def _forget(self, name: _Name) -> None:
        self._add(name.owner, -sum(len(each.body) for each in self._kept.pop(name)))

    def _add(self, owner: Owner, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        self._sizes[owner] = self._sizes.get(owner, 0) + size_bytes
        if not self._sizes[owner]:
            del self._sizes[owner]

    def _distrust(self, model: Model) -> None:
        if model not in self._distrusted:
            log.error("%s was billed above its bound: no bound is taken from its settled requests any more", model[1])
        self._distrusted.add(model)
        for name in [each for each in self._kept if each.model == model]:
            self._forget(name)


def _name(request: Request) -> _Name:
    key = request.key
    return _Name(
        owner=key.run or key.id,
        model=(request.provider.name, request.model),
        path=request.endpoint.template,
        agent=request.agent,
        conversation=request.ask.conversation,
    )


def _is_true(ended: Ended) -> bool:
    """Whether this answer's usage is the exact bill of exactly what was sent."""
    reading, closed, request = ended.reading, ended.closed, ended.request
    is_whole = ended.end == "complete" and closed.kind == "settled" and not closed.incident
    is_plain = len(reading.samplings) <= 1 and not reading.is_edited
    is_from_the_model = any(card.id == closed.card and card.model == request.model for card in request.cards)
    return is_whole and is_plain and is_from_the_model


def _smallest(request: Request, settled: tuple[_Settled, ...]) -> Recalled | None:
    """By the one that bounds it closest."""
    found = [bound for each in settled if (bound := _bound(request, each)) is not None]
    return min(found, key=lambda each: each.tokens, default=None)


def _bound(request: Request, settled: _Settled) -> Recalled | None:
    outline = request.dialect.outline
    before, now = outline(settled.body), outline(request.body)
    added = None if before is None or now is None else grown(before, now)
    if added is None or added.whole_window:
        return None
    new = max(holding.prompt_bound(added, card) or 0 for card in request.cards)
    return Recalled(prompt=settled.usage.prompt, tokens=settled.usage.prompt + settled.usage.output + new)
