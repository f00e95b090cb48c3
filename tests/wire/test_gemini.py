"""The dialect's door: what is forwarded, what is counted, and how it says no."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.wire import ENDPOINTS, Dialect, Malformed, RefusalKind
from crewcap.wire.gemini import Gemini
from crewcap.wire.gemini_meter import StreamMeter, WholeMeter

DIALECT = Gemini()
PATH = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"
BODY = (
    b'{ "contents":[{"role":"user","parts":[{"functionCall":{"name":"f","args":{"maxOutputTokens": 9,'
    b'"generationConfig":{"maxOutputTokens":8}, "serviceTier":"x"}}}]}] ,"generationConfig" :\t{ "topK":1.50,'
    b'"maxOutputTokens" : 4000 , "x":{"maxOutputTokens":7}} }'
)


def test_the_table_knows_every_path_that_generates() -> None:
    """The model stands in the path, in both versions of the API."""
    for template, make in ENDPOINTS["gemini"].items():
        dialect: Dialect = make()
        ask = dialect.ask(BODY, {}, allow=frozenset(), path=template.format(model="gemini-2.5-pro"))
        assert (ask.model, ask.stream) == ("gemini-2.5-pro", "stream" in template)
        assert (dialect.name, dialect.has_count, dialect.sieve(ask)) == ("gemini", True, None)


def test_only_the_limit_of_the_config_is_written() -> None:
    """Every other byte is forwarded as received, fields of the same name elsewhere too."""
    assert DIALECT.rewrite(BODY, max_output=1_234) == BODY.replace(b" 4000 ", b" 1234 ")
    assert DIALECT.rewrite(BODY, max_output=None) is BODY


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (b'{"contents":[]}', b'{"contents":[],"generationConfig":{"maxOutputTokens":5}}'),
        (b"{}", b'{"generationConfig":{"maxOutputTokens":5}}'),
        (b'{"generationConfig":{}}', b'{"generationConfig":{"maxOutputTokens":5}}'),
        (b'{"generationConfig":null,"a":1}', b'{"generationConfig":{"maxOutputTokens":5},"a":1}'),
        (b'{"generation_config":{ "top_k":1 }}', b'{"generation_config":{ "top_k":1 ,"maxOutputTokens":5}}'),
        (b'{"generation_config":{"max_output_tokens":null}}', b'{"generation_config":{"max_output_tokens":5}}'),
        (b'{"generationConfig":{"maxOutputTokens":0}}', b'{"generationConfig":{"maxOutputTokens":5}}'),
        (b'{"generation\\u0043onfig":{"topK":9}}', b'{"generation\\u0043onfig":{"topK":9,"maxOutputTokens":5}}'),
        (b'{"generationConfig":{"max\\u004futputTokens":9}}', b'{"generationConfig":{"max\\u004futputTokens":5}}'),
    ],
)  # fmt: skip
def test_a_limit_is_written_in_where_there_is_none(body: bytes, written: bytes) -> None:
    """Also where there is no config, and under the spelling that the client has."""
    assert DIALECT.rewrite(body, max_output=5) == written


@pytest.mark.parametrize("name", [b"serviceTier", b"service_tier"])
def test_a_tier_that_the_client_asked_for_is_replaced(name: bytes) -> None:
    """The gateway alone says what tier is paid for; where nothing is said it is the standard one."""
    body = b'{ "' + name + b'": "priority", "contents":[] }'
    assert DIALECT.rewrite(body, max_output=None) == body.replace(b'"priority"', b'"standard"')


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.one_of(TEXT, st.integers(), st.booleans(), st.dictionaries(TEXT, TEXT, max_size=2))
MARK = 98_765_432_100


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["topK", "top_p", "seed", "x", "stopSequences"]), VALUES, max_size=3),
    st.dictionaries(st.sampled_from(["contents", "tools", "y", "labels"]), VALUES, max_size=3),
    st.integers(1, 99_999),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.booleans(),
)
def test_rewriting_changes_one_number_and_nothing_else(
    inside: dict[str, Any],
    beside: dict[str, Any],
    limit: int,
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001  (drawn)
    is_snake: bool,  # noqa: FBT001  (drawn)
) -> None:
    """For random bodies: the bytes before and after the number are the same bytes."""
    outer, inner = ("generation_config", "max_output_tokens") if is_snake else ("generationConfig", "maxOutputTokens")
    fields = beside | {outer: inside | {inner: MARK}, "z": {inner: 1}}
    body = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    before, after = body.split(str(MARK).encode())
    assert DIALECT.rewrite(body, max_output=limit) == before + str(limit).encode() + after


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["contents", "tools", "y", "generationConfig", "model"]), VALUES, max_size=3),
    st.integers(1, 99_999),
)
def test_what_was_written_in_is_what_the_provider_reads(fields: dict[str, Any], limit: int) -> None:
    """And all else reads as before."""
    if "generationConfig" in fields:
        fields["generationConfig"] = {"topK": 3}
    read = json.loads(DIALECT.rewrite(json.dumps(fields).encode(), max_output=limit))
    expected = fields | {"generationConfig": fields.get("generationConfig", {}) | {"maxOutputTokens": limit}}
    assert read == expected


def test_the_count_call_gets_the_request_as_one_member() -> None:
    """So it counts tools and the system's words too; what is no part of the prompt it would answer with 400."""
    body = (
        b'{"contents":[ ],"system_instruction":{"parts":[]},"tools":[],"toolConfig":{},"generationConfig":{"topK":1},'
        b'"serviceTier":"flex","labels":{},"safetySettings":[],"store":true,"model":"gemini-2.5-pro"}'
    )
    assert DIALECT.count_body(body, path=PATH) == (
        b'{"generateContentRequest":{"contents":[ ],"system_instruction":{"parts":[]},"tools":[],"toolConfig":{},'
        b'"generationConfig":{"topK":1},"model":"models/gemini-2.5-pro"}}'
    )


