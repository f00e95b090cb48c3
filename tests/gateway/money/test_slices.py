"""The final slice: kept free by all of a run's requests, opened once by its main conversation, and told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.gateway.conftest import Key, Rig, says, script
from tests.gateway.ended import KEY, ended, request

from crewcap.core.budget import Balance, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.gateway.money.admission import FROM_SLICE
from crewcap.gateway.money.slices import Slices
from crewcap.stores import HoldOrder, Limit

if TYPE_CHECKING:
    from tests.gateway.conftest import RigMaker

RUN = "run-1"
SUBAGENT = {"x-claude-code-agent-id": "sub-1"}


def slices(cap: str | None = "1.00") -> Slices:
    async def cap_of(_key: VirtualKey) -> Money | None:
        return Money.usd(cap) if cap else None

    made = Slices(cap_of)
    made.begin(RUN)
    return made


def body(**fields: Any) -> dict[str, Any]:
    return {
        "model": "claude-sonnet-4-6",
        "max_tokens": 1_000,
        "messages": [{"role": "user", "content": "hello"}],
        **fields,
    }


def keeps(made: Slices, **changes: Any) -> tuple[Money, ...]:
    return asyncio.run(made.kept(request(body(), **changes))).keeps


def order(keep: Money) -> HoldOrder:
    """As it was granted."""
    return replace(ORDER, keep=keep)


ORDER = HoldOrder(
    hold=request(body()).hold, boot=None, key=KEY.id, amount=Money(1), model="m", provider="p", book="",  # type: ignore[arg-type]  # not looked at
    prompt_bound=1, output_limit=1, asked_output=1,
)  # fmt: skip


def test_the_slice_is_two_turns_and_at_most_a_twentieth_of_the_cap() -> None:
    """The turn is the main conversation's last one, with its answer and our message in the prompt."""
    made = slices()
    asked = request(body(max_tokens=64_000))
    made.ended(ended(asked, Usage(input=300, output=100)))
    most, half, nothing = keeps(made)
    card = max(asked.cards, key=lambda each: each.rates.output)
    assert most == Money(2 * card.most(prompt_tokens=400 + 2_048, write="none", output_tokens=1_024).nano)
    assert (half, nothing) == (Money(most.nano // 2), ZERO)
    made.ended(ended(asked, Usage(input=100_000, output=100)))
    assert keeps(made)[0] == Money.usd("0.05")
    assert keeps(slices(cap="0.10"))[0] == Money.usd("0.005")


def test_an_agent_of_the_run_leaves_it_free_always() -> None:
    """Also when it was opened for the main conversation, which then leaves nothing."""
    made = slices()
    (kept,) = keeps(made, agent="sub-1")
    main = asyncio.run(made.kept(request(body())))
    made.served(main, order(main.keeps[1]))
    assert keeps(made) == ()
    assert keeps(made, agent="sub-1") == (kept,)


def test_agents_do_not_change_what_a_wrap_up_turn_is() -> None:
    """Nor does an answer that was cut."""
    made = slices()
    before = keeps(made)
    large = Usage(input=100_000, output=100)
    made.ended(ended(request(body(), agent="sub-1"), large))
    made.ended(ended(request(body()), large, is_complete=False))
    assert keeps(made) == before


@pytest.mark.parametrize("key", [replace(KEY, run=""), replace(KEY, run="of-another-gateway")])
def test_a_key_that_nobody_could_tell_has_no_slice(key: VirtualKey) -> None:
    """Plain keys, and runs without a door here."""
    assert keeps(slices(), key=key) == ()


def test_a_run_without_a_cap_of_its_own_has_no_slice() -> None:
    """There is nothing to take a twentieth of."""
    assert keeps(slices(cap=None)) == ()


def test_who_waits_for_the_slice_hears_when_it_is_opened_or_that_it_never_will_be() -> None:
    """Once opened it stays so; a run that starts again begins with a closed one."""

    async def main() -> None:
        made = slices()
        waiting = asyncio.create_task(made.opened(RUN))
        asked = await made.kept(request(body()))
        made.served(asked, order(asked.keeps[0]))
        await asyncio.sleep(0)
        assert not waiting.done()
        made.served(asked, order(ZERO))
        assert await waiting
        assert await made.opened(RUN)
        made.begin(RUN)
        waiting = asyncio.create_task(made.opened(RUN))
        await asyncio.sleep(0)
        made.end(RUN)
        assert not await waiting
        assert not await made.opened("unknown")

    asyncio.run(main())


def run_key(r: Rig, cap: str) -> Key:
    """A key of a run whose door is here."""
    r.ledger.set_limit(Limit(scope=Scope(f"run:{RUN}"), window="total", amount=Money.usd(cap), source="run"))
    r.gateway.service.metered.slices.begin(RUN)
    return r.new_key(cap=None, run=RUN)


def of_run(r: Rig, key: Key) -> Balance:
    return next(each for each in r.ledger.balances(key.row.id) if each.scope == f"run:{RUN}")


def test_only_the_main_conversation_is_served_from_the_slice_and_no_request_goes_over_the_cap(rig: RigMaker) -> None:
    """An agent is refused while the slice is still there; then the main conversation has it, and may use all."""

    async def main() -> None:
        async with rig(script(says(40_000))) as r:
            key = run_key(r, "0.50")
            metered = r.gateway.service.metered
            opened = asyncio.create_task(metered.slices.opened(RUN))
            ask = r.request(max_tokens=64_000)
            assert (await r.post(ask, key=key, headers=SUBAGENT))[0] == 200  # clamped to what is outside of the slice
            await r.settled()
            assert Money.usd("0.025") < of_run(r, key).left
            while (await r.post(ask, key=key, headers=SUBAGENT))[0] == 200:
                pass
            await r.settled()
            assert of_run(r, key).left >= Money.usd("0.025")
            assert not opened.done()
            status, headers, _ = await r.post(ask, key=key)
            assert status == 200
            assert "x-crewcap-clamped" in headers
            assert await opened
            await r.settled()
            assert r.entries()[-1].notes[0] == FROM_SLICE
            while (await r.post(ask, key=key))[0] == 200:
                pass
            await r.settled()
            meter = r.simulator.meter.total()
            assert of_run(r, key).spent == meter
            assert Money.usd("0.47") < meter <= Money.usd("0.50")

    asyncio.run(main())


def test_a_refusal_of_an_agent_names_what_is_kept(rig: RigMaker) -> None:
    """Else the sum in the message would not come out."""

    async def main() -> None:
        async with rig(script(says(40_000))) as r:
            key = run_key(r, "0.50")
            ask = r.request(max_tokens=64_000)
            while (answer := await r.post(ask, key=key, headers=SUBAGENT))[0] == 200:
                pass
            assert b"kept for the end of the run" in answer[2]

    asyncio.run(main())
