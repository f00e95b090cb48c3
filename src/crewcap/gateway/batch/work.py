"""One job, from its prompts to its last result. Whatever ends it in between, it goes on from its folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeVar

from crewcap.core.budget import Busy, Decision, Denied, Granted, Refused
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.errors import CrewcapError, UsageError
from crewcap.gateway.batch.calls import Calls
from crewcap.gateway.batch.folder import Folder, Job, Planned, Prompt, State
from crewcap.gateway.batch.part import Part
from crewcap.gateway.batch.pricing import Booked, Pricing, body_of, order_of
from crewcap.gateway.front.answers import budget_message
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.parts import Parts
from crewcap.gateway.provider.freeze import Trouble
from crewcap.gateway.provider.upstream import Provider
from crewcap.stores import Ledger
from crewcap.wire.batches import APIS, BatchApi, Item, name_of

log = logging.getLogger(__name__)
T = TypeVar("T")

HELD_AT_ONCE = 50  # orders in one transaction, which others may wait for
AGAIN_S = 5.0  # after the books could not be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a job needs of its gateway; what the settings decide is asked for anew each time."""

    parts: Callable[[], Parts]
    endpoints: Callable[[], Mapping[str, Endpoint]]
    blocked: Callable[[Provider, str], str]  # why nothing may be sent to a provider now; '' where it may
    freeze: Callable[[Provider, Trouble], None]
    booked: Callable[[Booked], None]  # told of each item that is booked
    known_batches: Callable[[], frozenset[str]]  # providers' names of batches that are some job's already
    reached: Callable[[str], None]  # told at every named step


