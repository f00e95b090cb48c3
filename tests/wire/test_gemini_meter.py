"""The bill of one answer of the Gemini API, read as it passes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.pricing import Modifiers, Usage
from crewcap.wire import Reading
from crewcap.wire.gemini_meter import StreamMeter, WholeMeter

MODEL = "gemini-2.5-pro"


def chunk(*candidates: dict[str, Any], model: str = MODEL, **fields: Any) -> dict[str, Any]:
    """One chunk of an answer, or a whole one."""
    named = {"modelVersion": model, "responseId": "resp_1"} if model else {}
    return ({"candidates": list(candidates)} if candidates else {}) | fields | named


def says(text: str = "words", finish: str = "", index: int | None = None) -> dict[str, Any]:
    """A candidate; its index is left out where it is zero, as the API does."""
    where = {} if index is None else {"index": index}
    end = {"finishReason": finish} if finish else {}
    return {"content": {"role": "model", "parts": [{"text": text}]}} | end | where


def told(**usage: Any) -> dict[str, Any]:
    """`usageMetadata` of these, whose names are shortened here."""
    names = {"prompt": "promptTokenCount", "cached": "cachedContentTokenCount", "tool": "toolUsePromptTokenCount",
             "out": "candidatesTokenCount", "thoughts": "thoughtsTokenCount", "total": "totalTokenCount"}  # fmt: skip
    return {"usageMetadata": {names.get(name, name): value for name, value in usage.items()}}


def events(*chunks: dict[str, Any]) -> bytes:
    """A stream of events as the provider writes it."""
    return b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in chunks)


def listed(*chunks: dict[str, Any]) -> bytes:
    """A stream as one JSON list, as the provider writes it for those who ask for no events."""
    return b"[" + b"\n,\r\n".join(json.dumps(each, indent=2).encode() for each in chunks) + b"\n]\n"


ANSWER = (
    chunk(says("**Looking**"), **told(prompt=13_114, total=13_114)),
    chunk(says('she said "usageMetadata" {'), **told(prompt=13_114, out=9, total=13_140, thoughts=17)),
    chunk(says("", "STOP"), **told(prompt=13_114, cached=12_219, out=12, thoughts=17, total=13_143)),
)
WHOLE_STREAM = events(*ANSWER)
WHOLE_LIST = listed(*ANSWER)
BILL = Usage(input=895, cache_read=12_219, output=29, thinking=17)


def read(*chunks: bytes, answers: int = 1) -> Reading:
    """What a stream comes to."""
    meter = StreamMeter(answers)
    for each in chunks:
        meter.feed(each)
    return meter.close()


def of(*chunks: dict[str, Any], answers: int = 1) -> Reading:
    """What a stream of these events comes to; the same as a list, and as a list that is read whole."""
    reading = read(events(*chunks), answers=answers)
    assert read(listed(*chunks), answers=answers) == reading
    assert whole(listed(*chunks), answers=answers) == reading
    return reading


def whole(body: bytes, answers: int = 1) -> Reading:
    """What an answer that is not a stream comes to, fed in two pieces."""
    meter = WholeMeter(answers)
    meter.feed(body[:7])
    assert not meter.feed(body[7:]).is_complete
    return meter.close()


def test_an_answer_is_read_step_by_step() -> None:
    """An estimate first, the bill with the last word, and the end when nothing more can come."""
    meter = StreamMeter(1)
    assert meter.feed(b"") == Reading()
    first = meter.feed(events(ANSWER[0]))
    assert (first.has_started, first.model, first.request_id) == (True, MODEL, "resp_1")
    assert (first.usage, first.prompt_is_exact, first.usage_is_whole) == (Usage(input=13_114), False, False)
    second = meter.feed(events(ANSWER[1]))
    assert second.usage == Usage(input=13_114, output=26, thinking=17)
    billed = meter.feed(events(ANSWER[2]))
    assert (billed.usage, billed.stop_reason) == (BILL, "STOP")
    assert (billed.prompt_is_exact, billed.usage_is_whole, billed.is_complete) == (True, True, False)
    last = meter.close()
    assert (last.is_complete, last.doubt, last.error) == (True, "", "")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, len(WHOLE_LIST)), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
)
def test_any_chunking_gives_the_same_reading(cuts: list[int], end: bytes, missing: int, is_list: bool) -> None:  # noqa: FBT001  (drawn)
    """Wherever the network cuts, events or a list, whatever ends a line, with or without the last bytes."""
    stream = WHOLE_LIST if is_list else WHOLE_STREAM.replace(b"\r\n", end)
    stream = stream[: len(stream) - missing]
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reading = read(*(stream[a:b] for a, b in pairwise(places)))
    assert reading == read(WHOLE_STREAM)
    assert reading.usage == BILL
    assert reading.is_complete


@pytest.mark.parametrize("stream", [WHOLE_STREAM, WHOLE_LIST], ids=["events", "list"])
def test_a_stream_that_is_cut_is_not_complete(stream: bytes) -> None:
    """Neither between chunks nor inside the last one."""
    last = stream.index(b"STOP")
    for size in range(last):
        assert not read(stream[:size]).is_complete


def test_a_byte_at_a_time_is_read_too() -> None:
    """Escapes and quotes stand between any two."""
    text = 'a "quoted" \\ brace } and { [ "\\u0022" ]'
    answer = (chunk(says(text), **told(prompt=5)), chunk(says(text, "STOP"), **told(prompt=5, out=7, total=12)))
    for stream in (events(*answer), listed(*answer)):
        assert read(*(stream[at : at + 1] for at in range(len(stream)))).usage == Usage(input=5, output=7)


def test_snapshots_are_never_added() -> None:
    """Every chunk repeats all so far."""
    last = told(prompt=265, out=45, total=310)
    reading = of(*(chunk(says(), **told(prompt=265, out=out)) for out in (1, 17, 33)), chunk(says("", "STOP"), **last))
    assert (reading.usage, reading.doubt) == (Usage(input=265, output=45), "")


@pytest.mark.parametrize(("estimate", "last"), [(9_831, 7_098), (9_450, 10_827)])
def test_the_last_word_corrects_the_prompt(estimate: int, last: int) -> None:
    """Both were recorded by the vendor: the first chunk's prompt is an estimate, so it lowers no hold."""
    stream = events(chunk(says(), **told(prompt=estimate, total=estimate)))
    meter = StreamMeter(1)
    assert not meter.feed(stream).prompt_is_exact
    meter.feed(events(chunk(says("", "STOP"), **told(prompt=last, out=8, total=last + 8))))
    reading = meter.close()
    assert (reading.usage, reading.doubt) == (Usage(input=last, output=8), "")
    assert reading.prompt_is_exact


