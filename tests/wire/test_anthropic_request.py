"""What a request to the Messages API may cost, read from its bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.asks import Ask
from crewcap.core.pricing import Modifiers
from crewcap.wire import Malformed
from crewcap.wire.anthropic_request import PAD, PAD_CLIENT_TOOL, PAD_TOOLS, Rules, read

HELLO: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 4_000,
    "messages": [{"role": "user", "content": "hello"}],
}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 500}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


def ask(*, betas: tuple[str, ...] = (), allow: tuple[str, ...] = (), geo: str = "us", **fields: Any) -> Ask:
    """Read the smallest legal request with these fields put in."""
    body = json.dumps(HELLO | fields, ensure_ascii=False).encode()
    return read(body, betas, Rules(allow=frozenset(allow), reserve_geo=geo))


def says(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    """One user message of these blocks."""
    return [{"role": "user", "content": list(blocks)}]


def test_a_plain_request_is_its_bytes_and_the_pad() -> None:
    """A token is at least one byte; 256 are added for what the provider puts around them."""
    body = json.dumps(HELLO).encode()
    read_ask = read(body, [], Rules(reserve_geo="global"))
    assert (read_ask.model, read_ask.stream, read_ask.max_output, read_ask.thinking_budget) == (
        "claude-sonnet-5",
        False,
        4_000,
        0,
    )
    assert (read_ask.bound.text_bytes, read_ask.bound.pad, read_ask.bound.images) == (len(body), PAD, 0)
    assert (read_ask.write, read_ask.samplings, read_ask.pieces) == ("none", 1, {})
    assert read_ask.modifiers == (Modifiers(),)
    assert not read_ask.refusals


def test_images_count_by_number_and_not_by_their_bytes() -> None:
    """Also inside a tool's result, and inside a document made of blocks."""
    inside = {"type": "tool_result", "tool_use_id": "t", "content": [PNG, PNG]}
    paper = {"type": "document", "source": {"type": "content", "content": [PNG]}}
    messages = says(PNG, inside, paper)
    bound = ask(messages=messages).bound
    size = len(json.dumps(HELLO | {"messages": messages}).encode())
    assert (bound.images, bound.text_bytes, bound.whole_window) == (4, size - 4 * 500, False)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "text", "data": "a. b."}, "citations": {"enabled": True}},
        {"type": "search_result", "source": "s", "title": "t", "content": [], "citations": {"enabled": True}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "compaction", "content": "sum"},
    ],
)
def test_what_the_body_does_not_hold_can_fill_the_window(block: dict[str, Any]) -> None:
    """PDFs, addresses, file ids, texts cut up for citations, and what is kept at the provider."""
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    for messages in (says(block), says(nested)):
        read_ask = ask(messages=messages)
        assert read_ask.bound.whole_window
        assert not read_ask.refusals


def test_a_plain_document_is_its_text() -> None:
    """Its bytes are in the body."""
    block = {"type": "document", "source": {"type": "text", "data": "words"}, "citations": {"enabled": False}}
    assert not ask(messages=says(block)).bound.whole_window


def test_every_addition_of_the_provider_is_padded() -> None:
    """1,024 with tools, 2,048 per vendor tool, schemas and deferred definitions once more."""
    deferred = {"name": "late", "input_schema": {"type": "object"}, "defer_loading": True}
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    tools = [{"type": "bash_20250124", "name": "bash"}, {"type": "memory_20250818", "name": "memory"}, deferred]
    pad = ask(tools=tools, output_config={"format": schema}).bound.pad
    assert pad == PAD + PAD_TOOLS + 2 * PAD_CLIENT_TOOL + len(json.dumps(deferred)) + len(json.dumps(schema))


def test_a_definition_that_is_shown_again_is_counted_again() -> None:
    """A reference is short and what it shows may be long."""
    late = {"name": "late", "description": "x" * 1_000, "input_schema": {}, "defer_loading": True}
    once = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "late"}]}
    added = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "late"}}
    size = len(json.dumps(late))
    assert ask(tools=[late], messages=says(once)).bound.pad == PAD + PAD_TOOLS + size
    assert ask(tools=[late], messages=says(once, once, added)).bound.pad == PAD + PAD_TOOLS + 3 * size


