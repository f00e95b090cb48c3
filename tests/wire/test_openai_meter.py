"""The bill of one answer of OpenAI's APIs, read as it passes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.pricing import Modifiers, Usage, Write
from crewcap.wire import Meter, Reading
from crewcap.wire.openai_meter import ChatMeter, ChatStreamMeter, ResponsesMeter, ResponsesStreamMeter

STANDARD = Modifiers()
USAGE: dict[str, Any] = {
    "input_tokens": 1_000,
    "input_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 300},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1_050,
}
CHAT_USAGE: dict[str, Any] = {
    "prompt_tokens": 1_000,
    "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 300, "audio_tokens": 0},
    "completion_tokens": 50,
    "completion_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1_050,
}
BILL = Usage(input=100, cache_read=600, write_5m=300, output=50, thinking=20)


def event(kind: str, **fields: Any) -> bytes:
    """One event of the Responses API as the provider writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()


def response(kind: str, **fields: Any) -> bytes:
    """An event that carries the response as it is by then."""
    state = {"id": "resp_1", "object": "response", "model": "gpt-5.6-sol", "service_tier": "auto", "usage": None}
    return event(f"response.{kind}", response=state | {"status": kind, "output": []} | fields)


def chunk(**fields: Any) -> bytes:
    """One chunk of Chat Completions as the provider writes it."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-5.5", "service_tier": "default"}
    return f"data: {json.dumps(base | {'choices': [], 'usage': None} | fields)}\n\n".encode()


def choice(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """One answer's part of a chunk."""
    return {"index": 0, "delta": delta, "finish_reason": reason}


CREATED = response("created", status="in_progress")
TEXT = event("response.output_text.delta", delta='she said "response" and "usage" and "error"')
COMPLETED = response("completed", usage=USAGE, service_tier="default")
RESPONSES = b"".join([CREATED, response("in_progress"), TEXT, COMPLETED])

WORDS = chunk(choices=[choice(content='she said "usage" and "[DONE]"')])
STOP = chunk(choices=[choice("stop")])
DONE = b"data: [DONE]\n\n"
CHAT = b"".join([chunk(choices=[choice(role="assistant")]), WORDS, STOP, chunk(usage=CHAT_USAGE), DONE])


def read(meter: Meter, *chunks: bytes) -> Reading:
    """What an answer comes to."""
    for each in chunks:
        meter.feed(each)
    return meter.close()


def responses(*chunks: bytes, write: Write = "5m", untold: Modifiers = STANDARD) -> Reading:
    """What a stream of the Responses API comes to."""
    return read(ResponsesStreamMeter(write, untold), *chunks)


def chat(*chunks: bytes, write: Write = "5m", untold: Modifiers = STANDARD) -> Reading:
    """What a stream of Chat Completions comes to."""
    return read(ChatStreamMeter(write, untold), *chunks)


# --- streams


def test_a_response_is_read_step_by_step() -> None:
    """Its name first, then nothing new while it talks, then the bill and the end in one event."""
    meter = ResponsesStreamMeter("5m", STANDARD)
    assert meter.feed(b"") == Reading()
    first = meter.feed(CREATED)
    assert (first.has_started, first.model, first.request_id, first.usage) == (True, "gpt-5.6-sol", "resp_1", None)
    assert meter.feed(TEXT) is first
    last = meter.feed(COMPLETED)
    assert (last.usage, last.usage_is_whole, last.is_complete, last.stop_reason) == (BILL, True, True, "completed")
    assert not last.prompt_is_exact
    assert not last.doubt
    assert meter.close() == last


