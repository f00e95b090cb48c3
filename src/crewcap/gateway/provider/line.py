"""One connection to a provider: a request goes out, an answer comes in, and so on, one after the other.

Gateways are what this process is for, and an answer's chunks are most of what it does. aiohttp's client wakes a task
for each of them; here a chunk goes to whoever takes it in the call of the event loop that brought its bytes. The head
of an answer is read by aiohttp's parser, where its body ends by `framing`; names, addresses and TLS are aiohttp's, too
(`lines`).

A line may be used again after an answer that was read to its end and that does not forbid it, when the request had
gone out whole. In every other case it is closed: nobody knows what comes next on it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, cast

from aiohttp.http import HttpProcessingError, HttpResponseParser, RawResponseMessage
from aiohttp.http_exceptions import LineTooLong

from crewcap.gateway.provider.framing import BadFraming, Chunked, Framing, Open, Sized, Unreadable, unpacked

Take = Callable[[bytes], bool]
"""Takes a chunk; says whether more is wanted."""

LARGEST_HEAD = 2**16
LONGEST_HEADER = 8_190  # as aiohttp's parser has it
AT_ONCE = 2**16  # bytes of a request that are written with their head
PIECE = 2**18  # of a larger one, whenever there is room
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BARE = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_NOTHING = memoryview(b"")


class Line(asyncio.Protocol):
    """A connection that is open, or was."""

    def __init__(self, transport: asyncio.Transport, *, lost: Callable[[Exception | None], None]) -> None:
        self.idle_since = 0.0
        self._transport = transport
        self._lost = lost  # told once, when it is gone for good
        self._loop = asyncio.get_running_loop()
        self._head: bytes | None = None  # of the answer that is waited for, as far as it is there
        self._waiting: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._read = _heads(self._loop)
        self._unsent = _NOTHING
        self._is_full = False
        self._is_paused = False

    @property
    def is_open(self) -> bool:
        """Whether a request may be tried on it."""
        return not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes) -> Answer:
        """Send a request; its answer, as soon as its head is there."""
        self._head, self._waiting = b"", self._loop.create_future()
        try:
            if len(body) <= AT_ONCE:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                self._unsent = memoryview(body)
                self._send_on()
            return await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None

    def release(self) -> bool:
        """The answer is done with: whether another request may be sent."""
        answer, self._answer = self._answer, None
        is_clean = answer is not None and answer.may_be_followed and not self._unsent
        if not is_clean:
            self.close()
        return is_clean and self.is_open

    def close(self) -> None:
        """Hang up."""
        self._unsent, self._head = _NOTHING, None
        self._transport.abort()

    def pause(self) -> None:
        """Let nothing come for now; whoever sends is told so by the full line."""
        if self.is_open and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on."""
        if self._is_paused and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()

    # --- what the event loop tells

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._answer is not None:
            self._answer.feed(data)
        elif self._head is not None:
            self._head += data
            self._read_head()
        else:
            self.close()  # nothing was asked

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; where a body ends with it, that is its end."""
        self._unsent = _NOTHING
        if self._answer is not None:
            self._answer.cut(exc)
        self._fail(exc or ConnectionResetError("the provider hung up"))
        self._lost(exc)

    def pause_writing(self) -> None:
        """The provider is slow to take the request."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It takes it again."""
        self._is_full = False
        self._send_on()

    # --- in and out

    def _send_on(self) -> None:
        while self._unsent and not self._is_full:
            piece, self._unsent = self._unsent[:PIECE], self._unsent[PIECE:]
            self._transport.write(piece)
        if not self._unsent:
            self._unsent = _NOTHING  # an empty part of a body would keep the whole of it

    def _read_head(self) -> None:
        """The head, once it is whole; those that only say that an answer will come are passed over."""
        while (end := _HEAD_END.search(self._head or b"")) is not None:
            head, rest = end.string[: end.end()], end.string[end.end() :]
            if len(head) > LARGEST_HEAD:
                break
            try:
                message = _parsed(self._read(head))
                if message.code >= HTTPStatus.OK:
                    self._head = None
                    self._begin(message, rest)
                    return
            except (HttpProcessingError, BadFraming) as error:
                self._fail(_why_not(error))
                self.close()
                return
            self._head, self._read = rest, _heads(self._loop)
        if len(self._head or b"") > LARGEST_HEAD:
            self._fail(Unreadable(_TOO_LARGE))
            self.close()

    def _begin(self, message: RawResponseMessage, rest: bytes) -> None:
        framing, sealed_as = unpacked(_framing(message), message.headers.get("content-encoding", "").strip().lower())
        answer = self._answer = Answer(self, message, framing, sealed_as=sealed_as)
        if rest:
            answer.feed(rest)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


