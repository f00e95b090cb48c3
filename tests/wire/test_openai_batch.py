"""OpenAI's batches: the file, the batch, and what its answers and files mean."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from typing import Any

import pytest

from crewcap.core.pricing import Modifiers
from crewcap.wire import Malformed, Reading
from crewcap.wire.batches import Item, Question
from crewcap.wire.openai_batch import ChatBatches, ResponsesBatches

API, CHAT = ResponsesBatches(), ChatBatches()
QUESTION = Question(text="hello", system="be brief", model="gpt-5", max_output=99)


def batch(**said: Any) -> dict[str, Any]:
    counts = {"total": 5, "completed": 2, "failed": 1}
    return {"id": "batch_1", "status": "in_progress", "request_counts": counts, "created_at": 1_700_000_000, **said}


def test_bodies_are_those_of_their_apis() -> None:
    said = {"model": "gpt-5", "max_output_tokens": 99, "instructions": "be brief", "input": "hello", "store": False}
    assert json.loads(API.body(QUESTION)) == said
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert json.loads(CHAT.body(QUESTION)) == {"model": "gpt-5", "max_completion_tokens": 99, "messages": messages}


def test_the_file_is_a_form_that_others_can_read() -> None:
    sending = API.upload("m", [Item("m-0", b'{"a":1}'), Item("m-1", b'{"a":2}')])
    head = f"content-type: {sending.content_type}\r\n\r\n".encode()
    purpose, file = message_from_bytes(head + sending.body, policy=policy.HTTP).iter_parts()
    assert (sending.path, purpose.get_content().strip(), file.get_filename()) == ("/v1/files", "batch", "m.jsonl")
    content = file.get_payload(decode=True)
    assert isinstance(content, bytes)
    lines = [json.loads(line) for line in content.splitlines() if line.strip()]
    assert lines[1] == {"custom_id": "m-1", "method": "POST", "url": "/v1/responses", "body": {"a": 2}}


def test_a_batch_carries_our_mark() -> None:
    sending = CHAT.create("m", [], "file-7")
    said = json.loads(sending.body)
    assert (sending.path, said["input_file_id"], said["endpoint"]) == ("/v1/batches", "file-7", "/v1/chat/completions")
    assert API.progress(json.dumps(batch(metadata=said["metadata"])).encode()).mark == "m"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("validating", "working"),
        ("in_progress", "working"),
        ("finalizing", "working"),
        ("cancelling", "working"),
        ("a word of tomorrow", "working"),
        ("completed", "ended"),
        ("expired", "ended"),
        ("cancelled", "ended"),
        ("failed", "failed"),
    ],
)
def test_every_status_has_a_meaning(status: str, state: str) -> None:
    said = batch(status=status, output_file_id="file-o", error_file_id="file-e")
    found = API.progress(json.dumps(said).encode())
    assert (found.state, found.total, found.done) == (state, 5, 3)
    files = ("/v1/files/file-o/content", "/v1/files/file-e/content")
    assert found.results == (files if state == "ended" else ())


def test_a_file_that_is_no_name_is_malformed() -> None:
    said = batch(status="completed", output_file_id="../../admin")
    with pytest.raises(Malformed):
        API.progress(json.dumps(said).encode())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"response": {"status_code": 200, "body": {"output": []}}}, ("succeeded", "answered")),
        ({"response": {"status_code": 400, "body": {"error": {"message": "no"}}}}, ("errored", "unbilled")),
        ({"response": {"status_code": 200, "body": None}}, ("errored", "unknown")),
        ({"response": {"body": {}}}, ("errored", "unknown")),
        ({"response": None, "error": {"code": "batch_expired"}}, ("expired", "unbilled")),
        ({"response": None, "error": {"code": "batch_cancelled"}}, ("canceled", "unbilled")),
        ({"response": None, "error": {"code": "new_code"}}, ("errored", "unknown")),
        ({}, ("errored", "unknown")),
    ],
)
def test_only_what_is_known_to_be_free_is_free(line: dict[str, Any], expected: tuple[str, str]) -> None:
    found = API.result(json.dumps({"custom_id": "m-0", **line}).encode())
    assert found is not None
    assert (found.state, found.billing) == expected


def test_the_words_of_an_answer() -> None:
    parts = [{"type": "output_text", "text": "Yes"}, {"type": "refusal", "refusal": "no"}]
    output = [{"type": "reasoning"}, {"type": "message", "content": parts}]
    assert API.text(json.dumps({"output": output}).encode()) == "Yes"
    assert CHAT.text(json.dumps({"choices": [{"message": {"content": "Yes"}}]}).encode()) == "Yes"
    assert CHAT.text(b'{"choices": []}') == ""


def test_the_usual_tier_of_a_batch_is_a_batch_s() -> None:
    assert API.billed_as(Reading()) == Modifiers(tier="batch")
    assert API.billed_as(Reading(modifiers=Modifiers(tier="priority"))) == Modifiers(tier="priority")
