"""What a request to Chat Completions may cost, what is forwarded, and how the dialect answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.asks import Ask
from crewcap.core.pricing import Modifiers
from crewcap.wire import ENDPOINTS, Dialect, Malformed, Tier
from crewcap.wire.openai_chat import PATH, Chat, read
from crewcap.wire.openai_meter import ChatMeter, ChatStreamMeter
from crewcap.wire.openai_request import PAD, PAD_TOOLS, Rules
from crewcap.wire.openai_sieve import UsageSieve

HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500, "detail": "high"}}
TOOL = {"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}


def ask(*, allow: tuple[str, ...] = (), tier: Tier = "default", **fields: Any) -> Ask:
    """Read the smallest legal request with these fields put in."""
    body = json.dumps(HELLO | fields, ensure_ascii=False).encode()
    return read(body, Rules(allow=frozenset(allow), tier=tier))


def says(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """One user message of these parts."""
    return [{"role": "user", "content": list(parts)}]


def test_a_plain_request_is_its_bytes_and_the_pad() -> None:
    """A token is at least one byte; the provider writes its cache unasked, and cannot be asked to count."""
    body = json.dumps(HELLO).encode()
    read_ask = read(body, Rules())
    assert (read_ask.model, read_ask.stream, read_ask.max_output) == ("gpt-5.5", False, None)
    assert (read_ask.bound.text_bytes, read_ask.bound.pad, read_ask.bound.images) == (len(body), PAD, 0)
    assert (read_ask.write, read_ask.samplings, read_ask.answers, read_ask.pieces) == ("5m", 1, 1, {})
    assert read_ask.modifiers == (Modifiers(),)
    assert not read_ask.refusals
    assert not read_ask.is_countable
    assert not read_ask.hides_usage


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": None, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": None}, None),
    ],
)
def test_the_output_limit_goes_by_two_names(fields: dict[str, Any], limit: int | None) -> None:
    """Whichever was sent."""
    assert ask(**fields).max_output == limit


def test_two_limits_are_malformed() -> None:
    """Readers differ on which one counts."""
    with pytest.raises(Malformed, match="both given"):
        ask(max_tokens=5, max_completion_tokens=5)


def test_n_answers_are_held_n_times() -> None:
    """Over one prompt, each up to the output limit."""
    assert ask(n=3).answers == 3
    assert ask(n=None).answers == 1


def test_a_prediction_is_output_beside_the_limit() -> None:
    """What of it does not come true is billed as output all the same."""
    prediction = {"type": "content", "content": "def f(): ..."}
    assert ask(prediction=prediction).beside_output == len(json.dumps(prediction))
    assert ask(prediction=None).beside_output == 0


def test_images_count_by_number_and_not_by_their_bytes() -> None:
    """An address counts like an image that is sent along."""
    messages = says(PNG, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, PNG)
    bound = ask(messages=messages).bound
    size = len(json.dumps(HELLO | {"messages": messages}).encode())
    assert (bound.images, bound.text_bytes, bound.whole_window) == (3, size - 2 * (500 + 22), False)


def test_every_addition_of_the_provider_is_padded() -> None:
    """Tools under either name, and the schema of the answer once more."""
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    assert ask(tools=[TOOL]).bound.pad == PAD + PAD_TOOLS
    assert ask(functions=[{"name": "t"}]).bound.pad == PAD + PAD_TOOLS
    assert ask(response_format=schema).bound.pad == PAD + len(json.dumps(schema))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"turbo": True}, "turbo"),
        ({"best_of": 5}, "best_of"),
        ({"tools": [{"type": "laser"}]}, "laser"),
        ({"messages": says({"type": "hologram"})}, "hologram"),
    ],
)
def test_the_unknown_is_refused_with_the_line_that_allows_it(fields: dict[str, Any], name: str) -> None:
    """What crewcap does not know could cost anything; whoever allows it is held to the whole window."""
    refusal = ask(**fields).refusals[0]
    assert f'"{name}"' in refusal
    assert refusal.endswith(f'so capped keys may not use it; to let them: [gateway] allow = ["{name}"]')
    allowed = ask(allow=(name,), **fields)
    assert not allowed.refusals
    assert allowed.bound.whole_window


def test_a_file_is_refused_by_name() -> None:
    """The provider may make more of it than its bytes."""
    fields: dict[str, Any] = {"messages": says({"type": "file", "file": {"file_id": "f"}})}
    assert ask(**fields).refusals[0].endswith('[gateway] allow = ["input_file"]')
    assert ask(allow=("input_file",), **fields).bound.whole_window
    assert not ask(allow=("input_file",), **fields).refusals


@pytest.mark.parametrize(
    ("fields", "piece"),
    [
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_preview"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "output_audio_token"),
        ({"modalities": ["text", "audio"]}, "output_audio_token"),
        ({"messages": says({"type": "input_audio", "input_audio": {"data": "A"}})}, "input_audio_token"),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "input_audio_token"),
        ({"model": "gpt-4o-search-preview"}, "web_search_preview"),
        ({"tools": [{"type": "web_search_preview"}]}, "web_search_preview"),
    ],
)
def test_what_has_no_bound_stays_refused_and_its_fee_keeps_its_name(fields: dict[str, Any], piece: str) -> None:
    """Sound, speech and searches of the web; no settings line makes them safe."""
    names = ("web_search_options", "audio", "input_audio", "web_search_preview")
    read_ask = ask(allow=names, **fields)
    assert len(read_ask.refusals) == 1
    assert read_ask.refusals[0].endswith("so no hold can cover it; use a key without a cap")
    assert read_ask.pieces[piece] >= 1


def test_moderation_is_refused_by_name() -> None:
    """Another model, of unknown price."""
    fields: dict[str, Any] = {"moderation": {"model": "omni-moderation-latest"}}
    assert ask(**fields).refusals[0].endswith('[gateway] allow = ["moderation"]')
    assert not ask(allow=("moderation",), **fields).refusals


def test_nothing_asked_for_is_nothing_refused() -> None:
    """A client may say that it wants none of it."""
    fields: dict[str, Any] = {"audio": None, "modalities": ["text"], "tools": None, "stream_options": None, "n": 1}
    call = {"role": "assistant", "content": None, "audio": None, "tool_calls": [{"id": "c", "type": "function"}]}
    told = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "t"}]}
    assert not ask(**fields, messages=[*HELLO["messages"], call, told]).refusals


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"messages": None},
        {"messages": [5]},
        {"messages": [{"content": "a"}]},
        {"messages": [{"role": "user", "content": [{"text": "a"}]}]},
        {"messages": [{"role": "user", "content": {"a": 1}}]},
        {"n": 0},
        {"n": 129},
        {"n": True},
        {"n": 1.5},
        {"max_tokens": "5"},
        {"stream": "yes"},
        {"stream_options": []},
        {"stream": True, "stream_options": {"include_usage": 1}},
        {"modalities": "audio"},
        {"prediction": "x"},
    ],
)
def test_what_cannot_be_read_without_guessing_is_malformed(fields: dict[str, Any]) -> None:
    """Answered 400 in one sentence."""
    with pytest.raises(Malformed):
        ask(**fields)


def test_messages_are_needed() -> None:
    """Without them there is nothing to bound."""
    with pytest.raises(Malformed, match="messages is missing"):
        read(b'{"model":"m"}', Rules())


@pytest.mark.parametrize(
    ("fields", "hides"),
    [
        ({"stream": True}, True),
        ({"stream": True, "stream_options": None}, True),
        ({"stream": True, "stream_options": {"include_usage": False}}, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, False),
        ({"stream": False}, False),
        ({}, False),
    ],
)
def test_the_usage_of_a_stream_is_hidden_from_whoever_did_not_ask_for_it(
    fields: dict[str, Any],
    hides: bool,  # noqa: FBT001  (a case)
) -> None:
    """The gateway asks in any case."""
    read_ask = ask(**fields)
    assert read_ask.hides_usage is hides
    assert isinstance(Chat().sieve(read_ask), UsageSieve) is hides


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (b"", b',"stream_options":{"include_usage":true}'),
        (b',"stream_options" : null', b',"stream_options" : {"include_usage":true}'),
        (b',"stream_options":{ }', b',"stream_options":{ "include_usage":true}'),
        (
            b',"stream_options":{"include_obfuscation" :false }',
            b',"stream_options":{"include_obfuscation" :false ,"include_usage":true}',
        ),
        (b',"stream_options":{"include_usage": false}', b',"stream_options":{"include_usage": true}'),
        (b',"stream_options":{"include_usage": true}', b',"stream_options":{"include_usage": true}'),
    ],
)
def test_a_stream_is_asked_for_its_usage(said: bytes, written: bytes) -> None:
    """Its other options stay as they were received."""
    body = b'{"model":"m","service_tier":"default", "stream" : true%b}'
    assert Chat().rewrite(body % said, max_output=None) == body % written


def test_what_is_no_stream_is_not_asked() -> None:
    """The provider answers 400 to stream options without a stream."""
    body = b'{"model":"m","service_tier":"default","stream":false}'
    assert Chat().rewrite(body, max_output=None) == body


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (b"", b',"max_completion_tokens":7'),
        (b',"max_tokens":50', b',"max_tokens":7'),
        (b',"max_completion_tokens":50', b',"max_completion_tokens":7'),
        (b',"max_tokens":null', b',"max_tokens":null,"max_completion_tokens":7'),
        (b',"max_completion_tokens":null,"max_tokens":9', b',"max_completion_tokens":null,"max_tokens":7'),
    ],
)
def test_the_limit_is_written_under_the_name_that_was_sent(said: bytes, written: bytes) -> None:
    """Newer models do not know the older name, older providers not the newer one."""
    body = b'{"service_tier":"default"%b}'
    assert Chat().rewrite(body % said, max_output=7) == body % written


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.one_of(TEXT, st.integers(), st.booleans(), st.dictionaries(TEXT, TEXT, max_size=2))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(TEXT, VALUES, max_size=4),
    st.integers(0, 99_999),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from(["max_tokens", "max_completion_tokens"]),
)
def test_rewriting_changes_one_number_and_nothing_else(
    others: dict[str, Any],
    limit: int,
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001  (drawn)
    name: str,
) -> None:
    """For random bodies: the bytes before and after the number are the same bytes."""
    mark = 98_765_432_100
    fields = others | {
        "messages": [{"max_tokens": 5, "stream": True}],
        "stream": True,
        "stream_options": {"include_usage": True},
        name: mark,
        "service_tier": "default",
    }
    body = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    before, after = body.split(str(mark).encode())
    assert Chat().rewrite(body, max_output=limit) == before + str(limit).encode() + after


@pytest.mark.parametrize("tier", ["default", "flex", "priority"])
def test_the_route_sets_the_tier(tier: Tier) -> None:
    """What the client asked for is replaced, and noted."""
    assert ask(tier=tier, service_tier="fast").notes == (f"service_tier was replaced by {tier}",)
    assert json.loads(Chat(tier=tier).rewrite(b'{"service_tier":"fast"}', max_output=None)) == {"service_tier": tier}
    assert ask(tier=tier).modifiers == Chat(tier=tier).ask(json.dumps(HELLO).encode(), {}, allow=frozenset()).modifiers


def test_there_is_no_count_call() -> None:
    """Whoever asks all the same is told so."""
    dialect = Chat()
    assert not dialect.has_count
    with pytest.raises(Malformed):
        dialect.count_body(b"{}")
    with pytest.raises(Malformed):
        dialect.read_count(b"{}")


def test_the_table_knows_who_reads_what() -> None:
    """And each kind of answer has its meter."""
    dialect: Dialect = ENDPOINTS["openai"][PATH](geo="eu")
    assert dialect.name == "openai"
    assert isinstance(dialect.meter(stream=True, answers=2), ChatStreamMeter)
    assert isinstance(dialect.meter(stream=False), ChatMeter)
    assert dialect.meter(stream=False).close().modifiers.geo == "eu"
    assert dialect.refuse("wait", "later").status == 429


WORDS = st.sampled_from(
    ["text", "image_url", "url", "data:image/png", "type", "content", "role", "audio", "function", "name", "tools",
     "input_audio", "file", "include_usage", "ttl", "12h", "json_schema", "tool_calls", "user"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 3), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=15,
)
FIELDS = st.sampled_from(
    ["messages", "tools", "functions", "n", "max_tokens", "max_completion_tokens", "stream", "stream_options", "audio",
     "modalities", "prediction", "response_format", "web_search_options", "model", "prompt_cache_options", "x"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, ANYTHING, max_size=3), st.booleans())
def test_no_body_makes_the_reader_or_the_writer_fail_but_malformed(fields: dict[str, Any], allowed: bool) -> None:  # noqa: FBT001  (drawn)
    """Whatever a client sends is read, or answered with one sentence; what was read can be written."""
    try:
        ask(allow=("input_file", "moderation", "x") if allowed else (), **fields)
    except Malformed as error:
        assert str(error)  # noqa: PT017  (either way is right)
        return
    body = json.dumps(HELLO | fields).encode()
    written = json.loads(Chat().rewrite(body, max_output=5))
    assert {k: v for k, v in written.items() if k in HELLO} == {k: v for k, v in (HELLO | fields).items() if k in HELLO}


SAID = st.text(st.characters(codec="utf-8"), max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=5), st.booleans())
def test_the_bound_is_at_least_the_bytes_of_all_text(said: list[str], ascii_only: bool) -> None:  # noqa: FBT001  (drawn)
    """However the text was escaped on its way."""
    messages = says(*({"type": "text", "text": text} for text in said))
    body = json.dumps(HELLO | {"messages": messages}, ensure_ascii=ascii_only).encode()
    assert read(body, Rules()).bound.text_bytes >= sum(len(text.encode()) for text in said)


def test_a_provider_that_only_speaks_like_openai_is_sent_neither_its_tiers_nor_its_newer_names() -> None:
    """Many refuse a field that they do not know; a tier that the client names is ours to say all the same."""
    chat = Chat(is_vendors=False)
    plain = b'{"model":"m","messages":[]}'
    assert chat.rewrite(plain, max_output=None) == plain
    assert chat.rewrite(plain, max_output=9) == plain[:-1] + b',"max_tokens":9}'
    newer = plain[:-1] + b',"max_completion_tokens":20}'
    assert chat.rewrite(newer, max_output=9) == newer.replace(b"20", b"9")
    tier = plain[:-1] + b',"service_tier":"flex"}'
    assert chat.rewrite(tier, max_output=None) == tier.replace(b"flex", b"default")