class Answer:
    """One answer: its head, and its body by pieces, whole, or handed on as it comes."""

    def __init__(self, line: Line, message: RawResponseMessage, framing: Framing, *, sealed_as: str = "") -> None:
        self.status: int = message.code
        self.sealed_as = sealed_as  # an encoding that is not read here: the body is not known
        self.headers: Mapping[str, str] = message.headers  # by name in any letters
        self._line: Line | None = line
        self._framing = framing
        self._is_last = message.should_close
        self._is_behind = False  # something came that belongs to no answer
        self._error: Exception | None = None
        self._kept: list[bytes] = []  # until somebody takes it
        self._take: Take | None = None
        self._is_enough = False  # whoever takes it wants nothing more
        self._bell: asyncio.Future[None] | None = None
        self._released: Callable[[Line], None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done()

    def then(self, released: Callable[[Line], None]) -> Answer:
        """Tell who gets the line when it may be used again."""
        self._released = released
        return self

    @property
    def content_type(self) -> str:
        """In small letters, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_over(self) -> bool:
        """Its last byte has come, and nothing was wrong with it."""
        return self._framing.is_over and self._error is None

    @property
    def may_be_followed(self) -> bool:
        """Whether what comes next on the line belongs to the next answer."""
        return self.is_over and not (self._is_last or self._is_behind or self._framing.has_overrun)

    async def readany(self) -> bytes:
        """What has come meanwhile, or comes next; nothing at the end."""
        while not (self._kept or self._error or self._framing.is_over):
            await self._wait()
        if self._error is not None:
            raise self._error
        return self._taken()

    async def read(self) -> bytes:
        """The whole body."""
        while not (self._error or self._framing.is_over):
            await self._wait()
        if self._error is not None:
            raise self._error
        return self._taken()

    async def flow(self, take: Take) -> bytes:
        """Hand on what there is and each piece as it comes, while more is wanted; return what came with the end."""
        if self.is_over:
            return self._taken()
        if (kept := self._taken()) and not take(kept):
            return b""
        self._take, self._is_enough = take, False
        try:
            while not (self._is_enough or self._error or self._framing.is_over):
                await self._wait()
        finally:
            self._take = None
        if self._error is not None:
            raise self._error
        return self._taken()

    def pause(self) -> None:
        """Let nothing come for now."""
        if self._line is not None:
            self._line.pause()

    def resume(self) -> None:
        """Go on."""
        if self._line is not None:
            self._line.resume()

    def close(self) -> None:
        """End it; whoever reads it is told at once."""
        self._fail(ConnectionResetError("the answer was closed here"))
        if self._line is not None:
            self._line.close()

    def done(self) -> None:
        """It is not needed any more: its line goes to the next request, or is closed."""
        line, self._line = self._line, None
        if line is not None:
            line.resume()
            if line.release() and self._released is not None:
                self._released(line)

    # --- from the line

    def feed(self, data: bytes) -> None:
        """Bytes came."""
        if self._framing.is_over or self._error is not None:
            self._is_behind = True
            return
        try:
            body = self._framing.feed(data)
            if not body:
                pass
            elif self._take is None or self._framing.is_over:
                self._kept.append(body)
                self._ring()
            elif not (self._is_enough or self._take(body)):
                self._is_enough = True
                self._ring()
        except Exception as error:  # noqa: BLE001  (it is raised again where the answer is read)
            self._fail(error)
        if self._framing.is_over:
            self._ring()

    def cut(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self._framing.is_over or self._error is not None:
            return
        if error is not None:  # which is no end, not even of a body that ends with its connection
            self._fail(error)
            return
        try:
            self._framing.close()
        except BadFraming as bad:
            self._fail(bad)
        self._ring()

    async def _wait(self) -> None:
        self._bell = asyncio.get_running_loop().create_future()
        try:
            await self._bell
        finally:
            self._bell = None

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._ring()

    def _taken(self) -> bytes:
        kept, self._kept = self._kept, []
        return kept[0] if len(kept) == 1 else b"".join(kept)


def request_head(target: str, host: str, headers: Mapping[str, str], size_bytes: int) -> bytes:
    """The head of a POST; `ValueError` where a header holds what no header may."""
    lines = [f"POST {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    if _CONTROL.search("".join(lines)):
        raise ValueError("a header holds a control character")
    return ("\r\n".join(lines) + f"\r\ncontent-length: {size_bytes}\r\n\r\n").encode()


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _heads(loop: asyncio.AbstractEventLoop) -> Callable[[bytes], Any]:
    """Reads the heads of answers, by aiohttp's parser, which is told that no body follows: that one is ours."""
    nobody = cast("Any", asyncio.Protocol())  # would be asked to pause while a body is read
    parser = HttpResponseParser(
        nobody,
        loop,
        LARGEST_HEAD,
        max_line_size=LONGEST_HEADER,
        max_headers=LARGEST_HEAD,  # as many as fit
        max_field_size=LONGEST_HEADER,
        response_with_body=False,
        auto_decompress=False,
    )
    return parser.feed_data


def _parsed(found: Any) -> RawResponseMessage:
    """What the parser made of one head."""
    messages, _, _ = found
    if len(messages) != 1 or messages[0][0].code == HTTPStatus.SWITCHING_PROTOCOLS:
        raise BadFraming("what came is not the head of one answer")
    message: RawResponseMessage = messages[0][0]
    return message


def _why_not(error: HttpProcessingError | BadFraming) -> BadFraming:
    """Why a head is none."""
    if isinstance(error, LineTooLong):
        return Unreadable(_TOO_LARGE)
    return error if isinstance(error, BadFraming) else BadFraming("what came is not HTTP")


_TOO_LARGE = (
    f"the head of the provider's answer is too large: it may have {LARGEST_HEAD:,} bytes, "
    f"and each of its lines {LONGEST_HEADER:,}"
)


def _framing(message: RawResponseMessage) -> Framing:
    """How the body is framed, by the head (RFC 9112, section 6.3)."""
    if message.code in _BARE:
        return Sized(0)
    if message.chunked:
        return Chunked()
    if "transfer-encoding" not in message.headers and (size := message.headers.get("content-length")) is not None:
        return Sized(int(size))
    return Open()
