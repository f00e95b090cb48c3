"""When a provider's key is left alone, and how it comes back."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from crewcap.gateway.provider.breaker import LOOK_S, REMEMBERED, Breakers, Pass, Rules, as_json

RULES = Rules(failures=3, within_s=60, open_s=5, most_open_s=40, probe_s=100)
KEY = "anthropic 5f2c"


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breakers:
    """Breakers with one that has just opened."""
    breakers = Breakers(clock, RULES)
    for _ in range(RULES.failures):
        leave = breakers.admit(KEY)
        assert isinstance(leave, Pass)
        breakers.failed(leave)
    return breakers


def test_failures_in_a_row_open_it() -> None:
    breakers = opened(Clock())
    assert breakers.state(KEY) == "open"
    assert breakers.admit(KEY) == 5


def test_an_answer_ends_the_count() -> None:
    """Also a 429 or a 400 is an answer: the provider lives."""
    breakers = Breakers(Clock(), RULES)
    for _ in range(10):
        breakers.failed(Pass(KEY))
        breakers.failed(Pass(KEY))
        breakers.answered(KEY)
    assert breakers.state(KEY) == "closed"
    assert breakers.standing() == ()


def test_failures_that_are_long_ago_do_not_count() -> None:
    clock = Clock()
    breakers = Breakers(clock, RULES)
    for _ in range(10):
        breakers.failed(Pass(KEY))
        clock.now += 61
    assert breakers.state(KEY) == "closed"


def test_another_key_is_not_touched() -> None:
    """A key that is out of order says nothing of another one, also of the same provider."""
    breakers = opened(Clock())
    assert breakers.admit("anthropic 99aa") == Pass("anthropic 99aa")


def test_half_open_lets_one_request_out_and_its_answer_closes() -> None:
    clock = Clock()
    breakers = opened(clock)
    clock.now += 5
    assert breakers.state(KEY) == "half-open"
    probe = breakers.admit(KEY)
    assert probe == Pass(KEY, is_probe=True)
    assert breakers.admit(KEY) == LOOK_S
    breakers.answered(KEY)
    assert breakers.state(KEY) == "closed"
    assert breakers.admit(KEY) == Pass(KEY)


def test_a_probe_that_fails_opens_it_for_longer_up_to_a_limit() -> None:
    clock = Clock()
    breakers = opened(clock)
    waits = []
    for _ in range(6):
        wait = breakers.admit(KEY)
        assert isinstance(wait, float)
        waits.append(wait)
        clock.now += wait
        probe = breakers.admit(KEY)
        assert isinstance(probe, Pass)
        breakers.failed(probe)
    assert waits == [5, 10, 20, 40, 40, 40]


def test_a_probe_that_was_not_sent_after_all_lets_the_next_one_go() -> None:
    """Its budget said no, or its client left: that tells nothing of the provider."""
    clock = Clock()
    breakers = opened(clock)
    clock.now += 5
    probe = breakers.admit(KEY)
    assert isinstance(probe, Pass)
    breakers.withdrew(probe)
    assert breakers.admit(KEY) == Pass(KEY, is_probe=True)


def test_only_the_probe_itself_gives_back_its_place() -> None:
    """A request from before the breaker opened may not make room for a second probe."""
    clock = Clock()
    breakers = opened(clock)
    clock.now += 5
    breakers.admit(KEY)
    breakers.withdrew(Pass(KEY))
    breakers.failed(Pass(KEY))
    assert breakers.admit(KEY) == LOOK_S


def test_a_probe_that_never_tells_is_given_up() -> None:
    clock = Clock()
    breakers = opened(clock)
    clock.now += 5
    breakers.admit(KEY)
    clock.now += RULES.probe_s
    assert breakers.admit(KEY) == Pass(KEY, is_probe=True)


def test_a_failure_from_before_it_opened_does_not_open_it_for_longer() -> None:
    """Sixty streams that break together are one trouble."""
    clock = Clock()
    breakers = opened(clock)
    for _ in range(60):
        breakers.failed(Pass(KEY))
    assert breakers.admit(KEY) == 5


def test_retry_after_is_honoured_up_to_the_limit() -> None:
    breakers = Breakers(Clock(), RULES)
    for _ in range(3):
        breakers.failed(Pass(KEY), retry_after_s=17)
    assert breakers.admit(KEY) == 17
    for _ in range(3):
        breakers.failed(Pass("other"), retry_after_s=86_400)
    assert breakers.admit("other") == RULES.most_open_s


def test_what_is_remembered_is_bounded() -> None:
    breakers = Breakers(Clock(), RULES)
    for number in range(REMEMBERED + 50):
        breakers.failed(Pass(f"key {number}"))
    assert len(breakers.standing()) == REMEMBERED


def test_its_state_can_be_seen() -> None:
    clock = Clock()
    breakers = opened(clock)
    clock.now += 2
    (standing,) = breakers.standing()
    assert as_json(standing) == {"key": KEY, "state": "open", "failures": 3, "opened": 1, "wait_s": 3.0}


@given(st.lists(st.tuples(st.sampled_from(["ask", "answer", "fail", "withdraw"]), st.floats(0, 30))))
def test_it_never_has_two_probes_and_never_waits_for_ever(steps: list[tuple[str, float]]) -> None:
    """Whatever happens in whatever order: at most one probe is out, and no wait is longer than its limit."""
    clock = Clock()
    breakers, out = Breakers(clock, RULES), list[Pass]()
    for what, seconds in steps:
        clock.now += seconds
        if what == "ask" or not out:
            leave = breakers.admit(KEY)
            if isinstance(leave, Pass):
                out.append(leave)
            else:
                assert 0 < leave <= RULES.most_open_s
        else:
            leave = out.pop()
            if what == "answer":
                breakers.answered(KEY)
                out = [Pass(KEY) for _ in out]  # it is closed: a probe that is still out is one request of many
            else:
                {"fail": breakers.failed, "withdraw": breakers.withdrew}[what](leave)
        assert sum(leave.is_probe for leave in out) <= 1 or clock.now > 1_000 + RULES.probe_s
