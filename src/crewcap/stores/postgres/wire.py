"""What we use of asyncpg's connection, typed here: the library carries no types."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from crewcap.errors import InternalError


class ServerVersion(NamedTuple):
    """18.1 is (18, 1)."""

    major: int
    minor: int


class Transaction(Protocol):
    """Committed at the end of its block, undone on an error."""

    async def start(self) -> None:
        """Begin."""

    async def rollback(self) -> None:
        """Undo."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Connection(Protocol):
    """One session of the server."""

    async def execute(self, sql: str, *values: Any) -> str:
        """Statements whose rows do not matter."""

    async def fetch(self, sql: str, *values: Any) -> Sequence[Any]:
        """All rows; each is read by position or by name."""

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """The first value of the first row."""

    async def fetchrow(self, sql: str, *values: Any) -> Any:
        """The first row, None without one."""

    def transaction(self, *, isolation: str | None = None) -> Transaction:
        """A transaction, or a savepoint inside one."""

    def get_server_version(self) -> Any:
        """The server's version, the two largest parts first."""

    def get_server_pid(self) -> int:
        """The server's process for this session."""

    def is_closed(self) -> bool:
        """Whether it is known to be gone."""

    async def close(self) -> None:
        """Say goodbye."""

    def terminate(self) -> None:
        """Go without a word."""


def version_of(db: Connection) -> ServerVersion:
    """The server's version."""
    found = db.get_server_version()
    return ServerVersion(found[0], found[1])


async def only_row(db: Connection, sql: str, *values: Any) -> Any:
    """The row of a statement that always has one."""
    row = await db.fetchrow(sql, *values)
    if row is None:
        raise InternalError("the ledger gave no row where there is always one")
    return row