def test_an_event_that_tells_the_caches_share_is_exact() -> None:
    """Then the hold may shrink."""
    assert read(events(chunk(says(), **told(prompt=100, cached=80)))).prompt_is_exact
    assert read(events(chunk(says(), **told(prompt=100, cached=0)))).prompt_is_exact
    assert not read(events(chunk(says(), **told(cached=80)))).prompt_is_exact


def test_early_chunks_may_tell_the_cache_alone() -> None:
    """As one of the vendor's two services does; what was told stays until it is told anew."""
    reading = of(
        chunk(says(), **told(cached=5_100, trafficType="ON_DEMAND")),
        chunk(says("", "STOP"), **told(prompt=5_105, out=16, total=5_121, trafficType="ON_DEMAND")),
    )
    assert reading.usage == Usage(input=5, cache_read=5_100, output=16)


def test_what_tools_of_the_provider_read_is_input() -> None:
    """It is not inside the prompt's own figure."""
    reading = of(chunk(says("", "STOP"), **told(prompt=100, cached=40, tool=700, out=5, thoughts=3, total=808)))
    assert reading.usage == Usage(input=760, cache_read=40, output=8, thinking=3)


def test_what_only_the_total_tells_is_output() -> None:
    """Recorded: a prompt of 20,648, 12 written, and a total that is 109 larger, for thoughts."""
    reading = of(chunk(says("", "STOP"), **told(prompt=20_648, out=12, total=20_769)))
    assert reading.usage == Usage(input=20_648, output=121, thinking=109)


