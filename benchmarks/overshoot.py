"""Does a cap hold? What a provider bills on a cap of $1.00, by gateway, kind of work and number of clients.

    python -m benchmarks.overshoot [--quick] [--only crewcap] [--results DIR]

Every gateway gets the same provider (`crewcap simulator`, whose meter is the bill), the same clients, the same
requests and the same prices. A client sends one request after another and gives up at its fourth refusal in a row.
A cell has a key of its own with a cap of $1.00.

    output-heavy   short prompts, answers of $0.05 to $0.50, 33,400 tokens asked for
    5-min writes   a prompt of 60,000 tokens of its own each time, written to the 5-minute cache; $0.24 a turn
    1-hour writes  the same to the one-hour cache; $0.375 a turn
    cache reads    agent turns on a cached prompt of 60,000 tokens, 32,000 tokens asked for; about $0.03 a turn
    hang-ups       output-heavy, every client leaves in the middle of every answer; billed in full, or as sent
    kill -9        output-heavy, the gateway is killed three times while answers are under way, and started again

"overshoot" is what was billed above the cap; "used" is the part of the cap that was billed; "books" is what the
gateway itself believes. The claim is soundness (never above), liveness (the cap can be used) and nothing outside the
meter (books = bill, or above it where an end is unknown). LiteLLM reserves money before a call, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from benchmarks.peers import (
    CACHE,
    MODEL,
    PROVIDER_KEY,
    Capped,
    Crewcap,
    LiteLLM,
    Place,
    PostHoc,
    environ,
    rates,
)
from benchmarks.processes import Process, free_port, running
from benchmarks.report import FOLDER, Report, Table

from crewcap.core.money import Money

CAP = Money.usd(1)
CLIENTS = (1, 8, 32, 64)
REFUSALS = 4
PAUSE_S = 0.4
MOST_REQUESTS = 400  # of one cell; only a gateway that has stopped counting gets there
LONG_PROMPT_TOKENS = 60_000
ANSWERS = range(3_330, 33_301, 3_330)  # tokens of output-heavy answers
CELL_S = 240

SCRIPT = "".join(
    f'[[step]]\nname = "out-{tokens}"\nwhen = {{ asked = "answer of {tokens} tokens" }}\noutput_tokens = {tokens}\n'
    "pace = { events = 12, ms = 25 }\n"
    for tokens in (*ANSWERS, 800, 1_000)
)


# --- what clients ask


@dataclass
class Conversation:
    """What one client says; agent turns go on from what was answered."""

    profile: str
    number: int
    turn: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """The next request."""
        self.turn += 1
        match self.profile:
            case "5-min writes" | "1-hour writes":
                return self._written("5m" if self.profile == "5-min writes" else "1h")
            case "cache reads":
                return self._agent_turn()
            case _:
                tokens = ANSWERS[(3 * self.number + 7 * self.turn) % len(ANSWERS)]
                return _ask([_user(_answer_of(tokens))], 33_400)

    def heard(self, text: str) -> None:
        """The answer to the last request."""
        if self.profile == "cache reads" and text:
            self.messages.append({"role": "assistant", "content": [{"type": "text", "text": text}]})

    def _written(self, lifetime: str) -> dict[str, Any]:
        prompt = _long_text(f"client {self.number}, turn {self.turn}")
        block = {"type": "text", "text": prompt, "cache_control": {"type": "ephemeral", "ttl": lifetime}}
        return _ask([{"role": "user", "content": [block, *_user(_answer_of(1_000))["content"]]}], 1_024)

    def _agent_turn(self) -> dict[str, Any]:
        if not self.messages or self.messages[-1]["role"] == "assistant":
            self.messages.append(_user(f"client {self.number}, turn {self.turn}: {_answer_of(800)}"))
        said = [{**each, "content": [dict(block) for block in each["content"]]} for each in self.messages]
        said[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
        return _ask(said, 32_000) | {"system": SYSTEM}


def _ask(messages: list[dict[str, Any]], max_tokens: int) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": max_tokens, "stream": True, "messages": messages}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def _answer_of(tokens: int) -> str:
    return f"give an answer of {tokens} tokens"


def _long_text(head: str) -> str:
    """About LONG_PROMPT_TOKENS tokens of the simulator, which counts four bytes for one."""
    return (head + " and the code goes on with more of the same lines" * 6_000)[: 4 * LONG_PROMPT_TOKENS]


SYSTEM = [{"type": "text", "text": _long_text("a system prompt"), "cache_control": {"type": "ephemeral"}}]


# --- one cell


@dataclass
class Cell:
    """What came of one gateway, one profile and one number of clients."""

    gateway: str
    profile: str
    clients: int
    billed: Money = Money(0)  # noqa: RUF009  (a frozen value)
    books: Money | None = None
    served: int = 0
    seconds: float = 0
    note: str = ""
    kills: int = 0
    streaming: asyncio.Event = field(default_factory=asyncio.Event, repr=False)  # an answer is under way

    @property
    def overshoot(self) -> Money:
        """Billed above the cap."""
        return Money(max(0, self.billed.nano - CAP.nano))


class Provider:
    """The simulator as a process, and its meter."""

    def __init__(self, folder: Path, *, bill: str = "all") -> None:
        script = folder / "bench.toml"
        script.write_text(SCRIPT)
        port = free_port()
        command = [sys.executable, "-m", "crewcap", "simulator", "--listen", f"127.0.0.1:{port}"]
        command += ["--script", str(script), "--bill", bill]
        self.process = Process(command, port=port, environ=environ(), log=folder / f"simulator-{bill}.log")

    async def reset(self, session: aiohttp.ClientSession) -> None:
        """Meter and prompt cache back to the start."""
        async with session.post(f"{self.process.url}/_control/reset") as answer:
            answer.raise_for_status()

    async def warm(self, session: aiohttp.ClientSession) -> None:
        """Put the system prompt into the prompt cache."""
        body = _ask([_user(_answer_of(800))], 1) | {"system": SYSTEM}
        headers = {"x-api-key": PROVIDER_KEY}
        async with session.post(f"{self.process.url}/v1/messages", json=body, headers=headers) as answer:
            await answer.read()

    async def billed(self, session: aiohttp.ClientSession) -> Money:
        """The bill, once nothing is under way."""
        while True:
            async with session.get(f"{self.process.url}/_control/stats") as answer:
                stats = await answer.json()
            if not stats["in_flight"]:
                return Money.usd(stats["total_usd"])
            await asyncio.sleep(0.05)


@dataclass
class Client:
    """One client of a cell."""

    session: aiohttp.ClientSession
    peer: Capped
    key: str
    cell: Cell
    talk: Conversation
    hangs_up: bool = False

    async def work(self) -> None:
        """Ask until refused REFUSALS times in a row."""
        refused = 0
        while refused < REFUSALS and self.cell.served < MOST_REQUESTS:
            body = self.talk.body()
            while refused < REFUSALS:
                if await self._is_served(body):
                    refused = 0
                    break
                refused += 1
                await asyncio.sleep(PAUSE_S)

    async def _is_served(self, body: dict[str, Any]) -> bool:
        """One request; a connection that fails is tried again at once, for that is no refusal."""
        url, headers = f"{self.peer.process.url}/v1/messages", self.peer.headers(self.key)
        while True:
            try:
                async with self.session.post(url, json=body, headers=headers) as answer:
                    if answer.status != 200:
                        self.cell.note = self.cell.note or f"refuses with {answer.status}"
                        return False
                    self.cell.served += 1
                    self.talk.heard(await self._listen(answer))
                    return True
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)

    async def _listen(self, answer: aiohttp.ClientResponse) -> str:
        """The text of a stream, or half of it."""
        heard: list[str] = []
        try:
            async for line in answer.content:
                if line.startswith(b"data:") and b"text_delta" in line:
                    heard.append(json.loads(line[5:])["delta"]["text"])
                    self.cell.streaming.set()
                    if self.hangs_up and len(heard) == 6:
                        answer.close()
                        break
        except aiohttp.ClientError:
            return ""
        return "".join(heard)


async def measure(
    peer: Capped, provider: Provider, profile: str, clients: int, *, hangs_up: bool = False, kills: int = 0
) -> Cell:
    """One cell, from a new key to the bill."""
    cell = Cell(peer.name, profile, clients)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**20) as session:
        await provider.reset(session)
        if profile == "cache reads":
            await provider.warm(session)
        before = await provider.billed(session)
        key, loop = peer.key(CAP), asyncio.get_running_loop()
        began = loop.time()
        work = [
            Client(session, peer, key, cell, Conversation(profile, number), hangs_up).work()
            for number in range(clients)
        ]
        killer = asyncio.ensure_future(_kill(peer, cell, kills))
        try:
            async with asyncio.timeout(CELL_S):
                await asyncio.gather(*work)
        except TimeoutError:
            cell.note = f"ended after {CELL_S} s"
        cell.seconds = loop.time() - began
        killer.cancel()
        cell.billed = Money((await provider.billed(session)).nano - before.nano)
        await asyncio.sleep(1)  # whatever is booked off the path
        cell.books = await peer.books(session, key)
    return cell


async def _kill(peer: Capped, cell: Cell, times: int) -> None:
    """`kill -9` while answers are under way, and start again on the same port and the same books."""
    while cell.kills < times:
        await cell.streaming.wait()
        await asyncio.to_thread(peer.process.kill)
        cell.kills += 1
        cell.streaming.clear()
        await asyncio.to_thread(peer.process.start, path=peer.health)


# --- all cells


PROFILES = ("output-heavy", "5-min writes", "1-hour writes", "cache reads")


def gateways(place: Place) -> Iterator[Capped]:
    """Everybody with a cap."""
    yield Crewcap(place)
    yield LiteLLM(place, rates=rates())
    yield LiteLLM(place, rates=rates(), fail_closed=True)
    yield PostHoc(place, rates=rates(), cap=CAP)


def run(options: argparse.Namespace, folder: Path, versions: dict[str, str]) -> list[Cell]:
    """Every cell of every gateway, gateway by gateway; the gateways' versions are put down, too."""
    cells = list[Cell]()
    with ExitStack() as stack:
        by_bill = {bill: Provider(folder, bill=bill) for bill in ("all", "sent")}
        for provider in by_bill.values():
            stack.enter_context(running(provider.process, path="/healthz"))
        for bill, provider in by_bill.items():
            place = Place(folder=folder, upstream=provider.process.url, cache=options.cache)
            for peer in gateways(place):
                if options.only and options.only not in peer.name.lower():
                    continue
                versions[peer.name] = peer.version
                with running(peer.process, path=peer.health):
                    for case in _cases(bill, peer, quick=options.quick):
                        cells.append(asyncio.run(measure(peer, provider, **case)))
                        _say(cells[-1])
                    if isinstance(peer, Crewcap):
                        print(f"ledger verify: {peer.verify()}", file=sys.stderr)
    return cells


