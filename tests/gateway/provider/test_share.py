"""A share of the provider's own rate limits, by its own headers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.gateway.provider.share import LONGEST_S, REMEMBERED, Left, Shares, message, read

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY, MODEL = "anthropic 5f2c", "claude-sonnet-4-6"


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def anthropic(remaining: int, *, limit: int = 100, kind: str = "requests", in_s: float = 30) -> dict[str, str]:
    name = f"anthropic-ratelimit-{kind}"
    reset = (NOW + timedelta(seconds=in_s)).isoformat().replace("+00:00", "Z")
    return {f"{name}-limit": str(limit), f"{name}-remaining": str(remaining), f"{name}-reset": reset}


def test_anthropics_headers_are_read() -> None:
    headers = anthropic(49) | anthropic(1_000, limit=2_000_000, kind="input-tokens", in_s=12)
    assert read(headers, now=NOW) == (
        Left(kind="requests", limit=100, remaining=49, resets_in_s=30),
        Left(kind="input-tokens", limit=2_000_000, remaining=1_000, resets_in_s=12),
    )


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3_723.5), ("8.64s", 8.64), ("17", 17), ("900d", LONGEST_S)],
)
def test_openais_headers_are_read(said: str, seconds: float) -> None:
    headers = {
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": said,
    }
    assert read(headers, now=NOW) == (Left(kind="tokens", limit=150_000, remaining=149_984, resets_in_s=seconds),)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_whatever_the_headers_say_nothing_breaks(limit: str, remaining: str, reset: str) -> None:
    for left in read(
        {
            "x-ratelimit-limit-tokens": limit,
            "x-ratelimit-remaining-tokens": remaining,
            "x-ratelimit-reset-tokens": reset,
        },
        now=NOW,
    ):
        assert 0 <= left.resets_in_s <= LONGEST_S


@pytest.mark.parametrize(("remaining", "is_short"), [(51, False), (50, False), (49, True), (0, True)])
def test_a_request_waits_while_less_is_left_than_belongs_to_others(remaining: int, is_short: bool) -> None:  # noqa: FBT001  (a parameter of pytest)
    shares = Shares(Clock())
    shares.heard(KEY, MODEL, anthropic(remaining), now=NOW)
    assert (shares.short(KEY, MODEL, 50) is not None) == is_short


def test_it_waits_until_the_limit_is_whole_again() -> None:
    clock = Clock()
    shares = Shares(clock)
    shares.heard(KEY, MODEL, anthropic(10, in_s=30), now=NOW)
    clock.now += 12
    short = shares.short(KEY, MODEL, 50)
    assert short is not None
    assert short.wait_s == 18
    clock.now += 18
    assert shares.short(KEY, MODEL, 50) is None


def test_an_answer_that_tells_of_more_ends_the_wait() -> None:
    shares = Shares(Clock())
    shares.heard(KEY, MODEL, anthropic(10), now=NOW)
    shares.heard(KEY, MODEL, {}, now=NOW)
    assert shares.short(KEY, MODEL, 50) is not None
    shares.heard(KEY, MODEL, anthropic(90), now=NOW)
    assert shares.short(KEY, MODEL, 50) is None


def test_requests_that_were_let_out_since_the_last_word_count() -> None:
    """Sixty that come at once may not all take the same last place."""
    shares = Shares(Clock())
    shares.heard(KEY, MODEL, anthropic(55), now=NOW)
    let_out = 0
    while shares.short(KEY, MODEL, 50) is None:
        shares.let_out(KEY, MODEL)
        let_out += 1
    assert let_out == 6


def test_the_limit_that_lasts_longest_is_named() -> None:
    shares = Shares(Clock())
    headers = anthropic(0, in_s=5) | anthropic(0, kind="output-tokens", in_s=50)
    shares.heard(KEY, MODEL, headers, now=NOW)
    short = shares.short(KEY, MODEL, 50)
    assert short is not None
    assert short.kind == "output-tokens"
    assert message("anthropic", short, 50) == (
        "provider anthropic has 0 of 100 output-tokens left, and its share of 50% keeps the rest for others; the limit "
        "is whole again in 50 s. Try again then, or raise [providers.anthropic] share"
    )


def test_another_model_another_key_and_the_whole_share_are_not_held_back() -> None:
    shares = Shares(Clock())
    shares.heard(KEY, MODEL, anthropic(0), now=NOW)
    assert shares.short(KEY, "claude-haiku-4-5", 50) is None
    assert shares.short("anthropic 99aa", MODEL, 50) is None
    assert shares.short(KEY, MODEL, 100) is None


def test_what_is_remembered_is_bounded() -> None:
    shares = Shares(Clock())
    for number in range(REMEMBERED + 20):
        shares.heard(KEY, f"model-{number}", anthropic(0), now=NOW)
    assert len(shares._told) == REMEMBERED
