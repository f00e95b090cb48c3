"""One round: a town's night, whom it kills, and how it comes to its end."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crewcap.core.runs import Run, RunState
from torture.night_eyes import Eyes
from torture.night_points import POINTS
from torture.night_processes import Member, start_of
from torture.night_site import crewcap_fate
from torture.night_town import DRAIN_S, START_LIMIT_S, Struck, Town

RUNS = 5
RECOVERED_S = 30.0
STRIKE_S = 25.0  # how long a point is waited for
OUTLIVED_S = 10.0
MOST_DEATHS, MOST_FAILURES = 3, 3
WHOLE = ("worker", "gateway", "supervisor")
ENDED = frozenset({RunState.DONE, RunState.FAILED, RunState.STOPPED, RunState.WAITING})


@dataclass(slots=True, kw_only=True)
class Round:
    """One town's night."""

    name: str
    seed: int
    town: Town
    eyes: Eyes
    runs: list[Run] = field(default_factory=list)
    kills: int = 0
    failures: int = 0  # of the serve itself
    deaths: int = 0  # since the last start of the supervisor
    gateway_kills: int = 0
    armed: tuple[str, int, tuple[str, ...]] = ("", 0, ())
    struck: list[str] = field(default_factory=list)  # points at which somebody died
    told: list[str] = field(default_factory=list)  # what happened, in order
    faults: list[str] = field(default_factory=list)
    since: float = 0.0  # the last start
    recovered_s: float = 0.0  # from the last start to the last run's end
    chance: random.Random = field(default_factory=random.Random)

    def hand_over(self, *, first_cap: str = "") -> None:
        """Five runs, all at once."""
        self.runs = [self.town.hand_over(number, cap="" if number else first_cap) for number in range(RUNS)]

    def begin(self) -> None:
        """Start the serve; we need not wait for it."""
        self.town.start()
        self.deaths = 0
        self.since = time.monotonic()

    def is_over(self) -> bool:
        """Whether no run has anything left to do."""
        return all(run.state in ENDED for run in self.town.runs.list(limit=1_000))

    def is_told(self) -> bool:
        """The same, and whether their issues say so."""
        return self.is_over() and all(
            "**Done**" in self.town.issue(number).read_text("utf-8") for number in range(RUNS)
        )

    def states(self) -> dict[str, str]:
        """Where each run is."""
        return {run.name: str(run.state) for run in self.town.runs.list(limit=1_000)}

    def arm(self, point: str, *, passes: int, victims: Sequence[str]) -> None:
        """These die when somebody passes this point for the n-th time from now."""
        victims = self._bearable(victims)
        self.armed = (point, passes, tuple(victims))
        self.town.arm(point, passes=passes, victims=victims, own=POINTS[point].where)

    def await_death(self) -> None:
        """The death that was armed, or none, where the point is not passed so often any more."""
        town, (point, passes, victims) = self.town, self.armed
        town.until(lambda: town.struck() or self._risen(self.is_over), STRIKE_S)
        town.disarm()
        struck = town.struck()
        if struck is None:
            self.told.append(f"{point} #{passes}: not passed")
        else:
            self.struck.append(point)
            self._died(f"{point} #{passes}", victims, struck)

    def die_now(self, victims: Sequence[str]) -> None:
        """Somebody dies at this moment, or as soon as there is somebody."""
        note = self.town.home.serve_note
        self.town.until(lambda: any(crewcap_fate.named(who, note) for who in self._bearable(victims)), STRIKE_S)
        self.strike(f"after {self._since_s():.1f} s", victims)

    def finish(self, limit_s: float) -> None:
        """Wait until all has ended, then have the serve end in order."""
        while not self.town.until(lambda: self._risen(self.is_told), 1) and self._since_s() < limit_s:
            pass  # each start has its own time
        in_time = self.is_told()
        if self._has_given_up():
            self.faults.append(f"serve ended by itself: {self.tail()}")
        elif not in_time:
            self.faults.append(f"{limit_s:.0f} s after the last start: {self.states()}")
            self.town.until(self.is_told, 60)  # what becomes of them is of interest
        self.recovered_s = self._since_s()
        self.town.until(lambda: self._risen(self.town.is_ready), START_LIMIT_S)  # a signal before would kill it
        status = self.town.end(signal.SIGTERM, DRAIN_S + 15)
        if status:
            self.faults.append(f"serve ended with {status} when it was told to: {self.tail()}")
        elif status is None:
            self.faults.append(f"serve did not end within {DRAIN_S + 15} s: {self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        paths = (self.town.root / "serve.log", *sorted(self.town.home.logs.glob("*.log")))
        texts = [path.read_text("utf-8", "replace") for path in paths]
        lines = [line[:200] for line in "".join(texts).splitlines() if " attempt ended " not in line]
        return " / ".join(lines[-5:])

    def _since_s(self) -> float:
        return time.monotonic() - self.since

    def _bearable(self, victims: Sequence[str]) -> Sequence[str]:
        """A supervisor gives up where a child dies five times in a minute: before that it dies as well."""
        return WHOLE if self.deaths >= MOST_DEATHS else victims

    def is_alive(self) -> bool:
        """Whether there is a serve."""
        return self.town.serve is not None and self.town.serve.poll() is None

    def _has_given_up(self) -> bool:
        return self.town.serve is not None and self.town.serve.poll() is not None

    def strike(self, when: str, victims: Sequence[str], *, rise: bool = True) -> None:
        """Kill them now, whatever they do."""
        victims = self._bearable(victims)
        orders = {"victims": list(victims), "note": str(self.town.home.serve_note), "point": when}
        (self.town.fate / "struck").unlink(missing_ok=True)
        crewcap_fate.strike(orders, self.town.fate)
        struck = self.town.struck()
        assert struck is not None
        if "supervisor" in victims and not struck.victims:
            self._kill_the_nameless()
        self._died(when, victims, struck, rise=rise)

    def _kill_the_nameless(self) -> None:
        """A supervisor that has not said its name yet, whose children may be starting."""
        assert self.town.serve is not None
        pid = self.town.serve.pid
        members = [Member(pid, started) for pid, started in crewcap_fate.family(pid, start_of(pid))]
        self.kills += 1
        self.eyes.doom(members, since=time.monotonic(), limit_s=OUTLIVED_S + 2 * DRAIN_S)

    def _died(self, when: str, victims: Sequence[str], struck: Struck, *, rise: bool = True) -> None:
        self.kills += len(struck.victims)
        self.deaths += 1
        self.gateway_kills += "gateway" in victims
        self.told.append(f"{when}: {'+'.join(victims)}")
        self.since = time.monotonic()
        is_left_alone = "supervisor" in victims and set(victims) != set(WHOLE)
        limit_s = OUTLIVED_S + (2 * DRAIN_S if is_left_alone else 0)  # who lost its supervisor ends in order
        self.eyes.doom(struck.family, since=struck.at, limit_s=limit_s)
        if "supervisor" in victims:
            self.town.kill()
        if rise:
            self.rise()

    def _risen(self, is_so: Callable[[], bool]) -> bool:
        """Whether that is so, with a serve that was started again where it must be, or has given up for good."""
        self.rise()
        return is_so() or self._has_given_up()

    def rise(self) -> None:
        """Start the serve again where it was killed or failed, as its systemd unit says: not after 0, 2 and 4."""
        status = None if self.town.serve is None else self.town.serve.poll()
        if self.town.serve is None or status == -signal.SIGKILL:
            self.begin()
        elif status == 1 and self.failures < MOST_FAILURES:  # a child that is killed in its first start ends it
            self.failures += 1
            self.told.append(f"serve failed: {self.tail()[-120:]}")
            self.begin()