def test_a_chat_is_read_step_by_step() -> None:
    """Its name first, then the reason for its end, then the bill, then the end."""
    meter = ChatStreamMeter("5m", STANDARD)
    first = meter.feed(chunk(choices=[choice(role="assistant")]))
    assert (first.has_started, first.model, first.request_id, first.usage) == (True, "gpt-5.5", "chatcmpl-1", None)
    assert meter.feed(WORDS) is first
    assert meter.feed(STOP).stop_reason == "stop"
    billed = meter.feed(chunk(usage=CHAT_USAGE))
    assert (billed.usage, billed.usage_is_whole, billed.is_complete) == (BILL, True, False)
    last = meter.feed(DONE)
    assert last.is_complete
    assert meter.close() == last


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([(ResponsesStreamMeter, RESPONSES), (ChatStreamMeter, CHAT)]),
    st.lists(st.integers(0, len(RESPONSES)), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([0, 1, 2]),
)
def test_any_chunking_gives_the_same_reading(
    kind: tuple[type[ResponsesStreamMeter | ChatStreamMeter], bytes], cuts: list[int], end: bytes, missing: int
) -> None:
    """Wherever the network cuts, whatever ends a line, with or without the last empty line."""
    make, whole_stream = kind
    stream = whole_stream[: len(whole_stream) - missing].replace(b"\n", end)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reading = read(make("5m", STANDARD), *(stream[a:b] for a, b in pairwise(places)))
    assert reading == read(make("5m", STANDARD), whole_stream)
    assert reading.usage == BILL
    assert reading.is_complete


@pytest.mark.parametrize(
    ("kind", "fields", "reason", "error"),
    [
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "max_output_tokens", ""),
        ("failed", {"error": {"code": "server_error", "message": "m"}}, "failed", "server_error"),
        ("cancelled", {}, "cancelled", ""),
    ],
)
def test_a_response_may_end_otherwise(kind: str, fields: dict[str, Any], reason: str, error: str) -> None:
    """Each has its own last event, and each tells what it used."""
    reading = responses(CREATED, TEXT, response(kind, usage=USAGE, **fields))
    assert (reading.is_complete, reading.stop_reason, reading.error) == (True, reason, error)
    assert (reading.usage, reading.usage_is_whole) == (BILL, True)


def test_a_failure_may_not_tell_what_it_used() -> None:
    """It is an end, and no bill."""
    reading = responses(CREATED, TEXT, response("failed", error={"code": "server_error"}))
    assert (reading.is_complete, reading.usage, reading.usage_is_whole) == (True, None, False)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (event("error", code="rate_limit_exceeded", message="m", param=None), "rate_limit_exceeded"),
        (event("error", code=None, message="m"), "error"),
        (event("error", error={"type": "server_error", "message": "m"}), "server_error"),
    ],
)
def test_an_error_inside_a_response_is_no_end(stream: bytes, error: str) -> None:
    """The answer is not complete."""
    reading = responses(CREATED, TEXT, stream)
    assert (reading.error, reading.is_complete) == (error, False)


def test_an_error_inside_a_chat_is_no_end() -> None:
    """Nor here."""
    reading = chat(WORDS, b'data: {"error":{"message":"m","type":"server_error","code":null}}\n\n')
    assert (reading.error, reading.is_complete) == ("server_error", False)
    assert chat(WORDS, b'data: {"error":"m"}\n\n').error == "error"


@pytest.mark.parametrize(("meter", "stream"), [(responses, RESPONSES[: -len(COMPLETED)]), (chat, CHAT[: -len(DONE)])])
def test_a_stream_that_is_cut_is_not_complete(meter: Any, stream: bytes) -> None:
    """At no byte of it."""
    for size in range(0, len(stream) + 1, 7):
        assert not meter(stream[:size]).is_complete
    assert not meter(stream).is_complete


def test_a_chat_that_does_not_tell_its_usage_is_complete_and_has_no_bill() -> None:
    """Whoever reads it keeps the hold."""
    reading = chat(WORDS, STOP, DONE)
    assert (reading.is_complete, reading.usage, reading.usage_is_whole) == (True, None, False)


def test_a_usage_may_stand_beside_an_answer_and_grow() -> None:
    """Some providers tell in each chunk what was used so far; the last one counts, they are never added."""
    steps = [
        chunk(choices=[choice(content="a")], usage={"prompt_tokens": 1_000, "completion_tokens": number})
        for number in (1, 2, 30)
    ]
    reading = chat(*steps, chunk(usage=CHAT_USAGE), DONE)
    assert (reading.usage, reading.doubt) == (BILL, "")


