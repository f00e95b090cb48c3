"""The bill of one answer, read as it passes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.pricing import Modifiers, Usage, Write
from crewcap.wire import Reading
from crewcap.wire.anthropic_meter import StreamMeter, WholeMeter


def event(kind: str, **fields: Any) -> bytes:
    """One event as the provider writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()


def start(model: str = "claude-sonnet-5", **usage: Any) -> bytes:
    """`message_start` with this usage."""
    return event("message_start", message={"id": "msg_1", "type": "message", "model": model, "usage": usage})


def delta(stop_reason: str | None = None, **usage: Any) -> bytes:
    """`message_delta` with this usage."""
    return event("message_delta", delta={"stop_reason": stop_reason}, usage=usage)


PROMPT: dict[str, Any] = {
    "input_tokens": 100,
    "cache_read_input_tokens": 2_000,
    "cache_creation_input_tokens": 700,
    "cache_creation": {"ephemeral_5m_input_tokens": 600, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 1,
    "service_tier": "standard",
    "inference_geo": "us",
}
WORDS = event("content_block_delta", index=0, delta={"type": "text_delta", "text": 'she said "usage" and "error"'})
STOP = event("message_stop")
WHOLE_STREAM = b"".join(
    [
        start(**PROMPT),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        WORDS,
        event("content_block_stop", index=0),
        delta("end_turn", output_tokens=50, output_tokens_details={"thinking_tokens": 20}),
        STOP,
    ]
)
BILL = Usage(input=100, cache_read=2_000, write_5m=600, write_1h=100, output=50, thinking=20)


def read(*chunks: bytes, write: Write = "1h") -> Reading:
    """What a stream comes to."""
    meter = StreamMeter(write)
    for chunk in chunks:
        meter.feed(chunk)
    return meter.close()


def test_an_answer_is_read_step_by_step() -> None:
    """Prompt first, then nothing new while it talks, then the bill, then the end."""
    meter = StreamMeter("5m")
    assert meter.feed(b"") == Reading()
    first = meter.feed(start(**PROMPT))
    assert first.has_started
    assert first.prompt_is_exact
    assert not first.is_complete
    assert first.model == "claude-sonnet-5"
    assert first.usage == Usage(input=100, cache_read=2_000, write_5m=600, write_1h=100, output=1)
    assert meter.feed(WORDS) is first
    billed = meter.feed(delta("end_turn", output_tokens=50, output_tokens_details={"thinking_tokens": 20}))
    assert (billed.usage, billed.stop_reason, billed.is_complete) == (BILL, "end_turn", False)
    last = meter.feed(STOP)
    assert last.is_complete
    assert meter.close() == last


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, len(WHOLE_STREAM)), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([0, 1, 2]),
)
def test_any_chunking_gives_the_same_reading(cuts: list[int], end: bytes, missing: int) -> None:
    """Wherever the network cuts, whatever ends a line, with or without the last empty line."""
    stream = WHOLE_STREAM[: len(WHOLE_STREAM) - missing].replace(b"\n", end)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reading = read(*(stream[a:b] for a, b in pairwise(places)))
    assert reading == read(WHOLE_STREAM)
    assert reading.usage == BILL
    assert reading.is_complete


def test_data_over_several_lines_and_comments_are_read() -> None:
    """As the standard for event streams has it."""
    data = json.dumps({"type": "message_start", "message": {"model": "m", "usage": PROMPT}}, indent=1)
    lines = "".join(f"data: {line}\n" for line in data.splitlines())
    assert read(f": hello\n\n: more\nevent: message_start\n{lines}\n".encode()).usage == Usage(
        input=100, cache_read=2_000, write_5m=600, write_1h=100, output=1
    )


def test_snapshots_are_never_added() -> None:
    """A field's value is its last snapshot."""
    reading = read(
        start(**PROMPT), delta(output_tokens=10), delta(output_tokens=40), delta("end_turn", output_tokens=50)
    )
    assert reading.usage is not None
    assert (reading.usage.output, reading.usage.prompt, reading.doubt) == (50, 2_800, "")


