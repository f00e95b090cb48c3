"""Those who wait for a rate look whether it still stands, and share their looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from crewcap.core.budget import ALL, Busy, Scope
from crewcap.core.limits import RateBalance
from crewcap.gateway.money.standing import Rates, Standing

TOLD = Busy(scope=ALL, kind="rpm", limit=5, retry_after_s=12.0)
TEAM = Scope("team:core")


def rate(limit: int, *, scope: Scope = ALL) -> RateBalance:
    return RateBalance(scope=scope, kind="rpm", limit=limit, left=0, source="file")


@dataclass
class Books:
    """A ledger's rates, and how often they were looked at."""

    rates: Rates
    looks: list[tuple[Scope, ...]] = field(default_factory=list)

    def look(self, scopes: Iterable[Scope]) -> asyncio.Future[Rates]:
        self.looks.append(tuple(scopes))
        return asyncio.ensure_future(self._answer())

    async def _answer(self) -> Rates:
        return self.rates


@pytest.mark.parametrize(
    ("rates", "stands"),
    [((rate(5),), True), ((rate(6),), False), ((rate(4),), False), ((), False), ((rate(5, scope=TEAM),), False)],
    ids=["as it was", "raised", "lowered", "taken back", "another scope's"],
)
def test_a_rate_stands_while_it_says_the_same(rates: Rates, *, stands: bool) -> None:
    async def main() -> None:
        assert await Standing(Books(rates).look).stands(TOLD) is stands

    asyncio.run(main())


def test_many_who_wait_for_the_same_look_once() -> None:
    async def main() -> None:
        books = Books((rate(5),))
        standing = Standing(books.look)
        assert all(await asyncio.gather(*(standing.stands(TOLD) for _ in range(50))))
        assert await standing.stands(TOLD)
        assert books.looks == [(ALL,)]

    asyncio.run(main())


def test_one_who_leaves_spoils_no_look_of_the_others() -> None:
    async def main() -> None:
        standing = Standing(Books((rate(5),)).look)
        leaving, staying = asyncio.create_task(standing.stands(TOLD)), asyncio.create_task(standing.stands(TOLD))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying

    asyncio.run(main())
