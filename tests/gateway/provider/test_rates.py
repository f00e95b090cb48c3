"""Bounds on what is free."""

from __future__ import annotations

from crewcap.gateway.provider.rates import FORGET_S, MOST_FAILURES, REMEMBERED, Failures, PerMinute


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_evenly() -> None:
    clock = Clock()
    bucket = PerMinute(60, clock)
    assert [bucket.take("a") for _ in range(60)] == [0.0] * 60
    assert bucket.take("a") == 1.0
    assert bucket.take("b") == 0.0
    clock.now = 1.0
    assert bucket.take("a") == 0.0


def test_the_same_failure_is_counted_for_ten_minutes() -> None:
    clock = Clock()
    failures = Failures(clock)
    assert [failures.add(b"x") for _ in range(MOST_FAILURES)] == [False] * (MOST_FAILURES - 1) + [True]
    clock.now = FORGET_S + 1
    assert not failures.add(b"x")


def test_what_is_remembered_is_bounded() -> None:
    failures = Failures(Clock())
    for number in range(REMEMBERED + 10):
        failures.add(str(number).encode())
    assert len(failures._seen) == REMEMBERED
