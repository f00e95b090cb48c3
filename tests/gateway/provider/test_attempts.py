"""How often, how long and with what money a provider is asked again."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.attempts import LONGEST_S, Attempts, Schedule, TryAgain, may_be_mended, told_to_wait
from crewcap.gateway.provider.breaker import Breakers, Pass, Rules

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = "anthropic 5f2c"


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def failure(status: int = 529, **more: object) -> TryAgain:
    fields = {
        "status": status,
        "reason": f"the provider answered {status}",
        "is_failure": status not in {408, 429},
        **more,
    }
    return TryAgain(web.Response(status=status, text="sorry"), **fields)  # type: ignore[arg-type]  # named as there


def schedule(clock: Clock, **policy: float) -> Schedule:
    return Schedule(policy=Policy(**policy), monotonic=clock, jitter=lambda: 1.0)  # type: ignore[arg-type]  # whole numbers among them


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, b"", None),
        ({"retry-after": "7"}, b"", 7),
        ({"retry-after": "0.5"}, b"", 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, b"", 0.25),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, b"", 90),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, b"", 0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 -0000"}, b"", 30),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "-5"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "99999999"}, b"", LONGEST_S),
        ({"x-should-retry": "false", "retry-after": "1"}, b"", -1),
        (
            {},
            b'{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}',
            34.5,
        ),
    ],
)
def test_what_a_provider_says_about_coming_back_is_understood(
    headers: dict[str, str], body: bytes, seconds: float | None
) -> None:
    assert told_to_wait(headers, body, now=NOW) == seconds


@given(st.text(max_size=40), st.binary(max_size=60))
def test_whatever_stands_in_retry_after_is_a_bounded_wait_or_nothing(said: str, body: bytes) -> None:
    wait_s = told_to_wait({"retry-after": said, "retry-after-ms": said}, body, now=NOW)
    assert wait_s is None or 0 <= wait_s <= LONGEST_S


def test_errors_that_are_the_requests_own_are_never_repeated() -> None:
    mended = [status for status in range(300, 600) if may_be_mended(status)]
    assert [status for status in mended if status < 500] == [408, 429]
    assert {500, 502, 503, 504, 529} < set(mended)
    assert 501 not in mended


def test_waits_double_up_to_a_limit_and_the_number_of_attempts_ends_them() -> None:
    plan = schedule(Clock(), attempts=7, backoff_s=2, most_backoff_s=20, retry_s=1_000)
    waits = [plan.after(failure()) for _ in range(7)]
    assert waits == [2, 4, 8, 16, 20, 20, None]


def test_jitter_takes_away_up_to_half_of_a_wait() -> None:
    plan = Schedule(policy=Policy(backoff_s=2), monotonic=Clock(), jitter=lambda: 0.0)
    assert [plan.after(failure()) for _ in range(3)] == [1, 2, 4]


def test_retry_after_is_waited_for_and_a_little_longer() -> None:
    plan = schedule(Clock())
    assert plan.after(failure(429, retry_after_s=30)) == 31
    assert plan.after(failure(429, retry_after_s=0)) == 0


def test_a_provider_that_says_not_to_come_again_or_later_than_there_is_time_is_not_asked_again() -> None:
    assert schedule(Clock()).after(failure(529, retry_after_s=-1)) is None
    assert schedule(Clock(), retry_s=180).after(failure(429, retry_after_s=3_600)) is None


def test_the_time_for_all_attempts_is_bounded() -> None:
    clock = Clock()
    plan = schedule(clock, retry_s=60)
    assert plan.after(failure()) == 2
    clock.now += 59
    assert plan.after(failure()) is None


def test_attempts_that_may_have_been_billed_are_counted_for_themselves() -> None:
    plan = schedule(Clock(), unsure_attempts=2)
    assert plan.after(failure(0, may_be_billed=True)) is not None
    assert plan.after(failure(529)) is not None
    assert plan.after(failure(0, may_be_billed=True)) is None


def test_what_may_have_acted_on_the_world_is_not_sent_twice() -> None:
    """Server tools run inside the provider; a plain error says that they did not."""
    plan = schedule(Clock())
    assert plan.after(failure(529), is_repeatable=False) is not None
    assert plan.after(failure(0, may_be_billed=True), is_repeatable=False) is None


# --- the way through them


class NoTime(selectors.DefaultSelector):
    """A loop with this one does not wait: its clock jumps to what comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


