"""What a request to the Responses API may cost, what is forwarded, and how the dialect answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.asks import Ask
from crewcap.core.pricing import Modifiers
from crewcap.wire import ENDPOINTS, Dialect, Malformed, Tier
from crewcap.wire.openai_meter import ResponsesMeter, ResponsesStreamMeter
from crewcap.wire.openai_request import PAD, PAD_CLIENT_TOOL, PAD_TOOLS, Rules
from crewcap.wire.openai_responses import PATH, Responses, read

HELLO: dict[str, Any] = {"model": "gpt-5.5", "input": "hello"}
PNG = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 500, "detail": "original"}
TOOL = {"type": "function", "name": "t", "description": "d", "parameters": {"type": "object"}}
SEARCH = {"type": "web_search"}


def ask(*, allow: tuple[str, ...] = (), tier: Tier = "default", counts: bool = False, **fields: Any) -> Ask:
    """Read the smallest legal request with these fields put in."""
    body = json.dumps(HELLO | fields, ensure_ascii=False).encode()
    return read(body, Rules(allow=frozenset(allow), tier=tier, counts=counts))


def says(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """One user message of these parts."""
    return [{"type": "message", "role": "user", "content": list(parts)}]


def test_a_plain_request_is_its_bytes_and_the_pad() -> None:
    """A token is at least one byte; the provider writes its cache unasked."""
    body = json.dumps(HELLO).encode()
    read_ask = read(body, Rules())
    assert (read_ask.model, read_ask.stream, read_ask.max_output, read_ask.thinking_budget) == (
        "gpt-5.5",
        False,
        None,
        0,
    )
    assert (read_ask.bound.text_bytes, read_ask.bound.pad, read_ask.bound.images) == (len(body), PAD, 0)
    assert (read_ask.write, read_ask.samplings, read_ask.answers, read_ask.pieces) == ("5m", 1, 1, {})
    assert read_ask.modifiers == (Modifiers(),)
    assert not read_ask.refusals
    assert not read_ask.is_countable


@pytest.mark.parametrize("limit", [None, 0, 16, 10_000_000])
def test_an_output_limit_may_be_said_or_not(limit: int | None) -> None:
    """Null is as good as nothing."""
    assert ask(max_output_tokens=limit).max_output == limit


def test_images_count_by_number_and_not_by_their_bytes() -> None:
    """Wherever they stand: in a message, in a tool's output, in a screenshot, or at an address."""
    items = [
        *says(PNG, {"type": "input_image", "image_url": "https://example.org/a.png"}),
        {"type": "function_call_output", "call_id": "c", "output": [PNG, {"type": "input_text", "text": "t"}]},
        {"type": "custom_tool_call_output", "call_id": "c", "output": [PNG]},
        {"type": "computer_call_output", "call_id": "c", "output": PNG | {"type": "computer_screenshot"}},
        *says({"type": "input_image", "file_id": "f"}),
    ]
    bound = ask(input=items).bound
    size = len(json.dumps(HELLO | {"input": items}).encode())
    assert (bound.images, bound.text_bytes, bound.whole_window) == (6, size - 4 * len(PNG["image_url"]), False)


def test_what_is_no_image_counts_by_its_bytes_as_well() -> None:
    """An address of data that says it is something else is text too."""
    pdf = {"type": "input_image", "image_url": "data:application/pdf;base64," + "A" * 500}
    bound = ask(input=says(pdf)).bound
    assert (bound.images, bound.text_bytes) == (1, len(json.dumps(HELLO | {"input": says(pdf)})))


