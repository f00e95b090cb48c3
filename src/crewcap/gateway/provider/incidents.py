"""Incidents live in the books; what a gateway's memory has of them follows.

An answer that broke what holds rest on freezes its provider for capped keys until a person has looked (MONEY 2.7). A
gateway may end a second later, and a run may start another one, so an incident is written down at once, and read again
at every start and every few seconds: another gateway's incident freezes here, and `crewcap ledger thaw` thaws here,
without a word between processes. What the ledger could not take (a full disk) stays frozen in memory and is written
as soon as it can be.
"""

from __future__ import annotations

import logging
from asyncio import Future

from crewcap.errors import LedgerError
from crewcap.gateway.money.purse import Purse
from crewcap.gateway.provider.freeze import Freezer, Trouble
from crewcap.stores import Incident, Ledger

log = logging.getLogger(__name__)


class Incidents:
    """Those of one gateway."""

    def __init__(self, ledger: Ledger, purse: Purse, freezer: Freezer) -> None:
        self._ledger = ledger
        self._purse = purse
        self._freezer = freezer
        self._unwritten: dict[str, str] = {}  # provider -> why
        self._seen = 0  # rises with each incident, so that a list read before it does not thaw it

    def saw(self, provider: str, trouble: Trouble) -> None:
        """Freeze it here and write it down; nobody waits for the disk."""
        self._freezer.freeze(provider, trouble)
        self._seen += 1
        self._unwritten[provider] = trouble.reason
        self._write(provider)

    async def follow(self) -> None:
        """Bring this gateway's memory to what the books say."""
        for provider in tuple(self._unwritten):
            self._write(provider)
        seen = self._seen
        try:
            told = {each.provider: each for each in await self._purse.do(self._ledger.frozen)}
        except LedgerError:  # locked, or a full disk: what is frozen stays so
            return
        if seen != self._seen:  # something happened meanwhile: this list is old
            return
        ours = {
            provider: trouble
            for provider, troubles in self._freezer.all().items()
            for trouble in troubles
            if trouble.kind == "incident"
        }
        for provider, incident in told.items():
            if provider not in ours:
                log.error("provider %s is frozen for capped keys: %s", provider, incident.reason)
                self._freezer.freeze(provider, trouble_of(incident))
        for provider in ours.keys() - told.keys() - self._unwritten.keys():
            self._freezer.thaw(provider, ours[provider])
            log.warning("somebody has looked at the incident of provider %s: it takes requests again", provider)

    def thawed(self, provider: str) -> None:
        """Somebody has looked, and said so to this gateway."""
        self._unwritten.pop(provider, None)

    def _write(self, provider: str) -> None:
        written = self._purse.do(self._ledger.freeze, provider, reason=self._unwritten[provider])
        written.add_done_callback(lambda done: self._written(provider, done))

    def _written(self, provider: str, done: Future[bool]) -> None:
        if done.cancelled() or done.exception() is not None:
            log.error("the incident of provider %s could not be written down yet", provider)
        else:
            self._unwritten.pop(provider, None)


def trouble_of(incident: Incident) -> Trouble:
    """As the gateway's memory has it."""
    return Trouble(kind="incident", reason=incident.reason)
