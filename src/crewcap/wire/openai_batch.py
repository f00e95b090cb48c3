"""OpenAI's Batch API: a file of requests, a batch made of it, a status to poll, and two files of results.

Our mark is kept beside the batch (`metadata`), so the list of batches tells which one is ours. Completed requests are
billed, those with an error answer are not; what expired or was cancelled before it ran stands in the error file with a
code of its own. An answer of a batch names the tier `default`, or none: it is a batch's all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from crewcap.core.pricing import Modifiers
from crewcap.wire import Reading, lenient
from crewcap.wire.batches import (
    BATCH,
    Billing,
    Item,
    Progress,
    Question,
    Result,
    Sending,
    State,
    compact,
    count_of,
    identifier,
    moment,
    object_of,
    page_of,
    part_of,
)
from crewcap.wire.openai_meter import FIGURES

PATH = "/v1/batches"
FILES = "/v1/files"
MARK = "crewcap_batch"  # the member of a batch's metadata
PAGE = 100
STATES: Mapping[str, State] = {"completed": "ended", "expired": "ended", "cancelled": "ended", "failed": "failed"}
NEVER_RUN: Mapping[str, str] = {"batch_expired": "expired", "batch_cancelled": "canceled"}
"""Codes of requests that were not run, in the words of results."""


class _Batches:
    """What batches of both kinds of requests have in common."""

    most_items = 10_000  # the provider takes 50,000
    most_bytes = 64 * 2**20  # and 200 MB
    one_model = True
    keeps_mark = True
    endpoint = ""

    def upload(self, mark: str, items: Sequence[Item]) -> Sending:
        """The file of requests, as a form."""
        url = compact(self.endpoint)
        lines = (
            b'{"custom_id":%s,"method":"POST","url":%s,"body":%s}\n' % (compact(item.name), url, item.body)
            for item in items
        )
        border = f"crewcap-{mark}".encode()
        purpose = b'--%s\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % border
        head = b'--%s\r\ncontent-disposition: form-data; name="file"; filename="%s.jsonl"\r\n' % (border, mark.encode())
        kind = b"content-type: application/jsonl\r\n\r\n"
        body = b"".join((purpose, head, kind, *lines, b"\r\n--%s--\r\n" % border))
        return Sending(path=FILES, body=body, content_type=f"multipart/form-data; boundary={border.decode()}")

    def uploaded(self, answer: bytes) -> str:
        """The file's name."""
        return identifier(object_of(answer))

    def create(self, mark: str, items: Sequence[Item], uploaded: str) -> Sending:
        """A batch of the file."""
        del items
        said = {
            "input_file_id": uploaded,
            "endpoint": self.endpoint,
            "completion_window": "24h",
            "metadata": {MARK: mark},
        }
        return Sending(path=PATH, body=compact(said))

    def list_path(self, after: str) -> str:
        """A page of the list."""
        return f"{PATH}?limit={PAGE}" + (f"&after={quote(after, safe='')}" if after else "")

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
        """One line of either file."""
        said = lenient.bill(line, FIGURES)
        name = lenient.word(said.get("custom_id")) if isinstance(said, dict) else ""
        if not name:
            return None
        response, error = said.get("response"), part_of(said, "error")
        if isinstance(response, dict):
            return _answered(name, response, error)
        code = lenient.word(error.get("code"))
        words = lenient.word(error.get("message")) or code
        billing: Billing = "unbilled" if code in NEVER_RUN else "unknown"
        return Result(name=name, state=NEVER_RUN.get(code, "errored"), billing=billing, error=words)

    def billed_as(self, reading: Reading) -> Modifiers:
        """A batch's, unless it names a tier that costs more."""
        is_usual = reading.modifiers.tier == "standard"
        return replace(reading.modifiers, tier=BATCH.tier) if is_usual else reading.modifiers


class ResponsesBatches(_Batches):
    """Batches of requests to the Responses API."""

    endpoint = "/v1/responses"

    def body(self, question: Question) -> bytes:
        """A body of the Responses API; nothing of it is kept at the provider."""
        return compact(
            {
                "model": question.model,
                "max_output_tokens": question.max_output,
                **({"instructions": question.system} if question.system else {}),
                "input": question.text,
                "store": False,
            }
        )

    def text(self, answer: bytes) -> str:
        """The text of its messages."""
        output = object_of(answer).get("output")
        items = [each for each in output if isinstance(each, dict)] if isinstance(output, list) else []
        contents = [each.get("content") for each in items if each.get("type") == "message"]
        parts = [part for each in contents if isinstance(each, list) for part in each if isinstance(part, dict)]
        return "".join(lenient.word(part.get("text")) for part in parts if part.get("type") == "output_text")


class ChatBatches(_Batches):
    """Batches of requests to Chat Completions."""

    endpoint = "/v1/chat/completions"

    def body(self, question: Question) -> bytes:
        """A body of Chat Completions."""
        system = [{"role": "system", "content": question.system}] if question.system else []
        return compact(
            {
                "model": question.model,
                "max_completion_tokens": question.max_output,
                "messages": [*system, {"role": "user", "content": question.text}],
            }
        )

    def text(self, answer: bytes) -> str:
        """What the first choice says."""
        choices = object_of(answer).get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        return lenient.word(part_of(first, "message").get("content"))


def _answered(name: str, response: Mapping[str, Any], error: Mapping[str, Any]) -> Result:
    status, body = count_of(response, "status_code"), response.get("body")
    if status == 200 and isinstance(body, dict):
        return Result(name=name, state="succeeded", billing="answered", answer=compact(body), status=status)
    inner = part_of(body, "error") if isinstance(body, dict) else error
    words = lenient.word(inner.get("message")) or f"the provider answered {status}"
    is_plain = 300 <= status < 600
    return Result(name=name, state="errored", billing="unbilled" if is_plain else "unknown", status=status, error=words)


def _progress(said: Mapping[str, Any]) -> Progress:
    counts, status = part_of(said, "request_counts"), lenient.word(said.get("status"))
    files = [lenient.word(said.get(name)) for name in ("output_file_id", "error_file_id")]
    state = STATES.get(status, "working")
    ended = next((said[f"{name}_at"] for name in STATES if said.get(f"{name}_at") is not None), None)
    return Progress(
        id=identifier(said),
        state=state,
        total=count_of(counts, "total"),
        done=count_of(counts, "completed") + count_of(counts, "failed"),
        mark=lenient.word(part_of(said, "metadata").get(MARK)),
        created_at=moment(said.get("created_at")),
        ended_at=moment(ended),
        results=tuple(f"{FILES}/{identifier({'id': file})}/content" for file in files if file)
        if state == "ended"
        else (),
        error=_first_error(said.get("errors")),
    )


def _first_error(errors: Any) -> str:
    data = errors.get("data") if isinstance(errors, dict) else None
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    return lenient.word(first.get("message")) or lenient.word(first.get("code"))
