"""What the speed bench found, and the tables that it makes of it: every figure beside those of the same run."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.client import Timing
from benchmarks.peers import Peer
from benchmarks.report import Table

CALL, BURST, PACED = "call", "burst", "paced"
UPSTREAM, FLOOR, PASSING = "bare upstream", "byte forwarder", "bare pass-through"
OURS, RIVAL = "crewcap", "LiteLLM"


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of work: so many requests of one kind by so many clients."""

    kind: str
    clients: int
    requests: int

    @property
    def name(self) -> str:
        """As it stands over a column."""
        return f"{self.kind} x{self.clients}"


@dataclass(frozen=True, slots=True)
class Round:
    """What a load made of a gateway once."""

    timings: Sequence[Timing]
    cpu_s: float
    wall_s: float

    def quantile_s(self, part: float, of: Callable[[Timing], float]) -> float:
        """So large a part of the requests took at most this long."""
        values = sorted(of(each) for each in self.timings)
        return values[min(len(values) - 1, int(part * len(values)))]


@dataclass
class Found:
    """What a load made of a gateway; each figure is the median of its rounds."""

    rounds: list[Round] = field(default_factory=list)

    def quantile_ms(self, part: float, of: Callable[[Timing], float]) -> float:
        """So large a part of the requests took at most this long."""
        return statistics.median(each.quantile_s(part, of) for each in self.rounds) * 1_000

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(len(each.timings) for each in self.rounds)

    @property
    def cpu_ms(self) -> float:
        """CPU for each request."""
        return statistics.median(each.cpu_s / len(each.timings) for each in self.rounds) * 1_000

    @property
    def rate(self) -> float:
        """Requests for each second on the clock."""
        return statistics.median(len(each.timings) / each.wall_s for each in self.rounds)


@dataclass
class Subject:
    """A gateway under test, and what was found of it."""

    peer: Peer
    key: str
    found: dict[Load, Found] = field(default_factory=lambda: defaultdict(Found))
    failed: dict[Load, str] = field(default_factory=dict)
    start_s: list[float] = field(default_factory=list)
    idle_mb: float = 0
    large_mb: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As it stands in a table."""
        return self.peer.name


@dataclass
class Figures:
    """What was found, asked by names."""

    subjects: Sequence[Subject]

    def found(self, name: str, kind: str, clients: int) -> Found | None:
        """What a load made of a gateway; None where it was not run."""
        for subject in self.subjects:
            for load, found in subject.found.items():
                if (subject.name, load.kind, load.clients) == (name, kind, clients):
                    return found
        return None

    def added_ms(self, name: str, kind: str, clients: int, part: float, of: Callable[[Timing], float]) -> float | None:
        """A quantile above the bare upstream's."""
        found, bare = self.found(name, kind, clients), self.found(UPSTREAM, kind, clients)
        return None if found is None or bare is None else found.quantile_ms(part, of) - bare.quantile_ms(part, of)

    def cpu_ms(self, name: str, kind: str, clients: int) -> float | None:
        """CPU for each request."""
        found = self.found(name, kind, clients)
        return None if found is None else found.cpu_ms


def whole(timing: Timing) -> float:
    """From the request to the end of its answer."""
    return timing.whole_s


def first(timing: Timing) -> float:
    """From the request to the first byte of its answer."""
    return timing.first_byte_s


def requests_table(figures: Figures) -> Table:
    """Calls and bursts, alone and sixteen at once."""
    rows = []
    for subject in figures.subjects:
        row = [subject.name]
        for kind in (CALL, BURST):
            if subject.name == UPSTREAM:
                alone = figures.found(UPSTREAM, kind, 1)
                row += [*(f"({alone.quantile_ms(part, whole):.2f})" if alone else "-" for part in (0.5, 0.99)), "", ""]
                continue
            row += [_number(figures.added_ms(subject.name, kind, 1, part, whole), 2) for part in (0.5, 0.99)]
            cpu = figures.cpu_ms(subject.name, kind, 16)
            row += [_number(cpu, 2), _number(None if cpu is None else 1_000 / cpu, 0)]
        rows.append(row)
    parts = ("added p50 ms", "p99 ms", "x16: CPU ms", "req/s a core")
    head = ("gateway", *(f"{kind}: {part}" for kind in (CALL, BURST) for part in parts))
    note = "Body of 2 kB. Of the upstream, in brackets: its own times, to which the others' are added."
    return Table(title="Calls and bursts", head=head, rows=rows, note=note)