def test_a_total_belongs_to_the_prompt_beside_it() -> None:
    """That of an estimate says nothing of the prompt that corrects it."""
    reading = of(chunk(says(), **told(prompt=9_831, total=9_831)), chunk(says("", "STOP"), **told(prompt=7_098, out=8)))
    assert reading.usage == Usage(input=7_098, output=8)


def test_thoughts_that_the_last_chunk_leaves_out_stay_charged() -> None:
    """Recorded: a call that was malformed ends with no figure of what was written."""
    reading = of(
        chunk(says(), **told(prompt=12_282, thoughts=70, total=12_352)),
        chunk(says("", "MALFORMED_FUNCTION_CALL"), **told(prompt=12_282, total=12_282)),
    )
    assert (reading.usage, reading.doubt) == (Usage(input=12_282, output=70, thinking=70), "")
    assert (reading.stop_reason, reading.usage_is_whole) == ("MALFORMED_FUNCTION_CALL", True)


def test_figures_that_are_zero_are_left_out() -> None:
    """An answer of nothing is a whole one, where the total says so."""
    reading = of(chunk(says("", "STOP"), **told(prompt=12_723, total=12_723)))
    assert (reading.usage, reading.usage_is_whole, reading.is_complete) == (Usage(input=12_723), True, True)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(says("", "STOP"))],
        [chunk(says("", "STOP"), **told(prompt=100))],
        [chunk(says("", "STOP"), **told(out=5, total=105))],
        [chunk(says("", "STOP"), **told(trafficType="ON_DEMAND"))],
        [chunk(says(), **told(prompt=100, out=5, total=105)), chunk(says("", "STOP"))],
    ],
)
def test_a_usage_without_prompt_or_last_word_is_not_whole(chunks: list[dict[str, Any]]) -> None:
    """A stream may end as it should and never say what it cost."""
    reading = of(*chunks)
    assert reading.is_complete
    assert not reading.usage_is_whole


def test_the_bill_may_come_after_the_end() -> None:
    """In a chunk of its own."""
    reading = of(chunk(says("", "STOP")), chunk(**told(prompt=100, out=5, total=105)))
    assert (reading.usage, reading.usage_is_whole) == (Usage(input=100, output=5), True)


def test_every_candidate_must_have_ended() -> None:
    """The figures are those of all together, so the last one's end is the last word."""
    first = chunk(says("", "STOP"), **told(prompt=100, out=5, total=105))
    second = chunk(says("", "MAX_TOKENS", index=1), **told(prompt=100, out=45, total=145))
    open_one = chunk(says(index=1), **told(prompt=100, out=9))
    assert of(first, second, answers=2).is_complete
    assert of(first, second, answers=2).usage == Usage(input=100, output=45)
    assert not read(events(first), answers=2).is_complete
    assert not read(events(first), answers=2).usage_is_whole
    assert not of(first, open_one).is_complete


def test_one_object_has_all_its_candidates() -> None:
    """However many were asked for, and also where there are none at all."""
    answer = chunk(says("", "STOP"), says("", "SAFETY", index=1), **told(prompt=100, out=45, total=145))
    assert whole(json.dumps(answer).encode(), answers=4).is_complete
    empty = whole(json.dumps(chunk(**told(prompt=100, total=100))).encode())
    assert (empty.is_complete, empty.usage_is_whole, empty.usage) == (True, True, Usage(input=100))