@pytest.mark.parametrize(
    "item",
    [
        {"type": "compaction", "encrypted_content": "g"},
        {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search"}},
        {"type": "file_search_call", "id": "f", "queries": []},
        {"type": "image_generation_call", "id": "i", "result": None},
        {"type": "mcp_call", "id": "m"},
    ],
)
def test_what_was_left_behind_at_the_provider_can_fill_the_window(item: dict[str, Any]) -> None:
    """Its size is not the body's."""
    read_ask = ask(input=[item])
    assert read_ask.bound.whole_window
    assert not read_ask.refusals


def test_every_addition_of_the_provider_is_padded() -> None:
    """1,024 with tools, 2,048 per vendor tool, schemas and deferred definitions once more."""
    deferred = TOOL | {"defer_loading": True}
    schema = {"type": "json_schema", "name": "s", "schema": {"type": "object"}}
    tools = [
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "tool_search", "execution": "client"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "namespace", "name": "n", "tools": [deferred, TOOL]},
    ]
    update = {"type": "configuration_update", "text": {"format": schema}}
    bound = ask(tools=tools, text={"format": schema, "verbosity": "low"}, input=[update]).bound
    assert bound.pad == PAD + PAD_TOOLS + 4 * PAD_CLIENT_TOOL + len(json.dumps(deferred)) + 2 * len(json.dumps(schema))


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
def test_tools_may_stand_among_the_items(kind: str) -> None:
    """Codex ships them so, and a search brings them; they are judged like the others."""
    assert ask(input=[{"type": kind, "role": "developer", "tools": [TOOL]}]).bound.pad == PAD + PAD_TOOLS
    assert ask(input=[{"type": kind, "tools": []}]).bound.pad == PAD + PAD_TOOLS
    assert '"mcp"' in ask(input=[{"type": kind, "tools": [{"type": "mcp", "server_label": "s"}]}]).refusals[0]


def test_a_tool_call_may_hold_anything() -> None:
    """What the model wrote into a call is text, whatever it looks like."""
    call = {"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": '{"type":"hologram","n":9}'}
    thought: dict[str, Any] = {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "gAAAA"}
    told = {"type": "agent_message", "content": [{"type": "encrypted_content", "encrypted_content": "g"}]}
    assert not ask(input=[call, thought, told]).refusals
    assert not ask(input=[call, thought, told]).bound.whole_window


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"turbo": True}, "turbo"),
        ({"tools": [{"type": "laser_2027_01_01"}]}, "laser_2027_01_01"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "laser"}]}]}, "laser"),
        ({"input": [{"type": "hologram"}]}, "hologram"),
        ({"input": says({"type": "input_hologram"})}, "input_hologram"),
        ({"instructions": [{"type": "hologram"}]}, "hologram"),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_video"}]}]}, "input_video"),
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


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, "item_reference"),
        ({"input": [{"id": "rs_1"}]}, "item_reference"),
        ({"input": says({"type": "input_file", "file_id": "f"})}, "input_file"),
        ({"input": says({"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"})}, "input_file"),
    ],
)
def test_input_that_is_not_in_the_body_is_refused_by_name(fields: dict[str, Any], name: str) -> None:
    """Whoever allows it is held to the whole window."""
    refusals = ask(**fields).refusals
    assert len(refusals) == 1
    assert refusals[0].endswith(f'[gateway] allow = ["{name}"]')
    allowed = ask(allow=(name,), **fields)
    assert not allowed.refusals
    assert allowed.bound.whole_window


def test_a_request_says_which_answer_it_goes_on_from() -> None:
    """The gateway may know that answer, under the same key."""
    assert ask(previous_response_id="resp_1").continues == "resp_1"
    assert ask().continues == ""


@pytest.mark.parametrize(
    ("fields", "name", "times"),
    [
        ({"context_management": [{"type": "compaction", "compact_threshold": 1_000}]}, "compaction", 2),
        ({"input": [{"type": "compaction_trigger"}]}, "compaction", 2),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation", 1),
        ({"access_programs": {"cyber": "standard"}}, "access_programs", 1),
        ({"tools": [{"type": "computer_use_preview"}]}, "computer_use", 1),
        ({"tools": [SEARCH], "max_tool_calls": 4}, "web_search", 5),
        ({"tools": [{"type": "web_search_2025_08_26"}], "max_tool_calls": 0}, "web_search", 1),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}], "max_tool_calls": 1}, "file_search", 2),
    ],
)
def test_what_moves_the_cost_is_refused_by_name(fields: dict[str, Any], name: str, times: int) -> None:
    """And held for where the operator allows it: the model may be run so many times."""
    refusals = ask(**fields).refusals
    assert len(refusals) == 1
    assert refusals[0].endswith(f'[gateway] allow = ["{name}"]')
    allowed = ask(allow=(name,), **fields)
    assert not allowed.refusals
    assert allowed.samplings == times


