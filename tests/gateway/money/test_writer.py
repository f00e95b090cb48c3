"""One thread for the ledger: the past first, then all new holds in one transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from crewcap.core.budget import BootId, Decision, Granted, HoldId, KeyId
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.gateway.money.writer import Writer
from crewcap.stores import HoldOrder, Settlement


def order(name: str) -> HoldOrder:
    return HoldOrder(
        hold=HoldId(name),
        boot=BootId("b"),
        key=KeyId("k"),
        amount=Money(1),
        model="m",
        provider="p",
        book="",
        prompt_bound=1,
        output_limit=1,
        asked_output=1,
    )


def end(name: str) -> Settlement:
    return Settlement(hold=HoldId(name), kind="settled", spent=Money(1), uncertain=ZERO, usage=Usage())


class Books:
    """Writes down what it is told, and is busy until it is let go."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.free = threading.Event()

    def wait(self) -> None:
        assert self.free.wait(10)

    def reserve_many(self, orders: Sequence[HoldOrder]) -> tuple[Decision, ...]:
        names = [each.hold for each in orders]
        self.told.append("+".join(names))
        if "bad" in names:
            raise ValueError("bad")
        return tuple(Granted(hold=each.hold, amount=each.amount) for each in orders)

    def settle_many(self, ends: Sequence[Settlement]) -> tuple[bool, ...]:
        names = [each.hold for each in ends]
        self.told.append("ended " + "+".join(names))
        if "bad" in names:
            raise ValueError("bad")
        return tuple(True for _ in ends)

    def settle_and_reserve(
        self, ends: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        names = [*(each.hold for each in ends), *(each.hold for each in orders)]
        self.told.append("together " + "+".join(names))
        if "bad" in names:
            raise ValueError("bad")
        return tuple(True for _ in ends), tuple(Granted(hold=each.hold, amount=each.amount) for each in orders)


def test_what_queued_up_is_done_in_one_round() -> None:
    """Settlements before holds, whatever came first: they can only give money back."""

    async def main() -> None:
        books = Books()
        writer = Writer(books)
        writer.do(books.wait)
        first = writer.reserve(order("a"))
        settled = writer.settle(end("z"), quietly=True)
        second = writer.reserve(order("b"))
        books.free.set()
        assert [(await each).__class__ for each in (first, second)] == [Granted, Granted]
        assert books.told == ["together z+a+b"]
        assert settled.done()
        await writer.stop()

    asyncio.run(main())


def test_ends_that_come_together_are_told_together_and_stay_in_their_place() -> None:
    """What was handed in before one is done before it."""

    async def main() -> None:
        books = Books()
        writer = Writer(books)
        writer.do(books.wait)
        ends = [writer.settle(end(name)) for name in ("a", "b")]
        writer.do(books.told.append, "a note")
        ends.append(writer.settle(end("c")))
        books.free.set()
        assert await asyncio.gather(*ends) == [True, True, True]
        assert books.told == ["ended a+b", "a note", "ended c"]
        await writer.stop()

    asyncio.run(main())


def test_one_end_cannot_spoil_the_others() -> None:
    async def main() -> None:
        books = Books()
        writer = Writer(books)
        writer.do(books.wait)
        futures = [writer.settle(end(name)) for name in ("a", "bad", "c")]
        books.free.set()
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(each) for each in found] == [bool, ValueError, bool]
        assert books.told == ["ended a+bad+c", "ended a", "ended bad", "ended c"]
        await writer.stop()

    asyncio.run(main())


def test_one_order_cannot_spoil_the_others() -> None:
    async def main() -> None:
        books = Books()
        writer = Writer(books)
        writer.do(books.wait)
        futures = [writer.reserve(order(name)) for name in ("a", "bad", "c")]
        books.free.set()
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(each) for each in found] == [Granted, ValueError, Granted]
        assert books.told == ["a+bad+c", "a", "bad", "c"]
        await writer.stop()

    asyncio.run(main())


@pytest.mark.parametrize(("ended", "asked"), [("bad", "a"), ("z", "bad")])
def test_an_end_and_an_order_that_came_together_cannot_spoil_each_other(ended: str, asked: str) -> None:
    async def main() -> None:
        books = Books()
        writer = Writer(books)
        writer.do(books.wait)
        futures = (writer.settle(end(ended)), writer.reserve(order(asked)))
        books.free.set()
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [isinstance(each, ValueError) for each in found] == [ended == "bad", asked == "bad"]
        assert books.told == [f"together {ended}+{asked}", f"ended {ended}", asked]
        await writer.stop()

    asyncio.run(main())


def test_only_the_ends_that_nothing_stands_behind_go_with_the_new_holds() -> None:
    async def main() -> None:
        books = Books()
        writer = Writer(books)
        writer.do(books.wait)
        writer.settle(end("y"))
        writer.do(books.told.append, "a note")
        writer.settle(end("z"))
        granted = writer.reserve(order("a"))
        books.free.set()
        await granted
        assert books.told == ["ended y", "a note", "together z+a"]
        await writer.stop()

    asyncio.run(main())


def test_a_failure_is_raised_where_the_job_was_handed_in_and_ends_nothing() -> None:
    async def main() -> None:
        books = Books()
        writer = Writer(books)
        with pytest.raises(ZeroDivisionError):
            await writer.do(lambda: 1 // 0)
        assert await writer.do(lambda: 7) == 7
        quiet = writer.settle(end("bad"), quietly=True)
        await writer.stop()
        await asyncio.sleep(0)
        assert isinstance(quiet.exception(), ValueError)

    asyncio.run(main())


def test_a_settlement_that_nobody_waits_for_goes_with_the_next_thing_that_is() -> None:
    """It stands before it, so that what it gives back is there."""

    async def main() -> None:
        books = Books()
        writer = Writer(books, linger_s=60)
        settled = [writer.settle(end(name), quietly=True) for name in "yz"]
        await writer.reserve(order("a"))
        assert books.told == ["together y+z+a"]
        assert all(each.done() for each in settled)
        last = writer.settle(end("x"), quietly=True)
        await writer.stop()
        assert books.told[1:] == ["ended x"]
        assert await last

    asyncio.run(main())


def test_a_settlement_does_not_wait_for_company_for_long() -> None:
    async def main() -> None:
        books = Books()
        writer = Writer(books, linger_s=0.01)
        writer.settle(end("z"), quietly=True)
        async with asyncio.timeout(10):
            while not books.told:  # noqa: ASYNC110  (its own thread is told)
                await asyncio.sleep(0.002)
        assert books.told == ["ended z"]
        await writer.stop()

    asyncio.run(main())
