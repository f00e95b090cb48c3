"""One connection to the database, for callers that block.

asyncpg lives in an event loop. Each session has a private one, driven by the thread that asks, under the session's
lock: a loop in a thread of its own would cost two switches of threads a call, more than half of what a round trip to
a database on the same machine takes. Where the asking thread runs a loop already, a helper thread drives ours.

A connection that is lost is opened again at the next call. What may be said twice (a hold by its name, a settlement,
a reading) is said again by itself; of everything else the caller is told that nobody knows whether it was heard.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from crewcap.errors import LedgerError
from crewcap.stores.postgres.errors import connecting, explain, is_the_databases
from crewcap.stores.postgres.wire import Connection

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

CONNECT_S = 10.0
_TURNS = 5  # of the loop, until the server's last words and the end after them are read
_SETTINGS = {
    "application_name": "crewcap",
    "synchronous_commit": "on",  # unless a transaction says otherwise: a server's own default may be off
    "jit": "off",
    "timezone": "UTC",
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "30",  # a machine that is gone gives its locks back within a minute or two
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# Plans that never depend on how large a table was when they were made: every statement of the hot path has its index.
_BY_INDEX = {"enable_seqscan": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"}


class Session:
    """A connection that is opened when it is first needed, and again when it was lost."""

    def __init__(self, url: str, *, lock_s: float, by_index: bool = False) -> None:
        """`lock_s`: how long a lock of the database is waited for. `by_index`: for small statements only."""
        self.url = url
        self._settings = {
            **_SETTINGS,
            **(_BY_INDEX if by_index else {}),
            "lock_timeout": str(int(lock_s * 1000)),
            "idle_in_transaction_session_timeout": str(int(lock_s * 2000)),
        }
        self._loop = asyncio.SelectorEventLoop()
        self._lock = threading.Lock()
        self._helper = ThreadPoolExecutor(1, "crewcap-store")
        self._connection: Connection | None = None
        self._is_closed = False
        self.opened = 0  # how often

    def run(self, work: Work[T], *, again: bool) -> T:
        """Do something with the connection; `again` where it may be done twice."""
        with self._lock:
            if self._is_closed:
                raise LedgerError("the ledger was used after it was closed")
            if asyncio._get_running_loop() is None:  # noqa: SLF001  (the documented face raises, and costs)
                return self._drive(work, again=again)
            return self._helper.submit(self._drive, work, again=again).result()

    @property
    def process(self) -> int:
        """The server's process behind the open connection, 0 = none."""
        return self._connection.get_server_pid() if self._connection is not None else 0

    def drop(self) -> None:
        """Let the connection fall as a dying process would."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def close(self) -> None:
        """Say goodbye, and end the loop."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._helper.submit(self._end).result()
            self._helper.shutdown()

    def _drive(self, work: Work[T], *, again: bool) -> T:
        task = self._loop.create_task(self._do(work, again=again))
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            if not task.done():  # interrupted in the middle: nobody knows what the connection would say next
                self.drop()
                task.cancel()
                self._loop.run_until_complete(asyncio.wait([task]))
            raise

    def _end(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            try:
                self._loop.run_until_complete(asyncio.wait_for(self._connection.close(), CONNECT_S))
            except Exception:  # noqa: BLE001  (a farewell that was not heard changes nothing)
                self._connection.terminate()
        self._connection = None
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _do(self, work: Work[T], *, again: bool) -> T:
        connection = await self._open(look=not again)
        try:
            return await work(connection)
        except Exception as error:
            if not is_the_databases(error):
                raise
            if not connection.is_closed():
                raise explain(error, self.url) from error
            self.drop()
            if not again:
                raise LedgerError(
                    "the connection to the ledger was lost before it answered; it may or may not have heard this",
                    help="look before you say it again: crewcap budget list, crewcap key list, crewcap ledger",
                ) from error
        return await self._once_more(work)

    async def _once_more(self, work: Work[T]) -> T:
        connection = await self._open(look=False)
        try:
            return await work(connection)
        except Exception as error:
            if not is_the_databases(error):
                raise
            raise explain(error, self.url) from error

    async def _open(self, *, look: bool) -> Connection:
        """The connection; with `look`, one that is known to have been lost is not tried."""
        found = self._connection
        if found is not None and look:
            for _ in range(_TURNS):  # a closed socket tells of itself in the loop alone
                await asyncio.sleep(0)
        if found is None or found.is_closed():
            with connecting(self.url) as asyncpg:
                found = await asyncpg.connect(self.url, timeout=CONNECT_S, server_settings=self._settings)
            self._connection = found
            self.opened += 1
        return found
