"""What a request to the Gemini API may cost, read from its path and its bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.asks import Ask
from crewcap.core.pricing import Modifiers
from crewcap.wire import Malformed
from crewcap.wire import gemini_known as known
from crewcap.wire.gemini_request import PAD, PAD_TOOLS, Target, read, target

PATH = "/v1beta/models/gemini-2.5-pro:generateContent"
HELLO: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
PNG = {"inlineData": {"mimeType": "image/png", "data": "A" * 500}}


def ask(*, path: str = PATH, allow: tuple[str, ...] = (), **fields: Any) -> Ask:
    """Read the smallest legal request with these fields put in."""
    return read(json.dumps(HELLO | fields, ensure_ascii=False).encode(), path, frozenset(allow))


def says(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """One user message of these parts."""
    return [{"role": "user", "parts": list(parts)}]


def config(**fields: Any) -> dict[str, Any]:
    """A generationConfig of these."""
    return {"generationConfig": fields}


def test_a_plain_request_is_its_bytes_and_the_pad() -> None:
    """A token is at least one byte; 256 are added for what the provider puts around them."""
    body = json.dumps(HELLO).encode()
    plain = read(body, PATH, frozenset())
    assert (plain.model, plain.stream, plain.max_output) == ("gemini-2.5-pro", False, None)
    assert (plain.bound.text_bytes, plain.bound.pad, plain.bound.images) == (len(body), PAD, 0)
    assert (plain.write, plain.samplings, plain.pieces, plain.modifiers) == ("none", 1, {}, (Modifiers(),))
    assert (plain.answers, plain.refusals, plain.notes, plain.is_countable) == (1, (), (), True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", Target("gemini-2.5-pro", "generateContent")),
        ("/v1/models/gemini-3.8-flash:streamGenerateContent", Target("gemini-3.8-flash", "streamGenerateContent")),
        ("/v1beta/models/x:countTokens", Target("x", "countTokens")),
    ],
)
def test_the_path_names_the_model_and_the_method(path: str, expected: Target) -> None:
    """In each version of the API."""
    assert target(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/v1beta/models/:generateContent",
        "/v1beta/models/a/b:generateContent",
        "/v1beta/models/../x:generateContent",
        "/v1beta/models/a%2Fb:generateContent",
        "/v1beta/models/gemini-2.5-pro:generateContent\n",
        "/v1beta/models/gem\u0456ni:generateContent",
        "/v1beta/tunedModels/a:generateContent",
        "/v1alpha/models/a:generateContent",
        "/v2/models/a:generateContent",
        "//v1beta/models/a:generateContent",
        "http://example.org/v1beta/models/a:generateContent",
    ],
)
def test_a_path_that_says_anything_else_is_malformed(path: str) -> None:
    """It is forwarded as it came, so nothing may hide in it."""
    with pytest.raises(Malformed, match="the path is not"):
        ask(path=path)


def test_a_path_may_ask_for_a_stream_and_for_nothing_that_is_not_metered() -> None:
    """Only two methods generate."""
    assert ask(path="/v1beta/models/m:streamGenerateContent").stream
    for method in ("countTokens", "embedContent", "batchGenerateContent", "generatecontent"):
        with pytest.raises(Malformed, match="does not generate content"):
            ask(path=f"/v1beta/models/m:{method}")


def test_the_body_may_repeat_the_model_and_not_contradict_the_path() -> None:
    """The provider takes the path's."""
    assert ask(model="models/gemini-2.5-pro").model == ask(model="gemini-2.5-pro").model == "gemini-2.5-pro"
    others: list[Any] = ["gemini-2.5-flash", 5, {}]
    for other in others:
        with pytest.raises(Malformed, match="names another model"):
            ask(model=other)


def test_images_count_by_number_and_not_by_their_bytes() -> None:
    """Also beside a tool's answer, and in both spellings."""
    snake = {"inline_data": {"mime_type": "image/webp", "data": "A" * 500}}
    inside = {"functionResponse": {"name": "f", "response": {}, "parts": [PNG, snake]}}
    contents = says(PNG, snake, inside)
    bound = ask(contents=contents).bound
    size = len(json.dumps(HELLO | {"contents": contents}).encode())
    assert (bound.images, bound.text_bytes, bound.whole_window) == (4, size - 4 * 500, False)


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
        {"inlineData": {"mimeType": "image/gif", "data": "AAAA"}},
        {"inlineData": {"mimeType": "IMAGE/PNG", "data": "AAAA"}},
        {"inlineData": {"mimeType": "application/octet-stream", "data": "AAAA"}},
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB"}},
        {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB"}},
        PNG | {"mediaResolution": {"numTokens": 90_000}},
        PNG | {"media_resolution": {"num_tokens": 90_000}},
    ],
)
def test_what_bytes_do_not_bound_can_fill_the_window(part: dict[str, Any]) -> None:
    """At the dearest price that any of its media may have."""
    nested = {"functionResponse": {"name": "f", "response": {}, "parts": [part]}}
    for contents in (says(part), says(nested), {"parts": part}):
        read_ask = ask(contents=contents)
        assert read_ask.bound.whole_window
        assert read_ask.apart == known.MEDIA_APART
        assert not read_ask.refusals


