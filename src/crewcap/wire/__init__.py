"""Floor 1: providers' wire formats, sans-I/O: bytes in, values out.

A dialect turns a request's bytes into an `Ask` (what it may cost), rewrites the few bytes that the gateway may
touch, meters an answer's bytes, and says no in the provider's own shape. A new provider is one file and one line
in `ENDPOINTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from crewcap.core.asks import Ask, Bound
from crewcap.core.pricing import Modifiers, Usage, Write
from crewcap.core.quick import quickly_made
from crewcap.wire.outline import Outline

__all__ = [
    "COUNT_PATHS",
    "ENDPOINTS",
    "Answer",
    "Ask",
    "Bound",
    "Dialect",
    "Malformed",
    "Meter",
    "Outline",
    "Reading",
    "RefusalKind",
    "Sieve",
    "Tier",
]


STANDARD = Modifiers()


class Malformed(ValueError):
    """The body cannot be read without guessing (not JSON, duplicate keys, NaN, too deep, lone surrogates...)."""


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a meter knows so far of an answer."""

    model: str = ""  # as the provider names it
    usage: Usage | None = None  # the last snapshot of each field
    usage_is_whole: bool = False  # prompt and final output were both told; else `usage` is only the least
    prompt_is_exact: bool = False  # an event with the full cache split was seen: the hold may shrink
    is_complete: bool = False  # the answer ended as the provider ends one
    has_started: bool = False  # at least one event, or a byte of a 2xx body, was seen
    modifiers: Modifiers = STANDARD
    samplings: tuple[tuple[str, Usage], ...] = ()
    """(model, usage) of each entry where the answer lists them: together the whole bill, fees on the first one."""
    error: str = ""  # type of an error event inside a stream
    stop_reason: str = ""
    request_id: str = ""  # the answer's own name, as transcripts repeat it; of one that failed, the request's
    raw_usage: str = ""  # the provider's own words, for `audit`
    is_edited: bool = False  # the provider took something out of the prompt before the model read it
    doubt: str = ""  # why the usage cannot be taken at its word; what it says is then only the least that was used


class Meter(Protocol):
    """Reads one answer as it passes. Any chunking of the same bytes gives the same reading."""

    def feed(self, chunk: bytes) -> Reading:
        """Take the next bytes of the answer; return what is known now."""
        ...

    def close(self) -> Reading:
        """The answer's last byte was seen, or the connection is gone."""
        ...


class Sieve(Protocol):
    """Holds back what the client of a stream did not ask for. Any chunking lets the same bytes through."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the answer; return those that go on to the client now (none: send nothing)."""
        ...

    def close(self) -> bytes:
        """The stream is over; return what was still waiting to be looked at."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer that the gateway gives itself."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Tier = Literal["default", "flex", "priority"]
"""What a route may pay for, in the words of OpenAI's APIs."""

RefusalKind = Literal[
    "budget",  # a budget is exhausted; final (402, never retried)
    "turns",  # the run has used its requests; final
    "wait",  # the money is held by others and did not come back in time; 429 with retry-after
    "malformed",  # 400
    "not_found",  # no such path or model here; 404
    "method",  # the path is served, by another method; 405
    "not_allowed",  # a feature, model or price that capped keys may not use; final
    "key",  # no, unknown, expired or revoked key; 401
    "frozen",  # the provider or its key is out of order; final for this run
    "provider",  # the provider could not be reached or answered out of turn; may be retried
    "too_large",  # 413
    "unavailable",  # crewcap itself cannot book (ledger locked, full, clock); 503
]


class Dialect(Protocol):
    """One provider family's way of speaking."""

    name: str  # "anthropic"
    ping: bytes  # an event that means nothing, for a stream that is silent; none where clients do not expect one
    streams_json: bool  # where a client did not ask for events, its streams are one JSON list
    has_count: bool  # the provider has a free count call for these requests; else the two methods for it are not used

    def ask(self, body: bytes, headers: Mapping[str, str], *, allow: frozenset[str], path: str = "") -> Ask:
        """Parse the whole body; `Malformed` if it cannot be. `allow` names what capped keys may use besides.

        `path` is the request's own, for those who name the model in it.
        """
        ...

    def rewrite(self, body: bytes, *, max_output: int | None) -> bytes:
        """The body as it is forwarded: output limit lowered (or added), tier written; every other byte as received."""
        ...

    def count_body(self, body: bytes, *, path: str = "") -> bytes:
        """The body of the provider's free count call for this request."""
        ...

    def read_count(self, answer: bytes) -> int:
        """Tokens in the answer to a count call; `Malformed` if it is not one."""
        ...

    def outline(self, body: bytes) -> Outline | None:
        """A body that `ask` has read, as a conversation to be compared; None where it does not tell what is billed."""
        ...

    def meter(self, *, stream: bool, write: Write = "1h", answers: int = 1) -> Meter:
        """A fresh meter for one answer; `write` is the request's, for cache writes that the answer does not split.

        `answers` is the request's too, for streams whose end is the end of each of them.
        """
        ...

    def sieve(self, ask: Ask) -> Sieve | None:
        """What stands between this request's stream and its client; None: every byte goes on as it comes."""
        ...

    def refuse(self, kind: RefusalKind, message: str, *, retry_after_s: int | None = None) -> Answer:
        """Say no in the shape that makes this family's agents stop at once (or wait, for `wait`)."""
        ...


def _anthropic(*, reserve_geo: str = "us", strict_betas: bool = False) -> Dialect:
    from crewcap.wire.anthropic import Anthropic  # noqa: PLC0415  (a dialect is imported when it is used)

    return Anthropic(reserve_geo=reserve_geo, strict_betas=strict_betas)


def _responses(
    *, tier: Tier = "default", geo: str = "global", is_vendors: bool = True, counts: bool = False
) -> Dialect:
    from crewcap.wire.openai_responses import Responses  # noqa: PLC0415  (a dialect is imported when it is used)

    return Responses(tier=tier, geo=geo, is_vendors=is_vendors, counts=counts)


def _chat(*, tier: Tier = "default", geo: str = "global", is_vendors: bool = True) -> Dialect:
    from crewcap.wire.openai_chat import Chat  # noqa: PLC0415  (a dialect is imported when it is used)

    return Chat(tier=tier, geo=geo, is_vendors=is_vendors)


def _gemini() -> Dialect:
    from crewcap.wire.gemini import Gemini  # noqa: PLC0415  (a dialect is imported when it is used)

    return Gemini()


ENDPOINTS: Mapping[str, Mapping[str, Callable[..., Dialect]]] = {
    "anthropic": {"/v1/messages": _anthropic},
    "openai": {"/v1/responses": _responses, "/v1/chat/completions": _chat},
    "gemini": {
        f"/{version}/models/{{model}}:{method}": _gemini
        for version in ("v1beta", "v1")
        for method in ("generateContent", "streamGenerateContent")
    },
}
"""Who reads the requests to each path of a dialect; the path is the provider's too."""

COUNT_PATHS: Mapping[str, str] = {
    "/v1/messages": "/v1/messages/count_tokens",
    "/v1/responses": "/v1/responses/input_tokens",
    **{
        f"/{version}/models/{{model}}:{method}": f"/{version}/models/{{model}}:countTokens"
        for version in ("v1beta", "v1")
        for method in ("generateContent", "streamGenerateContent")
    },
}
"""Where the provider counts the tokens of a request to each path, for dialects that have such a call."""