def _cases(bill: str, peer: Capped, *, quick: bool) -> Iterator[dict[str, Any]]:
    """What is measured of a gateway on the provider that bills like this."""
    if bill == "sent":
        yield {"profile": "hang-ups, billed as sent", "clients": 8, "hangs_up": True}
        return
    for profile in PROFILES:
        for clients in (8,) if quick else CLIENTS:
            yield {"profile": profile, "clients": clients}
    yield {"profile": "hang-ups, billed in full", "clients": 8, "hangs_up": True}
    if not isinstance(peer, LiteLLM):
        yield {"profile": "kill -9", "clients": 8, "kills": 3}


def _say(cell: Cell) -> None:
    books = "" if cell.books is None else f", books {cell.books.show()}"
    print(
        f"{cell.gateway:22} {cell.profile:26} x{cell.clients:<3} billed {cell.billed.show()}{books}, "
        f"{cell.served} served in {cell.seconds:.1f} s; {cell.note}",
        file=sys.stderr,
    )


# --- tables


NOT_RUN = (
    "Not run: LiteLLM under kill -9 (its books would be in the database that it cannot have here; from memory it would "
    "begin at zero again, which says nothing about it); Portkey (the open-source gateway has no budgets)."
)


def tell(told: Report, cells: list[Cell]) -> None:
    """The tables of all cells."""
    told.notes.append(NOT_RUN)
    told.add(_summary(cells))
    told.add(_by_clients(cells))
    told.add(_accidents(cells))
    told.data["cells"] = [
        {
            "gateway": cell.gateway,
            "profile": cell.profile,
            "clients": cell.clients,
            "billed_usd": cell.billed.exact(),
            "overshoot_usd": cell.overshoot.exact(),
            "books_usd": cell.books.exact() if cell.books is not None else None,
            "served": cell.served,
            "kills": cell.kills,
            "seconds": round(cell.seconds, 1),
            "note": cell.note,
        }
        for cell in cells
    ]


