"""The gateway as a whole: how it starts, what goes on beside the requests, how it drains and ends.

Start: keys are read from their sources, a boot is taken in the ledger (what dead gateways held becomes uncertain),
doors and the control socket are opened, and HOME/gateway.json says where. Every minute the ledger's marker is
written and what is frozen is probed.

End (SIGTERM, or the starter of a child is gone): whatever is new is told to come again (503), everybody in the line is
answered, what is under way is read to its end or for `drain_s`, everything is settled, the boot ends. What is still
open then becomes uncertain, which is the safe side. A kill in place of all this is found at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from crewcap.core.budget import BootId, KeyId
from crewcap.core.keys import VirtualKey
from crewcap.core.routing import FanOut
from crewcap.errors import CrewcapError, LedgerError, SettingsError, UnsafeEnvironment
from crewcap.gateway.batch.desk import Batches, no_step
from crewcap.gateway.batch.pricing import Booked
from crewcap.gateway.control import Control
from crewcap.gateway.front.doors import LONGEST_SOCKET_PATH, Mode
from crewcap.gateway.front.endpoints import Endpoint, Endpoints
from crewcap.gateway.front.fanout import Seen
from crewcap.gateway.money.admission import Prices
from crewcap.gateway.money.purse import Purse
from crewcap.gateway.parts import Basis, Parts
from crewcap.gateway.policy import Policy
from crewcap.gateway.process import give_back
from crewcap.gateway.provider.breaker import as_json
from crewcap.gateway.provider.exchange import Exchange
from crewcap.gateway.provider.freeze import Freezer, Trouble
from crewcap.gateway.provider.incidents import Incidents
from crewcap.gateway.provider.upstream import Provider, Upstream, check_address
from crewcap.gateway.service import Service
from crewcap.gateway.watching.makeups import Makeups
from crewcap.gateway.watching.prices import Prices as SeenPrices
from crewcap.gateway.watching.savings import FLUSH_S, Savings
from crewcap.gateway.watching.watchers import Watcher
from crewcap.home import Home
from crewcap.stores import CacheTurns, Ledger, Reports
from crewcap.stores.price_notes import PriceNotes

if TYPE_CHECKING:
    from crewcap.gateway.reload import Reloader

log = logging.getLogger(__name__)

SETTLED_S = 60  # a socket file older than this belongs to a gateway that listens, or to none


class Gateway:
    """One running gateway; an async context manager that serves while it is open."""

    def __init__(
        self,
        *,
        home: Home,
        ledger: Ledger,
        book: Prices,
        endpoints: Sequence[Endpoint],
        policy: Policy,
        clock: Callable[[], datetime],
        listen: tuple[str, int] = ("127.0.0.1", 0),
        terms: str = "",
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._providers = _providers(endpoints)
        self.home = home
        self.freezer = Freezer()
        self.url = ""
        self.is_ending = False
        self._ledger = ledger
        self._book = book
        self._endpoints = Endpoints(endpoints)
        self._watchers = tuple(watchers)
        self._policy = policy
        self._clock = clock
        self._listen = listen
        self._savings: Savings | None = None
        self._makeups: Makeups | None = None
        self._prices: SeenPrices | None = None
        self._terms = terms  # which settings it goes by
        self._upstream = Upstream()
        self._tasks: list[asyncio.Task[None]] = []
        self._boot = BootId("")
        self._started_at = clock()
        self._socket_folder: tempfile.TemporaryDirectory[str] | None = None
        self._reloader: Reloader | None = None
        self._reached: Callable[[str], None] = no_step

    async def __aenter__(self) -> Self:
        await self._upstream.__aenter__()
        await self._read_keys()
        self._purse = Purse(self._ledger, wait_s=self._policy.wait_s, release_s=self._policy.release_s)
        self._boot = await self._purse.start()
        self.incidents = Incidents(self._ledger, self._purse, self.freezer)
        await self.incidents.follow()
        self._parts = Parts(
            ledger=self._ledger,
            purse=self._purse,
            upstream=self._upstream,
            book=self._book,
            policy=self._policy,
            boot=self._boot,
            freezer=self.freezer,
            incidents=self.incidents,
            clock=self._clock,
        )
        self.service = Service(self._parts, self._endpoints, watchers=self._watchers)
        self.batches = Batches(
            self.home,
            parts=lambda: self._parts,
            endpoints=lambda: self._endpoints,
            freeze=self.service.metered.freeze,
            booked=self._booked_in_batch,
            reached=self._reached,
        )
        self.control = Control(self)
        try:
            self.url = await self.service.doors.listen(*self._listen)
            await self.control.listen(self._control_path())
        except BaseException:
            await self._close()
            raise
        self._write_note()
        self._every(self._policy.beat_s, self._beat)
        self._every(self._policy.probe_s, self.probe)
        self._every(self._policy.look_s, self.incidents.follow)
        self.batches.go_on()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Drain and end; see the top of this file."""
        if self.is_ending:
            return
        self.is_ending = True
        self.service.end()
        self._remove_note()
        self._purse.send_home()
        await self.batches.stop()
        while self.service.exchanges:  # a request that was let in may still try once more
            await self._drained(tuple(self.service.exchanges), self._policy.drain_s)
        await self.service.doors.stop_accepting()
        await self._close()

    def watch_caches(self, store: CacheTurns) -> None:
        """Write down from now on what is seen of prompt caches."""
        self._savings = Savings(store, do=self._purse.do, bodies=self.service.metered.prefixes.bodies)
        self.service.watchers.append(self._savings)
        self._every(FLUSH_S, self._flush)

    def watch_prompts(self, store: Reports) -> None:
        """Write down from now on what prompts are made of."""
        self._makeups = Makeups(store, do=self._purse.do)
        self.service.watchers.append(self._makeups)
        self._every(FLUSH_S, self._flush_makeups)
        self._every(0, self._relieve)

    def watch_prices(self, store: PriceNotes) -> None:
        """Keep from now on the cards that something is settled at, and count what has no price."""
        self._prices = SeenPrices(store, book=lambda: self._book, clock=self._clock, do=self._purse.do)
        self.service.watchers.append(self._prices)
        self._every(FLUSH_S, self._flush_prices)

    def watch_batches(self, reached: Callable[[str], None]) -> None:
        """Be told of every step that a batch reaches; said before the gateway starts."""
        self._reached = reached

    def _booked_in_batch(self, end: Booked) -> None:
        """Those who watch requests are told of a batch's items as well, as far as it concerns them."""
        self.service.metrics.booked(end.item.provider, end.item.model, end.closed)
        if self._prices is not None and end.sent is not None:
            self._prices.booked(end.sent, end.closed, end.reading.modifiers)

    def hurry(self, drain_s: float) -> None:
        """Requests under way get no longer than this from now."""
        for exchange in tuple(self.service.exchanges):
            exchange.hurry(drain_s)

    async def open_run(
        self, run: str, *, key: KeyId, path: Path, mode: Mode, uid: int | None, fan_out: FanOut | None = None
    ) -> None:
        """Open a run's door; one that a dead driver of the run left open is closed, and its requests are read on."""
        await self.service.doors.close(run)
        self.service.metered.fan_outs.begin(run, fan_out or FanOut())
        self.service.metered.slices.begin(run)
        await self.service.doors.open(run, key=key, path=path, mode=mode, uid=uid)

    def fan_out(self, run: str) -> Seen:
        """What the agents of a run with an open door did so far."""
        return self.service.metered.fan_outs.seen(run)

    async def slice_opened(self, run: str, *, wait: bool) -> bool:
        """Whether the final slice of a run's cap is opened; waits for it until the run's door is closed."""
        slices = self.service.metered.slices
        return await slices.opened(run) if wait else slices.is_open(run)

    async def close_run(self, run: str) -> int:
        """Close a run's door and wait for its requests under way; how many holds are still open."""
        await self.service.doors.close(run)
        await self._drained(self._of(lambda key: key.run == run), self._policy.drain_s)
        await self.service.doors.hang_up(run)
        self.service.metered.fan_outs.end(run)
        self.service.metered.slices.end(run)
        await self._flush()
        return len(await self._purse.do(self._ledger.open_holds, run=run))

    async def revoke(self, key_id: KeyId) -> tuple[bool, int]:
        """End a key and wait for its requests under way: whether it was alive, how many holds are still open."""
        revoked = await self._purse.do(self._ledger.revoke_key, key_id)
        self.service.callers.forget(key_id)
        await self._drained(self._of(lambda key: key.id == key_id), self._policy.drain_s)
        holds = await self._purse.do(self._ledger.open_holds)
        return revoked, sum(hold.key == key_id for hold in holds)

    async def thaw(self, provider: str) -> bool:
        """Somebody has looked: a provider may be used again, whatever it was frozen for; whether it was."""
        self.incidents.thawed(provider)
        written = await self._purse.do(self._ledger.thaw, provider, word="said to the gateway")
        return self.freezer.thaw(provider) or written

    async def probe(self) -> None:
        """Ask the providers of frozen keys, for free, whether the trouble is over."""
        for provider in self._providers:
            for trouble in self.freezer.to_probe().get(provider.name, ()):
                if await self._upstream.is_well(provider, model=trouble.model):
                    self.freezer.thaw(provider.name, trouble)
                    log.warning("provider %s takes requests again", provider.name)

    async def renew(self, basis: Basis, *, sync: Callable[[], None]) -> None:
        """Go by something else from the next request on; `sync` brings its budgets into the ledger.

        Whatever can go wrong goes wrong before anything is exchanged.
        """
        providers = _providers(basis.endpoints)
        for provider in providers:
            await self._read_key_again(provider)
        await self._purse.do(sync)
        policy = basis.policy  # from here on nothing is waited for: no request sees the half of it
        self._providers, self._endpoints = providers, Endpoints(basis.endpoints)
        self._book, self._policy, self._terms = basis.book, policy, basis.terms
        self._parts = replace(self._parts, book=basis.book, policy=policy)
        self._purse.go_by(wait_s=policy.wait_s, release_s=policy.release_s)
        self.service.renew(self._parts, self._endpoints)

    def watch(self, reloader: Reloader) -> None:
        """Look from time to time whether the settings have changed."""
        self._reloader = reloader
        self._every(self._policy.look_again_s, reloader.look)

    async def read_again(self) -> None:
        """Read the settings again now; `CrewcapError` says why nothing was changed."""
        if self._reloader is None:
            raise SettingsError("this gateway was started without a settings file to read again")
        await self._reloader.read_again()

    def status(self) -> dict[str, Any]:
        """What there is to know of a running gateway."""
        frozen = [
            {"provider": name, "kind": each.kind, "reason": each.reason, "until": each.until, "model": each.model}
            for name, troubles in self.freezer.all().items()
            for each in troubles
        ]
        return {
            "url": self.url,
            "control": str(self._control),
            "pid": os.getpid(),
            "boot": self._boot,
            "terms": self._terms,
            "book": self._book.hash,
            "started_at": self._started_at.isoformat(),
            "runs": list(self.service.doors.runs()),
            "requests": len(self.service.exchanges),
            "attached": self.control.attached,
            "frozen": frozen,
            "breakers": [as_json(each) for each in self.service.metered.breakers.standing()],
            "batches": list(self.batches.going),
            "settings": self._reloader.status() if self._reloader is not None else {},
        }

    # --- parts of the start

    async def _read_keys(self) -> None:
        """Every provider's key; one that cannot be read freezes its provider, none at all ends the start."""
        errors: list[CrewcapError] = []
        for provider in self._providers:
            try:
                await self._upstream.read_key(provider)
            except CrewcapError as error:
                errors.append(error)
                self.freezer.freeze(provider.name, Trouble(kind="key", reason=error.message))
        if len(errors) == len(self._providers):
            await self._upstream.__aexit__(None, None, None)
            raise UnsafeEnvironment(errors[0].message, help=errors[0].help)

    async def _read_key_again(self, provider: Provider) -> None:
        """A key that cannot be read now leaves the one that was; another key has its own troubles."""
        try:
            if await self._upstream.read_key(provider):
                for trouble in self.freezer.all().get(provider.name, ()):
                    if trouble.kind != "incident":
                        self.freezer.thaw(provider.name, trouble)
        except CrewcapError as error:
            log.error("the key of provider %s is not read again: %s", provider.name, error.message)  # noqa: TRY400  (nothing of ours broke)
            if not self._upstream.key_headers(provider):
                self.freezer.freeze(provider.name, Trouble(kind="key", reason=error.message))

    def _control_path(self) -> Path:
        """A socket of this boot's in the home; in a private folder elsewhere where that is too long for the kernel."""
        name = f"control-{self._boot.removeprefix('boot-')[:8]}.sock"
        path = self.home.root / name
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            self._socket_folder = tempfile.TemporaryDirectory(prefix="crewcap-")
            path = Path(self._socket_folder.name) / name
        else:
            _sweep(self.home.root)
        self._control = path
        return path

    async def _flush(self) -> None:
        """Write what was seen of prompt caches; it is advice, so nothing waits for it that cannot be written."""
        try:
            if self._savings is not None:
                await self._savings.flush()
        except LedgerError as error:
            log.warning("what was seen of prompt caches is not written yet: %s", error.message)

    async def _flush_makeups(self) -> None:
        """The same of what prompts are made of."""
        try:
            if self._makeups is not None:
                await self._makeups.flush()
        except LedgerError as error:
            log.warning("what prompts are made of is not written yet: %s", error.message)

    async def _relieve(self) -> None:
        """Bodies of requests are let go before they are many, and their memory with them."""
        if self._makeups is not None:
            await self._makeups.relieve()
            await asyncio.to_thread(give_back)

    async def _flush_prices(self) -> None:
        """The same of prices."""
        try:
            if self._prices is not None:
                await self._prices.flush()
        except LedgerError as error:
            log.warning("what was seen of prices is not written yet: %s", error.message)

    async def _beat(self) -> None:
        """Keep the ledger's marker fresh, and be found where no other gateway of this home is."""
        try:
            await self._purse.beat()
        finally:
            if not self.is_ending and not _is_there(self.home.gateway_note):
                self._write_note()

    def _write_note(self) -> None:
        """HOME/gateway.json, in one step, for this user alone."""
        note = {key: value for key, value in self.status().items() if key in {"url", "control", "pid", "boot"}}
        note["token"] = self.control.token
        fresh = self.home.gateway_note.with_name(f"gateway.json.{secrets.token_hex(4)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(note, file)
        fresh.replace(self.home.gateway_note)

    def _remove_note(self) -> None:
        """Only our own: another gateway may have written one since."""
        try:
            if json.loads(self.home.gateway_note.read_text())["boot"] == self._boot:
                self.home.gateway_note.unlink()
        except (OSError, ValueError, KeyError):
            return

    def _every(self, seconds: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something again and again; one failure is logged and does not end it."""

        async def forever() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await act()
                except Exception:
                    log.exception("something that is done every %s s failed", seconds)

        self._tasks.append(asyncio.create_task(forever()))

    # --- parts of the end

    def _of(self, is_theirs: Callable[[VirtualKey], bool]) -> tuple[Exchange, ...]:
        return tuple(exchange for exchange, key in self.service.exchanges.items() if is_theirs(key))

    async def _drained(self, exchanges: Sequence[Exchange], drain_s: float) -> None:
        """Wait until these are over; each gets `drain_s` and is then closed and kept as uncertain."""
        for exchange in exchanges:
            exchange.hurry(drain_s)
        if exchanges:
            await asyncio.wait([asyncio.ensure_future(exchange.over.wait()) for exchange in exchanges])

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.service.doors.cleanup()
        await self.control.stop()
        await self._upstream.__aexit__(None, None, None)
        await self._flush()
        await self._flush_makeups()
        await self._flush_prices()
        await self._purse.stop(self._boot)
        if self._socket_folder is not None:
            self._socket_folder.cleanup()


def _providers(endpoints: Sequence[Endpoint]) -> tuple[Provider, ...]:
    """Every provider once, each at an address that is fit for a key."""
    found = {endpoint.provider.name: endpoint.provider for endpoint in endpoints}
    if not found:
        raise SettingsError("no provider is configured", help="add [providers.anthropic] to the settings")
    for provider in found.values():
        check_address(provider)
    return tuple(found.values())


def _is_there(note: Path) -> bool:
    """Whether the gateway that a note tells of still has a process."""
    try:
        os.kill(int(json.loads(note.read_text())["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return isinstance(error, PermissionError)
    return True


def _sweep(folder: Path) -> None:
    """Take away control sockets that gateways left behind when they were killed; a young one may not listen yet."""
    for path in folder.glob("control-*.sock"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if time.time() - path.stat().st_mtime < SETTLED_S:
                continue
            try:
                probe.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink()