@pytest.mark.parametrize(
    ("fields", "write"),
    [
        ({}, "none"),
        ({"cache_control": None}, "none"),
        ({"cache_control": {"type": "ephemeral"}}, "5m"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "1h"),
        ({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "5m"}}]}, "5m"),
        ({"tools": [{"name": "t", "input_schema": {}, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}, "1h"),
        (
            {
                "messages": says(
                    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [{"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
                    },
                )
            },
            "1h",
        ),
    ],
)
def test_the_longest_lived_mark_anywhere_sets_the_write_price(fields: dict[str, Any], write: str) -> None:
    """Marks may stand in the system, the tools, the messages, inside results, or on top for all."""
    assert ask(**fields).write == write


def test_a_mark_written_with_escapes_is_a_mark() -> None:
    """The body is parsed and not searched."""
    body = json.dumps(HELLO).encode()[:-1] + b',"cache\\u005fcontrol":{"type":"ephemeral","tt\\u006c":"1h"}}'
    assert read(body, [], Rules()).write == "1h"


def test_a_lifetime_without_a_price_is_refused() -> None:
    """And priced as the longest one that is known, for keys that may."""
    read_ask = ask(cache_control={"type": "ephemeral", "ttl": "24h"})
    assert read_ask.write == "1h"
    assert read_ask.refusals == (
        'the cache lifetime "24h" has no known price, so no hold can cover it; use a key without a cap',
    )


def test_a_tool_call_may_hold_anything() -> None:
    """What the model wrote into a tool's input is text, whatever it looks like."""
    call = {"type": "tool_use", "id": "t", "name": "Edit", "input": {"type": "hologram", "ttl": "24h", "max_tokens": 1}}
    assert not ask(messages=says(call)).refusals


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"turbo": True}, "turbo"),
        ({"tools": [{"type": "laser_20270101", "name": "laser"}]}, "laser_20270101"),
        ({"messages": says({"type": "hologram"})}, "hologram"),
        ({"messages": says({"type": "image", "source": {"type": "telepathy"}})}, "telepathy"),
        ({"messages": says({"type": "tool_addition", "tool": {"type": "mcp_tool_reference"}})}, "mcp_tool_reference"),
        ({"context_management": {"edits": [{"type": "rewrite_20270101"}]}}, "rewrite_20270101"),
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
    ("fields", "is_countable"),
    [
        ({"temperature": 0, "metadata": {}, "stream": True, "output_config": {"effort": "low"}}, True),
        ({"thread": None, "container": None}, True),
        ({"output_format": {"type": "json_schema", "schema": {}}}, False),
        ({"thread": {"id": "t"}}, False),
        ({"turbo": True}, False),
    ],
)
def test_a_field_that_the_count_call_does_not_take_may_bring_what_it_does_not_count(
    fields: dict[str, Any],
    is_countable: bool,  # noqa: FBT001  (a case)
) -> None:
    """Whoever allows such a field is held to the bytes or the window, never to the count."""
    assert ask(allow=("thread", "turbo"), **fields).is_countable is is_countable


def test_a_name_may_ask_for_the_long_window() -> None:
    """As the beta does, where an agent leaves its mark on the model's name."""
    assert ask(model="claude-sonnet-4-5[1m]").bound.window_at_least == 1_000_000
    assert ask(model="claude-sonnet-4-5").bound.window_at_least == 0


@pytest.mark.parametrize(("geo", "is_assumed"), [(None, True), ("global", True), ("us", False)])
def test_a_region_is_asked_for_or_only_feared(geo: str | None, is_assumed: bool) -> None:  # noqa: FBT001  (a case)
    """A price list that knows no regions may leave out one that nobody asked for."""
    fields: dict[str, Any] = {} if geo is None else {"inference_geo": geo}
    assert ask(**fields).geo_is_assumed is is_assumed