def test_a_prompt_that_was_blocked_is_a_whole_answer() -> None:
    """It is billed for what was read, and not at nothing where it does not say."""
    blocked: dict[str, Any] = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    reading = of(chunk(**blocked, **told(prompt=8, total=8)))
    assert (reading.stop_reason, reading.is_complete, reading.usage_is_whole) == ("PROHIBITED_CONTENT", True, True)
    assert reading.usage == Usage(input=8)
    silent = of(chunk(**blocked))
    assert (silent.is_complete, silent.usage) == (True, None)


def test_safety_ratings_block_nothing() -> None:
    """A feedback without a reason is none."""
    assert not of(chunk(says(), promptFeedback={"safetyRatings": []}, **told(prompt=8))).is_complete


@pytest.mark.parametrize("finish", ["", "FINISH_REASON_UNSPECIFIED"])
def test_a_candidate_without_a_reason_goes_on(finish: str) -> None:
    """The stream is cut where it ends so."""
    assert not of(chunk(says("", finish), **told(prompt=8, out=1, total=9))).is_complete


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def test_an_error_inside_the_stream_is_no_end() -> None:
    """The answer is not complete, and what was reported stays charged; also where it stands there as bare JSON."""
    for last in (events(ERROR), json.dumps(ERROR, indent=2).encode(), b"\n" + json.dumps(ERROR).encode() + b"\n\n"):
        reading = read(events(*ANSWER[:2]), last)
        assert (reading.error, reading.is_complete) == ("UNAVAILABLE", False)
        assert reading.usage == Usage(input=13_114, output=26, thinking=17)
    assert of(*ANSWER, ERROR).error == "UNAVAILABLE"
    assert not of(*ANSWER, ERROR).is_complete


@pytest.mark.parametrize(("error", "name"), [({"code": 429}, "429"), ({}, "error"), ("oops", "error"), (None, "error")])
def test_an_error_has_a_name(error: Any, name: str) -> None:
    """Google's, else its number."""
    assert of({"error": error}).error == name
    assert whole(json.dumps({"error": error}).encode()).error == name


def test_the_answer_names_its_model() -> None:
    """It is settled at that one; where it names none, what it says is in doubt."""
    assert of(chunk(says("", "STOP"), model="models/gemini-9", **told(prompt=1, total=1))).model == "gemini-9"
    nameless = of(chunk(says("", "STOP"), model="", **told(prompt=1, total=1)))
    assert (nameless.model, nameless.doubt) == ("", "the answer does not name its model")


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({}, "standard"),
        ({"trafficType": "ON_DEMAND"}, "standard"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"serviceTier": "standard"}, "standard"),
        ({"serviceTier": "SERVICE_TIER_UNSPECIFIED"}, "standard"),
        ({"serviceTier": "SERVICE_TIER_PRIORITY"}, "priority"),
        ({"serviceTier": "flex", "trafficType": "ON_DEMAND"}, "flex"),
    ],
)
def test_the_tier_comes_from_the_answer(usage: dict[str, Any], tier: str) -> None:
    """One without a price is an incident where it is settled, not here."""
    assert of(chunk(says("", "STOP"), **told(prompt=1, total=1, **usage))).modifiers == Modifiers(tier=tier)


def test_sound_is_told_apart_inside_its_kind() -> None:
    """Some price lists bill it otherwise; what cannot have been fresh was read from the cache."""
    details: dict[str, Any] = {
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 600}, {"modality": "AUDIO", "tokenCount": 400}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 150}, {"modality": "TEXT", "tokenCount": 100}],
    }
    reading = of(chunk(says("", "STOP"), **told(prompt=1_000, cached=250, out=1, total=1_001, **details)))
    apart = {"input_audio_token": 250, "cache_audio_read_token": 150}
    assert reading.usage == Usage(input=750, cache_read=250, output=1, apart=apart)
    del details["cacheTokensDetails"]
    reading = of(chunk(says("", "STOP"), **told(prompt=1_000, cached=950, out=1, total=1_001, **details)))
    assert reading.usage is not None
    assert reading.usage.apart == {"input_audio_token": 50, "cache_audio_read_token": 350}


