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
The byte forwarder is no gateway: it copies bytes and reads none of them, so that a reader sees what that alone costs on
this machine. An aim that it does not reach itself is said to be out of reach here.
Compare the rows of a table with each other; absolute figures are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    byte_forwarder,
    rates,
)
from benchmarks.processes import NotRunning
from benchmarks.provider import EVENTS, PACE_S
from benchmarks.report import FOLDER, Report
from benchmarks.speed_tables import (
    BURST,
    CALL,
    PACED,
    Figures,
    Load,
    Round,
    Subject,
    aims_table,
    first,
    paced_table,
    process_table,
    requests_table,
    whole,
)

from crewcap.core.money import Money

PLENTY = Money.usd(900_000)
SETTLE_S = 0.3  # what is booked off the path is a gateway's own work, too


def body(kind: str) -> bytes:
    """What is asked; its first word tells the provider how to answer."""
    size = {"call": 2_000, "burst": 2_000, "paced": 20_000, "large": 200_000}[kind]
    text = f"[{'paced' if kind in {'paced', 'large'} else 'burst'}] " + "word " * (size // 5)
    message = {"role": "user", "content": text}
    return json.dumps({"model": MODEL, "max_tokens": 4_000, "stream": kind != "call", "messages": [message]}).encode()


def asked(subject: Subject, kind: str) -> bytes:
    """A request of this kind, with this gateway's headers."""
    return request("/v1/messages", subject.peer.headers(subject.key), body(kind))


# --- loads


async def play(subject: Subject, load: Load) -> None:
    """Run a load once and add what it found."""
    sent, left, timings = asked(subject, load.kind), iter(range(load.requests)), list[Timing]()

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
    yield lambda: byte_forwarder(place)
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
    client, sent = Client(subject.peer.process.port), asked(subject, "call")
    while (await client.ask(sent)).status != 200:
        if time.monotonic() - began > 60:
            raise NotRunning("no good answer within a minute")
        await asyncio.sleep(0.01)
    client.close()
    return time.monotonic() - began


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