@pytest.mark.parametrize("mime", ["application/pdf", "text/plain", "text/html"])
def test_a_document_can_fill_the_window_and_has_no_sound(mime: str) -> None:
    """So it is not held at the price of sound."""
    read_ask = ask(contents=says({"inlineData": {"mimeType": mime, "data": "AAAA"}}))
    assert (read_ask.bound.whole_window, read_ask.apart) == (True, known.IMAGE_APART)


@pytest.mark.parametrize(
    "part",
    [
        {"text": "a", "thought": True, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "f", "args": {"fileData": {"fileUri": "x"}, "max_output_tokens": 1}}},
        {"functionResponse": {"name": "f", "response": {"parts": [{"fileData": {}}], "hologram": 1}}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        PNG | {"mediaResolution": {"level": "MEDIA_RESOLUTION_ULTRA_HIGH"}},
        {"text": None},
        {},
    ],
)
def test_what_is_in_the_body_is_its_bytes(part: dict[str, Any]) -> None:
    """Whatever a model wrote into a call, or a tool into its answer, is text."""
    read_ask = ask(contents=says(part))
    assert not read_ask.refusals
    assert not read_ask.bound.whole_window


def test_every_addition_of_the_provider_is_padded() -> None:
    """1,024 with tools, and every schema once more, however it is spelled."""
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    size = len(json.dumps(schema))
    assert ask(tools=[{"functionDeclarations": [{"name": "f"}]}]).bound.pad == PAD + PAD_TOOLS
    for name in ("responseSchema", "response_schema", "responseJsonSchema", "_responseJsonSchema", "responseFormat"):
        assert ask(**config(**{name: schema})).bound.pad == PAD + size
    assert ask(**config(responseSchema=None)).bound.pad == PAD


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"turbo": True}, "turbo"),
        ({"contents": says({"hologram": {}})}, "hologram"),
        ({"systemInstruction": {"parts": [{"hologram": {}}]}}, "hologram"),
        ({"tools": [{"laser": {}}]}, "laser"),
        ({"tools": {"laser": {}}}, "laser"),
    ],
)
def test_the_unknown_is_refused_with_the_line_that_allows_it(fields: dict[str, Any], name: str) -> None:
    """What crewcap does not know could cost anything; whoever allows it is held to the whole window."""
    refused = ask(**fields)
    assert f'"{name}"' in refused.refusals[0]
    assert refused.refusals[0].endswith(f'so capped keys may not use it; to let them: [gateway] allow = ["{name}"]')
    allowed = ask(allow=(name,), **fields)
    assert not allowed.refusals
    assert allowed.bound.whole_window
    assert not allowed.is_countable


@pytest.mark.parametrize(
    ("fields", "name", "samplings"),
    [
        ({"cachedContent": "cachedContents/x"}, "cachedContent", 1),
        ({"cached_content": "cachedContents/x"}, "cachedContent", 1),
        ({"continuationToken": "x"}, "continuationToken", 1),
        ({"contents": says({"fileData": {"fileUri": "https://example.org/a.pdf"}})}, "fileData", 1),
        ({"contents": says({"file_data": {"file_uri": "files/x"}})}, "fileData", 1),
        ({"tools": [{"computerUse": {"environment": "ENVIRONMENT_BROWSER"}}]}, "computerUse", 1),
        ({"tools": [{"urlContext": {}}]}, "urlContext", 21),
        ({"tools": [{"url_context": {}}]}, "urlContext", 21),
    ],
)
def test_input_that_is_not_in_the_body_is_refused_by_name(fields: dict[str, Any], name: str, samplings: int) -> None:
    """Whoever allows it is held to the whole window, once for each time that the model may be run."""
    refusals = ask(**fields).refusals
    assert len(refusals) == 1
    assert refusals[0].endswith(f'[gateway] allow = ["{name}"]')
    allowed = ask(allow=(name,), **fields)
    assert not allowed.refusals
    assert allowed.bound.whole_window
    assert (allowed.samplings, allowed.apart) == (samplings, known.MEDIA_APART)


