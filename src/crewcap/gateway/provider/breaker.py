"""A provider's key that fails again and again is left alone for a while.

For each provider and key (a fingerprint of it, never the key):

    closed      requests go out; the failures in a row are counted, and an answer ends the count
    open        nothing goes out before a moment, each time a longer one, up to `most_open_s`
    half-open   the moment is over: one request goes out to see, all others wait; its answer closes the breaker, its
                failure opens it for longer

A failure is the provider's own: 5xx and 529, no connection, no answer. Whatever it answers otherwise, also a 429 or a
400, is a sign of life. So a client whose requests are wrong opens nothing, and a breaker never stands for a limit:
what is used up is said by `freeze` and by the provider's own `retry-after`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["closed", "open", "half-open"]

REMEMBERED = 256  # providers times the keys that they had
LOOK_S = 0.25  # those who wait for a probe ask again this often


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a breaker opens, and for how long."""

    failures: int = 6  # in a row: two requests with their attempts
    within_s: float = 60  # a failure longer ago does not count
    open_s: float = 5
    most_open_s: float = 60
    probe_s: float = 900  # a probe that tells nothing for so long is given up, and another one may go


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to send one request; whoever has it says how it went: `answered`, `failed` or `withdrew`."""

    name: str
    is_probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One breaker, for `status` and metrics."""

    name: str
    state: State
    failures: int  # in a row
    opened: int  # how often since it last closed
    wait_s: float  # until the next request may go out to see; 0 where it may now


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    last_failure: float = 0.0
    opened: int = 0
    open_until: float = 0.0
    probe_since: float | None = None


@dataclass(slots=True)
class Breakers:
    """All breakers of one gateway."""

    monotonic: Callable[[], float]
    rules: Rules = Rules()
    _breakers: OrderedDict[str, _Breaker] = field(default_factory=OrderedDict)

    def wait_s(self, name: str) -> float:
        """Seconds until asking again; 0.0 where a request may go out now."""
        breaker = self._breakers.get(name)
        if breaker is None or not breaker.opened:
            return 0.0
        now = self.monotonic()
        if now < breaker.open_until:
            return breaker.open_until - now
        is_probed = breaker.probe_since is not None and now - breaker.probe_since < self.rules.probe_s
        return LOOK_S if is_probed else 0.0

    def admit(self, name: str) -> Pass | float:
        """Leave to send one request, in a half-open breaker as the probe; else the seconds until asking again."""
        if wait_s := self.wait_s(name):
            return wait_s
        breaker = self._breakers.get(name)
        if breaker is None or not breaker.opened:
            return Pass(name)
        breaker.probe_since = self.monotonic()
        return Pass(name, is_probe=True)

    def answered(self, name: str) -> None:
        """The provider answered, whatever it said."""
        self._breakers.pop(name, None)

    def withdrew(self, leave: Pass) -> None:
        """It told nothing of the provider: it was not sent after all."""
        breaker = self._breakers.get(leave.name)
        if leave.is_probe and breaker is not None:
            breaker.probe_since = None

    def failed(self, leave: Pass, *, retry_after_s: float | None = None) -> None:
        """The provider failed; `retry_after_s` is what it says itself."""
        now, rules = self.monotonic(), self.rules
        breaker = self._at(leave.name)
        if breaker.opened and not leave.is_probe:  # it was sent before the breaker opened: what it tells is known
            return
        breaker.failures = breaker.failures + 1 if leave.is_probe or now - breaker.last_failure < rules.within_s else 1
        breaker.last_failure, breaker.probe_since = now, None
        if leave.is_probe or breaker.failures >= rules.failures:
            breaker.opened += 1
            longer = rules.open_s * 2 ** min(breaker.opened - 1, 16)
            breaker.open_until = now + min(max(longer, retry_after_s or 0.0), rules.most_open_s)

    def state(self, name: str) -> State:
        """Closed, open or half-open."""
        breaker = self._breakers.get(name)
        if breaker is None or not breaker.opened:
            return "closed"
        return "open" if self.monotonic() < breaker.open_until else "half-open"

    def standing(self) -> tuple[Standing, ...]:
        """Every key that failed lately."""
        now = self.monotonic()
        return tuple(
            Standing(
                name=name,
                state=self.state(name),
                failures=breaker.failures,
                opened=breaker.opened,
                wait_s=max(0.0, breaker.open_until - now) if breaker.opened else 0.0,
            )
            for name, breaker in self._breakers.items()
        )

    def _at(self, name: str) -> _Breaker:
        breaker = self._breakers.setdefault(name, _Breaker())
        self._breakers.move_to_end(name)
        if len(self._breakers) > REMEMBERED:
            self._breakers.popitem(last=False)
        return breaker


def as_json(standing: Standing) -> Mapping[str, str | int | float]:
    """One breaker for `status`."""
    return {
        "key": standing.name,
        "state": standing.state,
        "failures": standing.failures,
        "opened": standing.opened,
        "wait_s": round(standing.wait_s, 3),
    }
