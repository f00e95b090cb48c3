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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

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
    start = {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "some words of it "}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {**usage, "output_tokens": 300}}
    events = [start, block, *([delta] * (EVENTS - 5)), {"type": "content_block_stop", "index": 0}, end]
    return [_sse(event) for event in (*events, {"type": "message_stop"})]


def _sse(event: dict[str, object]) -> bytes:
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
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss_mb(self) -> float:
        line = next(line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmRSS" in line)
        return int(line.split()[1]) / 1_024


@contextmanager
def started(
    name: str, command: list[str], *, key: str = "x", environ: dict[str, str] | None = None
) -> Iterator[Subject]:
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
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(part * len(self.seconds)))] * 1_000

    @property
    def cpu_ms(self) -> float:
        return self.cpu_s / len(self.seconds) * 1_000


def body_of(kind: str) -> bytes:
    text = "word " * (BODY_BYTES // 5)
    message = {"model": "claude-sonnet-4-6", "max_tokens": 4_000, "stream": True}
    return json.dumps(
        {**message, "messages": [{"role": "user", "content": text}], "metadata": {"user_id": kind}}
    ).encode()


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


async def compare(subjects: list[Subject], *, requests: int, paced: int) -> None:
    for subject in subjects:
        await load(subject, "burst", requests=50, clients=4)
    idle = {subject.name: subject.rss_mb() for subject in subjects}
    print(f"{'':14}{'one after another, burst':>34}{'32 clients, burst':>26}{f'{paced} paced at once':>34}{'RSS':>8}")
    print(
        f"{'':14}{'p50 ms':>10}{'p99 ms':>10}{'CPU ms':>14}{'req/s':>12}{'CPU ms':>14}{'p50 ms':>10}{'p99 ms':>10}{'CPU ms':>14}{'MB':>8}"
    )
    rows: dict[str, tuple[Load, Load, Load]] = {}
    for subject in subjects:
        alone = await load(subject, "burst", requests=requests, clients=1)
        many = await load(subject, "burst", requests=2 * requests, clients=32)
        slow = await load(subject, "paced", requests=paced, clients=paced)
        rows[subject.name] = (alone, many, slow)
        print(
            f"{subject.name:14}{alone.quantile_ms(0.5):10.2f}{alone.quantile_ms(0.99):10.2f}{alone.cpu_ms:14.2f}"
            f"{len(many.seconds) / many.wall_s:12.0f}{many.cpu_ms:14.2f}"
            f"{slow.quantile_ms(0.5):10.0f}{slow.quantile_ms(0.99):10.0f}{slow.cpu_ms:14.2f}{subject.rss_mb():8.0f}"
        )
    bare, passing, ours = (rows[name] for name in ("provider", "pass-through", "gateway"))
    print(f"\nadded by the pass-through: p50 {added(passing[0], bare[0], 0.5)}, p99 {added(passing[0], bare[0], 0.99)}")
    print(f"added by the gateway:      p50 {added(ours[0], bare[0], 0.5)}, p99 {added(ours[0], bare[0], 0.99)}")
    print(
        f"CPU, gateway / pass-through: burst {ours[1].cpu_ms / passing[1].cpu_ms:.2f}x, paced {ours[2].cpu_ms / passing[2].cpu_ms:.2f}x (aim 1.5x)"
    )
    print(
        f"requests per second and core: pass-through {1_000 / passing[1].cpu_ms:.0f}, gateway {1_000 / ours[1].cpu_ms:.0f}"
    )
    print(f"idle memory: pass-through {idle['pass-through']:.0f} MB, gateway {idle['gateway']:.0f} MB")


def added(load: Load, bare: Load, part: float) -> str:
    return f"{load.quantile_ms(part) - bare.quantile_ms(part):.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", nargs="?", default="compare", choices=["compare", "provider", "pass-through"])
    parser.add_argument("--upstream", default="")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--paced", type=int, default=100)
    given = parser.parse_args()
    roles: dict[str, Callable[[], Awaitable[None]]] = {
        "provider": provide,
        "pass-through": lambda: pass_through(given.upstream),
    }
    if given.role in roles:
        uvloop.run(roles[given.role]())  # type: ignore[arg-type]  # each is a coroutine
        return
    this = [sys.executable, __file__]
    with ExitStack() as stack:
        provider = stack.enter_context(started("provider", [*this, "provider"]))
        passing = stack.enter_context(started("pass-through", [*this, "pass-through", "--upstream", provider.url]))
        gateway = stack.enter_context(our_gateway(provider.url))
        uvloop.run(compare([provider, passing, gateway], requests=given.requests, paced=given.paced))


if __name__ == "__main__":
    main()
