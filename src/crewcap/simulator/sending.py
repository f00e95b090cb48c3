"""Sending one answer: its events at the script's pace, the accidents that the step asks for, and its bill.

The bill is written before the first byte of the answer (`is_billed_first`), or else when the answer ends, for what was
generated until then. Either way it is written once, also when the client hangs up: the server cancels the handler
then, and `finally` does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiohttp import web

from crewcap.core.pricing import RateCard, Usage
from crewcap.simulator.answers import Answer
from crewcap.simulator.cache import Prompt
from crewcap.simulator.conversation import Asked
from crewcap.simulator.family import Family
from crewcap.simulator.log import Record
from crewcap.simulator.meter import Bill
from crewcap.simulator.script import Pick, Step
from crewcap.simulator.troubles import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request on its way to its answer."""

    family: Family
    record: Record
    pick: Pick
    asked: Asked
    prompt: Prompt
    card: RateCard
    answer: Answer

    @property
    def step(self) -> Step:
        """The step that answers."""
        return self.pick.step


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One answer on the wire."""

    request: web.Request
    turn: Turn
    bill: Callable[[Turn, Usage], Bill]
    is_billed_first: bool
    billed: Bill | None = None
    generated: int = 0  # output tokens so far
    ending: str = "client_gone"

    async def stream(self) -> web.StreamResponse:
        """Send the answer as events."""
        turn = self.turn
        headers = {**turn.family.naming(turn.record.id), "content-type": turn.family.stream_type(turn.asked)}
        response = web.StreamResponse(headers=headers)
        if self.is_billed_first:
            self._bill(turn.answer.usage)
        try:
            await self._send(response)
        except ConnectionResetError:
            return response  # the client has gone; `ending` says so
        finally:
            self._bill(self._generated())
        return response

    async def whole(self) -> web.StreamResponse:
        """Send the answer as one JSON body; the provider has made all of it before the first byte."""
        turn, step = self.turn, self.turn.step
        self._bill(turn.answer.usage)
        await asyncio.sleep(step.pace_ms * step.events / 1_000)
        if step.error_event is not None:
            self.ending = "error_event"
            return refusal_of(turn.family, step.error_event, turn.record)
        content = turn.family.whole(turn.answer, turn.asked)
        response = web.json_response(content, headers=turn.family.naming(turn.record.id))
        await self._meet(response, "cut" if step.cut is not None else "hung" if step.hang is not None else "")
        self.ending = self.ending if step.cut is not None else "complete"
        return response

    def record(self) -> Record:
        """The log's record of the request and of what became of it."""
        answer, billed = self.turn.answer, self.billed
        return replace(
            self.turn.record,
            status=200,
            usage=billed.usage if billed else Usage(),
            billed=billed.amount if billed else self.turn.record.billed,
            stop_reason=answer.stop_reason if self.ending == "complete" else "",
            ending=self.ending,
        )

    async def _send(self, response: web.StreamResponse) -> None:
        turn, step = self.turn, self.turn.step
        if await self._meet(response, _accident(step, 0)):
            return
        await response.prepare(self.request)
        parts = list(turn.family.parts(turn.answer, step, turn.asked))
        for sent, part in enumerate(parts, 1):
            if sent == len(parts) and await self._meet(response, _overdue(step, sent)):
                return
            if part.is_paced and step.pace_ms:
                await asyncio.sleep(step.pace_ms / 1_000)
            self.generated = part.generated
            await response.write(part.data)
            if await self._meet(response, _accident(step, sent)):
                return
        self.ending = "complete"

    async def _meet(self, response: web.StreamResponse, accident: str) -> bool:
        """Let an accident happen; whether the answer ends with it."""
        trouble = self.turn.step.error_event
        if accident:
            self.ending = accident
        if accident == "hung":
            await asyncio.Event().wait()  # until the client leaves, which cancels this
        if accident == "cut" and self.request.transport is not None:
            self.request.transport.abort()
        if accident == "error_event" and trouble is not None:
            if not response.prepared:
                await response.prepare(self.request)
            turn = self.turn
            await response.write(turn.family.broken(trouble, turn.record.id, turn.asked))
        return bool(accident)

    def _bill(self, usage: Usage) -> None:
        if self.billed is None:
            self.billed = self.bill(self.turn, usage)

    def _generated(self) -> Usage:
        """What a provider bills that stops generating when the client goes."""
        usage = self.turn.answer.usage
        if self.ending == "complete":
            return usage
        output = min(usage.output, self.generated)
        return replace(usage, output=output, thinking=min(usage.thinking, output))


def refusal_of(family: Family, trouble: Trouble, record: Record) -> web.Response:
    """An error answer of the provider."""
    refused = family.refusal(trouble, record.id)
    headers = {**family.naming(record.id), **refused.headers}
    return web.Response(status=refused.status, headers=headers, body=refused.body)


def _overdue(step: Step, last: int) -> str:
    """What would happen after more events than there are: some APIs say the same with fewer. Then it happens now."""
    waits = {"cut": step.cut, "hung": step.hang, "error_event": step.error_after if step.error_event else None}
    return next((name for name, after in waits.items() if after is not None and after > last), "")


def _accident(step: Step, sent: int) -> str:
    """What happens after so many events, if anything."""
    if step.cut == sent:
        return "cut"
    if step.hang == sent:
        return "hung"
    return "error_event" if step.error_event is not None and step.error_after == sent else ""
