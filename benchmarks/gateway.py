"""What the gateway costs: beside the bare provider and beside a bare aiohttp pass-through, in one run.

    python benchmarks/gateway.py [--requests 400] [--paced 100]

Four processes on one machine: a fake provider (raw asyncio, so that it costs little), a pass-through (aiohttp both
ways on uvloop, nothing else), the real `crewcap gateway` with its durable ledger, and this one as the client. The
provider answers each request with 60 events, at once ("burst") or 20 ms apart ("paced"). Bodies are 20 KB, as an
agent's are. CPU is the process's own (user + system), from the kernel. Figures of one run are compared with each
other; absolute ones are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from crewcap.core.budget import ALL, KeyId, Scope
from crewcap.core.keys import VirtualKey, hash_key
from crewcap.core.money import Money
from crewcap.home import Home

EVENTS = 60
PACE_S = 0.020
BODY_BYTES = 20_000
TICK = os.sysconf("SC_CLK_TCK")


# --- the fake provider


def answer_events() -> list[bytes]:
    """One answer, event by event."""
    usage = {
        "input_tokens": 5_000,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
        "inference_geo": "global",
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": []}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "some words of it "}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *([text] * (EVENTS - 5)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {**usage, "output_tokens": 300}},
        {"type": "message_stop"},
    ]
    return [_sse(event) for event in events]


def _sse(event: dict[str, Any]) -> bytes:
    data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


async def provide() -> None:
    """Answer on a free port until killed; the path says how."""
    events, head = (
        answer_events(),
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            length = int(request.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
            body = await reader.readexactly(length)
            writer.write(head)
            if b'"paced"' in body[-200:]:
                due = time.monotonic()
                for event in events:
                    due += PACE_S
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    writer.write(event)
            else:
                writer.writelines(events)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


# --- the bare pass-through


async def pass_through(upstream: str) -> None:
    """The least that any gateway on this library does: read, forward, copy chunks."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
    ) as session:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            headers = {"content-type": "application/json", "x-api-key": request.headers["x-api-key"]}
            async with session.post(upstream + request.path, data=await request.read(), headers=headers) as answer:
                response = web.StreamResponse(headers={"content-type": answer.headers["content-type"]})
                await response.prepare(request)
                while chunk := await answer.content.readany():
                    await response.write(chunk)
                await response.write_eof()
                return response

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
        await asyncio.Event().wait()


# --- processes under test