def test_the_split_may_come_late() -> None:
    """Some providers tell only at the end what was read from the cache; the prompt is then the same, divided anew."""
    early = start(input_tokens=2_800, output_tokens=1)
    meter = StreamMeter("5m")
    assert not meter.feed(early).prompt_is_exact
    late = meter.feed(delta("end_turn", **(PROMPT | {"output_tokens": 50})))
    assert late.usage == Usage(input=100, cache_read=2_000, write_5m=600, write_1h=100, output=50)
    assert (late.prompt_is_exact, late.doubt) == (True, "")


@pytest.mark.parametrize(("write", "five", "hour"), [("none", 700, 0), ("5m", 700, 0), ("1h", 0, 700)])
def test_a_write_that_is_not_split_is_the_dearest_that_was_asked_for(write: Write, five: int, hour: int) -> None:
    """And the hold is not lowered by it."""
    unsplit = {key: value for key, value in PROMPT.items() if key != "cache_creation"}
    reading = read(start(**unsplit), write=write)
    assert reading.usage is not None
    assert (reading.usage.write_5m, reading.usage.write_1h, reading.prompt_is_exact) == (five, hour, False)


def test_nothing_written_needs_no_split() -> None:
    """An answer without cache writes is exact as it is."""
    reading = read(start(input_tokens=5, cache_read_input_tokens=0, cache_creation_input_tokens=0, output_tokens=1))
    assert reading.prompt_is_exact


def test_what_changes_the_price_comes_from_the_answer() -> None:
    """Speed, region and tier as they were served."""
    assert read(start(**PROMPT)).modifiers == Modifiers(geo="us")
    served = PROMPT | {"speed": "fast", "service_tier": "priority", "inference_geo": "not_available"}
    assert read(start(**served)).modifiers == Modifiers(speed="fast", tier="priority", geo="global")
    assert read(start(**PROMPT), delta(output_tokens=3)).modifiers == Modifiers(geo="us")


def test_searches_are_pieces_and_fetches_are_free() -> None:
    """What has no published fee keeps its name, so that it cannot be booked at nothing."""
    used = {"web_search_requests": 2, "web_fetch_requests": 3, "laser_requests": 1, "nothing_requests": 0}
    reading = read(start(**PROMPT), delta(output_tokens=3, server_tool_use=used))
    assert reading.usage is not None
    assert reading.usage.pieces == {"web_search": 2, "laser": 1}


def test_each_run_is_billed_at_its_own_model() -> None:
    """Compaction and advisor entries are not in the top-level figures; fees stand on the first entry."""
    entries = [
        {"type": "compaction", "input_tokens": 5_000, "output_tokens": 300},
        {"type": "message", "input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 2_000,
         "cache_creation_input_tokens": 700, "cache_creation": PROMPT["cache_creation"]},
        {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 40, "output_tokens": 7},
    ]  # fmt: skip
    reading = read(
        start(**PROMPT),
        delta("end_turn", output_tokens=50, iterations=entries, server_tool_use={"web_search_requests": 1}),
    )
    assert reading.samplings == (
        ("claude-sonnet-5", Usage(input=5_000, output=300, pieces={"web_search": 1})),
        ("claude-sonnet-5", Usage(input=100, cache_read=2_000, write_5m=600, write_1h=100, output=50)),
        ("claude-opus-5-5", Usage(input=40, output=7)),
    )
    assert reading.doubt == ""


def test_what_the_entries_leave_out_is_an_entry_of_its_own() -> None:
    """The sum of the entries is never below the top level."""
    reading = read(start(**PROMPT), delta(output_tokens=50, iterations=[{"input_tokens": 60, "output_tokens": 20}]))
    assert reading.samplings == (
        ("claude-sonnet-5", Usage(input=60, output=20)),
        ("claude-sonnet-5", Usage(input=40, cache_read=2_000, write_5m=600, write_1h=100, output=30)),
    )


