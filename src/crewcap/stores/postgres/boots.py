"""Which gateways live: an advisory lock of the database for each, held by a session that does nothing else.

A boot is dead only when its lock is free. The server frees it when it learns that the session is gone: at once where
the process died, within a minute or two (keepalives) where its machine did. A session that was lost while its gateway
lives is opened again and takes its locks again; who was buried meanwhile is told so at its next reservation.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from functools import partial

from crewcap.core.budget import BootId
from crewcap.errors import LedgerError
from crewcap.stores.postgres.errors import lock_errors
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.wire import Connection

GONE_S = 5.0  # how long the server may take to learn that a process of this machine is gone

_TAKE = "SELECT pg_try_advisory_lock(crewcap.lock_of($1))"
_GIVE = "SELECT pg_advisory_unlock(crewcap.lock_of($1))"
_WAIT = "SELECT pg_advisory_lock(crewcap.lock_of($1)), pg_advisory_unlock(crewcap.lock_of($1))"
_OURS_THAT_LIVE = "SELECT id, pid FROM crewcap.boot WHERE ended_at IS NULL AND host = $1 ORDER BY id"


class BootLocks:
    """The locks of this process's boots."""

    def __init__(self, url: str) -> None:
        self._session = Session(url, lock_s=GONE_S)
        self._boots: list[BootId] = []
        self._opened = 0

    @property
    def boots(self) -> tuple[BootId, ...]:
        """Those that were taken and not given back."""
        return tuple(self._boots)

    def take(self) -> BootId:
        """A new boot's lock; what died on this machine a moment ago is waited for, so that it is known to be dead."""
        boot = BootId(f"boot-{secrets.token_hex(8)}")
        self._session.run(_see_the_dead_off, again=True)
        if not self._session.run(partial(_take, boot), again=True):
            raise LedgerError("another gateway holds this one's lock", help="try again")
        self._boots.append(boot)
        self._opened = self._session.opened
        return boot

    def keep(self) -> None:
        """See that the session is there, and take the locks again where it had been lost."""
        if not self._boots:
            return
        self._session.run(lambda db: db.fetchval("SELECT 1"), again=True)
        if self._session.opened != self._opened:
            for boot in self._boots:
                self._session.run(partial(_take, boot), again=True)
            self._opened = self._session.opened

    def give(self, boot: BootId) -> None:
        """End a boot's life."""
        if boot in self._boots:
            self._boots.remove(boot)
            with suppress(LedgerError):  # a lost session holds no lock
                self._session.run(lambda db: db.fetchval(_GIVE, boot), again=True)

    def drop(self) -> None:
        """Let all go as a dying process would."""
        self._session.drop()

    def close(self) -> None:
        """End the session."""
        self._session.close()


def host() -> str:
    """This machine, as a boot names it."""
    return socket.gethostname()


async def _take(boot: BootId, db: Connection) -> bool:
    return bool(await db.fetchval(_TAKE, boot))


async def _see_the_dead_off(db: Connection) -> None:
    for boot, pid in await db.fetch(_OURS_THAT_LIVE, host()):
        if _is_gone(pid):
            with suppress(*lock_errors()):  # still held: the process lives where we do not see it
                await db.fetchval(_WAIT, boot)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
