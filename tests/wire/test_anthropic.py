"""The dialect's door: what is forwarded, what is counted, and how it says no."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.wire import ENDPOINTS, Dialect, Malformed, RefusalKind
from crewcap.wire.anthropic import Anthropic
from crewcap.wire.anthropic_meter import StreamMeter, WholeMeter

DIALECT = Anthropic()
BODY = (
    b'{ "model":"claude-sonnet-5", "messages":[{"role":"user","content":[{"type":"tool_use","id":"t","name":"Edit",'
    b'"input":{"max_tokens": 9, "service_tier":"x"}}]}] ,"max_tokens" :\t4000, "metadata":{"max_tokens":1.50}}'
)


def test_the_table_knows_the_dialect() -> None:
    """A dialect is one file and one line in a table; settings reach it by name."""
    dialect: Dialect = ENDPOINTS["anthropic"]["/v1/messages"](reserve_geo="global")
    assert {each.geo for each in dialect.ask(BODY, {}, allow=frozenset()).modifiers} == {"global"}


def test_only_the_top_level_limit_and_the_tier_are_written() -> None:
    """Every other byte is forwarded as received, a nested field of the same name too."""
    lowered = DIALECT.rewrite(BODY, max_output=1_234)
    assert lowered == BODY.replace(b"\t4000", b"\t1234")[:-1] + b',"service_tier":"standard_only"}'


def test_a_tier_that_the_client_asked_for_is_replaced() -> None:
    """The gateway alone says what tier is paid for."""
    asked = BODY.replace(b'"model"', b'"service_tier": "auto", "model"')
    assert DIALECT.rewrite(asked, max_output=None) == asked.replace(b'"auto"', b'"standard_only"')


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.one_of(TEXT, st.integers(), st.booleans(), st.dictionaries(TEXT, TEXT, max_size=2))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(TEXT, VALUES, max_size=4),
    st.integers(1, 99_999),
    st.integers(0, 99_999),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_rewriting_changes_one_number_and_nothing_else(
    others: dict[str, Any],
    asked: int,
    limit: int,
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001  (drawn)
) -> None:
    """For random bodies: the bytes before and after the number are the same bytes."""
    mark = 98_765_432_100
    fields = others | {"messages": [{"max_tokens": asked}], "max_tokens": mark, "service_tier": "standard_only"}
    body = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    before, after = body.split(str(mark).encode())
    assert DIALECT.rewrite(body, max_output=limit) == before + str(limit).encode() + after


def test_the_count_call_gets_only_what_it_takes() -> None:
    """It answers 400 to an output limit or a stream."""
    body = b'{"model":"m","max_tokens":5,"stream":true,"system":"s", "messages": [ ],"metadata":{},"tools":[]}'
    assert DIALECT.count_body(body) == b'{"model":"m","system":"s","messages":[ ],"tools":[]}'


def test_a_count_is_read() -> None:
    """And nothing else is taken for one."""
    assert DIALECT.read_count(b'{"input_tokens": 22505}') == 22_505
    before = b'{"input_tokens": 5, "context_management": {"original_input_tokens": "9"}}'
    for answer in (
        b"",
        b"[]",
        b"{}",
        b'{"input_tokens": -1}',
        b'{"input_tokens": "5"}',
        b'{"input_tokens": true}',
        before,
    ):
        with pytest.raises(Malformed):
            DIALECT.read_count(answer)


def test_a_count_is_what_stood_there_before_any_edit() -> None:
    """An edit starts at a size, and the count is an estimate: at the real request the edit may not happen."""
    answer = {"input_tokens": 25_000, "context_management": {"original_input_tokens": 70_000}}
    assert DIALECT.read_count(json.dumps(answer).encode()) == 70_000
    assert DIALECT.read_count(b'{"input_tokens": 25000, "context_management": null}') == 25_000


def test_headers_name_betas_in_any_case_and_more_than_once() -> None:
    """A header may be repeated, and each may hold a list."""

    class Repeated(dict[str, str]):
        def items(self) -> Any:
            return [("Anthropic-Beta", "a-1, context-1m-2025-08-07"), ("anthropic-beta", ",b-2")]

    ask = DIALECT.ask(BODY, Repeated(), allow=frozenset())
    assert ask.bound.window_at_least == 1_000_000
    assert len(ask.notes) == 2


def test_there_is_a_meter_for_each_kind_of_answer() -> None:
    """Streams of events, and whole bodies."""
    assert isinstance(DIALECT.meter(stream=True), StreamMeter)
    assert isinstance(DIALECT.meter(stream=False, write="5m"), WholeMeter)


@pytest.mark.parametrize(
    ("kind", "status", "error", "headers"),
    [
        ("budget", 402, "billing_error", {"x-should-retry": "false"}),
        ("turns", 402, "billing_error", {"x-should-retry": "false"}),
        ("frozen", 402, "billing_error", {"x-should-retry": "false"}),
        ("malformed", 400, "invalid_request_error", {"x-should-retry": "false"}),
        ("not_found", 404, "not_found_error", {"x-should-retry": "false"}),
        ("not_allowed", 400, "invalid_request_error", {"x-should-retry": "false"}),
        ("key", 401, "authentication_error", {"x-should-retry": "false"}),
        ("too_large", 413, "request_too_large", {"x-should-retry": "false"}),
        ("wait", 429, "rate_limit_error", {"retry-after": "10"}),
        ("provider", 502, "api_error", {}),
        ("unavailable", 503, "overloaded_error", {"retry-after": "5"}),
    ],
)
def test_no_is_said_in_the_shape_that_agents_understand(
    kind: RefusalKind, status: int, error: str, headers: dict[str, str]
) -> None:
    """Final answers end an agent at once; what may come back tells when to ask again."""
    answer = DIALECT.refuse(kind, "run r has $0.01 left of $1.00: “ä”")
    assert (answer.status, answer.headers) == (status, {"content-type": "application/json"} | headers)
    assert json.loads(answer.body) == {
        "type": "error",
        "error": {"type": error, "message": "run r has $0.01 left of $1.00: “ä”"},
    }


def test_the_wait_says_how_long() -> None:
    """The caller knows best; a final answer never invites to come again."""
    assert DIALECT.refuse("wait", "m", retry_after_s=42).headers["retry-after"] == "42"
    assert "retry-after" not in DIALECT.refuse("budget", "m", retry_after_s=42).headers
