"""HTTP as it comes in. What cannot be read as HTTP is answered in a shape that the clients of every family read.

The library answers such a request with the bytes that it could not read, and writes them into the log; a key may be
among them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from aiohttp import web

log = logging.getLogger(__name__)


class Protocol(web.RequestHandler):
    """One connection."""

    is_full = False  # the client does not take what was written, so that more would only pile up
    _say: Callable[[], None] | None = None

    def when_roomy(self, say: Callable[[], None]) -> None:
        """Say so, once, when what was written is taken again, or never will be."""
        self._say = say

    def pause_writing(self) -> None:
        """The client takes nothing."""
        super().pause_writing()
        self.is_full = True

    def resume_writing(self) -> None:
        """The client takes it again."""
        super().resume_writing()
        self.is_full = False
        self._tell()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self._tell()

    def _tell(self) -> None:
        say, self._say = self._say, None
        if say is not None:
            say()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say that it cannot be read, and close: where the next request would begin is anybody's guess."""
        del message
        log.info("a request that cannot be read was refused: %s", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        answer = web.Response(status=status, body=_refusal(status), content_type="application/json")
        answer.force_close()
        return answer


class Server(web.Server):
    """Makes such connections."""

    def __call__(self) -> Protocol:
        """One more."""
        return Protocol(self, loop=self._loop, **self._kwargs)


def _refusal(status: int) -> bytes:
    """Anthropic's and OpenAI's members side by side; Google's clients look for the message alone."""
    is_theirs = status < 500
    kind = "invalid_request_error" if is_theirs else "api_error"
    said = "the request is not HTTP/1.1 that can be read in one way only" if is_theirs else "crewcap could not answer"
    error = {"type": kind, "message": said, "param": None, "code": "malformed_request" if is_theirs else None}
    return json.dumps({"type": "error", "error": error}).encode()
