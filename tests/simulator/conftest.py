"""A client of a few lines for the simulator, and requests to send it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crewcap.prices import Book, load
from crewcap.simulator.script import Script
from crewcap.simulator.server import Simulator

KEY = "sk-ant-fake-0123456789-abcdefgh"
LIMIT_S = 20


@dataclass(frozen=True)
class Said:
    """An answer, read to its end."""

    status: int
    headers: dict[str, str]
    data: Any  # the JSON, or the events of a stream
    is_whole: bool = True  # False where the connection closed too early

    @property
    def usage(self) -> Any:
        """The last usage, of a message or of a stream."""
        if isinstance(self.data, list):
            return next(event["usage"] for event in reversed(self.data) if "usage" in event)
        return self.data["usage"]


@dataclass
class Client:
    """Talks to one simulator, one connection a request."""

    url: str
    key: str = KEY
    headers: dict[str, str] = field(default_factory=dict)

    def open(self, path: str, body: Any = None, method: str = "POST") -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=LIMIT_S)
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        connection.request(method, path, content, {"x-api-key": self.key, **self.headers})
        return connection

    def send(self, path: str, body: Any = None, method: str = "POST") -> Said:
        connection = self.open(path, body, method)
        response = connection.getresponse()
        try:
            raw, is_whole = response.read(), True
        except (http.client.IncompleteRead, ConnectionResetError) as error:
            raw, is_whole = getattr(error, "partial", b""), False
        connection.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        kind = headers.get("content-type", "")
        data = (
            events(raw)
            if "event-stream" in kind
            else json.loads(raw)
            if raw and "json" in kind and "nd" not in kind
            else raw
        )
        return Said(response.status, headers, data, is_whole)

    def ask(self, body: Any) -> Said:
        return self.send("/v1/messages", body)

    def get(self, path: str) -> Said:
        return self.send(path, method="GET")


def events(raw: bytes) -> list[Any]:
    """The data of each event of a stream."""
    data = (line[6:] for line in raw.splitlines() if line.startswith(b"data: "))
    return [json.loads(each) for each in data if each != b"[DONE]"]


def asking(*messages: Any, **more: Any) -> dict[str, Any]:
    """A request; a text stands for a user's message."""
    spoken = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages or ("hello",)]
    return {"model": "claude-sonnet-5", "max_tokens": 64_000, "messages": spoken, **more}


def followed(body: dict[str, Any], message: Any, *results: str) -> dict[str, Any]:
    """The request that follows an answer: its calls answered with these results."""
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    answers = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": result}
        for call, result in zip(calls, results or ("ok",) * len(calls), strict=True)
    ]
    said = [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": answers}]
    return {**body, "messages": [*body["messages"], *said]}


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: int) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def book() -> Book:
    return load()


@pytest.fixture
def play(clock: Clock, book: Book) -> Iterator[Callable[..., tuple[Simulator, Client]]]:
    """Start a simulator with a script, and a client of it; both end with the test."""
    with ExitStack() as stack:

        def start(script: Script | str | Path, **options: Any) -> tuple[Simulator, Client]:
            simulator = stack.enter_context(Simulator.in_thread(script, **{"clock": clock, "book": book, **options}))
            return simulator, Client(simulator.url)

        yield start