UNBOUNDED = sorted(name for name, tool in known.TOOLS.items() if tool.uses is None and not tool.is_run_by_client)


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_tool_without_a_bound_stays_refused_even_where_it_is_allowed(name: str) -> None:
    """A search may go on as often as it likes: the API takes no most number of uses."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    for spelling in {name, snake}:
        refusals = ask(allow=(name, snake), tools=[{spelling: {}}]).refusals
        assert len(refusals) == 1
        assert f'"{name}"' in refusals[0]
        assert refusals[0].endswith("so no hold can cover it; use a key without a cap")


def test_the_lists_of_unbounded_tools_name_what_the_vendor_sells() -> None:
    """Grounding of every kind, and code that is run over there."""
    assert {"codeExecution", "enterpriseWebSearch", "googleMaps", "googleSearch", "retrieval"} <= set(UNBOUNDED)


@pytest.mark.parametrize(
    "fields",
    [
        config(routingConfig={"autoMode": {}}),
        config(model_selection_config={}),
        {"contents": says(PNG | {"mediaProcessing": "AGENTIC"})},
    ],
)
def test_what_leaves_the_cost_to_the_provider_has_no_hold(fields: dict[str, Any]) -> None:
    """Which model answers, and how often it looks."""
    refusals = ask(**fields).refusals
    assert len(refusals) == 1
    assert refusals[0].endswith("so no hold can cover it; use a key without a cap")


def test_nothing_asked_for_is_nothing_refused() -> None:
    """A client may say that it wants none of it."""
    tools: list[dict[str, Any]] = [{"googleSearch": None, "mcpServers": [], "functionDeclarations": []}]
    assert not ask(tools=tools, cachedContent=None, generationConfig=None, systemInstruction=None).refusals
    assert not ask(tools=None, serviceTier=None, labels={"a": "b"}, store=False, safetySettings=[]).refusals


def test_unknown_keys_inside_known_blocks_pass() -> None:
    """They belong to the block, whose cost is known."""
    fields = config(sparkle=1, thinkingConfig={"sparkle": 1}) | {"toolConfig": {"sparkle": 1}}
    contents = [{"role": "user", "sparkle": 1, "parts": [{"inlineData": PNG["inlineData"] | {"sparkle": 1}}]}]
    assert not ask(contents=contents, **fields).refusals


@pytest.mark.parametrize(
    ("thinking", "beside"),
    [
        ({"thinkingConfig": {"thinkingBudget": 8_192}}, 8_192),
        ({"thinking_config": {"thinking_budget": 8_192}}, 8_192),
        ({"thinkingConfig": {"thinkingBudget": 0}}, 0),
        ({"thinkingConfig": {"thinkingBudget": -1}}, None),
        ({"thinkingConfig": {"thinkingLevel": "LOW"}}, None),
        ({"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 5}}, None),
        ({"thinkingConfig": {"includeThoughts": False}}, None),
        ({"thinkingConfig": {}}, None),
        ({"thinkingConfig": None}, None),
        ({}, None),
    ],
)
def test_thinking_is_held_beside_the_output_limit(thinking: dict[str, Any], beside: int | None) -> None:
    """A budget where one is set; else the model decides by itself, also where nothing is said."""
    assert ask(**config(**thinking)).beside_output == beside


def test_a_model_that_does_not_think_holds_none_until_it_is_told_to() -> None:
    """Older ones answer at once."""
    path = "/v1beta/models/gemini-2.0-flash:generateContent"
    assert ask(path=path).beside_output == 0
    assert ask(path=path, **config(thinkingConfig={"thinkingBudget": -1})).beside_output is None


@pytest.mark.parametrize(("max_output", "floor"), [(None, 8_192), (9_000, 8_192), (8_192, 0), (500, 0)])
def test_no_limit_is_lowered_to_the_thinking_budget(max_output: int | None, floor: int) -> None:
    """Thinking fills the limit first; a client that asks for less than its own budget gets what it asks for."""
    fields = config(maxOutputTokens=max_output, thinkingConfig={"thinkingBudget": 8_192})
    assert ask(**fields).thinking_budget == floor


def test_each_candidate_has_the_whole_limit() -> None:
    """They multiply the output, and not the prompt."""
    assert ask(**config(candidateCount=4)).answers == 4
    assert ask(**config(candidate_count=4)).answers == 4
    assert [ask(**config(candidateCount=none)).answers for none in (None, 0)] == [1, 1]


@pytest.mark.parametrize(("said", "limit"), [(5_000, 5_000), (None, None), (0, None)])
def test_a_limit_of_zero_is_none(said: int | None, limit: int | None) -> None:
    """That is how this API writes what is not set, and a hold of nothing would let everything through."""
    assert ask(**config(maxOutputTokens=said)).max_output == limit
    assert ask(**config(max_output_tokens=said)).max_output == limit


@pytest.mark.parametrize("tier", ["priority", "SERVICE_TIER_PRIORITY", "flex", "standard", 5])
def test_the_tier_is_ours_and_a_note_says_so(tier: Any) -> None:
    """Priority capacity is never asked for, so it is never held for."""
    for name in ("serviceTier", "service_tier"):
        read_ask = ask(**{name: tier})
        assert {each.tier for each in read_ask.modifiers} == {"standard"}
        assert read_ask.notes == ("serviceTier was replaced by standard",)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"contents": None}, "contents is missing"),
        ({"contents": "hello"}, "contents is not a list of objects"),
        ({"contents": ["hello"]}, "contents is not a list of objects"),
        ({"contents": [{"parts": "hello"}]}, "the parts of contents is not a list of objects"),
        ({"contents": [{"role": 5, "parts": []}]}, "the role in contents is not a string"),
        ({"contents": says({"inlineData": "x"})}, "inlineData is not an object"),
        ({"contents": says({"inlineData": {"data": "x"}})}, "inlineData has no mimeType"),
        ({"contents": says({"inlineData": {"mimeType": "image/png", "data": 5}})}, "inlineData has no mimeType"),
        ({"contents": says({"functionResponse": "x"})}, "functionResponse is not an object"),
        ({"systemInstruction": "be brief"}, "systemInstruction is not an object"),
        ({"tools": "all"}, "tools is not a list of objects"),
        ({"generationConfig": []}, "generationConfig is not an object"),
        (config(maxOutputTokens="5"), "maxOutputTokens is not a whole number"),
        (config(maxOutputTokens=5.0), "maxOutputTokens is not a whole number"),
        (config(maxOutputTokens=True), "maxOutputTokens is not a whole number"),
        (config(maxOutputTokens=-1), "maxOutputTokens is not a whole number"),
        (config(maxOutputTokens=10**30), "maxOutputTokens is not a whole number"),
        (config(candidateCount="2"), "candidateCount is not a whole number"),
        (config(candidateCount=10**9), "candidateCount is not a whole number"),
        (config(thinkingConfig="HIGH"), "thinkingConfig is not an object"),
        (config(thinkingConfig={"thinkingBudget": "1"}), "thinkingBudget is not a whole number"),
        (config(thinkingConfig={"thinkingBudget": -2}), "thinkingBudget is not a whole number"),
        ({"generation_config": {}, "generationConfig": {}}, "stands twice, in both of its spellings"),
        (config(maxOutputTokens=5, max_output_tokens=9), "stands twice, in both of its spellings"),
        (config(MaxOutputTokens=5), "readers differ on such a name"),
        ({"Contents": []}, "readers differ on such a name"),
        ({"contents": says({"text": "a", "filedata": {}})}, "readers differ on such a name"),
        ({"tools": [{"google_Search": {}}]}, "readers differ on such a name"),
    ],
)
def test_a_body_of_the_wrong_shape_is_malformed(fields: dict[str, Any], why: str) -> None:
    """What cannot be bounded because it cannot be understood is answered 400."""
    with pytest.raises(Malformed, match=why):
        ask(**fields)


def test_the_body_is_parsed_and_not_searched() -> None:
    """Escapes hide nothing, and a key that stands twice is refused."""
    body = json.dumps(HELLO).encode()
    hidden = body[:-1] + b',"cached\\u0043ontent":"x"}'
    assert "cachedContent" in read(hidden, PATH, frozenset()).refusals[0]
    with pytest.raises(Malformed, match="stands twice"):
        read(body[:-1] + b',"contents":[]}', PATH, frozenset())


WORDS = st.sampled_from(
    ["contents", "parts", "text", "role", "inlineData", "inline_data", "mimeType", "image/png", "data", "fileData",
     "functionResponse", "response", "tools", "googleSearch", "urlContext", "functionDeclarations", "thinkingConfig",
     "thinkingBudget", "maxOutputTokens", "candidateCount", "mediaResolution", "numTokens", "toolCall", "x"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 3), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=15,
)
FIELDS = st.sampled_from(
    ["contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "generationConfig", "cachedContent",
     "serviceTier", "safetySettings", "model", "labels", "x"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, ANYTHING, max_size=3), st.booleans())
def test_no_body_makes_the_reader_fail_but_malformed(fields: dict[str, Any], allowed: bool) -> None:  # noqa: FBT001  (drawn)
    """Whatever a client sends is read, or answered with one sentence."""
    try:
        ask(allow=("urlContext", "fileData", "cachedContent", "x") if allowed else (), **fields)
    except Malformed as error:
        assert str(error)  # noqa: PT017  (either way is right)


SAID = st.text(st.characters(codec="utf-8"), max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=5), st.booleans())
def test_the_bound_is_at_least_the_bytes_of_all_text(said: list[str], ascii_only: bool) -> None:  # noqa: FBT001  (drawn)
    """However the text was escaped on its way."""
    contents = says(*({"text": text} for text in said))
    body = json.dumps({"contents": contents}, ensure_ascii=ascii_only).encode()
    assert read(body, PATH, frozenset()).bound.text_bytes >= sum(len(text.encode()) for text in said)