def test_unknown_keys_inside_a_known_block_pass() -> None:
    """They belong to the block, whose cost is known."""
    assert not ask(messages=says({"type": "text", "text": "a", "sparkle": 1})).refusals


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tools": [SEARCH]}, "web_search"),
        ({"tools": [SEARCH | {"type": "web_fetch_20260318"}]}, "web_fetch"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "compaction"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"fallbacks": [{"model": "claude-opus-5-5"}]}, "fallbacks"),
        ({"safeguards": [{"type": "dangerous_tool_use"}]}, "safeguards"),
        (
            {"tools": [{"type": "advisor_20260301", "name": "a", "model": "m", "max_uses": 1, "max_tokens": 9}]},
            "advisor",
        ),
    ],
)
def test_more_than_one_sampling_is_refused_by_name(fields: dict[str, Any], name: str) -> None:
    """A request that runs the model more than once is bounded only where the operator allows it."""
    refusals = ask(**fields).refusals
    assert len(refusals) == 1
    assert refusals[0].endswith(f'[gateway] allow = ["{name}"]')
    allowed = ask(allow=(name,), **fields)
    assert not allowed.refusals
    assert allowed.samplings > 1
    assert allowed.write == "5m"


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [SEARCH | {"max_uses": True}]},
        {"tools": [SEARCH | {"max_uses": 1_000_000_000}]},
        {"tools": [{"type": "code_execution_20260521", "name": "code_execution"}]},
        {"tools": [{"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}]},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "s"}]},
        {"messages": says({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {
            "type": "code_execution_20260521", "name": "c"}}})},
        {"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "s"}]},
        {"container": "c1"},
        {"fallbacks": "default"},
        {"tools": [{"type": "advisor_20260301", "name": "a", "model": "m", "max_uses": 1}]},
        {"inference_geo": "mars"},
        {"speed": "warp"},
    ],
)  # fmt: skip
def test_what_has_no_bound_stays_refused_even_where_it_is_allowed(fields: dict[str, Any]) -> None:
    """`max_uses` must be present; code execution, connectors and containers have none."""
    names = ("web_search", "code_execution", "tool_search_tool_bm25", "mcp_toolset", "mcp_servers", "container")
    refusals = ask(allow=(*names, "advisor", "fallbacks", "mars", "warp"), **fields).refusals
    assert len(refusals) == 1
    assert refusals[0].endswith("so no hold can cover it; use a key without a cap")


def test_nothing_asked_for_is_nothing_refused() -> None:
    """A client may say that it wants none of it."""
    fields: dict[str, Any] = {
        "mcp_servers": [],
        "container": None,
        "fallbacks": None,
        "context_management": None,
        "tools": [],
    }
    assert not ask(**fields).refusals


def test_server_tools_hold_their_uses_and_fees() -> None:
    """n uses are n + 1 runs of the model; a search costs a fee beside them, a fetch does not."""
    fetch = {"type": "web_fetch_20260318", "name": "web_fetch", "max_uses": 2}
    read_ask = ask(allow=("web_search", "web_fetch"), tools=[SEARCH, fetch])
    assert (read_ask.samplings, read_ask.pieces) == (6, {"web_search": 3})


def test_fallbacks_and_advisors_bring_their_models_and_limits() -> None:
    """The hold is taken at the dearest model, and at the largest limit, that may come in."""
    fallbacks = [{"model": "claude-opus-5-5", "max_tokens": 9_000, "speed": "fast"}, {"model": "claude-opus-5"}]
    read_ask = ask(allow=("fallbacks",), fallbacks=fallbacks)
    assert read_ask.other_models == ("claude-opus-5-5", "claude-opus-5")
    assert (read_ask.inner_output, read_ask.samplings) == (9_000, 3)
    assert {each.speed for each in read_ask.modifiers} == {"fast", "standard"}
    advisor = {"type": "advisor_20260301", "name": "a", "model": "m", "max_uses": 1, "max_tokens": 7_000}
    read_ask = ask(allow=("advisor",), tools=[advisor | {"caching": {"type": "ephemeral", "ttl": "1h"}}])
    assert (read_ask.other_models, read_ask.inner_output, read_ask.write) == (("m",), 7_000, "1h")


@pytest.mark.parametrize(
    ("body_geo", "settings_geo", "geos"),
    [
        (None, "us", {"us", "global"}),
        ("global", "us", {"us", "global"}),
        ("us", "global", {"us", "global"}),
        (None, "global", {"global"}),
        ("global", "global", {"global"}),
    ],
)
def test_the_dearest_region_is_held_unless_settings_and_body_agree(
    body_geo: str | None, settings_geo: str, geos: set[str]
) -> None:
    """Only the answer tells where it was made."""
    fields: dict[str, Any] = {} if body_geo is None else {"inference_geo": body_geo}
    assert {each.geo for each in ask(geo=settings_geo, **fields).modifiers} == geos


def test_fast_mode_is_held_at_both_speeds() -> None:
    """A fast request may be served at the standard speed."""
    assert {each.speed for each in ask(speed="fast").modifiers} == {"fast", "standard"}
    assert {each.speed for each in ask(speed="standard").modifiers} == {"standard"}


def test_the_tier_is_ours_and_a_note_says_so() -> None:
    """Priority capacity is never asked for, so it is never held for."""
    read_ask = ask(service_tier="auto")
    assert {each.tier for each in read_ask.modifiers} == {"standard"}
    assert read_ask.notes == ("service_tier was replaced by standard_only",)


def test_betas_are_priced_refused_or_noted() -> None:
    """Long context widens the window, what may cost unseen is refused, the rest passes and is recorded."""
    assert ask(betas=("context-1m-2025-08-07",)).bound.window_at_least == 1_000_000
    assert ask(betas=("cache-keepalive-2026-09-03",)).refusals[0].endswith('allow = ["cache-keepalive-2026-09-03"]')
    assert not ask(betas=("cache-keepalive-2026-09-03",), allow=("cache-keepalive-2026-09-03",)).refusals
    assert ask(betas=("effort-2025-11-24",)).notes == ()
    new = ask(betas=("sparkle-2027-01-01",))
    assert (new.refusals, new.notes) == ((), ('the beta "sparkle-2027-01-01" is not on crewcap\'s list',))
    strict = read(json.dumps(HELLO).encode(), ["sparkle-2027-01-01"], Rules(strict_betas=True))
    assert "strict_betas" in strict.refusals[0]


def test_the_thinking_budget_is_read_where_thinking_is_enabled() -> None:
    """The output limit may never be lowered to it."""
    assert ask(thinking={"type": "enabled", "budget_tokens": 2_048}).thinking_budget == 2_048
    assert ask(thinking={"type": "adaptive", "display": "updates"}).thinking_budget == 0
    assert ask(thinking={"type": "disabled"}).thinking_budget == 0


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model": ""}, "model is not a name"),
        ({"model": 5}, "model is not a name"),
        ({"max_tokens": "4000"}, "max_tokens is not a whole number"),
        ({"max_tokens": 4_000.0}, "max_tokens is not a whole number"),
        ({"max_tokens": True}, "max_tokens is not a whole number"),
        ({"max_tokens": -1}, "max_tokens is not a whole number"),
        ({"max_tokens": 10**30}, "max_tokens is not a whole number"),
        ({"max_tokens": None}, "max_tokens is not a whole number"),
        ({"stream": "true"}, "stream is neither true nor false"),
        ({"stream": None}, "stream is neither true nor false"),
        ({"messages": "hello"}, "messages is not a list of objects"),
        ({"messages": ["hello"]}, "messages is not a list of objects"),
        ({"messages": [{"content": "x"}]}, "a message has no role"),
        ({"messages": [{"role": "user", "content": 5}]}, "not a list of objects"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "not a list of objects"),
        ({"messages": [{"role": "user", "content": [{"type": ["text"]}]}]}, "has no type"),
        ({"messages": says({"type": "image"})}, "has no source"),
        ({"system": 5}, "system is not a list of objects"),
        ({"tools": {}}, "tools is not a list of objects"),
        ({"tools": [{"type": 5}]}, "the type of a tool is not a string"),
        ({"thinking": "enabled"}, "thinking is not an object"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens is missing"),
        ({"thinking": {"type": "enabled", "budget_tokens": "1"}}, "thinking.budget_tokens is not a whole number"),
        ({"context_management": []}, "context_management is not an object"),
        ({"context_management": {"edits": [{}]}}, "an edit in context_management has no type"),
    ],
)
def test_a_body_of_the_wrong_shape_is_malformed(fields: dict[str, Any], why: str) -> None:
    """What cannot be bounded because it cannot be understood is answered 400."""
    with pytest.raises(Malformed, match=why):
        ask(**fields)