def _summary(cells: list[Cell]) -> Table:
    rows = []
    for name, own in _grouped(cells):
        worst = max(own, key=lambda cell: cell.overshoot)
        over = sum(1 for cell in own if cell.overshoot)
        below = sum(1 for cell in own if cell.books is not None and cell.books.nano < cell.billed.nano - DUST)
        used = [cell.billed.nano * 100 / CAP.nano for cell in own if not cell.overshoot and not cell.kills]
        least = f"{min(used):.0f} %" if used else "-"
        where = f" ({worst.profile}, {_clients(worst.clients)})" if worst.overshoot else ""
        rows.append((name, f"{over} of {len(own)}", _percent(worst) + where, f"{below} of {len(own)}", least))
    head = ("gateway", "cells over the cap", "worst overshoot", "cells whose books are below the bill", "least used")
    note = "Least used: the smallest part of the cap that was billed, of the cells that did not go over it."
    return Table(title="A cap of $1.00, by gateway", head=head, rows=rows, note=note)


DUST = 1_000  # nano-dollars: a rival that counts in floats is not called wrong for that


def _by_clients(cells: list[Cell]) -> Table:
    counts = sorted({cell.clients for cell in cells if cell.profile in PROFILES})
    rows = []
    for profile in PROFILES:
        for name, own in _grouped([cell for cell in cells if cell.profile == profile]):
            by_count = {cell.clients: cell for cell in own}
            rows.append((profile, name, *(_billed(by_count[count]) if count in by_count else "-" for count in counts)))
    head = ("profile", "gateway", *(_clients(count) for count in counts))
    note = (
        "What the provider billed on a cap of $1.00; in bold what is above it. Whole turns of 5-minute writes can use "
        "$0.96 of it at the most, of 1-hour writes $0.75."
    )
    return Table(title="Billed, by profile and number of parallel clients", head=head, rows=rows, note=note)