@dataclass
class Subject:
    """A process that is measured."""

    name: str
    url: str
    pid: int
    key: str

    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss_mb(self) -> float:
        """Memory that is really there."""
        line = next(line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmRSS" in line)
        return int(line.split()[1]) / 1_024


@contextmanager
def started(
    name: str, command: list[str], *, key: str = "x", environ: dict[str, str] | None = None
) -> Iterator[Subject]:
    """Start a process that prints its address as JSON, and end it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **(environ or {})})
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    try:
        yield Subject(name, url, process.pid, key)
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def our_gateway(upstream: str) -> Iterator[Subject]:
    """The real command, a real home, and a key with six scopes above it."""
    from crewcap.stores import Limit  # noqa: PLC0415
    from crewcap.stores.sqlite import SqliteLedger  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="crewcap-bench-") as folder:
        home, config = Home(Path(folder) / "home"), Path(folder) / "config.toml"
        config.write_text(
            '[providers.anthropic]\nkey = { env = "ANTHROPIC_API_KEY" }\n'
            f'base_url = "{upstream}"\nprices = "anthropic"\n[budgets]\nall = {{ day = 900000 }}\n'
        )
        ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
        names = ("key:bench", "run:bench", "issue:files/bench", "repo:acme/bench", "user:bench", "team:bench")
        secret = "ccap-" + secrets.token_urlsafe(32)
        scopes = (*(Scope(name) for name in names), ALL)
        key = VirtualKey(id=KeyId("bench"), hash=hash_key(secret), scopes=scopes, created_at=datetime.now(UTC))
        ledger.add_key(key, cap=Money.usd("900000"))
        for scope in scopes[1:-1]:
            ledger.set_limit(Limit(scope=scope, window="day", amount=Money.usd("900000"), source="command"))
        ledger.close()
        command = [sys.executable, "-m", "crewcap", "gateway", "--listen", "127.0.0.1:0", "--json"]
        command += ["--home", str(home.root), "--config", str(config)]
        with started("gateway", command, key=secret, environ={"ANTHROPIC_API_KEY": "sk-ant-fake-bench"}) as subject:
            yield subject


# --- the client


@dataclass
class Load:
    """What a load made of a subject."""

    seconds: list[float]
    wall_s: float
    cpu_s: float

    def quantile_ms(self, part: float) -> float:
        """So large a part of the requests took at most this long."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(part * len(self.seconds)))] * 1_000

    @property
    def cpu_ms(self) -> float:
        """CPU of the subject for each request."""
        return self.cpu_s / len(self.seconds) * 1_000


def body_of(kind: str) -> bytes:
    """A request; its last words tell the provider how to answer."""
    message = {"role": "user", "content": "word " * (BODY_BYTES // 5)}
    asked = {"model": "claude-sonnet-4-6", "max_tokens": 4_000, "stream": True, "messages": [message]}
    return json.dumps({**asked, "metadata": {"user_id": kind}}).encode()


async def load(subject: Subject, kind: str, *, requests: int, clients: int) -> Load:
    """So many requests by so many clients, each with a connection of its own that stays open."""
    host, port = subject.url.removeprefix("http://").split(":")
    body = body_of(kind)
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {subject.key}\r\ncontent-length: {len(body)}\r\n\r\n"
    request, seconds = head.encode() + body, []
    left = iter(range(requests))

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
        for _ in left:
            start = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"0\r\n\r\n")
            seconds.append(time.perf_counter() - start)
            assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
        writer.close()

    cpu, wall = subject.cpu_s(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    wall = time.perf_counter() - wall
    await asyncio.sleep(0.2)  # what is settled off the path is theirs, too
    return Load(seconds, wall, subject.cpu_s() - cpu)


Row = tuple[Load, Load, Load]
"""One client with bursts, many clients with bursts, many paced streams at once."""


async def compare(subjects: list[Subject], *, requests: int, paced: int) -> None:
    """Measure every subject under every load and print them side by side."""
    for subject in subjects:
        await load(subject, "burst", requests=50, clients=4)
    idle = {subject.name: subject.rss_mb() for subject in subjects}
    print(f"{'':14}|{'1 client, burst':^27}|{'32 clients, burst':^18}|{f'{paced} paced streams at once':^27}|")
    print(f"{'':14}|{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}|{'req/s':>9}{'CPU ms':>9}", end="")
    print(f"|{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}|{'MB':>5}")
    rows: dict[str, Row] = {}
    for subject in subjects:
        alone = await load(subject, "burst", requests=requests, clients=1)
        many = await load(subject, "burst", requests=3 * requests, clients=32)
        slow = await load(subject, "paced", requests=2 * paced, clients=paced)
        rows[subject.name] = (alone, many, slow)
        print(f"{subject.name:14}|{_times(alone, 2)}|{len(many.seconds) / many.wall_s:9.0f}{many.cpu_ms:9.2f}", end="")
        print(f"|{_times(slow, 0)}|{subject.rss_mb():5.0f}")
    _print_ratios(rows)
    print(f"idle memory: pass-through {idle['pass-through']:.0f} MB, gateway {idle['gateway']:.0f} MB")


def _times(load: Load, places: int) -> str:
    return f"{load.quantile_ms(0.5):9.{places}f}{load.quantile_ms(0.99):9.{places}f}{load.cpu_ms:9.2f}"


def _print_ratios(rows: dict[str, Row]) -> None:
    bare, passing, ours = (rows[name] for name in ("provider", "pass-through", "gateway"))
    for name, row in (("pass-through", passing), ("gateway", ours)):
        added = [row[0].quantile_ms(part) - bare[0].quantile_ms(part) for part in (0.5, 0.99)]
        rate = 1_000 / row[1].cpu_ms
        print(
            f"{name} adds {added[0]:.2f} ms (p50), {added[1]:.2f} ms (p99) a stream; {rate:.0f} requests a CPU second"
        )
    burst, slow = (ours[number].cpu_ms / passing[number].cpu_ms for number in (1, 2))
    print(f"CPU of the gateway, in pass-throughs: {burst:.2f} on bursts, {slow:.2f} on paced streams (aim 1.5)")


def main() -> None:
    """Be one of the processes, or start them all and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", nargs="?", default="compare", choices=["compare", "provider", "pass-through"])
    parser.add_argument("--upstream", default="")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--paced", type=int, default=100)
    given = parser.parse_args()
    if given.role != "compare":
        uvloop.run(provide() if given.role == "provider" else pass_through(given.upstream))
        return
    this = [sys.executable, __file__]
    with ExitStack() as stack:
        provider = stack.enter_context(started("provider", [*this, "provider"]))
        passing = stack.enter_context(started("pass-through", [*this, "pass-through", "--upstream", provider.url]))
        gateway = stack.enter_context(our_gateway(provider.url))
        uvloop.run(compare([provider, passing, gateway], requests=given.requests, paced=given.paced))


if __name__ == "__main__":
    main()