def test_hosted_tools_hold_their_calls_and_fees() -> None:
    """`max_tool_calls` counts the calls of all tools together; each kind of fee may be caused by all of them."""
    tools = [SEARCH, {"type": "file_search", "vector_store_ids": ["v"]}]
    read_ask = ask(allow=("web_search", "file_search"), tools=tools, max_tool_calls=3)
    assert not read_ask.refusals
    assert (read_ask.samplings, read_ask.pieces) == (4, {"web_search": 3, "storage_search": 3})
    assert read_ask.bound.whole_window


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [SEARCH]},
        {"tools": [SEARCH], "max_tool_calls": True},
        {"tools": [SEARCH], "max_tool_calls": 1_000_000},
        {"tools": [{"type": "web_search_preview"}], "max_tool_calls": 1},
        {"tools": [{"type": "web_search_preview_2025_03_11"}], "max_tool_calls": 1},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}], "max_tool_calls": 1},
        {"tools": [{"type": "image_generation"}], "max_tool_calls": 1},
        {"tools": [{"type": "mcp", "server_label": "s"}], "max_tool_calls": 1},
        {"tools": [{"type": "tool_search"}], "max_tool_calls": 1},
        {"tools": [{"type": "programmatic_tool_calling"}]},
        {"tools": [{"type": "shell"}]},
        {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
        {"background": True},
        {"background_options": {"completion_window": "2h"}},
        {"reasoning": {"mode": "pro"}},
        {"prompt_cache_options": {"ttl": "7d"}},
        {"prompt_cache_options": {"ttl": ["12h"]}},
        {"input": says({"type": "input_audio", "input_audio": {"data": "A"}})},
        {"model": "gpt-5-search-api"},
        {"model": "gpt-4o-search-preview-2025-03-11"},
    ],
)
def test_what_has_no_bound_stays_refused_even_where_it_is_allowed(fields: dict[str, Any]) -> None:
    """Nothing in the settings makes it safe."""
    tools = ("web_search", "web_search_preview", "code_interpreter", "image_generation", "mcp", "tool_search", "shell")
    names = ("programmatic_tool_calling", "background", "background_options", "input_audio", "pro", "7d")
    refusals = ask(allow=tools + names, **fields).refusals
    assert len(refusals) == 1
    assert refusals[0].endswith("so no hold can cover it; use a key without a cap")


@pytest.mark.parametrize(
    ("fields", "piece"),
    [
        ({"tools": [{"type": "code_interpreter"}]}, "code_interpreter"),
        ({"tools": [{"type": "image_generation"}]}, "image_generation"),
        ({"tools": [{"type": "web_search_preview"}]}, "web_search_preview"),
        ({"model": "gpt-5-search-api"}, "web_search_preview"),
        ({"input": says({"type": "input_audio"})}, "input_audio_token"),
    ],
)
def test_a_fee_that_is_in_no_price_list_keeps_its_name(fields: dict[str, Any], piece: str) -> None:
    """So that keys without a cap are refused too, until somebody prices it; nothing is booked at zero."""
    assert ask(**fields).pieces[piece] >= 1


def test_nothing_asked_for_is_nothing_refused() -> None:
    """A client may say that it wants none of it."""
    fields: dict[str, Any] = {
        "background": False,
        "conversation": None,
        "context_management": [],
        "tools": [],
        "prompt": None,
    }
    assert not ask(**fields, previous_response_id=None, reasoning=None, text=None, instructions=None).refusals


def test_unknown_keys_inside_a_known_member_pass() -> None:
    """They belong to the member, whose cost is known."""
    assert not ask(input=says({"type": "input_text", "text": "a", "sparkle": 1}), reasoning={"sparkle": 2}).refusals


