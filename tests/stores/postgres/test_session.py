"""A connection for callers that block: from any thread, inside an event loop or not, and after it was lost."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.stores.postgres_server import Server

from crewcap.errors import LedgerError
from crewcap.stores.postgres.session import Session
from crewcap.stores.postgres.wire import Connection


@pytest.fixture
def session(postgres: Server) -> Iterator[Session]:
    found = Session(postgres.url("postgres"), lock_s=5.0)
    yield found
    found.close()


async def _one(db: Connection) -> int:
    return int(await db.fetchval("SELECT 1"))


def _end(postgres: Server, session: Session) -> None:
    postgres.sql("postgres", "SELECT pg_terminate_backend($1, 10000)", session.process)


def test_threads_share_a_session_one_after_the_other(session: Session) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: session.run(_one, again=True), range(80))) == 80
    assert session.opened == 1


def test_a_session_answers_inside_an_event_loop_too(session: Session) -> None:
    """A gateway opens its ledger from a coroutine."""

    async def main() -> int:
        return session.run(_one, again=True)

    assert asyncio.run(main()) == 1
    assert session.run(_one, again=True) == 1


def test_what_may_be_said_twice_is_said_again_when_the_connection_was_lost(session: Session, postgres: Server) -> None:
    session.run(_one, again=True)
    _end(postgres, session)
    assert session.run(_one, again=True) == 1
    assert session.opened == 2


def test_what_may_not_be_said_twice_is_not_said_into_a_connection_that_is_known_to_be_lost(
    session: Session, postgres: Server
) -> None:
    session.run(_one, again=True)
    _end(postgres, session)
    assert session.run(_one, again=False) == 1


def test_what_was_lost_in_the_middle_is_told_as_that(session: Session, postgres: Server) -> None:
    """Nobody knows whether it was heard."""

    async def work(db: Connection) -> None:
        await asyncio.to_thread(_end, postgres, session)
        await db.fetchval("SELECT 1")

    session.run(_one, again=True)
    with pytest.raises(LedgerError, match="may or may not have heard this"):
        session.run(work, again=False)
    assert session.run(_one, again=True) == 1


def test_an_error_of_ours_is_no_error_of_the_databases(session: Session) -> None:
    async def work(_: Connection) -> None:
        raise ValueError("a rule of ours")

    with pytest.raises(ValueError, match="a rule of ours"):
        session.run(work, again=True)


def test_an_interrupt_leaves_no_half_said_call_behind(session: Session) -> None:
    """Ctrl-C while the database thinks: the next call gets its own answer."""
    session.run(_one, again=True)
    timer = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        session.run(lambda db: db.fetchval("SELECT pg_sleep(20)"), again=True)
    timer.join()
    assert session.run(_one, again=True) == 1
    assert session.opened == 2


def test_a_closed_session_says_so(postgres: Server) -> None:
    session = Session(postgres.url("postgres"), lock_s=5.0)
    session.close()
    session.close()
    with pytest.raises(LedgerError, match="after it was closed"):
        session.run(_one, again=True)