def in_no_time(main: Callable[[Callable[[], float]], Coroutine[Any, Any, None]]) -> None:
    """Run something that takes minutes."""
    selector = NoTime()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]  # the loop's own clock is what a test may set
    try:
        loop.run_until_complete(main(lambda: selector.now))
    finally:
        loop.close()


@pytest.mark.parametrize("agents", [1, 8, 64])
def test_ten_minutes_of_overload_are_a_handful_of_requests_for_the_provider(agents: int) -> None:
    """However many agents ask, and however little they obey: what goes out is bounded by the breaker's clock."""

    async def main(now: Callable[[], float]) -> None:
        breakers, sent, waited = Breakers(now), list[float](), list[float]()

        async def send(attempt: int, before: str, let_out: Callable[[], Pass]) -> web.StreamResponse:
            del attempt, before
            let_out()
            sent.append(now())
            await asyncio.sleep(0.2)
            raise failure(529)

        async def agent() -> None:
            while now() < 600:
                began = now()
                attempts = Attempts(
                    provider="anthropic",
                    key=KEY,
                    breakers=breakers,
                    ending=asyncio.Event(),
                    look_s=5,
                    schedule=Schedule(policy=Policy(), monotonic=now),
                )
                with suppress(Refusal):
                    await attempts.run(send, is_gone=lambda: False, is_repeatable=True)
                waited.append(now() - began)
                await asyncio.sleep(1)

        await asyncio.gather(*(agent() for _ in range(agents)))
        assert len(sent) <= agents + 6 + 20
        assert max(waited) <= Policy().retry_s + 1

    in_no_time(main)


@dataclass
class Provider:
    """Ends each attempt as it is told to."""

    ends: list[TryAgain | Refusal | web.Response]
    seen: list[tuple[int, str]] = field(default_factory=list)

    async def send(self, attempt: int, before: str, let_out: Callable[[], Pass]) -> web.StreamResponse:
        self.seen.append((attempt, before))
        end = self.ends.pop(0)
        if not isinstance(end, Refusal):
            let_out()
        if isinstance(end, web.Response):
            return end
        raise end


@dataclass
class Bench:
    breakers: Breakers = field(default_factory=lambda: Breakers(Clock(), Rules(failures=3)))
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    policy: Policy = field(default_factory=lambda: Policy(backoff_s=0.001, retry_s=5))

    async def run(
        self,
        *ends: TryAgain | Refusal | web.Response,
        is_gone: Callable[[], bool] = lambda: False,
        is_repeatable: bool = True,
    ) -> tuple[web.StreamResponse | Refusal, list[tuple[int, str]]]:
        attempts = Attempts(
            provider="anthropic",
            key=KEY,
            breakers=self.breakers,
            ending=self.ending,
            look_s=0.01,
            schedule=Schedule(policy=self.policy),
        )
        provider = Provider(list(ends))
        try:
            answer: web.StreamResponse | Refusal = await attempts.run(
                provider.send, is_gone=is_gone, is_repeatable=is_repeatable
            )
        except Refusal as refusal:
            answer = refusal
        return answer, provider.seen


def test_the_client_sees_one_answer_and_every_attempt_knows_what_went_before_it() -> None:
    async def main() -> None:
        answer, seen = await Bench().run(failure(529), failure(429), web.Response(text="Yes."))
        assert isinstance(answer, web.Response)
        assert answer.text == "Yes."
        assert "x-should-retry" not in answer.headers
        assert seen == [(1, ""), (2, "the provider answered 529"), (3, "the provider answered 429")]

    asyncio.run(main())


def test_after_our_own_attempts_the_clients_library_is_told_not_to_begin() -> None:
    """Six of ours times eleven of its own would be sixty-six."""

    async def main() -> None:
        bench = Bench(policy=Policy(attempts=2, backoff_s=0.001))
        answer, seen = await bench.run(failure(529), failure(529))
        assert isinstance(answer, web.Response)
        assert (answer.status, answer.headers["x-should-retry"], len(seen)) == (529, "false", 2)
        told = TryAgain(Refusal("provider", "gone"), status=0, reason="gone", is_failure=True)
        refusal, _ = await Bench(policy=Policy(attempts=2, backoff_s=0.001)).run(told, told)
        assert isinstance(refusal, Refusal)
        assert refusal.should_retry is False

    asyncio.run(main())