@dataclass(slots=True, kw_only=True)
class Work:
    """A job that is worked on."""

    folder: Folder
    around: Around
    job: Job = field(init=False)
    state: State = field(init=False)
    said: str = ""  # what it is waiting for, for people
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    quiet: asyncio.Event = field(default_factory=asyncio.Event)  # nothing is being sent at this moment
    progress: dict[int, tuple[int, int]] = field(default_factory=dict)  # part -> done, of

    def __post_init__(self) -> None:
        self.job, self.state = self.folder.job(), self.folder.state()
        self.quiet.set()
        if self.state.is_cancelled:
            self.cancelled.set()

    async def run(self) -> None:
        """Do what is left of it."""
        if self.state.is_over:
            return
        apis = {path: api() for path, api in APIS.items()}
        items = await self._planned(apis)
        await self._held(items)
        going = [item for item in items if not item.refused and item.n not in self.state.refused]
        parts = await asyncio.to_thread(self._parts, going, apis)
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part.run())
        await self.do("ended", lambda ledger: ledger.revoke_key(self.job.key))
        await self.do("ended", lambda ledger: ledger.end_batch(self.job.owner, reason="the batch is over"))
        await self.note("over")
        self.around.reached("over")

    async def note(self, event: str, **said: object) -> None:
        """Write one event down, and know it."""
        await asyncio.to_thread(self.folder.note, event, **said)
        self.state.take({"event": event, **said})

    async def do(self, what: str, call: Callable[[Ledger], T]) -> T:
        """A call of the ledger, again and again where it cannot be written now."""
        parts = self.around.parts()
        while True:
            try:
                return await parts.purse.do(call, parts.ledger)
            except CrewcapError as error:
                self.said = f"the books cannot be written: {error.message}"
                log.error("batch %s is not %s yet: %s", self.job.name, what, error.message)  # noqa: TRY400  (nothing of ours broke)
                await asyncio.sleep(AGAIN_S)

    async def settle(self, ends: Sequence[Booked]) -> None:
        """Book ends, and wait until they are booked; what the ledger cannot take is handed in again by the purse."""
        purse = self.around.parts().purse
        settling = [purse.settle(end.closed) for end in ends]
        await purse.do(_nothing)  # settlements that nobody asks after are told of with the next call
        for end, is_new in zip(ends, await asyncio.gather(*settling), strict=True):
            if is_new:
                self.around.booked(end)

    # --- before anything is sent

    async def _planned(self, apis: Mapping[str, BatchApi]) -> tuple[Planned, ...]:
        """What each item holds; written down once, so that a later price list changes nothing of it."""
        if (known := await asyncio.to_thread(self.folder.planned)) is not None:
            return known
        key = await self._key()
        prompts = await asyncio.to_thread(self.folder.prompts)
        items = await asyncio.to_thread(self._plan, prompts, key, apis)
        await asyncio.to_thread(self.folder.plan, items)
        self.around.reached("planned")
        return items

    async def _key(self) -> VirtualKey:
        keys = await self.around.parts().purse.do(self.around.parts().ledger.keys)
        found = next((key for key in keys if key.id == self.job.key), None)
        if found is None:
            raise UsageError(f"the key of batch {self.job.name} is not in the books")
        return found

    def _plan(self, prompts: Sequence[Prompt], key: VirtualKey, apis: Mapping[str, BatchApi]) -> tuple[Planned, ...]:
        parts = self.around.parts()
        pricing = Pricing(book=parts.book, policy=parts.policy, endpoints=self.around.endpoints())
        at = parts.clock()
        items = [pricing.plan(self.job, prompt, key, apis, at=at) for prompt in prompts]
        return tuple(_in_parts(self.job, items, prompts, apis))

    async def _held(self, items: Sequence[Planned]) -> None:
        """Hold every item that fits, and write down which do not."""
        if self.state.is_held:
            return
        await self.do("begun", lambda ledger: ledger.start_batch(self.job.owner))
        self.around.reached("owned")
        refused = {item.n: item.refused for item in items if item.refused}
        wanted = [item for item in items if not item.refused]
        for begin in range(0, len(wanted), HELD_AT_ONCE):
            refused |= await self._hold(wanted[begin : begin + HELD_AT_ONCE])
            self.around.reached("holding")
        await self.note("held", refused={str(number): why for number, why in refused.items()})
        self.around.reached("held")

    async def _hold(self, items: Sequence[Planned]) -> dict[int, str]:
        """One transaction of holds; why each that was not granted was not."""
        orders = [order_of(self.job, item) for item in items]
        purse, share = self.around.parts().purse, self.around.parts().policy.batch_share
        while True:
            decisions = await self.do("held", lambda ledger: ledger.reserve_batch(orders, share=share))
            doubt = next((each.message for each in decisions if isinstance(each, Denied) and each.code == "clock"), "")
            if not doubt:
                break
            self.said = doubt
            await asyncio.sleep(AGAIN_S)
        refused = {
            item.n: _why_not(decision, share)
            for item, decision in zip(items, decisions, strict=True)
            if not isinstance(decision, Granted)
        }
        for item in items:
            if item.n in refused:
                needed = Money(item.nano)
                purse.note_refusal(self.job.key, model=item.model, needed=needed, message=refused[item.n])
        return refused

    def _parts(self, items: Iterable[Planned], apis: Mapping[str, BatchApi]) -> list[Part]:
        """What is sent together."""
        return [
            self._part(number, tuple(together), apis)
            for number, together in groupby(sorted(items, key=lambda item: (item.part, item.n)), lambda item: item.part)
        ]

    def _part(self, number: int, items: tuple[Planned, ...], apis: Mapping[str, BatchApi]) -> Part:
        first = items[0]
        endpoint = self.around.endpoints().get(first.endpoint)
        if endpoint is None or endpoint.provider.name != first.provider:
            raise UsageError(
                f"batch {self.job.name} was begun at provider {first.provider}, which is not in the settings now",
                help=f"put it back, then: crewcap batch resume {self.job.name}",
            )
        return Part(
            work=self,
            number=number,
            items=items,
            endpoint=endpoint,
            api=apis[first.endpoint],
            calls=Calls(self.around.parts().upstream, endpoint.provider),
            state=self.state.part(number),
        )

    def requests(self, part: Part) -> list[Item]:
        """The requests of a part, made again from the prompts."""
        prompts = {prompt.n: prompt for prompt in self.folder.prompts()}
        mark = self.job.mark(part.number)
        return [Item(name_of(mark, item.n), body_of(part.api, self.job, prompts[item.n])) for item in part.items]


def _nothing() -> None:
    """A call that is answered when all before it are done."""


def _in_parts(
    job: Job, items: Iterable[Planned], prompts: Sequence[Prompt], apis: Mapping[str, BatchApi]
) -> Iterable[Planned]:
    """Items with the number of the part that each is sent in: by provider (and model), as many as it takes at once."""
    sizes = {prompt.n: len(prompt.text) for prompt in prompts}
    places: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    last = 0
    for item in items:
        if item.refused:
            yield item
            continue
        api = apis[item.endpoint]
        group = (item.provider, item.endpoint, item.model if api.one_model else "")
        size = 6 * (sizes[item.n] + len(job.context)) + 1_000  # at most, however it is escaped
        number, count, total = places.get(group, (0, 0, 0))
        if not number or count >= api.most_items or total + size > api.most_bytes:
            last += 1
            number, count, total = last, 0, 0
        places[group] = number, count + 1, total + size
        yield replace(item, part=number)


def _why_not(decision: Decision, share: int) -> str:
    match decision:
        case Refused() as refused if refused.binding.source == "batches":
            part = refused.binding
            return (
                f"batches may hold {share} % of {part.scope} ({part.window}), {part.limit.show()}; "
                f"{part.held.show()} is held and this needs {refused.needed.show()}"
            )
        case Refused() as refused:
            return budget_message(refused)
        case Busy() as busy:
            return f"{busy.scope} has no room for its {busy.kind} now"
        case Denied() as denied:
            return denied.message
        case Granted():
            return ""