def test_data_over_several_lines_and_comments_are_read() -> None:
    """As the standard for event streams has it."""
    data = json.dumps({"type": "response.completed", "response": {"model": "m", "usage": USAGE}}, indent=1)
    lines = "".join(f"data: {line}\n" for line in data.splitlines())
    assert responses(f": hello\n\n: more\n{lines}\n".encode()).usage == BILL
    assert chat(b": hello\n\n", CHAT).usage == BILL


# --- whole bodies


def body(**fields: Any) -> bytes:
    """A whole answer of the Responses API."""
    state: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "model": "m",
        "status": "completed",
        "output": [],
        "error": None,
    }
    return json.dumps(state | fields).encode()


def completion(**fields: Any) -> bytes:
    """A whole answer of Chat Completions."""
    return json.dumps({"id": "c", "model": "m", "choices": [choice("stop", content="a")]} | fields).encode()


@pytest.mark.parametrize(
    ("make", "answer"), [(ResponsesMeter, body(usage=USAGE)), (ChatMeter, completion(usage=CHAT_USAGE))]
)
def test_a_whole_body_is_read_at_its_end(make: Any, answer: bytes) -> None:
    """One JSON object, complete when it is whole."""
    meter: Meter = make("5m", STANDARD)
    assert not meter.feed(answer[:7]).is_complete
    assert meter.feed(answer[7:]).usage is None
    reading = meter.close()
    assert (reading.model, reading.is_complete, reading.usage_is_whole) == ("m", True, True)
    assert reading.usage == BILL
    assert reading.stop_reason in {"completed", "stop"}
    assert json.loads(reading.raw_usage)["total_tokens"] == 1_050


@pytest.mark.parametrize("make", [ResponsesMeter, ChatMeter])
@pytest.mark.parametrize("cut", [b"", b'{"id":"c","usage":{"input_', b"[]", b"not json"])
def test_a_body_that_was_cut_tells_nothing(make: Any, cut: bytes) -> None:
    """It began, and that is all."""
    assert read(make("5m", STANDARD), cut) == Reading(has_started=bool(cut))


@pytest.mark.parametrize("make", [ResponsesMeter, ChatMeter])
def test_an_error_with_a_good_status_is_no_answer(make: Any) -> None:
    """Some providers answer 200 with an error."""
    reading = read(make("5m", STANDARD), b'{"error":{"message":"m","code":"overloaded"}}')
    assert (reading.error, reading.is_complete) == ("overloaded", False)


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 100}, {"output_tokens": 50}])
def test_a_whole_body_may_have_half_a_usage(usage: dict[str, int] | None) -> None:
    """What is not told is not zero."""
    reading = read(ResponsesMeter("5m", STANDARD), body(usage=usage))
    assert (reading.is_complete, reading.usage_is_whole) == (True, False)


# --- what the figures mean


@pytest.mark.parametrize(("write", "five", "hour"), [("5m", 300, 0), ("1h", 0, 300), ("none", 300, 0)])
def test_a_write_of_untold_lifetime_is_the_dearest_that_was_asked_for(write: Write, five: int, hour: int) -> None:
    """30 minutes are the price list's shorter write, 12 hours its longer one."""
    usage = responses(RESPONSES, write=write).usage
    assert usage is not None
    assert (usage.write_5m, usage.write_1h, usage.prompt) == (five, hour, 1_000)


def test_writes_are_told_apart_where_the_answer_does() -> None:
    """Whatever was asked for."""
    details = USAGE["input_tokens_details"] | {
        "cache_write_tokens_details": {"ttl_30m_tokens": 100, "ttl_12h_tokens": 150}
    }
    usage = responses(response("completed", usage=USAGE | {"input_tokens_details": details})).usage
    assert usage is not None
    assert (usage.input, usage.cache_read, usage.write_5m, usage.write_1h) == (100, 600, 150, 150)


