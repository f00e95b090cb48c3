"""What PostgreSQL and asyncpg say, in words that name the database and the fix.

The address of a store is shown without its user and its query; a password is never in it (settings refuse one).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

from crewcap.errors import CrewcapError, InternalError, LedgerError, UsageError

DEFECT, ENDED, FENCE = "CC001", "CC002", "CC003"  # raised by our own functions
_INSTALL = "install it with: pip install 'crewcap[postgres]'"


def shown(url: str) -> str:
    """A store as people name it: `db.example/crewcap`."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
    port = f":{parts.port}" if parts.port not in {None, 5432} else ""
    return f"{host}{port}/{parts.path.strip('/') or parts.username or ''}"


@contextmanager
def connecting(url: str) -> Iterator[ModuleType]:
    """The library; what fails while a connection is made is told as that."""
    try:
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  (an extra without types)
    except ImportError:
        raise UsageError(
            "the settings keep the ledger in PostgreSQL, and asyncpg is not installed", help=_INSTALL
        ) from (None)
    try:
        yield asyncpg
    except OSError as error:  # a TimeoutError is one
        raise _unreached(error, url) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _refused(error, url) from error


def is_the_databases(error: Exception) -> bool:
    """Whether the server, the library or the network said it, and not a rule of ours."""
    return isinstance(error, OSError) or type(error).__module__.startswith("asyncpg")


def explain(error: Exception, url: str) -> CrewcapError:
    """The error that users read."""
    if isinstance(error, OSError):
        return _unreached(error, url)
    code = getattr(error, "sqlstate", None) or ""
    if code == DEFECT:
        return InternalError(_said(error))
    if code == ENDED:
        return LedgerError(_said(error), help="start the gateway again")
    if code in {FENCE, "23505", "23514", "23502"}:
        return InternalError(
            f"the ledger {shown(url)} refused to book this: {_said(error)}", help="please report this line"
        )
    for prefix, message, help_ in _EXPLAINED:
        if code.startswith(prefix):
            return LedgerError(f"the ledger {shown(url)} {message} ({_said(error)})", help=help_)
    return LedgerError(
        f"the ledger {shown(url)} cannot be used ({_said(error)})", help="crewcap ledger verify says more"
    )


def lock_errors() -> tuple[type[Exception], ...]:
    """A lock was not to be had in time."""
    import asyncpg  # noqa: PLC0415  (an extra)

    return (asyncpg.LockNotAvailableError,)


def _unreached(error: OSError, url: str) -> LedgerError:
    why = os.strerror(error.errno) if error.errno else "no answer in time"
    return LedgerError(
        f"the database {shown(url)} cannot be reached: {why}",
        help="see that the server runs and listens there; nothing paid is sent without the ledger",
    )


def _refused(error: Exception, url: str) -> LedgerError:
    """The server was reached and does not let us in, or asyncpg could not read the address."""
    code = getattr(error, "sqlstate", None) or ""
    for prefix, help_ in _NO_ENTRY:
        if code.startswith(prefix):
            return LedgerError(f"the database {shown(url)} does not let us in: {_said(error)}", help=help_)
    return LedgerError(f"the database {shown(url)} cannot be used: {_said(error)}")


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


_EXPLAINED = (
    ("55P03", "is locked by another program", "end what holds it, such as a psql session in a transaction"),
    ("40P01", "is locked by another program", "end what holds it, such as a psql session in a transaction"),
    ("53100", "has no room left on its disk", "make room; what is held stays charged, and nothing needs repair"),
    ("53", "has no resources left", "see the server's log; what is held stays charged"),
    ("25006", "is read-only", "name the primary server, not a standby"),
    ("42501", "does not allow this", "grant the role of the address all on schema crewcap and what is in it"),
    ("42P01", "has lost a table", "crewcap ledger verify lists what is missing"),
    ("42883", "has lost a function", "crewcap ledger verify lists what is missing"),
    ("XX001", "is damaged", "restore it from a backup, then: crewcap ledger reconcile --restored"),
    ("XX002", "is damaged", "restore it from a backup, then: crewcap ledger reconcile --restored"),
    ("57P", "was stopped", "start the server again"),
)
_NO_ENTRY = (
    ("28", "give the password in $PGPASSWORD or in ~/.pgpass, never in the settings; and see pg_hba.conf"),
    ("3D000", "make it with: createdb; then: crewcap ledger migrate"),
    ("53300", "raise max_connections: each gateway takes three, each command two"),
    ("57P03", "the server is starting or stopping: try again"),
)