def test_a_count_is_read() -> None:
    """And nothing else is taken for one."""
    assert DIALECT.read_count(b'{"totalTokens": 22505, "promptTokensDetails": []}') == 22_505
    for answer in (b"", b"[]", b"{}", b'{"totalTokens": -1}', b'{"totalTokens": "5"}', b'{"totalTokens": true}'):
        with pytest.raises(Malformed):
            DIALECT.read_count(answer)


def test_there_is_a_meter_for_each_kind_of_answer() -> None:
    """Streams, and whole bodies."""
    assert isinstance(DIALECT.meter(stream=True), StreamMeter)
    assert isinstance(DIALECT.meter(stream=False, write="5m", answers=4), WholeMeter)


@pytest.mark.parametrize(
    ("kind", "status", "name", "reason"),
    [
        ("budget", 400, "FAILED_PRECONDITION", "budget_exhausted"),
        ("turns", 400, "FAILED_PRECONDITION", "turn_limit"),
        ("frozen", 400, "FAILED_PRECONDITION", "provider_frozen"),
        ("malformed", 400, "INVALID_ARGUMENT", "malformed"),
        ("not_found", 404, "NOT_FOUND", "not_found"),
        ("not_allowed", 400, "INVALID_ARGUMENT", "not_allowed"),
        ("key", 401, "UNAUTHENTICATED", "key_refused"),
        ("too_large", 413, "INVALID_ARGUMENT", "too_large"),
        ("provider", 502, "UNAVAILABLE", "provider_failed"),
    ],
)
def test_no_is_said_in_googles_shape(kind: RefusalKind, status: int, name: str, reason: str) -> None:
    """The Gemini CLI ends at once on these, with our words shown; a program finds the reason as a code."""
    answer = DIALECT.refuse(kind, "run r has $0.01 left of $1.00: “ä”")
    assert (answer.status, answer.headers) == (status, {"content-type": "application/json; charset=UTF-8"})
    assert json.loads(answer.body) == {
        "error": {
            "code": status,
            "message": "run r has $0.01 left of $1.00: “ä”",
            "status": name,
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": reason,
                    "domain": "crewcap",
                    "metadata": {"code": reason},
                }
            ],
        }
    }


@pytest.mark.parametrize(
    ("kind", "status", "said", "retry_after_s", "wait"),
    [
        ("wait", 429, "RESOURCE_EXHAUSTED", None, "10"),
        ("wait", 429, "RESOURCE_EXHAUSTED", 42, "42"),
        ("unavailable", 503, "UNAVAILABLE", None, "5"),
    ],
)
def test_what_may_come_again_tells_when(
    kind: RefusalKind, status: int, said: str, retry_after_s: int | None, wait: str
) -> None:
    """As a header, and as Google's own clients read it."""
    answer = DIALECT.refuse(kind, "m", retry_after_s=retry_after_s)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["status"], answer.headers["retry-after"]) == (status, said, wait)
    assert error["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"}


def test_a_final_answer_never_invites_to_come_again() -> None:
    """Whatever the caller passes."""
    answer = DIALECT.refuse("budget", "m", retry_after_s=42)
    assert "retry-after" not in answer.headers
    assert len(json.loads(answer.body)["error"]["details"]) == 1
