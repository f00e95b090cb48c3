"""What a gateway costs: beside the bare provider, a bare pass-through and the rivals, in one run.

    python -m benchmarks.speed [--quick] [--only NAME]... [--results DIR]

Every process is one of its own: the fake provider, one gateway at a time, and this one as the client. The gateways
take turns, round by round, so that whatever else the machine does meets all of them. crewcap runs as ever: a durable
ledger, a key with a cap and six scopes above it, each request held on the disk before it is sent.

    call     one JSON answer, a body of 2 kB
    burst    a stream of 60 events, all at once, a body of 2 kB
    paced    a stream of 60 events 20 ms apart, a body of 20 kB: what agents really do. They do not start in the same
             instant: the first ones are spread over the length of a stream, for events that come in step cost whoever
             passes them on much less than others, and a gateway that answers some of them later would lose the step
    large    64 streams at once with prompts of 200 kB each, for the memory

"added" is the time above the bare provider's in the same run. CPU is user and system time of the gateway with all its
children. "req/s a core" is how many requests one second of its CPU serves. Each figure is the median of the rounds.
Compare the rows of a table with each other; absolute figures are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from benchmarks.client import Client, Timing, request
from benchmarks.peers import (
    CACHE,
    MODEL,
    Bare,
    Crewcap,
    LiteLLM,
    Peer,
    Place,
    Portkey,
    bare_pass_through,
    bare_provider,
    rates,
)
from benchmarks.processes import NotRunning
from benchmarks.provider import EVENTS, PACE_S
from benchmarks.report import FOLDER, Report, Table

from crewcap.core.money import Money

CALL, BURST, PACED = "call", "burst", "paced"
PLENTY = Money.usd(900_000)
SETTLE_S = 0.3  # what is booked off the path is a gateway's own work, too


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

    def request(self, kind: str) -> bytes:
        """A request of this kind, with this gateway's headers."""
        return request("/v1/messages", self.peer.headers(self.key), body(kind))


def body(kind: str) -> bytes:
    """What is asked; its first word tells the provider how to answer."""
    size = {"call": 2_000, "burst": 2_000, "paced": 20_000, "large": 200_000}[kind]
    text = f"[{'paced' if kind in {'paced', 'large'} else 'burst'}] " + "word " * (size // 5)
    message = {"role": "user", "content": text}
    return json.dumps({"model": MODEL, "max_tokens": 4_000, "stream": kind != "call", "messages": [message]}).encode()


# --- loads


async def play(subject: Subject, load: Load) -> None:
    """Run a load once and add what it found."""
    sent, left, timings = subject.request(load.kind), iter(range(load.requests)), list[Timing]()

    async def client(number: int) -> None:
        connection = Client(subject.peer.process.port)
        if load.kind == PACED:
            await asyncio.sleep(number / load.clients * EVENTS * PACE_S)
        for _ in left:
            timing = await connection.ask(sent)
            if timing.status != 200:
                raise NotRunning(f"answers {timing.status}")
            timings.append(timing)
        connection.close()

    cpu, began = subject.peer.process.cpu_s(), time.perf_counter()
    try:
        await asyncio.gather(*(client(number) for number in range(load.clients)))
    except (NotRunning, OSError) as error:
        subject.failed[load] = str(error)
        return
    wall = time.perf_counter() - began
    await asyncio.sleep(SETTLE_S)
    subject.found[load].rounds.append(Round(timings, subject.peer.process.cpu_s() - cpu, wall))


async def measure(subjects: Sequence[Subject], loads: Sequence[Load], rounds: int) -> None:
    """Every load on every subject, round by round."""
    for subject in subjects:
        await play(subject, Load("burst", 4, 20))  # whatever is made at the first request
        await play(subject, Load("call", 4, 20))
    for number in range(rounds):
        for load in loads:
            for subject in subjects:
                if load not in subject.failed:
                    await play(subject, load)
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)


async def fill(subject: Subject, rounds: int) -> None:
    """Memory under 64 streams with large prompts, again and again."""
    load = Load("large", 64, 64)
    for _ in range(rounds):
        if load not in subject.failed:
            await play(subject, load)
            subject.large_mb.append(subject.peer.process.rss_mb())


# --- gateways


def gateways(place: Place) -> Iterator[Callable[[], Peer]]:
    """Who takes part, beside the bare upstream."""
    yield lambda: bare_pass_through(place)
    yield lambda: Crewcap(place, levels=True)
    yield lambda: LiteLLM(place, rates=rates())
    yield lambda: Portkey(place)


