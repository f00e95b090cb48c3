"""Batches of requests, sans-I/O: what is sent to a provider's batch API, and what it says of them.

A batch is made of *items*, each one request with a name of ours; all names of one batch begin with its *mark*. The
provider answers within a day, in any order. What it bills of an item that got no answer is known as data, by its kind:

    answered   a whole answer came: its own usage is the bill
    unbilled   the provider's documents say that such an item costs nothing
    unknown    nothing tells; whoever holds money for it goes on holding it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from crewcap.core.pricing import Modifiers
from crewcap.wire import Malformed, Reading, lenient

BATCH = Modifiers(tier="batch")

Billing = Literal["answered", "unbilled", "unknown"]
State = Literal["working", "ended", "failed"]
"""`failed`: the provider took none of it; nothing was run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt, in nobody's words yet."""

    text: str
    system: str = ""
    model: str
    max_output: int


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch."""

    name: str  # ours; it comes back with the result
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One POST."""

    path: str
    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the provider says of one batch."""

    id: str
    state: State
    total: int
    done: int
    mark: str = ""  # ours, where the provider keeps it beside the batch
    created_at: datetime | None = None
    ended_at: datetime | None = None
    results: tuple[str, ...] = ()  # paths whose lines are results
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one item."""

    name: str
    state: str  # succeeded, errored, canceled, expired; or the provider's word for something else
    billing: Billing
    answer: bytes = b""  # the body of a whole answer, for its meter
    status: int = 0
    error: str = ""


class BatchApi(Protocol):
    """One provider's way with batches."""

    most_items: int
    most_bytes: int
    one_model: bool  # a batch may hold requests to one model only
    keeps_mark: bool  # the list of batches tells our mark; else only a batch that has ended shows whose it was

    def body(self, question: Question) -> bytes:
        """One request."""
        ...

    def upload(self, mark: str, items: Sequence[Item]) -> Sending | None:
        """What has to be there before a batch is made of it; it costs nothing."""
        ...

    def uploaded(self, answer: bytes) -> str:
        """The name of what was uploaded; `Malformed` where there is none."""
        ...

    def create(self, mark: str, items: Sequence[Item], uploaded: str) -> Sending:
        """The POST after which the provider bills."""
        ...

    def list_path(self, after: str) -> str:
        """The batches of a key, newest first, from one on."""
        ...

    def poll_path(self, id_: str) -> str:
        """What the provider says of a batch."""
        ...

    def cancel_path(self, id_: str) -> str:
        """Where a batch is stopped, by a POST without a body."""
        ...

    def progress(self, answer: bytes) -> Progress:
        """Of one batch; `Malformed` where it cannot be understood."""
        ...

    def listed(self, answer: bytes) -> tuple[tuple[Progress, ...], str]:
        """A page of the list, and where the next one begins; '' where it is the last."""
        ...

    def result(self, line: bytes) -> Result | None:
        """One line of the results; None where it tells of no item."""
        ...

    def text(self, answer: bytes) -> str:
        """The words of an answer."""
        ...

    def billed_as(self, reading: Reading) -> Modifiers:
        """What an answer was billed at, by what it says of its tier."""
        ...


def name_of(mark: str, number: int) -> str:
    """An item's name; letters, digits, `-` and `_`, at most 64 of them."""
    return f"{mark}-{number}"


def number_of(mark: str, name: str) -> int | None:
    """Which item of a batch a name means; None where it is of another one."""
    head, _, number = name.rpartition("-")
    return int(number) if head == mark and number.isdecimal() and number.isascii() else None


@dataclass(slots=True)
class Lines:
    """Cuts a stream into lines. Any chunking gives the same lines."""

    _rest: bytes = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that are whole now."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        return (line for line in whole if line.strip())

    def close(self) -> Iterator[bytes]:
        """The last line, where it has no end."""
        rest, self._rest = self._rest, b""
        return iter([rest] if rest.strip() else [])


def object_of(answer: bytes) -> Mapping[str, Any]:
    """An answer's object; `Malformed` where it is none."""
    said = lenient.parsed(answer)
    if not isinstance(said, dict):
        raise Malformed("the provider's answer is not a JSON object")
    return said


def part_of(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside one; empty where there is none."""
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def count_of(said: Mapping[str, Any], name: str) -> int:
    """A count; 0 where there is none."""
    value = said.get(name)
    return int(value) if lenient.is_count(value) and value is not None else 0


def page_of(answer: bytes, read: Callable[[Mapping[str, Any]], Progress]) -> tuple[tuple[Progress, ...], str]:
    """A page of the provider's list, and after which batch the next one begins; empty = there is none."""
    said = object_of(answer)
    data = said.get("data")
    if not isinstance(data, list):
        raise Malformed("the provider's list of batches has no data")
    found = tuple(read(each) for each in data if isinstance(each, dict))
    return found, (lenient.word(said.get("last_id")) or found[-1].id) if found and said.get("has_more") else ""


def identifier(said: Mapping[str, Any]) -> str:
    """The provider's name of something, which may stand in a path; `Malformed` where it cannot."""
    id_ = lenient.word(said.get("id"))
    if not id_ or not all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in id_) or ".." in id_:
        raise Malformed("the provider's answer names nothing")
    return id_


def moment(value: Any) -> datetime | None:
    """A time as providers write it: RFC 3339, or seconds since 1970."""
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value)
            return read if read.tzinfo else read.replace(tzinfo=UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def compact(value: object) -> bytes:
    """JSON as it is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _anthropic() -> BatchApi:
    from crewcap.wire.anthropic_batch import MessageBatches  # noqa: PLC0415  (imported when it is used)

    return MessageBatches()


def _responses() -> BatchApi:
    from crewcap.wire.openai_batch import ResponsesBatches  # noqa: PLC0415  (imported when it is used)

    return ResponsesBatches()


def _chat() -> BatchApi:
    from crewcap.wire.openai_batch import ChatBatches  # noqa: PLC0415  (imported when it is used)

    return ChatBatches()


APIS: Mapping[str, Callable[[], BatchApi]] = {
    "/v1/messages": _anthropic,
    "/v1/responses": _responses,
    "/v1/chat/completions": _chat,
}
"""Who makes batches of requests to a path."""