@pytest.mark.parametrize("name", ["model", "max_tokens", "messages"])
def test_what_must_be_said_must_be_said(name: str) -> None:
    """Three fields are required."""
    body = json.dumps({key: value for key, value in HELLO.items() if key != name}).encode()
    with pytest.raises(Malformed, match=f"{name} is missing"):
        read(body, [], Rules())


def test_a_limit_of_zero_only_warms_the_cache() -> None:
    """The API takes it, so do we."""
    assert ask(max_tokens=0).max_output == 0


WORDS = st.sampled_from(
    ["type", "text", "image", "source", "base64", "data", "content", "tool_result", "document", "tools", "max_uses",
     "web_search_20250305", "cache_control", "ttl", "1h", "messages", "role", "edits", "thinking", "citations",
     "tool_addition", "tool", "definition", "tool_definition", "name", "compaction", "advisor_20260301"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 3), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=15,
)
FIELDS = st.sampled_from(
    ["messages", "system", "tools", "thinking", "context_management", "output_config", "cache_control", "fallbacks",
     "container", "mcp_servers", "speed", "inference_geo", "stream", "max_tokens", "service_tier", "model", "x"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, ANYTHING, max_size=3), st.booleans())
def test_no_body_makes_the_reader_fail_but_malformed(fields: dict[str, Any], allowed: bool) -> None:  # noqa: FBT001  (drawn)
    """Whatever a client sends is read, or answered with one sentence."""
    allow = ("web_search", "advisor", "fallbacks", "compaction", "x") if allowed else ()
    try:
        ask(allow=allow, **fields)
    except Malformed as error:
        assert str(error)  # noqa: PT017  (either way is right)


SAID = st.text(st.characters(codec="utf-8"), max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=5), st.booleans())
def test_the_bound_is_at_least_the_bytes_of_all_text(said: list[str], ascii_only: bool) -> None:  # noqa: FBT001  (drawn)
    """However the text was escaped on its way."""
    messages = [{"role": "user", "content": [{"type": "text", "text": text} for text in said]}]
    body = json.dumps(HELLO | {"messages": messages}, ensure_ascii=ascii_only).encode()
    assert read(body, [], Rules()).bound.text_bytes >= sum(len(text.encode()) for text in said)