@contextmanager
def started(upstream: Bare, place: Place, only: Sequence[str], starts: int) -> Iterator[list[Subject]]:
    """Everybody who can be started, each with its start-up times; those who cannot stand in the notes."""
    subjects = [Subject(upstream, "x")]
    with ExitStack() as stack:
        for make in gateways(place):
            try:
                peer = make()
            except NotRunning as error:
                print(f"not run: {error}", file=sys.stderr)
                continue
            if only and not any(word in peer.name.lower() for word in only):
                continue
            subject = Subject(peer, peer.key(PLENTY))
            stack.callback(peer.process.stop)
            for number in range(starts):
                if number:
                    peer.process.stop()
                subject.start_s.append(uvloop.run(first_answer(subject)))
            subjects.append(subject)
        time.sleep(1)
        for subject in subjects:
            subject.idle_mb = subject.peer.process.rss_mb()
        yield subjects


async def first_answer(subject: Subject) -> float:
    """Start it; seconds until the first answer that is one."""
    began = time.monotonic()
    await asyncio.to_thread(subject.peer.process.start, path=subject.peer.health)
    client, sent = Client(subject.peer.process.port), subject.request("call")
    while (await client.ask(sent)).status != 200:
        if time.monotonic() - began > 60:
            raise NotRunning("no good answer within a minute")
        await asyncio.sleep(0.01)
    client.close()
    return time.monotonic() - began


# --- tables

UPSTREAM, PASSING, OURS, RIVAL = "bare upstream", "bare pass-through", "crewcap", "LiteLLM"


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
    name: str, value: float | None, *, at_least: float | None = None, at_most: float | None = None
) -> tuple[str, str, str, str]:
    if value is None:
        return name, "not run", "", ""
    met = value >= at_least if at_least is not None else at_most is not None and value <= at_most
    shall = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
    return name, f"{value:.2f}", shall, "met" if met else "not met"


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _number(value: float | None, places: int) -> str:
    return "not run" if value is None else f"{value:.{places}f}"


def tell(told: Report, subjects: Sequence[Subject], counts: Sequence[int]) -> None:
    """The tables of a run."""
    figures = Figures(subjects)
    failed = {
        f"{subject.name} answers no {load.kind}: {why}" for subject in subjects for load, why in subject.failed.items()
    }
    told.versions.update((subject.name, subject.peer.version) for subject in subjects)
    told.notes += sorted(failed)
    for table in (requests_table(figures), paced_table(figures, counts), process_table(figures), aims_table(figures)):
        told.add(table)
    told.data["loads"] = [
        {
            "gateway": subject.name,
            "load": load.name,
            "requests": found.requests,
            "p50_ms": round(found.quantile_ms(0.5, whole), 3),
            "p99_ms": round(found.quantile_ms(0.99, whole), 3),
            "first_byte_p50_ms": round(found.quantile_ms(0.5, first), 3),
            "cpu_ms": round(found.cpu_ms, 3),
            "requests_per_s": round(found.rate, 1),
        }
        for subject in subjects
        for load, found in subject.found.items()
    ]


def loads_of(*, quick: bool) -> list[Load]:
    """What every gateway is given in each round."""
    few = 1 if quick else 2
    return [
        Load(CALL, 1, 50 * few),
        Load(CALL, 16, 240 * few),
        Load(BURST, 1, 50 * few),
        Load(BURST, 16, 160 * few),
        Load(PACED, 1, 2 * few),
        Load(PACED, 16, 32 * few),
        Load(PACED, 200, 400),
    ]


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="these gateways; may be repeated")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the rivals are installed")
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    quick, loads, told = options.quick, loads_of(quick=options.quick), Report(name="speed")
    with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as folder:
        upstream = bare_provider(Path(folder))
        upstream.process.start(path="/")
        place = Place(folder=Path(folder), upstream=upstream.process.url, cache=options.cache)
        try:
            with started(upstream, place, options.only, 1 if quick else 3) as subjects:
                uvloop.run(measure(subjects, loads, 1 if quick else 4))
                for subject in subjects:
                    uvloop.run(fill(subject, 2 if quick else 10))
                tell(told, subjects, [load.clients for load in loads if load.kind == PACED])
        finally:
            upstream.process.stop()
    told.write(options.results)


if __name__ == "__main__":
    main()