@pytest.mark.parametrize(
    "events",
    [
        [start(), delta("end_turn", output_tokens=50)],
        [event("message_start", message={"model": "m"}), delta("end_turn", output_tokens=50)],
        [start(**PROMPT)],
        [start(**PROMPT), event("message_delta", delta={"stop_reason": "end_turn"})],
        [start(**PROMPT), delta("end_turn", input_tokens=100)],
        [start(**PROMPT), delta("end_turn", output_tokens=None)],
    ],
)
def test_a_usage_that_lacks_the_prompt_or_the_last_word_on_the_output_is_not_whole(events: list[bytes]) -> None:
    """A stream may end as it should and never say what it cost: the 1 of its first event is no bill."""
    reading = read(*events, STOP)
    assert reading.is_complete
    assert not reading.usage_is_whole
    assert read(WHOLE_STREAM).usage_is_whole


def test_an_answer_that_begins_twice_may_be_two_bills() -> None:
    """Even where no figure falls."""
    reading = read(start(**PROMPT), start(**PROMPT), delta("end_turn", output_tokens=50), STOP)
    assert reading.doubt == "the answer begins twice"
    assert "begins twice" in read(start(**PROMPT), event("message_start", usage=None), STOP).doubt


def test_an_answer_is_called_as_its_message_is() -> None:
    """Transcripts repeat this name, so that the ledger's requests are found in them."""
    assert read(start(**PROMPT), WORDS).request_id == "msg_1"


def test_an_error_inside_the_stream_is_no_end() -> None:
    """The answer is not complete, and what was reported stays charged."""
    error = event("error", error={"type": "overloaded_error", "message": "later"}, request_id="req_1")
    reading = read(start(**PROMPT), WORDS, error)
    assert (reading.error, reading.request_id, reading.is_complete) == ("overloaded_error", "req_1", False)
    assert reading.usage is not None


def test_a_stream_that_is_cut_is_not_complete() -> None:
    """Neither between events nor inside the last one."""
    for size in range(len(WHOLE_STREAM) - len(STOP) + 1):
        assert not read(WHOLE_STREAM[:size]).is_complete