@pytest.mark.parametrize(
    ("fields", "write"),
    [
        ({}, "5m"),
        ({"prompt_cache_options": {"ttl": "30m", "mode": "explicit"}}, "5m"),
        ({"prompt_cache_options": {"ttl": "12h"}}, "1h"),
        ({"prompt_cache_retention": "24h"}, "5m"),
        ({"input": says({"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"ttl": "12h"}})}, "1h"),
        ({"input": says({"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}})}, "5m"),
    ],
)
def test_the_longest_lived_write_anywhere_sets_the_write_price(fields: dict[str, Any], write: str) -> None:
    """A write for 12 hours is the price list's longer one; where that has no price, the price list refuses it."""
    read_ask = ask(**fields)
    assert read_ask.write == write
    assert not read_ask.refusals


@pytest.mark.parametrize(
    ("tier", "tiers"),
    [("default", ["standard"]), ("flex", ["standard", "flex"]), ("priority", ["priority", "standard"])],
)
def test_the_route_sets_the_tier_and_the_hold_knows_what_it_may_fall_back_to(tier: Tier, tiers: list[str]) -> None:
    """What the client asked for is replaced, and noted."""
    assert [each.tier for each in ask(tier=tier).modifiers] == tiers
    assert ask(tier=tier, service_tier=tier).notes == ()
    assert ask(tier=tier, service_tier="ultrafast").notes == (f"service_tier was replaced by {tier}",)
    rewritten = json.loads(Responses(tier=tier).rewrite(b'{"service_tier": "auto"}', max_output=None))
    assert rewritten == {"service_tier": tier}


def test_a_region_is_the_addresss_and_not_the_bodys() -> None:
    """Whoever sets a regional address says so, and every price is looked up for it."""
    read_ask = Responses(geo="eu").ask(json.dumps(HELLO).encode(), {}, allow=frozenset())
    assert read_ask.modifiers == (Modifiers(geo="eu"),)
    meter = Responses(geo="eu").meter(stream=True)
    assert meter.close().modifiers == Modifiers(geo="eu")


@pytest.mark.parametrize(
    ("fields", "is_countable"),
    [
        ({"temperature": 0, "stream": True, "store": False, "tools": [], "client_metadata": {}}, True),
        ({"prompt": {"id": "p"}}, False),
        ({"context_management": []}, False),
        ({"turbo": True}, False),
    ],
)
def test_a_count_is_asked_only_where_it_would_see_everything(
    fields: dict[str, Any],
    is_countable: bool,  # noqa: FBT001  (a case)
) -> None:
    """And only where the provider's count call is known to be free."""
    assert ask(counts=True, **fields).is_countable is is_countable
    assert not ask(**fields).is_countable


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ""},
        {"model": 5},
        {"stream": 1},
        {"max_output_tokens": -1},
        {"max_output_tokens": 1.5},
        {"max_output_tokens": 10**9},
        {"max_output_tokens": True},
        {"input": {"role": "user"}},
        {"input": [5]},
        {"input": [{"type": 5}]},
        {"input": [{"role": "user", "content": [{"text": "a"}]}]},
        {"input": [{"type": "additional_tools", "tools": {}}]},
        {"instructions": {"a": 1}},
        {"tools": [{}]},
        {"tools": [5]},
        {"text": "json"},
        {"reasoning": "high"},
    ],
)
def test_what_cannot_be_read_without_guessing_is_malformed(fields: dict[str, Any]) -> None:
    """Answered 400 in one sentence."""
    with pytest.raises(Malformed):
        ask(**fields)


BODY = (
    b'{ "model":"gpt-5.5", "input":[{"type":"function_call","call_id":"c","name":"n","arguments":"{\\"n\\":1}",'
    b'"max_output_tokens": 9, "service_tier":"x"}] ,"max_output_tokens" :\t4000, "metadata":{"service_tier":1.50}}'
)


def test_only_the_top_level_limit_and_the_tier_are_written() -> None:
    """Every other byte is forwarded as received, a nested field of the same name too."""
    lowered = Responses().rewrite(BODY, max_output=1_234)
    assert lowered == BODY.replace(b"\t4000", b"\t1234")[:-1] + b',"service_tier":"default"}'


@pytest.mark.parametrize("said", [b"", b'"max_output_tokens":null,'])
def test_a_limit_that_was_not_said_is_put_in(said: bytes) -> None:
    """Codex sends none; the model's own maximum would be the hold."""
    body = b'{%b"model":"m"}' % said
    assert json.loads(Responses().rewrite(body, max_output=16_000))["max_output_tokens"] == 16_000
    assert json.loads(Responses().rewrite(body, max_output=None)).get("max_output_tokens") is None


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.one_of(TEXT, st.integers(), st.booleans(), st.dictionaries(TEXT, TEXT, max_size=2))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(TEXT, VALUES, max_size=4),
    st.integers(0, 99_999),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_rewriting_changes_one_number_and_nothing_else(
    others: dict[str, Any],
    limit: int,
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001  (drawn)
) -> None:
    """For random bodies: the bytes before and after the number are the same bytes."""
    mark = 98_765_432_100
    fields = others | {"input": [{"max_output_tokens": 5}], "max_output_tokens": mark, "service_tier": "default"}
    body = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    before, after = body.split(str(mark).encode())
    assert Responses().rewrite(body, max_output=limit) == before + str(limit).encode() + after


def test_the_count_call_gets_only_what_it_takes() -> None:
    """Where it may be asked at all."""
    body = b'{"model":"m","max_output_tokens":5,"stream":true,"instructions":"s", "input": [ ],"tools":[]}'
    dialect = Responses(counts=True)
    assert dialect.has_count
    assert not Responses().has_count
    assert dialect.count_body(body) == b'{"model":"m","instructions":"s","input":[ ],"tools":[]}'
    assert dialect.read_count(b'{"object":"response.input_tokens","input_tokens":22505}') == 22_505
    for answer in (b"", b"[]", b"{}", b'{"input_tokens": -1}', b'{"input_tokens": "5"}'):
        with pytest.raises(Malformed):
            dialect.read_count(answer)


def test_the_table_knows_who_reads_what() -> None:
    """Settings name the dialect; a request's path says which of its APIs."""
    dialect: Dialect = ENDPOINTS["openai"][PATH](tier="flex")
    assert dialect.name == "openai"
    assert {each.tier for each in dialect.ask(json.dumps(HELLO).encode(), {}, allow=frozenset()).modifiers} == {
        "standard",
        "flex",
    }


def test_there_is_a_meter_for_each_kind_of_answer_and_no_sieve() -> None:
    """Usage is a part of each answer here."""
    dialect: Dialect = Responses()
    assert isinstance(dialect.meter(stream=True), ResponsesStreamMeter)
    assert isinstance(dialect.meter(stream=False, write="1h"), ResponsesMeter)
    assert dialect.sieve(ask(stream=True)) is None
    assert dialect.refuse("budget", "no").status == 400


WORDS = st.sampled_from(
    ["text", "input_text", "input_image", "image_url", "data:image/png", "type", "content", "output", "message", "role",
     "function_call_output", "tools", "web_search", "namespace", "shell", "environment", "local", "ttl", "12h",
     "format", "additional_tools", "tool_search_output", "configuration_update", "mode", "reasoning", "item_reference"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 3), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=15,
)
FIELDS = st.sampled_from(
    ["input", "instructions", "tools", "reasoning", "text", "context_management", "prompt", "prompt_cache_options",
     "max_tool_calls", "background", "previous_response_id", "stream", "max_output_tokens", "service_tier",
     "model", "x"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, ANYTHING, max_size=3), st.booleans())
def test_no_body_makes_the_reader_fail_but_malformed(fields: dict[str, Any], allowed: bool) -> None:  # noqa: FBT001  (drawn)
    """Whatever a client sends is read, or answered with one sentence."""
    allow = ("web_search", "compaction", "prompt", "x") if allowed else ()
    try:
        ask(allow=allow, **fields)
    except Malformed as error:
        assert str(error)  # noqa: PT017  (either way is right)


SAID = st.text(st.characters(codec="utf-8"), max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=5), st.booleans())
def test_the_bound_is_at_least_the_bytes_of_all_text(said: list[str], ascii_only: bool) -> None:  # noqa: FBT001  (drawn)
    """However the text was escaped on its way."""
    items = [*says(*({"type": "input_text", "text": text} for text in said)), {"role": "user", "content": said[0]}]
    body = json.dumps(HELLO | {"input": items}, ensure_ascii=ascii_only).encode()
    assert read(body, Rules()).bound.text_bytes >= sum(len(text.encode()) for text in [*said, said[0]])


def test_a_provider_that_only_speaks_like_openai_is_sent_no_tier() -> None:
    """Unless the client names one: that is ours to say."""
    dialect = Responses(is_vendors=False)
    assert dialect.rewrite(b'{"model":"m"}', max_output=None) == b'{"model":"m"}'
    sent = dialect.rewrite(b'{"model":"m","service_tier":"flex"}', max_output=None)
    assert sent == b'{"model":"m","service_tier":"default"}'