def grounded(*queries: str, model: str = "gemini-3.8-flash", **fields: Any) -> Usage:
    """What an answer that searched is billed."""
    first = says() | {"groundingMetadata": {"webSearchQueries": list(queries[:1])}}
    last = says("", "STOP") | {"groundingMetadata": {"webSearchQueries": list(queries)} | fields}
    usage = of(chunk(first, model=model), chunk(last, model=model, **told(prompt=9, out=1, total=10))).usage
    assert usage is not None
    return usage


def test_searches_are_pieces() -> None:
    """Later models bill each of them, earlier ones the answer; what has no published fee keeps its name."""
    assert grounded("a", "b").pieces == {"web_search": 2}
    assert grounded("a", "b", model="gemini-2.5-flash").pieces == {"web_search": 1}
    assert grounded().pieces == {}
    fields: dict[str, Any] = {"groundingChunks": [{"maps": {}}, {"maps": {}}, {"web": {}}], "imageSearchQueries": ["x"]}
    assert grounded(**fields).pieces == {"image_search": 1, "maps_search": 1}


def test_the_providers_words_are_kept_for_the_audit() -> None:
    """All fields of all snapshots, the last of each."""
    raw = json.loads(read(WHOLE_STREAM).raw_usage)
    assert raw == {
        "promptTokenCount": 13_114,
        "candidatesTokenCount": 12,
        "totalTokenCount": 13_143,
        "thoughtsTokenCount": 17,
        "cachedContentTokenCount": 12_219,
    }


@pytest.mark.parametrize(
    ("usage", "doubt"),
    [
        ({"out": -5}, "candidates is -5"),
        ({"out": 10**18}, "candidates is 1000000000000000000"),
        ({"prompt": "many"}, 'prompt is "many"'),
        ({"out": True}, "candidates is true"),
        ({"thoughts": [5]}, "thoughts is a list"),
        ({"out": 5}, "a later snapshot makes the output smaller"),
        ({"out": 0, "thoughts": 0}, "a later snapshot makes the output smaller"),
        ({"prompt": 40}, "a later snapshot makes the prompt smaller"),
        ({"tool": 0}, "a later snapshot makes the prompt smaller"),
        ({"serviceTier": 5}, "serviceTier is 5"),
    ],
)
def test_a_hostile_bill_never_lowers_what_was_seen(usage: dict[str, Any], doubt: str) -> None:
    """What was once reported stays charged, and the reading says that it is in doubt."""
    first = chunk(says(), **told(prompt=100, cached=60, tool=10, out=20, thoughts=3))
    reading = of(first, chunk(says("", "STOP"), **told(**usage)))
    assert reading.usage == Usage(input=50, cache_read=60, output=23, thinking=3)
    assert doubt in reading.doubt
    assert not reading.prompt_is_exact
    assert reading.is_complete


def test_a_usage_that_is_none_is_a_doubt() -> None:
    """It should have been the bill."""
    assert (
        of(*ANSWER[:2], chunk(says("", "STOP"), usageMetadata=5)).doubt == "the answer's usageMetadata is not an object"
    )


def test_the_cache_cannot_hold_more_than_was_sent() -> None:
    """Then all that was sent was read from it, and the reading is in doubt."""
    reading = of(chunk(says("", "STOP"), **told(prompt=100, cached=900, out=1, total=101)))
    assert reading.usage == Usage(cache_read=100, output=1)
    assert reading.doubt == "more was read from the cache than was sent"


@pytest.mark.parametrize("written", ["NaN", "1e400", "-1", '"9"', "[[[]]]"])
def test_numbers_that_are_none_are_not_believed(written: str) -> None:
    """NaN, infinity, a number as a word: the chunk still counts for the rest, and the reading is in doubt."""
    last = events(chunk(says("", "STOP"), **told(out="@"))).replace(b'"@"', written.encode())
    reading = read(events(*ANSWER[:2]), last)
    assert reading.usage is not None
    assert reading.usage.output >= 26
    assert reading.doubt
    assert reading.is_complete


