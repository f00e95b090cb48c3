"""Anthropic's batches: what is sent, and what its answers mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from crewcap.core.pricing import Modifiers
from crewcap.wire import Malformed, Reading
from crewcap.wire.anthropic_batch import MessageBatches
from crewcap.wire.batches import Item, Question, Result

API = MessageBatches()


def batch(**said: object) -> bytes:
    counts = {"processing": 0, "succeeded": 3, "errored": 1, "canceled": 0, "expired": 1}
    return json.dumps({"id": "msgbatch_1", "processing_status": "ended", "request_counts": counts, **said}).encode()


def test_a_body_is_one_of_the_messages_api() -> None:
    question = Question(text='say "é"', system="be brief", model="claude-sonnet-4-6", max_output=9)
    assert json.loads(API.body(question)) == {
        "model": "claude-sonnet-4-6",
        "max_tokens": 9,
        "system": "be brief",
        "messages": [{"role": "user", "content": 'say "é"'}],
    }


def test_a_batch_holds_each_body_as_it_was_held_for() -> None:
    sending = API.create("m", [Item("m-0", b'{"a":1}'), Item("m-1", b'{"a":2}')], "")
    assert sending.path == "/v1/messages/batches"
    assert json.loads(sending.body) == {
        "requests": [{"custom_id": "m-0", "params": {"a": 1}}, {"custom_id": "m-1", "params": {"a": 2}}]
    }


def test_progress_counts_what_is_done() -> None:
    ended = API.progress(batch(ended_at="2026-11-22T10:00:00Z", results_url="https://evil.example/steal"))
    assert (ended.state, ended.total, ended.done) == ("ended", 5, 5)
    assert ended.ended_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert ended.results == ("/v1/messages/batches/msgbatch_1/results",)  # never where an answer leads
    counts = {"processing": 4, "succeeded": 1}
    working = API.progress(batch(processing_status="canceling", request_counts=counts))
    assert (working.state, working.total, working.done, working.results) == ("working", 5, 1, ())


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"id": 7}', b'{"id": "../../v1/files"}', b'{"id": "a/b"}'])
def test_what_names_no_batch_is_malformed(answer: bytes) -> None:
    with pytest.raises(Malformed):
        API.progress(answer)


def test_a_list_goes_on_where_it_says() -> None:
    page = {"data": [json.loads(batch())], "has_more": True, "last_id": "msgbatch_1"}
    found, after = API.listed(json.dumps(page).encode())
    assert ([each.id for each in found], after) == (["msgbatch_1"], "msgbatch_1")
    assert API.list_path("a&b") == "/v1/messages/batches?limit=100&after_id=a%26b"
    assert API.listed(json.dumps(page | {"has_more": False}).encode())[1] == ""


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            {"type": "errored", "error": {"type": "error", "error": {"type": "x", "message": "no"}}},
            ("errored", "unbilled"),
        ),
        ({"type": "canceled"}, ("canceled", "unbilled")),
        ({"type": "expired"}, ("expired", "unbilled")),
        ({"type": "vaporised"}, ("vaporised", "unknown")),
        ({"type": "succeeded"}, ("succeeded", "unknown")),
        ({}, ("unknown", "unknown")),
    ],
)
def test_only_documented_ends_are_free(result: dict[str, object], expected: tuple[str, str]) -> None:
    """A kind that nobody has heard of may cost money."""
    found = API.result(json.dumps({"custom_id": "m-0", "result": result}).encode())
    assert found is not None
    assert (found.state, found.billing) == expected


def test_an_answer_comes_whole() -> None:
    message = {"type": "message", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes"}]}
    found = API.result(json.dumps({"custom_id": "m-0", "result": {"type": "succeeded", "message": message}}).encode())
    assert found == Result(
        name="m-0", state="succeeded", billing="answered", answer=found.answer if found else b"", status=200
    )
    assert API.text(found.answer) == "Yes"


def test_a_line_without_a_name_tells_of_nothing() -> None:
    assert API.result(b"{}") is None
    assert API.result(b"not json") is None


def test_an_answer_without_a_tier_is_a_batch_s() -> None:
    silent = Reading(raw_usage='{"input_tokens":1}')
    assert API.billed_as(silent) == Modifiers(tier="batch")
    told = Reading(raw_usage='{"service_tier":"standard"}')
    assert API.billed_as(told) == Modifiers(tier="standard")  # dearer than was held: an incident
