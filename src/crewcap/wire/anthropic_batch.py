"""Anthropic's Message Batches: one POST with every request in it, a status to poll, results as JSON lines.

The list of batches tells how many requests each has and when it was made, not their names: only a batch that has ended
shows, by the names in its results, whose it was. Results of the kinds `errored`, `canceled` and `expired` are not
billed, as its documents say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from crewcap.core.pricing import Modifiers
from crewcap.wire import Reading, lenient
from crewcap.wire.anthropic_meter import FIGURES
from crewcap.wire.batches import (
    BATCH,
    Billing,
    Item,
    Progress,
    Question,
    Result,
    Sending,
    compact,
    count_of,
    identifier,
    moment,
    object_of,
    page_of,
    part_of,
)

PATH = "/v1/messages/batches"
ENDS: Mapping[str, Billing] = {
    "succeeded": "answered",
    "errored": "unbilled",
    "canceled": "unbilled",
    "expired": "unbilled",
}
PAGE = 100
_COUNTS = ("succeeded", "errored", "canceled", "expired")


class MessageBatches:
    """POST /v1/messages/batches and what follows."""

    most_items = 10_000  # the provider takes 100,000
    most_bytes = 64 * 2**20  # and 256 MB
    one_model = False
    keeps_mark = False

    def body(self, question: Question) -> bytes:
        """A body of the Messages API."""
        return compact(
            {
                "model": question.model,
                "max_tokens": question.max_output,
                **({"system": question.system} if question.system else {}),
                "messages": [{"role": "user", "content": question.text}],
            }
        )

    def upload(self, mark: str, items: Sequence[Item]) -> None:
        """Nothing: the batch brings its requests."""
        del mark, items

    def uploaded(self, answer: bytes) -> str:
        """Nothing is uploaded."""
        del answer
        return ""

    def create(self, mark: str, items: Sequence[Item], uploaded: str) -> Sending:
        """Every request with its name, each body as it was held for."""
        del mark, uploaded
        requests = (b'{"custom_id":%s,"params":%s}' % (compact(item.name), item.body) for item in items)
        return Sending(path=PATH, body=b'{"requests":[%s]}' % b",".join(requests))

    def list_path(self, after: str) -> str:
        """A page of the list."""
        return f"{PATH}?limit={PAGE}" + (f"&after_id={quote(after, safe='')}" if after else "")

    def poll_path(self, id_: str) -> str:
        """One batch."""
        return f"{PATH}/{id_}"

    def cancel_path(self, id_: str) -> str:
        """Its end."""
        return f"{PATH}/{id_}/cancel"

    def progress(self, answer: bytes) -> Progress:
        """A batch object."""
        return _progress(object_of(answer))

    def listed(self, answer: bytes) -> tuple[tuple[Progress, ...], str]:
        """A page of batch objects."""
        return page_of(answer, _progress)

    def result(self, line: bytes) -> Result | None:
        """One line: a name and what became of it."""
        said = lenient.bill(line, FIGURES)
        name = lenient.word(said.get("custom_id")) if isinstance(said, dict) else ""
        if not name:
            return None
        result = part_of(said, "result")
        kind = lenient.word(result.get("type")) or "unknown"
        message, billing = result.get("message"), ENDS.get(kind, "unknown")
        if billing == "answered" and not isinstance(message, dict):
            billing = "unknown"
        return Result(
            name=name,
            state=kind,
            billing=billing,
            answer=compact(message) if billing == "answered" else b"",
            status=200 if billing == "answered" else 0,
            error=_error(result.get("error")),
        )

    def text(self, answer: bytes) -> str:
        """Its text blocks."""
        content = object_of(answer).get("content")
        blocks = content if isinstance(content, list) else []
        texts = (each.get("text") for each in blocks if isinstance(each, dict) and each.get("type") == "text")
        return "".join(text for text in texts if isinstance(text, str))

    def billed_as(self, reading: Reading) -> Modifiers:
        """Its own word; where it names no tier, it is a batch's all the same."""
        is_told = b'"service_tier"' in reading.raw_usage.encode()
        return reading.modifiers if is_told else replace(reading.modifiers, tier=BATCH.tier)


def _progress(said: Mapping[str, Any]) -> Progress:
    id_, counts = identifier(said), part_of(said, "request_counts")
    done = sum(count_of(counts, name) for name in _COUNTS)
    is_over = said.get("processing_status") == "ended"
    return Progress(
        id=id_,
        state="ended" if is_over else "working",
        total=done + count_of(counts, "processing"),
        done=done,
        created_at=moment(said.get("created_at")),
        ended_at=moment(said.get("ended_at")),
        results=(f"{PATH}/{id_}/results",) if is_over else (),  # never an address that an answer names
    )


def _error(said: Any) -> str:
    """The provider's own words; they may be wrapped twice."""
    inner = said.get("error") if isinstance(said, dict) else None
    found = inner if isinstance(inner, dict) else said if isinstance(said, dict) else {}
    return lenient.word(found.get("message")) or lenient.word(found.get("type"))
