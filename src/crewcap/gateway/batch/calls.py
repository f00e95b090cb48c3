"""A provider's batch API over HTTP: each call says what came back, or that nobody knows.

Unsent (upstream)   no byte was written: nothing happened
Unsure              something was written and no whole answer came
(status, body)      a whole answer, good or bad
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from crewcap.gateway.provider.upstream import Provider, Upstream
from crewcap.wire.batches import Lines, Sending

SEND_S = 600  # a large batch over a slow line
ASK_S = 60
SILENT_S = 300  # inside a file of results
MOST_BYTES = 2**22  # of an answer that is not a file of results
HEADERS = {"anthropic-version": "2023-06-01", "accept": "*/*"}


class Unsure(Exception):
    """Something was sent, and how it ended is not known."""


@dataclass(frozen=True, slots=True)
class Said:
    """A whole answer."""

    status: int
    body: bytes
    retry_after_s: float = 0

    @property
    def is_good(self) -> bool:
        """Whether the provider did what was asked."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls with one provider's key."""

    upstream: Upstream
    provider: Provider

    async def send(self, sending: Sending) -> Said:
        """A POST with a body."""
        return await self._whole("POST", sending.path, sending.body, sending.content_type, limit_s=SEND_S)

    async def post(self, path: str) -> Said:
        """A POST without one."""
        return await self._whole("POST", path, None, "", limit_s=ASK_S)

    async def get(self, path: str) -> Said:
        """A question."""
        return await self._whole("GET", path, None, "", limit_s=ASK_S)

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """A file of results, line by line; `Unsure` where it breaks off, `Gone` where the provider has it no more."""
        try:
            async with asyncio.timeout(ASK_S):
                answer = await self.upstream.ask(self.provider, "GET", path, body=None, headers=HEADERS)
            async with answer:
                if answer.status in {404, 410}:
                    raise Gone(path)
                if answer.status != 200:
                    raise Unsure(f"the provider answered {answer.status} to {path}")
                cutter = Lines()
                while chunk := await asyncio.wait_for(answer.content.readany(), SILENT_S):
                    for line in cutter.feed(chunk):
                        yield self._hidden(line)
                for line in cutter.close():
                    yield self._hidden(line)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unsure(f"the results broke off ({type(error).__name__})") from error

    async def _whole(self, method: str, path: str, body: bytes | None, content_type: str, *, limit_s: float) -> Said:
        headers = {**HEADERS, **({"content-type": content_type} if content_type else {})}
        try:
            async with asyncio.timeout(limit_s):
                answer = await self.upstream.ask(self.provider, method, path, body=body, headers=headers)
                async with answer:
                    read = await answer.content.read(MOST_BYTES) if answer.status >= 400 else await answer.read()
                    return Said(answer.status, self._hidden(read), _retry_after(answer.headers.get("retry-after", "")))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unsure(f"no whole answer came ({type(error).__name__})") from error

    def _hidden(self, said: bytes) -> bytes:
        """Without the provider's key: of what is said here much is kept, and printed."""
        return self.upstream.hide_key(self.provider, said)


class Gone(Exception):
    """The provider does not have it any more."""


def _retry_after(text: str) -> float:
    try:
        return min(600.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
