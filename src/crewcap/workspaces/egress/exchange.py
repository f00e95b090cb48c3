"""One HTTP request and its answer, carried between a client inside and a server outside; both heads written anew."""

from __future__ import annotations

from asyncio import StreamReader
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from crewcap.workspaces.egress.http import Answer, Header, Malformed, Request, read_answer, write_head
from crewcap.workspaces.egress.streams import Stream, carry_body, read_head

Counted = Callable[[int], None]


class CutShort(Exception):
    """An answer ended in its middle: nothing may be added to it, and its end must not look like one."""


@dataclass(slots=True)
class Server:
    """The server's side of a client's connection: opened when it is first needed, and again when it had closed."""

    open: Callable[[], Awaitable[Stream]]
    answer_s: float
    stream: Stream | None = None

    async def ask(self, request: Request, head: bytes, client: Stream, sent: Counted) -> tuple[Answer, StreamReader]:
        """Send a request and read how the answer begins; once more where an older connection turns out to be closed."""
        has_body = request.head.framing is not None
        if self.stream is not None and not has_body:
            try:
                return await self._ask(self.stream, request, head, client, sent)
            except (ConnectionError, EOFError):
                self.close()
        if self.stream is None:
            self.stream = await self.open()
        return await self._ask(self.stream, request, head, client, sent)

    async def _ask(
        self, stream: Stream, request: Request, head: bytes, client: Stream, sent: Counted
    ) -> tuple[Answer, StreamReader]:
        sent(len(head))
        await stream.send(head)
        if (framing := request.head.framing) is not None:
            await carry_body(framing, client.reader, stream, sent)
        while True:
            raw = await read_head(stream.reader, within_s=self.answer_s)
            if not raw:
                raise ConnectionResetError("the server hung up")
            answer = read_answer(raw)
            if answer.status >= 200:
                return answer, stream.reader

    def close(self) -> None:
        """Hang up."""
        if self.stream is not None:
            self.stream.abort()
            self.stream = None


async def exchange(
    client: Stream,
    server: Server,
    request: Request,
    *,
    first: str,
    headers: Sequence[Header],
    sent: Counted,
    got: Counted,
) -> tuple[Answer, bool]:
    """Carry one request, under this first line and these headers; the answer, and whether the client may go on."""
    coding: tuple[Header, ...] = (("Transfer-Encoding", "chunked"),) if request.head.framing == "chunked" else ()
    if request.head.one("expect").lower() == "100-continue":
        await client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    answer, rest = await server.ask(request, write_head(first, (*headers, *coding)), client, sent)
    framing = answer.head.framing
    ends_itself = framing is not None or not answer.has_body(request.method)
    keeps = request.head.keeps_open and ends_itself
    try:
        await client.send(_head_of(answer, has_body=answer.has_body(request.method), keeps=keeps))
        if answer.has_body(request.method):
            await carry_body(framing, rest, client, got)
    except (OSError, EOFError, Malformed) as error:
        raise CutShort(str(error)) from None
    if not (answer.head.keeps_open and ends_itself):
        server.close()
    return answer, keeps


def _head_of(answer: Answer, *, has_body: bool, keeps: bool) -> bytes:
    """An answer's head for the client."""
    coding: tuple[Header, ...] = (
        (("Transfer-Encoding", "chunked"),) if has_body and answer.head.framing == "chunked" else ()
    )
    staying: tuple[Header, ...] = () if keeps else (("Connection", "close"),)
    words = answer.head.first.partition(" ")[2]
    return write_head(f"HTTP/1.1 {words}", (*answer.head.onward(), *coding, *staying))


def refusal(status: int, reason: str) -> bytes:
    """An answer of ours: the reason stands in its first line too, because that is what most tools print."""
    words = "".join(letter if " " <= letter <= "~" else "?" for letter in reason)[:200]
    body = f"crewcap: {words}\n".encode("ascii")
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *((("Proxy-Authenticate", 'Basic realm="crewcap"'),) if status == 407 else ()),
    ]
    return write_head(f"HTTP/1.1 {status} {words}", headers) + body