def _accidents(cells: list[Cell]) -> Table:
    rows = [
        (
            cell.profile,
            cell.gateway,
            _billed(cell),
            cell.books.show() if cell.books is not None else "-",
            _difference(cell),
            str(cell.kills) if cell.kills else "-",
        )
        for cell in sorted(cells, key=lambda cell: cell.profile)
        if cell.profile not in PROFILES
    ]
    head = ("accident", "gateway", "billed", "its books", "books - bill", "kills")
    note = (
        "8 clients. Books above the bill are safe (an end that nobody saw stays charged), below it they are money lost."
    )
    return Table(title="Hang-ups and kills", head=head, rows=rows, note=note)


def _grouped(cells: list[Cell]) -> list[tuple[str, list[Cell]]]:
    names = list(dict.fromkeys(cell.gateway for cell in cells))
    return [(name, [cell for cell in cells if cell.gateway == name]) for name in names]


def _clients(count: int) -> str:
    return f"{count} client{'s' * (count > 1)}"


def _billed(cell: Cell) -> str:
    return f"${cell.billed.nano / 1e9:.2f}" + (f" **{_percent(cell)}**" if cell.overshoot else "")


def _percent(cell: Cell) -> str:
    percent = cell.overshoot.nano * 100 / CAP.nano
    return f"+{percent:.{0 if percent >= 1 else 1}f} %" if percent else "0"


def _difference(cell: Cell) -> str:
    if cell.books is None:
        return "-"
    nano = cell.books.nano - cell.billed.nano
    return "0" if abs(nano) < DUST else f"{nano / 1e9:+.2f}"


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 clients only")
    parser.add_argument("--only", default="", metavar="NAME", help="one gateway")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the rivals are installed")
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    told = Report(name="overshoot")
    with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as folder:
        tell(told, run(options, Path(folder), told.versions))
    told.write(options.results)


if __name__ == "__main__":
    main()