def paced_table(figures: Figures, counts: Sequence[int]) -> Table:
    """Streams as agents have them."""
    rows = []
    for subject in figures.subjects[1:]:
        row = [subject.name]
        for count in counts:
            cpu, least = figures.cpu_ms(subject.name, PACED, count), figures.cpu_ms(PASSING, PACED, count)
            row.append(_number(cpu, 1) + (f" ({cpu / least:.2f}x)" if cpu and least else ""))
            row.append(_number(figures.added_ms(subject.name, PACED, count, 0.5, first), 1))
            row += [_number(figures.added_ms(subject.name, PACED, count, part, whole), 0) for part in (0.5, 0.99)]
        rows.append(row)
    parts = ("CPU ms (of pass-through)", "first byte +ms", "end +p50 ms", "+p99 ms")
    head = ("gateway", *(f"x{count}: {part}" for count in counts for part in parts))
    note = "60 events 20 ms apart, body of 20 kB; each figure for one stream, times above the bare upstream's."
    return Table(title="Paced streams, 1, 16 and 200 at once", head=head, rows=rows, note=note)


def process_table(figures: Figures) -> Table:
    """Start-up and memory."""
    rows = [
        (
            subject.name,
            f"{min(subject.start_s):.2f}" if subject.start_s else "-",
            f"{subject.idle_mb:.0f}",
            ", ".join(f"{size:.0f}" for size in subject.large_mb) or "-",
        )
        for subject in figures.subjects
    ]
    head = ("gateway", "start to first answer, s", "idle MB", "MB after each round of 64 x 200 kB")
    note = "Start-up is the best of its starts; memory is resident, of the whole process tree."
    return Table(title="Start-up and memory", head=head, rows=rows, note=note)


def aims_table(figures: Figures) -> Table:
    """What this project aims at, in ratios of the same run."""
    ours = next((subject for subject in figures.subjects if subject.name == OURS), None)
    rows = [
        _aim(
            f"requests a core, 16 {kind}s at once, in LiteLLM's",
            _ratio(figures.cpu_ms(RIVAL, kind, 16), figures.cpu_ms(OURS, kind, 16)),
            at_least=25,
        )
        for kind in (CALL, BURST)
    ]
    rows += [
        _aim(
            f"LiteLLM's added p50 of one {kind}, in ours",
            _ratio(figures.added_ms(RIVAL, kind, 1, 0.5, whole), figures.added_ms(OURS, kind, 1, 0.5, whole)),
            at_least=12,
        )
        for kind in (CALL, BURST)
    ]
    for count in (1, 16, 200):
        mine = figures.cpu_ms(OURS, PACED, count)
        rows.append(
            _aim(
                f"CPU of a paced stream, {count} at once, in pass-throughs",
                _ratio(mine, figures.cpu_ms(PASSING, PACED, count)),
                at_most=1.3,
            )
        )
        rows.append(
            _aim(
                f"LiteLLM's CPU of a paced stream, {count} at once, in ours",
                _ratio(figures.cpu_ms(RIVAL, PACED, count), mine),
                at_least=12,
                floor=_ratio(figures.cpu_ms(RIVAL, PACED, count), figures.cpu_ms(FLOOR, PACED, count)),
            )
        )
    if ours is not None:
        rows.append(_aim("start to first answer, s", min(ours.start_s), at_most=0.6))
        rows.append(_aim("idle memory, MB", ours.idle_mb, at_most=60))
        half = len(ours.large_mb) // 2
        growth = ours.large_mb[-1] / ours.large_mb[half] if half else None
        rows.append(
            _aim("memory after the last round of large prompts, in that after half of them", growth, at_most=1.1)
        )
    return Table(title="Aims", head=("aim", "is", "shall be", ""), rows=rows)


def _aim(
    name: str,
    value: float | None,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    floor: float | None = None,
) -> tuple[str, str, str, str]:
    """A row; `floor` is what copying bytes alone reaches, for aims that rest on it."""
    if value is None:
        return name, "not run", "", ""
    met = value >= at_least if at_least is not None else at_most is not None and value <= at_most
    shall = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
    verdict = "met" if met else "not met"
    if floor is not None and not met:
        beyond = at_least is not None and floor < at_least
        verdict += f"; the byte forwarder reaches {floor:.1f}" + (": out of reach here" if beyond else "")
    return name, f"{value:.2f}", shall, verdict


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _number(value: float | None, places: int) -> str:
    return "not run" if value is None else f"{value:.{places}f}"