def test_without_details_everything_is_fresh_input() -> None:
    """Older models and other providers tell no more."""
    reading = chat(chunk(usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}), DONE)
    assert reading.usage == Usage(input=10, output=5)
    assert not reading.doubt


def test_what_the_total_has_beyond_is_billed_as_output() -> None:
    """Some providers leave reasoning out of the output."""
    used = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    reading = chat(chunk(usage=used | {"completion_tokens_details": {"reasoning_tokens": 100}}), DONE)
    assert reading.usage == Usage(input=10, output=105, thinking=100)


def test_what_changes_the_price_comes_from_the_answer() -> None:
    """The tier as it was served; where it is not told, the dearest that the request may meet."""
    dearest = Modifiers(tier="priority", geo="eu")
    for said, tier in (("default", "standard"), ("flex", "flex"), ("priority", "priority"), ("fast", "priority")):
        assert responses(response("completed", service_tier=said), untold=dearest).modifiers == Modifiers(
            tier=tier, geo="eu"
        )
        assert chat(chunk(service_tier=said), untold=dearest).modifiers.tier == tier
    assert responses(CREATED, untold=dearest).modifiers == dearest
    assert chat(chunk(service_tier=None), untold=dearest).modifiers == dearest
    assert responses(response("completed", service_tier="ultrafast")).modifiers.tier == "ultrafast"


def test_calls_of_hosted_tools_are_pieces() -> None:
    """As they stand in the answer, or as the provider counts them: whichever is more."""
    output = [
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}},
        {"type": "web_search_call", "action": {"type": "open_page", "url": "u"}},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "image_generation_call"},
        {"type": "message"},
    ]
    pieces = {"web_search": 2, "storage_search": 1, "image_generation": 1}
    for searches, most in ((0, 2), (5, 5)):
        used = {"web_search": {"num_requests": searches}, "image_gen": {"input_tokens": 0}}
        reading = responses(CREATED, response("completed", usage=USAGE, output=output, tool_usage=used))
        assert reading.usage is not None
        assert reading.usage.pieces == pieces | {"web_search": most}
        assert not reading.doubt


def test_searches_of_another_price_keep_their_name() -> None:
    """The older tool, and models that search in every request."""
    output = [{"type": "web_search_call"}]
    older = response("completed", usage=USAGE, output=output, tools=[{"type": "web_search_preview"}])
    for reading in (responses(older), chat(chunk(model="gpt-4o-search-preview", usage=CHAT_USAGE), DONE)):
        assert reading.usage is not None
        assert reading.usage.pieces == {"web_search_preview": 1}


def test_sound_keeps_its_name() -> None:
    """What was heard is inside the prompt, what was spoken is a piece of its own."""
    used = CHAT_USAGE | {
        "prompt_tokens_details": {"audio_tokens": 40},
        "completion_tokens_details": {"audio_tokens": 30},
    }
    usage = chat(chunk(usage=used), DONE).usage
    assert usage is not None
    assert (usage.input, usage.apart, usage.pieces) == (
        1_000,
        {"input_audio_token": 40},
        {"output_audio_token": 30},
    )


def test_the_providers_words_are_kept_for_the_audit() -> None:
    """As they were told."""
    assert json.loads(responses(RESPONSES).raw_usage) == USAGE
    assert json.loads(chat(CHAT).raw_usage) == CHAT_USAGE


# --- answers that lie


