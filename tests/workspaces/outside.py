"""The internet as the tests of the way out have it: servers on loopback under public names, and one that nobody asked.

TLS is real: the servers' certificates come from an authority of the test's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crewcap.workspaces import Fittings
from crewcap.workspaces.egress.authority import Authority
from crewcap.workspaces.egress.log import Connection, read_log
from crewcap.workspaces.egress.opening import Allowed, Bounds, Outside, Registry, egress

NAMES = ("packages.test", "files.test", "other.test", "private.test", "localhost")
AUTHORITY = Authority.make(NAMES, now=datetime.now(UTC))
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request that a server saw."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]


@dataclass(kw_only=True)
class Site:
    """A server under a public name; pages by path."""

    host: str
    pages: Mapping[str, tuple[str, bytes]]
    redirects: Mapping[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0


@contextlib.contextmanager
def site(
    host: str, pages: Mapping[str, tuple[str, bytes]], *, redirects: Mapping[str, str] | None = None, tls: bool = True
) -> Iterator[Site]:
    """A server with these pages (type and content), over TLS unless said otherwise."""
    made = Site(host=host, pages=pages, redirects=redirects or {})
    server = ThreadingHTTPServer((LOOPBACK, 0), _handler(made))
    server.daemon_threads = True
    if tls:
        context = AUTHORITY.server_context(host)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _handler(made: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_GET(self) -> None:
            asked = Asked(
                method=self.command, host=self.headers.get("Host", ""), path=self.path, headers=dict(self.headers)
            )
            made.asked.append(asked)
            path = self.path.partition("?")[0]
            if path in made.redirects:
                self._answer(302, "text/plain", b"", Location=made.redirects[path])
            elif path in made.pages:
                self._answer(200, *made.pages[path])
            else:
                self._answer(404, "text/plain", b"there is no such page")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        do_HEAD = do_GET  # noqa: N815  (the library's names)
        do_PUT = do_DELETE = do_POST  # noqa: N815  (the same)

        def _answer(self, status: int, kind: str, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the library's word)
            pass

    return Handler


@dataclass
class Rogue:
    """A listener that nothing may ever reach: how often somebody connected, and what they sent."""

    port: int = 0
    connections: int = 0
    received: bytes = b""


@contextlib.contextmanager
def rogue() -> Iterator[Rogue]:
    """One, on loopback."""
    made = Rogue()
    stop = threading.Event()
    with socket.create_server((LOOPBACK, 0)) as listener:
        made.port = listener.getsockname()[1]
        listener.settimeout(0.05)
        thread = threading.Thread(target=_listen, args=(listener, made, stop), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            stop.set()
            thread.join(5)


def _listen(listener: socket.socket, made: Rogue, stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            connection, _ = listener.accept()
            made.connections += 1
            with connection, contextlib.suppress(OSError):
                connection.settimeout(0.5)
                made.received += connection.recv(65_536)


def outside(places: Mapping[str, int], *, addresses: Mapping[str, str] | None = None) -> Outside:
    """Loopback stands for the internet: names lead to these ports of it, or to the address that is said."""
    where = addresses or {}

    async def resolve(host: str, port: int) -> Sequence[tuple[str, int]]:
        if host in where:
            return [(where[host], port)]
        if host not in places:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(LOOPBACK, places[host])]

    return Outside(resolve=resolve, permits=lambda address: address == LOOPBACK)


@dataclass(frozen=True, kw_only=True)
class Way:
    """An open way out, on this machine's loopback."""

    fittings: Fittings
    path: Path

    @property
    def proxy(self) -> str:
        return self.fittings.environ["HTTPS_PROXY"]

    @property
    def port(self) -> int:
        return self.fittings.outlets[0].host_port

    @property
    def credential(self) -> str:
        """What the proxy wants to see, for requests that a test writes itself."""
        return self.proxy.removeprefix("http://").partition("@")[0]

    @property
    def log(self) -> tuple[Connection, ...]:
        return read_log(self.path)

    def refused(self) -> list[str]:
        """Why, one line each."""
        return [each.reason for each in self.log if each.verdict == "refused"]


@contextlib.asynccontextmanager
async def way_out(
    folder: Path, allowed: Allowed, *, to: Outside | None = None, bounds: Bounds | None = None
) -> AsyncIterator[Way]:
    """A way out as a rung without a loopback of its own has it, so that programs here can take it."""
    async with egress(
        allowed,
        phase="setup",
        log=folder / "network.jsonl",
        loopback=False,
        home=str(folder),
        outside=to or Outside(),
        bounds=bounds or Bounds(),
    ) as fittings:
        _write(fittings.files)
        yield Way(fittings=fittings, path=folder / "network.jsonl")


def _write(files: Mapping[str, bytes]) -> None:
    """As a launcher does it."""
    for path, content in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)


def registry(made: Site, **more: Any) -> Registry:
    """A registry that lies where this server does."""
    return Registry(host=made.host, address=f"{LOOPBACK}:{made.port}", authority=AUTHORITY.certificate, **more)


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


async def perform(*argv: str, environ: Mapping[str, str], cwd: Path, limit_s: float = 60) -> Ended:
    """A program with these variables alone."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(environ),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(), limit_s)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return Ended(child.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def greeting(name: str | None) -> bytes:
    """A TLS greeting for a name, as OpenSSL writes it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = context.wrap_bio(into, out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        talk.do_handshake()
    return out.read()


def run(work: Callable[[], Any], *, limit_s: float = 90) -> Any:
    """A coroutine function on a loop of its own, with a limit."""

    async def bounded() -> Any:
        return await asyncio.wait_for(work(), limit_s)

    return asyncio.run(bounded())