def test_a_chunk_that_cannot_be_read_is_a_doubt() -> None:
    """It may have been the bill; one that was cut off is none."""
    assert read(events(ANSWER[0]), b"data: {oops\n\n", events(ANSWER[2])).doubt == "a chunk could not be read"
    digits = WHOLE_STREAM.replace(b"13143", b"9" * 5_000)
    assert (read(digits).doubt, read(digits).is_complete) == ("a chunk could not be read", False)
    assert read(b"[5, {oops}, {}]").doubt == "a chunk could not be read"
    assert read(WHOLE_STREAM, b'data: {"usage').doubt == ""
    assert read(b'[{"candidates":[{"content').doubt == ""


def test_comments_and_names_of_events_are_passed_over() -> None:
    """As the standard for event streams has it."""
    assert read(b": hello\n\nevent: ping\n\nretry: 5\n\n", WHOLE_STREAM).usage == BILL


def test_a_body_that_was_cut_tells_nothing() -> None:
    """It began, and that is all."""
    assert whole(json.dumps(ANSWER[2]).encode()[:-1]) == Reading(has_started=True)
    assert whole(WHOLE_LIST[:-3]) == Reading(has_started=True)


FIGURES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=4), st.just([]), st.just({})
)
NAMES = st.sampled_from(
    ["promptTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount",
     "thoughtsTokenCount", "totalTokenCount", "trafficType", "serviceTier"]
)  # fmt: skip
DETAILS = st.lists(st.fixed_dictionaries({"modality": st.sampled_from(["AUDIO", "TEXT", 5]), "tokenCount": FIGURES}))
USAGES = st.one_of(
    FIGURES,
    st.dictionaries(NAMES, FIGURES, max_size=4),
    st.fixed_dictionaries({"promptTokensDetails": DETAILS, "cacheTokensDetails": DETAILS}),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(USAGES, FIGURES), max_size=4))
def test_no_usage_makes_the_meter_fail_or_forget(snapshots: list[tuple[Any, Any]]) -> None:
    """What was written only ever rises, a prompt falls to no less than half, and nothing is raised."""
    meter = StreamMeter(1)
    seen = meter.feed(events(ANSWER[1])).usage
    assert seen is not None
    for usage, odd in snapshots:
        meter.feed(
            events(chunk(says() | {"index": odd, "groundingMetadata": odd}, usageMetadata=usage, promptFeedback=odd))
        )
        now = meter.feed(events({"candidates": odd, "modelVersion": odd})).usage
        assert now is not None
        assert now.prompt * 2 >= seen.prompt
        assert now.output >= 26
        assert sum(now.apart.values()) <= 3 * now.prompt
        seen = now


PIECES = st.sampled_from(
    [b"data: ", b'{"candidates":[', b'"usageMetadata":{', b"}", b"]", b"[", b"\n", b"\n\n", b"\r", b'"', b"\\", b"\xff"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=20))
def test_no_bytes_make_the_meter_fail(chunks: list[bytes]) -> None:
    """A provider may send anything."""
    for meter in (StreamMeter(1), WholeMeter(2)):
        for each in chunks:
            meter.feed(each)
        assert meter.close().has_started == any(chunks)


JSON = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), max_size=4), st.integers(1, 7))
def test_a_list_is_cut_into_its_objects_whatever_they_hold(objects: list[dict[str, Any]], size: int) -> None:
    """Quotes, backslashes and braces inside strings are no braces."""
    body = json.dumps([each | chunk(**told(prompt=3)) for each in objects] + [ANSWER[2]]).encode()
    reading = read(*(body[at : at + size] for at in range(0, len(body), size)))
    assert (reading.usage, reading.doubt) == (BILL, "")