@pytest.mark.parametrize(
    ("usage", "doubt"),
    [
        ({"output_tokens": -5}, "output is -5"),
        ({"output_tokens": 10**18}, "output is 1000000000000000000"),
        ({"output_tokens": None, "input_tokens": "many"}, 'prompt is "many"'),
        ({"output_tokens": True}, "output is true"),
        ({"output_tokens": 5, "total_tokens": 5}, "a later snapshot makes the output smaller"),
        ({"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}, "prompt smaller"),
        ({"input_tokens_details": {"cached_tokens": 900}}, "the prompt is less than its parts"),
        ({"total_tokens": "x"}, 'total is "x"'),
        (5, "the answer's usage is not an object"),
        ([], "the answer's usage is not an object"),
    ],
)
def test_a_hostile_bill_never_lowers_what_was_seen(usage: Any, doubt: str) -> None:
    """What was once reported stays charged, and the reading says that it is in doubt."""
    used = USAGE | usage if isinstance(usage, dict) else usage
    reading = responses(CREATED, response("in_progress", usage=USAGE), response("completed", usage=used))
    assert reading.usage is not None
    assert reading.usage.prompt >= BILL.prompt
    assert reading.usage.output >= BILL.output
    assert doubt in reading.doubt
    assert reading.is_complete


def test_an_answer_that_begins_twice_may_be_two_bills() -> None:
    """Even where no figure falls."""
    assert responses(CREATED, CREATED, COMPLETED).doubt == "the answer begins twice"
    assert responses(RESPONSES).doubt == ""


def test_a_bill_without_a_model_is_doubted() -> None:
    """Nobody knows its price."""
    assert responses(response("completed", usage=USAGE, model=None)).doubt == "the answer does not name its model"
    assert chat(chunk(usage=CHAT_USAGE, model=""), DONE).doubt == "the answer does not name its model"


def test_an_event_that_cannot_be_read_is_a_doubt() -> None:
    """It may have been the bill."""
    assert responses(CREATED, b'data: {"response": {oops\n\n', COMPLETED).doubt == "an event could not be read"
    assert chat(WORDS, b'data: {"usage": {oops\n\n').doubt == "an event could not be read"
    assert chat(WORDS, b'data: {"usage": {oops').doubt == ""
    assert responses(response("completed", service_tier=5)).doubt == "service_tier is 5"
    assert chat(WORDS, chunk(service_tier=["flex"], usage=CHAT_USAGE)).doubt == "service_tier is a list"


def test_broken_letters_do_not_hide_the_bill() -> None:
    """A stop sequence of the client's may come back as it likes."""
    raw = COMPLETED.replace(b"resp_1", b"\xff")
    assert responses(CREATED, raw).usage == BILL


FIGURES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=4), st.just([]), st.just({})
)
NAMES = st.sampled_from([*USAGE, *CHAT_USAGE, "cached_tokens", "cache_write_tokens", "audio_tokens"])
USAGES = st.one_of(FIGURES, st.dictionaries(NAMES, st.one_of(FIGURES, st.dictionaries(NAMES, FIGURES, max_size=3))))
KINDS = st.sampled_from(["created", "in_progress", "completed", "incomplete", "failed"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(KINDS, USAGES, FIGURES), max_size=4))
def test_no_usage_makes_the_meters_fail_or_forget(events: list[tuple[str, Any, Any]]) -> None:
    """Prompt and output only ever rise, and nothing is raised."""
    meters: tuple[Meter, ...] = (ResponsesStreamMeter("5m", STANDARD), ChatStreamMeter("1h", STANDARD))
    for meter, first in zip(meters, (COMPLETED, chunk(usage=CHAT_USAGE)), strict=True):
        seen = meter.feed(first).usage
        assert seen is not None
        for kind, usage, odd in events:
            if isinstance(meter, ResponsesStreamMeter):
                meter.feed(response(kind, usage=usage, output=odd, tool_usage=odd, error=odd, incomplete_details=odd))
            else:
                meter.feed(chunk(usage=usage, choices=odd, service_tier=odd, model=odd, error=odd))
            now = meter.close().usage
            assert now is not None
            assert now.prompt >= seen.prompt
            assert now.output >= seen.output
            seen = now


PIECES = st.sampled_from(
    [b"data: ", b'{"type":"response.completed"', b'"response":{', b'"usage":{', b"}", b"\n", b"\n\n", b"\r", b"[DONE]",
     b'"error"', b'"choices":[', b"]", b"\xff", b":"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=20))
def test_no_bytes_make_the_meters_fail(chunks: list[bytes]) -> None:
    """A provider may send anything."""
    for make in (ResponsesStreamMeter, ChatStreamMeter, ResponsesMeter, ChatMeter):
        assert read(make("5m", STANDARD), *chunks).has_started == any(chunks)
