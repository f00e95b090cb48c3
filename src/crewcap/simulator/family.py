"""One API that the simulator speaks: how its bodies are read, its answers are written, and it says no.

What is shared stands elsewhere: which step answers, how large the answer is, what the cache holds, what is billed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from crewcap.core.pricing import RateCard
from crewcap.simulator.answers import Answer
from crewcap.simulator.conversation import Asked
from crewcap.simulator.script import Step
from crewcap.simulator.troubles import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """So much of a stream as is sent at once: an event, or an element of a list."""

    data: bytes
    generated: int  # output tokens that were made until then
    is_paced: bool = False  # it holds content, so it comes at the script's pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An error answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Family(Protocol):
    """One API of a provider."""

    provider: str  # whose price list
    tells: frozenset[str]  # which of geo, speed and tier its answers tell
    keeps_unasked: bool  # prompts are cached without being marked

    def read(
        self, body: bytes, headers: Mapping[str, str], *, path: str = "", counting: bool = False, bytes_per_token: int
    ) -> Asked:
        """Read a request, or one to the count call; `BadRequest` in the provider's words."""
        ...

    def limit(self, asked: Asked, card: RateCard) -> int:
        """The output limit that holds; `BadRequest` where the model has a lower one."""
        ...

    def remember(self, answer: Answer, asked: Asked) -> None:
        """Keep what a later request may name instead of saying it."""
        ...

    def whole(self, answer: Answer, asked: Asked) -> Any:
        """The answer of a request that does not stream."""
        ...

    def parts(self, answer: Answer, step: Step, asked: Asked) -> Iterator[Part]:
        """The answer of one that does."""
        ...

    def stream_type(self, asked: Asked) -> str:
        """The content type of a stream."""
        ...

    def counted(self, tokens: int) -> Any:
        """The answer of the count call."""
        ...

    def listed(self, names: list[str]) -> Any:
        """The answer to whoever asks for the models."""
        ...

    def naming(self, request_id: str) -> dict[str, str]:
        """The headers that name a request."""
        ...

    def refusal(self, trouble: Trouble, request_id: str) -> Refused:
        """An error answer."""
        ...

    def broken(self, trouble: Trouble, request_id: str, asked: Asked) -> bytes:
        """An error in the middle of a stream."""
        ...


def compact(value: Any) -> str:
    """JSON without the spaces that nobody needs."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sse(data: Any, event: str = "") -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {compact(data)}\n\n".encode()


def shares(text: str, count: int) -> Iterator[str]:
    """A text in so many parts, of about the same length."""
    size = len(text)
    return (text[size * n // count : size * (n + 1) // count] for n in range(count))
