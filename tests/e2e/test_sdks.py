"""The vendors' own SDKs work through the gateway unchanged, stop where the money ends, and are metered to the nano."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import openai
import pytest

from crewcap.core.money import ZERO
from crewcap.prices import Book, load
from crewcap.simulator.script_file import parse
from crewcap.simulator.troubles import TROUBLES, Trouble

from .sdks import SDKS, Between, Responses, Sdk, between

TALK = parse(
    """
    [[step]]
    name = "look"
    when = { first = true, tool = "look" }
    say = "I look at it first."
    use = [{ tool = "look", input = { path = "src/ä b.py" } }]
    output_tokens = 120
    [[step]]
    name = "cut"
    when = { task = "break off" }
    say = "This is a long explanation, of which only a part arrives."
    output_tokens = 400
    cut = 6
    [[step]]
    name = "no"
    when = { task = "refuse" }
    refuse = "bad_request"
    [[step]]
    name = "tell"
    say = "You said {{asked}}, and I saw {{result}}."
    output_tokens = 300
    pace = { events = 6, ms = 0 }
    """,
    name="talk",
)

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # google-genai's own affair
every = pytest.mark.parametrize("sdk", [each() for each in SDKS], ids=lambda sdk: sdk.name)


@pytest.fixture(scope="module")
def book() -> Book:
    return load()


@pytest.fixture
def through(tmp_path: Path, book: Book) -> Callable[..., None]:
    """`through(sdk, test)`: run a test with the SDK in front of a gateway in front of the provider."""

    def run(
        sdk: Sdk, test: Callable[[Between], Awaitable[None]], *, retries: int = 0, cap: str = "5.00", **policy: object
    ) -> None:
        async def main() -> None:
            async with between(tmp_path, book, TALK, cap=cap, **policy) as it:
                sdk.connect(it.gateway.url, it.key.secret, retries=retries)
                try:
                    await test(it)
                finally:
                    await sdk.close()

        asyncio.run(main())

    return run


Through = Callable[..., None]


@every
def test_an_answer_and_a_stream_arrive_and_are_booked_as_they_were_billed(sdk: Sdk, through: Through) -> None:
    """The SDK, the provider's meter and the ledger agree on the tokens and on the money."""

    async def test(it: Between) -> None:
        for said in (await sdk.whole("hello"), await sdk.stream("hello")):
            bill = it.simulator.meter.bills[-1].usage
            assert said == (said.text, bill.prompt, bill.output)
            assert said.text.startswith("You said hello")
        assert await it.booked() == it.simulator.meter.total() > ZERO
        assert len(it.ledger.entries()) == 2

    through(sdk, test)


@every
def test_a_tool_is_called_and_its_result_is_answered(sdk: Sdk, through: Through) -> None:
    async def test(it: Between) -> None:
        given, told = await sdk.use_tool("hello")
        assert given == {"path": "src/ä b.py"}
        assert "forty-two" in told
        assert [record.step for record in it.simulator.log.messages()] == ["look", "tell"]
        assert await it.booked() == it.simulator.meter.total()

    through(sdk, test)


@every
def test_a_limit_of_the_clients_is_kept(sdk: Sdk, through: Through) -> None:
    async def test(it: Between) -> None:
        assert (await sdk.whole("hello", limit=40)).written == 40
        assert await it.booked() == it.simulator.meter.total()

    through(sdk, test)


@every
def test_an_error_of_the_provider_is_the_sdks_own_exception(sdk: Sdk, through: Through) -> None:
    """With the provider's words; nothing is charged."""

    async def test(it: Between) -> None:
        with pytest.raises(sdk.failures[400], match=r"(?i)something is not right|invalid argument"):
            await sdk.whole("refuse")
        assert await it.booked() == ZERO

    through(sdk, test)


@every
@pytest.mark.parametrize("what", ["key", "model"])
def test_a_refusal_of_ours_is_the_sdks_own_exception(sdk: Sdk, through: Through, what: str) -> None:
    async def test(it: Between) -> None:
        if what == "key":
            sdk.connect(it.gateway.url, "ccap-nobody-knows-this-one")
            failure, words = sdk.failures[401], "key"
        else:
            sdk.model, failure, words = "gpt-of-nobody", Exception, "gpt-of-nobody"
        try:
            with pytest.raises(failure, match=words) as caught:
                await sdk.stream("hello")
            assert isinstance(caught.value, tuple(sdk.failures.values()))
        finally:
            sdk.model = type(sdk).model
        assert not it.simulator.log.records

    through(sdk, test, retries=3)