def test_who_waited_for_the_breaker_is_told_not_to_begin_either() -> None:
    """Others asked in its place."""

    async def main() -> None:
        breakers = Breakers(time.monotonic, Rules(failures=1, open_s=0.01))
        for advice in (None, "false"):
            bench = Bench(policy=Policy(attempts=1), breakers=breakers)
            answer, _ = await bench.run(failure(529))
            assert isinstance(answer, web.Response)
            assert answer.headers.get("x-should-retry") == advice

    asyncio.run(main())


def test_an_answer_that_was_not_asked_for_again_goes_out_as_it_came() -> None:
    """The client can wait for an hour, we cannot; so it is left to the client."""

    async def main() -> None:
        answer, seen = await Bench().run(failure(429, retry_after_s=3_600))
        assert isinstance(answer, web.Response)
        assert "x-should-retry" not in answer.headers
        assert len(seen) == 1

    asyncio.run(main())


def test_a_refusal_for_money_at_a_later_attempt_tells_what_went_before() -> None:
    async def main() -> None:
        unsure = failure(0, may_be_billed=True)
        refusal, seen = await Bench().run(unsure, Refusal("budget", "run:r has $0.01 left"))
        assert isinstance(refusal, Refusal)
        assert refusal.kind == "budget"
        assert refusal.message.startswith("the provider answered 0, and what was sent may have been billed")
        assert refusal.message.endswith("to ask again: run:r has $0.01 left")
        assert len(seen) == 2

    asyncio.run(main())


def test_a_run_out_of_requests_gets_the_answer_to_its_last_one() -> None:
    """The attempt was its last request; that another one is refused is not what it asked about."""

    async def main() -> None:
        answer, _ = await Bench().run(failure(529), Refusal("turns", "key k has made its 5 requests"))
        assert isinstance(answer, web.Response)
        assert answer.status == 529

    asyncio.run(main())


@pytest.mark.parametrize("why", ["gone", "ending"])
def test_a_client_that_left_and_a_gateway_that_ends_stop_it(why: str) -> None:
    async def main() -> None:
        bench = Bench(policy=Policy(backoff_s=30))
        if why == "ending":
            bench.ending.set()
        refusal, seen = await bench.run(failure(529), web.Response(), is_gone=lambda: why == "gone")
        assert isinstance(refusal, Refusal)
        assert (refusal.kind, len(seen)) == ("unavailable", 1)

    asyncio.run(main())


def test_the_end_of_the_gateway_is_not_slept_through() -> None:
    async def main() -> None:
        bench = Bench(policy=Policy(backoff_s=30))
        run = asyncio.create_task(bench.run(failure(529), web.Response()))
        await asyncio.sleep(0)
        bench.ending.set()
        async with asyncio.timeout(5):
            refusal, _ = await run
        assert isinstance(refusal, Refusal)

    asyncio.run(main())


def test_failures_open_the_breaker_and_its_wait_is_no_attempt() -> None:
    async def main() -> None:
        clock = Clock()
        bench = Bench(breakers=Breakers(clock, Rules(failures=3, open_s=1_000, most_open_s=1_000)))
        refusal, seen = await bench.run(failure(529), failure(500), failure(0), web.Response())
        assert isinstance(refusal, Refusal)
        assert (refusal.kind, refusal.retry_after_s, refusal.should_retry) == ("provider", 1_000, False)
        assert len(seen) == 3
        assert bench.breakers.state(KEY) == "open"

    asyncio.run(main())


def test_a_rate_limit_opens_no_breaker() -> None:
    async def main() -> None:
        bench = Bench(policy=Policy(backoff_s=0.001, attempts=10))
        await bench.run(*[failure(429)] * 9, web.Response())
        assert bench.breakers.state(KEY) == "closed"

    asyncio.run(main())


def test_a_probe_that_money_refused_gives_its_place_back() -> None:
    async def main() -> None:
        clock = Clock()
        bench = Bench(breakers=Breakers(clock, Rules(failures=1, open_s=1)))
        bench.breakers.failed(Pass(KEY))
        clock.now += 2

        async def refused_late(attempt: int, before: str, let_out: Callable[[], Pass]) -> web.StreamResponse:
            del attempt, before
            assert let_out().is_probe
            raise Refusal("unavailable", "the client left")

        attempts = Attempts(
            provider="anthropic",
            key=KEY,
            breakers=bench.breakers,
            ending=bench.ending,
            look_s=0.01,
            schedule=Schedule(policy=bench.policy),
        )
        with pytest.raises(Refusal):
            await attempts.run(refused_late, is_gone=lambda: False, is_repeatable=True)
        assert bench.breakers.admit(KEY) == Pass(KEY, is_probe=True)

    asyncio.run(main())
