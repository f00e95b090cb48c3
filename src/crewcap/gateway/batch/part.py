"""One part of a job: a batch at one provider, from the POST that makes it to its last result.

The POST is the one step that must not be done twice and may not be known to be done. It is written down before it is
made (`posting`); whoever finds that word without the provider's name for the batch looks through the provider's list
first. Where the list shows our mark, that is the batch. Where it does not, a batch of the right size and time *may* be
ours: it is watched until it has ended, and the names in its results say whose it was. Only when none is left, it is
sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from crewcap.gateway.batch.calls import Calls, Gone, Said, Unsure
from crewcap.gateway.batch.folder import Answered, PartState, Planned
from crewcap.gateway.batch.pricing import Booked, booked, ended_without
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.provider.freeze import Trouble, diagnose
from crewcap.gateway.provider.upstream import Unsent
from crewcap.stores import Settlement
from crewcap.wire import Malformed
from crewcap.wire.batches import BatchApi, Progress, Result, number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crewcap.gateway.batch.work import Work

log = logging.getLogger(__name__)

FIRST_S, MOST_S = 0.25, 60.0  # between tries, doubling
CLOCKS_DIFFER = timedelta(minutes=10)  # ours and the provider's, at most
MOST_LOOK_S = 10.0  # between looks through the list for what may have been sent
READS = 3  # of results that are fewer than the provider says there are
GONE_AFTER = 3  # times that the provider does not know the batch
BOOKED_AT_ONCE = 50  # so that nobody who asks the ledger meanwhile waits for long
TWICE = "the provider gave {count} different results for it"
REFUSES = range(400, 500)  # a whole answer of these made no batch
MAY_HAVE = frozenset({408, 409})  # but for these, which say nothing about it
BUSY = 429


@dataclass(frozen=True, slots=True)
class _Line:
    """Where a result stands aside, and what tells it from another one."""

    place: int
    size: int
    digest: bytes


@dataclass(slots=True, kw_only=True)
class Part:
    """A batch at one provider."""

    work: Work
    number: int
    items: tuple[Planned, ...]
    endpoint: Endpoint
    api: BatchApi
    calls: Calls
    state: PartState
    _wait_s: float = FIRST_S
    _uncancelled: bool = field(default=True)

    @property
    def mark(self) -> str:
        """How the names of its items begin."""
        return self.work.job.mark(self.number)

    async def run(self) -> None:
        """Do what is left of it."""
        self.work.progress[self.number] = (0, len(self.items))
        if self.state.is_settled:
            self.work.progress[self.number] = (len(self.items), len(self.items))
            return
        while not (self.state.batch or self.state.refused):
            await self._try_to_send()
        if self.state.refused:
            await self._close_all(Result(name="", state="errored", billing="unbilled", error=self.state.refused))
        else:
            await self._collect(await self._watched())
        await self._note("settled")
        self.work.around.reached("settled")

    # --- sending

    async def _try_to_send(self) -> None:
        """One try: look for it first, where it may have been sent before."""
        work = self.work
        if self.state.posting and not await self._found():
            return
        if self.state.batch:
            return
        if work.cancelled.is_set():
            await self._note("refused", why="cancelled before it was sent")
            return
        if why := work.around.blocked(self.endpoint.provider, self.items[0].model):
            await self._pause(why)
            return
        requests = await asyncio.to_thread(work.requests, self)
        with self._sending():
            if not self.state.uploaded and not await self._upload(requests):
                return
            await self._post(requests)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """A gateway that is ending waits a moment for this."""
        self.work.quiet.clear()
        try:
            yield
        finally:
            self.work.quiet.set()

    async def _upload(self, requests: list[Any]) -> bool:
        """What the batch is made of, where that is sent before; whether it is there."""
        sending = self.api.upload(self.mark, requests)
        if sending is None:
            return True
        try:
            said = await self.calls.send(sending)
            if said.is_good:
                await self._note("uploaded", file=self.api.uploaded(said.body))
                self.work.around.reached("uploaded")
                return True
        except (Unsent, Unsure, Malformed) as error:
            await self._pause(f"the provider could not be reached: {error}")
            return False
        await self._refused(said)
        return False

    async def _post(self, requests: list[Any]) -> None:
        sending = self.api.create(self.mark, requests, self.state.uploaded)
        await self._note("posting", at=self._now().isoformat())
        self.work.around.reached("posting")
        try:
            said = await self.calls.send(sending)
        except Unsent as error:
            await self._note("unsent")
            await self._pause(f"the provider could not be reached: {error}")
            return
        except Unsure as error:
            await self._pause(str(error))  # it stays `posting`: the next try looks for it
            return
        self.work.around.reached("sent")
        if said.is_good:
            await self._posted(said)
        elif said.status in REFUSES and said.status not in MAY_HAVE:
            await self._note("unsent")
            await self._refused(said)
        else:
            await self._pause(f"the provider answered {said.status}")

    async def _posted(self, said: Said) -> None:
        try:
            await self._note("posted", batch=self.api.progress(said.body).id)
        except Malformed as error:
            await self._pause(str(error))
            return
        self._wait_s, self.work.said = FIRST_S, ""
        self.work.around.reached("posted")

    async def _refused(self, said: Said) -> None:
        """A plain no: of the key, which waits; of the moment, which passes; or of the batch, which is over."""
        provider, model = self.endpoint.provider, self.items[0].model
        if trouble := diagnose(said.status, said.body, model=model):
            self.work.around.freeze(provider, trouble)
            await self._pause(f"provider {provider.name}: {trouble.reason}")
        elif said.status == BUSY or said.status in MAY_HAVE or said.status not in REFUSES:
            await self._pause(f"the provider answered {said.status}", at_least_s=said.retry_after_s)
        else:
            await self._note("refused", why=f"the provider took none of it ({said.status}): {_words(said.body)}")

    # --- looking for what may have been sent

    async def _found(self) -> bool:
        """Whether it is known now if the batch was made."""
        began = datetime.fromisoformat(self.state.posting) - CLOCKS_DIFFER
        try:
            while True:
                for candidate in await self._listed_since(began):
                    if candidate.mark == self.mark or await self._is_ours(candidate):
                        await self._note("posted", batch=candidate.id)
                        self._wait_s, self.work.said = FIRST_S, ""
                        self.work.around.reached("found")
                        return True
                if not await self._may_appear():
                    break
        except (Unsent, Unsure, Malformed) as error:
            await self._pause(f"looking for a batch that may have been sent: {error}")
            return False
        await self._note("unsent")
        self.work.around.reached("not found")
        return True

    async def _may_appear(self) -> bool:
        """Whether the provider may still be making it: then a moment later."""
        policy = self.work.around.parts().policy
        left_s = policy.batch_appears_s - (self._now() - datetime.fromisoformat(self.state.posting)).total_seconds()
        if left_s <= 0:
            return False
        self.work.said = "looking whether the provider has it; nothing is sent again before that is known"
        await asyncio.sleep(min(left_s, MOST_LOOK_S))
        return True

    async def _listed_since(self, began: datetime) -> list[Progress]:
        """Batches that may be ours: not another job's, not too old, of our size where the list does not show marks."""
        known, found, after = await asyncio.to_thread(self.work.around.known_batches), list[Progress](), ""
        while True:
            said = await self.calls.get(self.api.list_path(after))
            if not said.is_good:
                raise Unsure(f"the provider answered {said.status} to the question for its batches")
            page, after = self.api.listed(said.body)
            found += [each for each in page if each.id not in known and self._may_be_ours(each)]
            oldest = min((each.created_at for each in page if each.created_at), default=None)
            if not after or (oldest is not None and oldest < began):
                return [each for each in found if each.created_at is None or each.created_at >= began]

    def _may_be_ours(self, listed: Progress) -> bool:
        return listed.mark == self.mark if self.api.keeps_mark else listed.total in {0, len(self.items)}

    async def _is_ours(self, candidate: Progress) -> bool:
        """Watch it until it has ended; the first name in its results says whose it was."""
        if self.api.keeps_mark:
            return False
        self.work.said = f"looking whether {candidate.id} is ours; that is known when it has ended"
        progress = await self._polled(candidate.id)
        for path in progress.results if progress else ():
            try:
                async for line in self.calls.lines(path):
                    result = self.api.result(line)
                    if result is not None:
                        return number_of(self.mark, result.name) is not None
            except Gone:
                continue
        return False

    # --- waiting for it

    async def _watched(self) -> Progress | None:
        """The end of it, as the provider tells it; None where the provider does not know it any more."""
        if self.state.ended is not None:
            return _progress(self.state.ended["progress"])
        progress = await self._polled(self.state.batch)
        if progress is not None:
            said = asdict(progress) | {
                "created_at": None,
                "ended_at": progress.ended_at.isoformat() if progress.ended_at else None,
            }
            await self._note("ended", progress=said)
            self.work.around.reached("ended")
        return progress

    async def _polled(self, batch: str) -> Progress | None:
        wait_s, gone = FIRST_S, 0
        while gone < GONE_AFTER:
            if batch == self.state.batch:
                await self._cancel_if_wanted()
            try:
                said = await self.calls.get(self.api.poll_path(batch))
                gone = gone + 1 if said.status in {404, 410} else 0
                progress = self.api.progress(said.body) if said.is_good else None
            except (Unsent, Unsure, Malformed) as error:
                self.work.said, progress = f"the provider could not be asked: {error}", None
            if progress is not None:
                await self._tell(progress)
                self.work.said = "" if batch == self.state.batch else self.work.said
                if progress.state != "working":
                    return progress
            wait_s = await self._until_next(wait_s)
        return None

    async def _tell(self, progress: Progress) -> None:
        """Show people what is done, where that is more than before."""
        now = (progress.done, progress.total or len(self.items))
        if self.work.progress.get(self.number) != now:
            self.work.progress[self.number] = now
            await asyncio.to_thread(self.work.folder.tell, dict(self.work.progress))

    async def _until_next(self, wait_s: float) -> float:
        """A moment, shorter where somebody cancels meanwhile; the next one is longer."""
        try:
            if self.work.cancelled.is_set() or not self._uncancelled:
                await asyncio.sleep(wait_s)
            else:
                await asyncio.wait_for(self.work.cancelled.wait(), wait_s)
        except TimeoutError:
            pass
        return min(2 * wait_s, self.work.around.parts().policy.batch_poll_s)

    async def _cancel_if_wanted(self) -> None:
        if not (self.work.cancelled.is_set() and self._uncancelled):
            return
        try:
            said = await self.calls.post(self.api.cancel_path(self.state.batch))
            self._uncancelled = not (said.is_good or said.status in REFUSES)
        except (Unsent, Unsure) as error:
            self.work.said = f"it is not cancelled yet: {error}"

    # --- booking it

    async def _collect(self, progress: Progress | None) -> None:
        """Book every item by its result, and what has none by what is known."""
        if progress is None:
            await self._close_all(Result(name="", state="missing", billing="unknown", error="the provider lost it"))
            return
        if progress.state == "failed":
            why = progress.error or "the provider took none of it"
            await self._close_all(Result(name="", state="errored", billing="unbilled", error=why))
            return
        for read in range(READS):
            try:
                seen = await self._read_results(progress)
            except Gone:
                break
            if seen >= min(progress.done, len(self.items)):
                break
            if read + 1 < READS:
                await asyncio.sleep(min(5.0, self.work.around.parts().policy.batch_poll_s))
        await self._close_all(Result(name="", state="missing", billing="unknown", error="it has no result"))

    async def _read_results(self, progress: Progress) -> int:
        """Every line of the results, booked as it comes; how many items had one. From the start where it breaks."""
        while True:
            try:
                return await self._read_once(progress)
            except (Unsent, Unsure) as error:
                await self._pause(str(error))

    async def _read_once(self, progress: Progress) -> int:
        done = await self._answered()
        with tempfile.TemporaryFile(dir=self.work.folder.path) as spool:
            found = await self._spooled(progress, spool)
            left = [number for number in found if number not in done]
            for begin in range(0, len(left), BOOKED_AT_ONCE):
                some = left[begin : begin + BOOKED_AT_ONCE]
                await self._book({number: self._read(spool, found[number]) for number in some}, progress)
        return len(found)

    async def _spooled(self, progress: Progress, spool: IO[bytes]) -> dict[int, tuple[_Line, ...]]:
        """Every result, put aside on the disk, and where each item's stand: none is booked before all were seen."""
        found: dict[int, tuple[_Line, ...]] = {}
        ours = {item.n for item in self.items}
        for path in progress.results:
            async for line in self.calls.lines(path):
                result = self.api.result(line)
                number = number_of(self.mark, result.name) if result else None
                if number is None or number not in ours:
                    continue
                known, digest = found.get(number, ()), hashlib.blake2b(line, digest_size=16).digest()
                if all(each.digest != digest for each in known):
                    found[number] = (*known, _Line(spool.tell(), len(line), digest))
                    spool.write(line)
        return found

    def _read(self, spool: IO[bytes], lines: Sequence[_Line]) -> tuple[Result, ...]:
        """The results of one item again."""
        told = []
        for each in lines:
            spool.seek(each.place)
            told.append(self.api.result(spool.read(each.size)))
        return tuple(filter(None, told))

    async def _close_all(self, result: Result) -> None:
        """Everything without an answer ends in the same way."""
        done = await self._answered()
        left = {item.n: (result,) for item in self.items if item.n not in done}
        numbers = list(left)
        for begin in range(0, len(numbers), BOOKED_AT_ONCE):
            await self._book({n: left[n] for n in numbers[begin : begin + BOOKED_AT_ONCE]}, None)

    async def _book(self, results: Mapping[int, Sequence[Result]], progress: Progress | None) -> None:
        """Into the ledger first, then to the answers: a kill in between books it once more, which changes nothing."""
        if not results:
            return
        items = {item.n: item for item in self.items}
        ended = await asyncio.to_thread(
            lambda: [self._ended(items[number], told, progress) for number, told in results.items()]
        )
        await self.work.settle([each for each, _ in ended])
        self.work.around.reached("booked")
        for each, _ in ended:
            if each.closed.incident:
                self._incident(each.closed)
        await asyncio.to_thread(self.work.folder.answered, [answer for _, answer in ended])
        self.work.around.reached("answered")

    def _ended(self, item: Planned, told: Sequence[Result], progress: Progress | None) -> tuple[Booked, Answered]:
        """By its one result; of several that say different things, by the dearest, and what it held stays charged."""
        doubt = TWICE.format(count=len(told)) if len(told) > 1 else ""
        ends = [self._ended_by(item, result, progress, doubt) for result in told]
        return max(ends, key=lambda end: (end[0].closed.spent + end[0].closed.uncertain, end[0].closed.spent))

    def _ended_by(
        self, item: Planned, result: Result, progress: Progress | None, doubt: str
    ) -> tuple[Booked, Answered]:
        if result.billing != "answered":
            return ended_without(item, result), Answered(n=item.n, state=result.state, error=result.error)
        now = self._now()
        sent_at = datetime.fromisoformat(item.at)
        at = max(sent_at, min(progress.ended_at, now)) if progress and progress.ended_at else now
        how = booked(
            item,
            result,
            endpoint=self.endpoint,
            api=self.api,
            book=self.work.around.parts().book,
            batch=self.state.batch,
            at=at,
            doubt=doubt,
        )
        text, reading = self.api.text(result.answer), how.reading
        return how, Answered(
            n=item.n, state=result.state, text=text, model=reading.model, stop_reason=reading.stop_reason
        )

    def _incident(self, closed: Settlement) -> None:
        log.error("incident at provider %s: %s", self.endpoint.provider.name, closed.incident)
        reason = f"an answer broke what holds rest on: {closed.incident}"
        self.work.around.freeze(self.endpoint.provider, Trouble(kind="incident", reason=reason))

    async def _answered(self) -> frozenset[int]:
        """Items whose results are written down already."""
        return frozenset(await asyncio.to_thread(self.work.folder.answers))

    # --- small things

    async def _note(self, event: str, **said: object) -> None:
        await self.work.note(event, part=self.number, **said)

    def _now(self) -> datetime:
        return self.work.around.parts().clock()

    async def _pause(self, why: str, *, at_least_s: float = 0) -> None:
        """Come again later; each time later than before."""
        self.work.said = why
        wait_s, self._wait_s = max(self._wait_s, at_least_s), min(2 * self._wait_s, MOST_S)
        await asyncio.sleep(wait_s)


def _progress(said: Mapping[str, Any]) -> Progress:
    ended = said.get("ended_at")
    return Progress(
        **{
            **said,
            "results": tuple(said["results"]),
            "created_at": None,
            "ended_at": datetime.fromisoformat(ended) if ended else None,
        }
    )


def _words(body: bytes) -> str:
    """The first words of an error answer."""
    from crewcap.wire import lenient  # noqa: PLC0415

    said = lenient.parsed(body)
    error = said.get("error") if isinstance(said, dict) else None
    message = lenient.word(error.get("message")) if isinstance(error, dict) else ""
    return message[:300] or "it does not say why"