@every
@pytest.mark.parametrize("way", ["whole", "stream"])
def test_when_the_money_is_gone_an_sdk_asks_once_and_stops(sdk: Sdk, through: Through, way: str) -> None:
    """Its own retries are on; the refusal says what is missing and nobody asks the provider."""

    async def test(it: Between) -> None:
        status = 402 if sdk.name == "anthropic" else 400
        with pytest.raises(sdk.failures[status], match="budget") as caught:
            await getattr(sdk, way)("hello")
        assert str(status) in f"{caught.value} {getattr(caught.value, 'status_code', '')}"
        assert [(each.kind, each.key) for each in it.seen.refusals] == [("budget", it.key.row.id)]
        assert not it.simulator.log.records

    through(sdk, test, retries=4, cap="0.000100")


@every
def test_the_sdks_own_retry_is_a_request_of_its_own(sdk: Sdk, through: Through) -> None:
    """The gateway's own attempts are off, so a 429 reaches the SDK. Each try has a hold of its own; one is billed."""

    async def test(it: Between) -> None:
        soon = {"retry-after-ms": "60", "retry-after": "0.06"}
        it.simulator.trouble = Trouble(status=429, kind="rate_limit_error", message="slow down", headers=soon)
        asking = asyncio.create_task(sdk.whole("hello"))
        async with asyncio.timeout(10):
            while not it.simulator.log.records:  # noqa: ASYNC110  (the log has no event to wait for)
                await asyncio.sleep(0.001)
        it.simulator.trouble = None
        assert (await asking).text.startswith("You said hello")
        assert await it.booked() == it.simulator.meter.total() > ZERO
        ends = [(end.status, end.attempt) for end in it.seen.ends]
        assert ends == [(record.status, 1) for record in it.simulator.log.records]
        assert ends[0][0] == 429
        assert len({end.request.hold for end in it.seen.ends}) == len(ends) >= 2

    through(sdk, test, retries=6, attempts=1)


@every
def test_what_the_gateway_tries_again_the_sdk_never_hears_of(sdk: Sdk, through: Through) -> None:
    async def test(it: Between) -> None:
        it.simulator.trouble = TROUBLES["overloaded"]
        asking = asyncio.create_task(sdk.whole("hello"))
        async with asyncio.timeout(10):
            while not it.simulator.log.records:  # noqa: ASYNC110  (the log has no event to wait for)
                await asyncio.sleep(0.001)
        it.simulator.trouble = None
        assert (await asking).text.startswith("You said hello")
        assert await it.booked() == it.simulator.meter.total()
        assert [end.attempt for end in it.seen.ends] == list(range(1, len(it.seen.ends) + 1))

    through(sdk, test)


@every
def test_a_stream_that_breaks_off_is_an_error_or_an_early_end_and_stays_charged(sdk: Sdk, through: Through) -> None:
    """What came of it may be billed, so at least that much stays charged."""

    async def test(it: Between) -> None:
        try:
            said = (await sdk.stream("break off")).text
        except Exception as error:  # noqa: BLE001  (each SDK has its own; none of them may be a success)
            said = type(error).__name__
        assert said != "This is a long explanation, of which only a part arrives."
        async with asyncio.timeout(10):
            for exchange in tuple(it.gateway.service.exchanges):
                await exchange.over.wait()
        await it.gateway.service.purse.do(lambda: None)
        balance = it.balance()
        assert balance.spent + balance.uncertain >= it.simulator.meter.total() > ZERO
        assert balance.held == ZERO
        assert len(it.simulator.meter.bills) == 1

    through(sdk, test)


@pytest.mark.parametrize("sdk", [SDKS[0](), SDKS[3]()], ids=lambda sdk: sdk.name)
def test_the_count_call_is_free_and_true(sdk: Sdk, through: Through) -> None:
    async def test(it: Between) -> None:
        counted = await sdk.count("hello " * 50)
        assert await it.booked() == ZERO
        assert counted == (await sdk.whole("hello " * 50)).sent

    through(sdk, test)


def test_an_answer_is_gone_on_from_by_its_own_key_alone(through: Through) -> None:
    """The SDK names the earlier answer instead of sending it; whoever did not pay for it may not read it."""
    sdk = Responses()

    async def test(it: Between) -> None:
        first = await sdk.client.responses.create(model=sdk.model, input="hello")
        then = await sdk.client.responses.create(model=sdk.model, input="again", previous_response_id=first.id)
        assert then.output_text.startswith("You said again")
        bills = [bill.usage for bill in it.simulator.meter.bills]
        assert bills[1].prompt > bills[0].prompt
        assert await it.booked() == it.simulator.meter.total()
        sdk.connect(it.gateway.url, it.new_key("50.00").secret)
        with pytest.raises(openai.BadRequestError, match="previous_response_id"):
            await sdk.client.responses.create(model=sdk.model, input="tell me", previous_response_id=first.id)
        assert len(it.simulator.meter.bills) == 2

    through(sdk, test, cap="50.00")