def test_the_providers_words_are_kept_for_the_audit() -> None:
    """All fields of all snapshots, the last of each."""
    raw = json.loads(read(WHOLE_STREAM).raw_usage)
    assert raw == PROMPT | {"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}}


@pytest.mark.parametrize(
    ("usage", "doubt"),
    [
        ({"output_tokens": -5}, "output is -5"),
        ({"output_tokens": 10**18}, "output is 1000000000000000000"),
        ({"output_tokens": None, "input_tokens": "many"}, 'input is "many"'),
        ({"output_tokens": True}, "output is true"),
        ({"output_tokens": [5]}, "output is a list"),
        ({"output_tokens": 5}, "a later snapshot makes the output smaller"),
        ({"input_tokens": 1}, "a later snapshot makes the prompt smaller"),
        ({"cache_read_input_tokens": 0}, "a later snapshot makes the prompt smaller"),
        ({"iterations": {}}, "usage.iterations is not a list of objects"),
        ({"iterations": [5]}, "usage.iterations is not a list of objects"),
        ({"server_tool_use": 5}, "server_tool_use is not an object"),
        ({"speed": 5}, "speed is 5"),
    ],
)
def test_a_hostile_bill_never_lowers_what_was_seen(usage: dict[str, Any], doubt: str) -> None:
    """What was once reported stays charged, and the reading says that it is in doubt."""
    reading = read(start(**(PROMPT | {"output_tokens": 20})), delta("end_turn", **usage), STOP)
    assert reading.usage == Usage(input=100, cache_read=2_000, write_5m=600, write_1h=100, output=20)
    assert doubt in reading.doubt
    assert not reading.prompt_is_exact


@pytest.mark.parametrize("written", ["NaN", "1e400", "-1", '"9"', "[[[]]]", "9" * 5_000])
def test_numbers_that_are_none_are_not_believed(written: str) -> None:
    """NaN, infinity, a number as a word: the event still counts for the rest, and the reading is in doubt."""
    raw = f'data: {{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{{"output_tokens":{written}}}}}'
    reading = read(start(**PROMPT), raw.encode() + b"\n\n", STOP)
    assert reading.usage is not None
    assert reading.usage.output >= 1
    assert reading.doubt
    assert reading.is_complete


def test_a_number_in_quotes_counts_as_the_least_that_it_can_mean() -> None:
    """Better charged and doubted than lost."""
    reading = read(start(**PROMPT), delta(output_tokens="9"), delta(input_tokens=120.5))
    assert reading.usage is not None
    assert (reading.usage.output, reading.usage.input) == (9, 121)


def test_an_event_that_cannot_be_read_is_a_doubt() -> None:
    """It may have been the bill."""
    assert read(start(**PROMPT), b'data: {"usage": {oops\n\n').doubt == "an event could not be read"
    assert read(start(**PROMPT), b'data: {"type":"message_start","message":{"usage":5}}\n\n').doubt != ""


def test_broken_letters_do_not_hide_the_bill() -> None:
    """A stop sequence of the client's may come back as it likes."""
    raw = b'data: {"type":"message_delta","delta":{"stop_sequence":"\xff"},"usage":{"output_tokens":50}}\n\n'
    reading = read(start(**PROMPT), raw)
    assert reading.usage is not None
    assert (reading.usage.output, reading.doubt) == (50, "")


def whole(body: bytes, write: Write = "5m") -> Reading:
    """What an answer that is not a stream comes to, fed in two pieces."""
    meter = WholeMeter(write)
    meter.feed(body[:7])
    assert not meter.feed(body[7:]).is_complete
    return meter.close()


def test_a_whole_body_is_read_at_its_end() -> None:
    """One JSON object, complete when it is whole."""
    body = {"type": "message", "model": "m", "content": [], "stop_reason": "end_turn", "usage": PROMPT}
    reading = whole(json.dumps(body).encode())
    assert (reading.model, reading.stop_reason, reading.is_complete) == ("m", "end_turn", True)
    assert reading.usage == Usage(input=100, cache_read=2_000, write_5m=600, write_1h=100, output=1)
    assert json.loads(reading.raw_usage) == PROMPT
    assert reading.usage_is_whole


@pytest.mark.parametrize("usage", [{}, {"input_tokens": 100}, {"output_tokens": 50}])
def test_a_whole_body_may_have_half_a_usage(usage: dict[str, int]) -> None:
    """What is not told is not zero."""
    reading = whole(json.dumps({"type": "message", "model": "m", "usage": usage}).encode())
    assert (reading.is_complete, reading.usage_is_whole) == (True, False)


def test_a_body_that_was_cut_tells_nothing() -> None:
    """It began, and that is all."""
    assert whole(b'{"type":"message","model":"m","usage":{"input_') == Reading(has_started=True)
    assert whole(json.dumps({"type": "error", "error": {"type": "api_error"}}).encode()).error == "api_error"


FIGURES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=4), st.just([]), st.just({})
)
NAMES = st.sampled_from([*PROMPT, "iterations", "server_tool_use", "speed", "output_tokens_details"])
USAGES = st.one_of(FIGURES, st.dictionaries(NAMES, st.one_of(FIGURES, st.lists(st.just({"input_tokens": -1})))))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["message_start", "message_delta", "error", "odd"]), USAGES), max_size=4))
def test_no_usage_makes_the_meter_fail_or_forget(events: list[tuple[str, Any]]) -> None:
    """Prompt and output only ever rise, and nothing is raised."""
    meter = StreamMeter("1h")
    seen = meter.feed(start(**PROMPT)).usage
    assert seen is not None
    for kind, usage in events:
        meter.feed(event(kind, usage=usage, message={"model": usage, "usage": usage}, delta=usage, error=usage))
        now = meter.feed(WORDS).usage
        assert now is not None
        assert now.prompt >= seen.prompt
        assert now.output >= seen.output
        seen = now


PIECES = st.sampled_from(
    [
        b"data: ",
        b"event: ",
        b'{"type":"message_delta"',
        b'"usage":{',
        b"}",
        b"\n",
        b"\n\n",
        b"\r",
        b'"error"',
        b"\xff",
        b":",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=20))
def test_no_bytes_make_the_meter_fail(chunks: list[bytes]) -> None:
    """A provider may send anything."""
    for meter in (StreamMeter("1h"), WholeMeter("none")):
        for chunk in chunks:
            meter.feed(chunk)
        assert meter.close().has_started == any(chunks)
