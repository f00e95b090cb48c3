"""A private registry as the sandbox sees it: the credential is added here, on our side, to requests that read.

The tunnel to such a host ends with us. We speak TLS to the client with a certificate of the phase's own authority, read
each request, put the operator's credential in place of whatever the client sent, and go on over TLS of our own, checked
as usual. What would write (publish a package, push to a repository, change a token) is refused: the credential is the
operator's, and the code that uses it is anybody's.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from socket import socket

from crewcap.workspaces.egress.authority import Authority
from crewcap.workspaces.egress.exchange import CutShort, Server, exchange, refusal
from crewcap.workspaces.egress.http import LARGEST_HEAD, Header, Malformed, Request, read_request
from crewcap.workspaces.egress.rules import Target
from crewcap.workspaces.egress.streams import Bounds, Stream, read_head

Refused = Callable[[str], None]  # takes the reason down
Opened = Callable[[ssl.SSLContext], Awaitable[Stream]]  # a connection to the registry itself, over TLS

# What asks with a body and still only reads: git's fetch, npm's questions about known weaknesses.
_READING_POSTS = re.compile(r"/git-upload-pack$|/-/npm/v1/security/(?:advisories/bulk|audits(?:/quick)?)$")
_OURS = (  # set by us, or a way to make a request mean another
    "authorization", "cookie", "expect", "host", "x-http-method", "x-http-method-override", "x-method-override",
)  # fmt: skip


@dataclass(slots=True)
class Desk:
    """Where tunnels to private registries end."""

    authority: Authority
    bounds: Bounds
    _contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)  # as which we speak inside
    _trusting: dict[str, ssl.SSLContext] = field(default_factory=dict)  # whom we trust outside

    async def serve(self, end: socket, target: Target, opened: Opened, refused: Refused) -> None:
        """Answer the client at this end of its tunnel, until it hangs up."""
        client = await self._greeted(end, target.host)
        if target.host not in self._trusting:
            self._trusting[target.host] = _trusting(target)
        server = Server(functools.partial(opened, self._trusting[target.host]), answer_s=self.bounds.idle_s)
        try:
            while raw := await read_head(client.reader, within_s=self.bounds.idle_s):
                if not await self._answer(raw, client, server, target, refused):
                    break
        except CutShort:
            client.abort()
        finally:
            server.close()
            await client.close()

    async def _greeted(self, end: socket, host: str) -> Stream:
        """The client's connection, once it has spoken TLS with us."""
        if host not in self._contexts:
            self._contexts[host] = self.authority.server_context(host)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LARGEST_HEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, end, ssl=self._contexts[host], ssl_handshake_timeout=self.bounds.head_s
        )
        return Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def _answer(self, raw: bytes, client: Stream, server: Server, target: Target, refused: Refused) -> bool:
        """One request; whether the client may send another."""
        try:
            request = read_request(raw)
            if reason := _why_not(request, target):
                refused(reason)
                await client.send(refusal(403, reason))
                return False
            first = f"{request.method} {request.target} HTTP/1.1"
            headers = _headers(request, target)
            answer, keeps = await exchange(
                client, server, request, first=first, headers=headers, sent=_uncounted, got=_uncounted
            )
        except Malformed as error:
            refused(str(error))
            await client.send(refusal(400, str(error)))
            return False
        except OSError as error:
            reason = _unreachable(error)
            refused(reason)
            await client.send(refusal(502, reason))
            return False
        if answer.status in {401, 403}:
            refused(f"the registry answered {answer.status} to the credential in [registries]")
        return keeps


def _uncounted(_: int) -> None:
    """The tunnel counts what goes through it."""


def _why_not(request: Request, target: Target) -> str:
    """Why a request may not go to the registry; empty = it may."""
    path, _, query = request.target.partition("?")
    if not path.startswith("/"):
        return "a registry is asked by path"
    if request.head.one("host").lower().partition(":")[0] != target.host:  # some clients name a port of their own
        return "its Host header names another host"
    reads = request.method in {"GET", "HEAD"} or (request.method == "POST" and _READING_POSTS.search(path))
    if not reads or "git-receive-pack" in query:
        return f"the credential of a private registry is for reading, not for {request.method}"
    return ""


def _headers(request: Request, target: Target) -> tuple[Header, ...]:
    """The client's own, with our word on who is asking."""
    host = target.host if target.port == 443 else f"{target.host}:{target.port}"
    credential = target.registry.authorization if target.registry else ""
    return (("Host", host), *request.head.onward(without=_OURS), ("Authorization", credential))


def _trusting(target: Target) -> ssl.SSLContext:
    """What this machine trusts, and the registry's own authority."""
    context = ssl.create_default_context()
    if target.registry and target.registry.authority:
        context.load_verify_locations(cadata=target.registry.authority.decode("ascii"))
    return context


def _unreachable(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the registry's certificate is not trusted here: {error.verify_message}"
    return "the registry does not answer"
