"""All batch jobs of one gateway: open ones go on when it starts, new ones are begun, any can be cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from crewcap.errors import CrewcapError, UsageError
from crewcap.gateway.batch.folder import Folder, folders
from crewcap.gateway.batch.pricing import Booked, by_path
from crewcap.gateway.batch.work import Around, Work
from crewcap.gateway.front.endpoints import Endpoints
from crewcap.gateway.parts import Parts
from crewcap.gateway.provider.freeze import Trouble
from crewcap.gateway.provider.judging import frozen_message
from crewcap.gateway.provider.upstream import Provider
from crewcap.home import Home

log = logging.getLogger(__name__)

GRACE_S = 10  # for a POST that is being made while the gateway ends


def no_step(step: str) -> None:
    """Nobody wants to know."""
    del step


class Batches:
    """The jobs that this gateway works on."""

    def __init__(
        self,
        home: Home,
        *,
        parts: Callable[[], Parts],
        endpoints: Callable[[], Endpoints],
        freeze: Callable[[Provider, Trouble], None],
        booked: Callable[[Booked], None],
        reached: Callable[[str], None] = no_step,
    ) -> None:
        self._home = home
        self._parts = parts
        self._endpoints = endpoints
        self._freeze = freeze
        self._booked = booked
        self.reached = reached
        self._works: dict[str, Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._said: dict[str, str] = {}  # why a job does not go on
        self._is_ending = False

    def go_on(self) -> None:
        """Go on with every job of the home that is not over and that no other gateway works on."""
        for folder in folders(self._home.batches):
            try:
                if not folder.state().is_over:
                    self._begin(folder)
            except (CrewcapError, ValueError, KeyError, TypeError, OSError):
                log.exception("the batch in %s cannot be gone on with", folder.path)

    def start(self, name: str) -> Mapping[str, Any]:
        """Begin a job whose folder is there, or go on with it."""
        folder = self._folder(name)
        task = self._tasks.get(name)
        if (task is None or task.done()) and not folder.state().is_over:
            self._begin(folder)
        return self.status(name)

    async def cancel(self, name: str) -> Mapping[str, Any]:
        """Stop a job: what was not sent is not sent, what was is cancelled at the provider; what is done is kept."""
        folder = self._folder(name)
        if not folder.state().is_over:
            self.start(name)
            work = self._works.get(name)
            if work is None:
                raise UsageError(f"another gateway works on batch {name}", help="cancel it there")
            if not work.state.is_cancelled:
                await work.note("cancel")
            work.cancelled.set()
        return self.status(name)

    async def abandon(self, name: str) -> Mapping[str, Any]:
        """Wait for nothing more: what the job still holds becomes uncertain, for somebody's word."""
        folder = self._folder(name)
        await self._end(name)
        if not folder.state().is_over:
            if not folder.take():
                raise UsageError(f"another gateway works on batch {name}", help="abandon it there")
            try:
                parts, owner = self._parts(), folder.job().owner
                await parts.purse.do(parts.ledger.end_batch, owner, reason="the batch was abandoned")
                await asyncio.to_thread(folder.note, "over")
            finally:
                folder.give_back()
        return self.status(name)

    def status(self, name: str) -> Mapping[str, Any]:
        """What a job does at this moment; money and results stand in the books and in its folder."""
        work, task = self._works.get(name), self._tasks.get(name)
        is_going = work is not None and task is not None and not task.done()
        return {
            "name": name,
            "is_going": is_going,
            "said": work.said if is_going and work is not None else self._said.get(name, ""),
            "progress": {str(part): list(counts) for part, counts in (work.progress if work else {}).items()},
        }

    @property
    def going(self) -> tuple[str, ...]:
        """Names of the jobs that are worked on."""
        return tuple(name for name, task in self._tasks.items() if not task.done())

    async def stop(self) -> None:
        """End; whatever is under way goes on when the next gateway starts."""
        self._is_ending = True
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                for work in self._works.values():
                    await work.quiet.wait()
        for name in tuple(self._tasks):
            await self._end(name)

    def _begin(self, folder: Folder) -> None:
        name = folder.path.name
        if self._is_ending or not folder.take():
            self._said[name] = "another gateway works on it"
            return
        try:
            work = Work(folder=folder, around=self._around())
        except BaseException:
            folder.give_back()
            raise
        self._works[name] = work
        self._tasks[name] = asyncio.create_task(self._run(work), name=f"batch {name}")

    async def _run(self, work: Work) -> None:
        name = work.job.name
        self._said.pop(name, None)
        try:
            await work.run()
        except CrewcapError as error:
            self._stopped(name, error)
        except ExceptionGroup as group:
            self._stopped(name, group.exceptions[0])
        except Exception as error:  # noqa: BLE001  (it is logged, and the job can be gone on with)
            self._stopped(name, error)
        finally:
            work.folder.give_back()

    def _stopped(self, name: str, error: Exception) -> None:
        """Why a job does not go on; everything that it holds stays held."""
        if isinstance(error, CrewcapError):
            self._said[name] = error.message
            log.error("batch %s does not go on: %s", name, error.message)
        else:
            self._said[name] = f"it met a defect of ours ({type(error).__name__}); logs/gateway.log says more"
            log.error("batch %s does not go on", name, exc_info=error)

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._works.pop(name, None)

    def _folder(self, name: str) -> Folder:
        if not name or name.startswith(".") or "/" in name:
            raise UsageError(f"there is no batch {name[:80]!r}", help="crewcap batch list")
        folder = Folder(self._home.batches / name)
        folder.job()
        return folder

    def _around(self) -> Around:
        return Around(
            parts=self._parts,
            endpoints=lambda: by_path(self._endpoints().every),
            blocked=self._blocked,
            freeze=self._freeze,
            booked=self._booked,
            known_batches=self._known,
            reached=self.reached,
        )

    def _blocked(self, provider: Provider, model: str) -> str:
        parts = self._parts()
        trouble = parts.freezer.blocks(provider.name, model, is_capped=True, now=parts.clock())
        return frozen_message(provider, trouble) if trouble is not None else ""

    def _known(self) -> frozenset[str]:
        """Providers' names of batches that belong to some job of this home."""
        states = [folder.state() for folder in folders(self._home.batches)]
        return frozenset(part.batch for state in states for part in state.parts.values() if part.batch)
