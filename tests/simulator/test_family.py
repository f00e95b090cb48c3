"""What every API of the simulator keeps: the providers' law (MONEY 9), and our own meters read its bill exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import ZERO
from crewcap.core.pricing import Usage
from crewcap.simulator.family import Family
from crewcap.simulator.script import Script
from crewcap.simulator.script_file import parse
from crewcap.simulator.server import COUNTING, GENERATING, Simulator
from crewcap.simulator.tokens import REQUEST_TOKENS
from crewcap.simulator.troubles import TROUBLES

from .conftest import Client, Clock, events
from .speakers import SPEAKERS, TOOL, ChatSpeaker, GeminiSpeaker, Heard, ResponsesSpeaker, Speaker, read_by, send

Play = Callable[..., tuple[Simulator, Client]]
NOW = datetime(2026, 11, 22, tzinfo=UTC)
RECORDED = Path(__file__).parent.parent / "wire/recorded"

TALK = parse(
    """
    [[step]]
    name = "look"
    when = { first = true, tool = "look" }
    say = "I look at it first."
    use = [{ tool = "look", input = { path = "src/ä b.py" }, times = 2 }]
    output_tokens = 300
    pace = { events = 5, ms = 0 }
    [[step]]
    name = "tell"
    say = "{{asked}}: {{result}}"
    output_tokens = 900
    """,
    name="talk",
)


def script(body: str) -> Script:
    return parse(f"[[step]]\nname = 'a'\n{body}", name="inline")


every = pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda speaker: speaker.name)
ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def tokens(usage: Usage | None) -> Usage:
    assert usage is not None
    return replace(usage, pieces={}, apart={})


@every
@ways
def test_our_meter_reads_what_was_billed(play: Play, speaker: Speaker, *, stream: bool) -> None:
    """To the token and in its kind: a first turn, one that reads the cache, and one with the results of calls."""
    simulator, client = play(TALK)
    body = speaker.body("Look! " * 2_000, stream=stream)
    heard: list[Heard] = []
    for sent in (body, body, None):
        status, raw = send(client, speaker, sent or speaker.follow(body, heard[0], "one", "two"), stream=stream)
        assert status == 200
        heard.append(speaker.hear(raw, stream=stream))
        reading = read_by(speaker, raw, stream=stream)
        assert tokens(reading.usage) == simulator.meter.bills[-1].usage
        assert (reading.is_complete, reading.usage_is_whole, reading.doubt, reading.error) == (True, True, "", "")
        assert reading.model == simulator.meter.bills[-1].model == speaker.model
    assert [record.step for record in simulator.log.messages()] == ["look", "look", "tell"]
    assert [bill.usage.cache_read > 2_000 for bill in simulator.meter.bills] == [False, True, True]


@every
def test_a_stream_says_what_the_whole_answer_says_and_costs_the_same(play: Play, speaker: Speaker) -> None:
    simulator, client = play(TALK)
    whole, streamed = (
        speaker.hear(send(client, speaker, speaker.body("Look!", stream=stream), stream=stream)[1], stream=stream)
        for stream in (False, True)
    )
    assert (whole.text, whole.stop) == (streamed.text, streamed.stop)
    assert whole.text.startswith("I look at it first.")
    assert (
        [call[1:] for call in whole.calls]
        == [call[1:] for call in streamed.calls]
        == 2 * [(TOOL, {"path": "src/ä b.py"})]
    )
    assert len({call[0] for call in whole.calls}) == 2
    first, second = simulator.meter.bills
    assert first.amount == second.amount > ZERO


@every
def test_a_conversation_goes_on_where_its_last_result_stands(play: Play, speaker: Speaker) -> None:
    _, client = play(TALK)
    body = speaker.body("Look!")
    asked = speaker.hear(send(client, speaker, body)[1], stream=False)
    told = speaker.hear(send(client, speaker, speaker.follow(body, asked, "one", "two"))[1], stream=False)
    assert told.text.startswith("Look!: one\ntwo")
    assert not told.calls


@every
@ways
def test_an_answer_keeps_to_its_limit_and_says_so(play: Play, speaker: Speaker, *, stream: bool) -> None:
    simulator, client = play(TALK)
    raw = send(client, speaker, speaker.body("Look!", stream=stream, limit=20), stream=stream)[1]
    heard = speaker.hear(raw, stream=stream)
    assert (heard.stop, heard.calls) == (speaker.limit_stop, ())
    assert simulator.meter.bills[0].usage.output == 20
    assert read_by(speaker, raw, stream=stream).usage_is_whole


@every
def test_without_a_limit_the_models_own_holds(play: Play, speaker: Speaker) -> None:
    simulator, client = play(script("cost_usd = '50'"))
    heard = speaker.hear(send(client, speaker, speaker.body("x", limit=None))[1], stream=False)
    assert heard.stop == speaker.limit_stop
    assert 32_000 <= simulator.meter.bills[0].usage.output <= 128_000


@pytest.mark.parametrize("speaker", [each for each in SPEAKERS if each.count_path], ids=lambda speaker: speaker.name)
def test_the_count_call_says_what_would_be_billed_and_is_free(play: Play, speaker: Speaker) -> None:
    simulator, client = play(TALK)
    body = speaker.body("Look! " * 300)
    counted = client.send(speaker.count_path, speaker.count_body(body))
    assert simulator.meter.total() == ZERO
    send(client, speaker, body)
    assert speaker.counted(counted.data) == simulator.meter.bills[0].usage.prompt


@every
def test_a_cached_prompt_is_forgotten_when_its_time_is_over(play: Play, clock: Clock, speaker: Speaker) -> None:
    simulator, client = play(TALK)
    body = speaker.body("Look! " * 2_000)
    send(client, speaker, body)
    send(client, speaker, body)
    clock.move(minutes=31)
    send(client, speaker, body)
    assert [bill.usage.cache_read > 0 for bill in simulator.meter.bills] == [False, True, False]


@every
@pytest.mark.parametrize("name", TROUBLES)
def test_every_trouble_is_an_error_of_that_api(play: Play, speaker: Speaker, name: str) -> None:
    """Whatever it is called there; nothing is billed, and what may come again says when."""
    simulator, client = play("errors")
    status, raw = send(client, speaker, speaker.body(f"refuse {name}", stream=True), stream=True)
    error = json.loads(raw)["error"]
    assert 400 <= status < 600
    assert error["message"]
    assert error.get("code") == status if speaker.name.startswith("gemini") else "type" in error
    assert simulator.meter.total() == ZERO
    assert [record.status for record in simulator.log.messages()] == [status]


@every
def test_a_rate_limit_says_when_to_come_again(play: Play, speaker: Speaker) -> None:
    _, client = play("errors")
    said = client.send(speaker.path(stream=False), speaker.body("refuse rate_limit"))
    assert (said.status, said.headers["retry-after"]) == (429, "2")


@every
def test_an_error_in_the_middle_of_a_stream_ends_it(play: Play, speaker: Speaker) -> None:
    simulator, client = play("errors")
    raw = send(client, speaker, speaker.body("event overloaded", stream=True, tools=False), stream=True)[1]
    reading = read_by(speaker, raw, stream=True)
    assert reading.error
    assert not reading.is_complete or speaker.name == "responses"
    assert [record.ending for record in simulator.log.messages()] == ["error_event"]


@every
@pytest.mark.parametrize("events_", [0, 1, 2, 3])
def test_a_stream_that_is_cut_is_billed_and_read_as_far_as_it_went(play: Play, speaker: Speaker, events_: int) -> None:
    simulator, client = play(script(f"say = 'hello'\noutput_tokens = 900\ncut = {events_}\npace = {{ events = 9 }}"))
    body = speaker.body("Look!", stream=True)
    if not events_:
        with pytest.raises(ConnectionError):
            send(client, speaker, body, stream=True)
    else:
        reading = read_by(speaker, send(client, speaker, body, stream=True)[1], stream=True)
        assert (reading.is_complete, reading.usage_is_whole, reading.has_started) == (False, False, True)
    simulator.idle_in_thread()
    assert [record.ending for record in simulator.log.messages()] == ["cut"]
    assert simulator.meter.bills[0].usage.output == 900


@every
def test_the_lies_are_told_in_every_api(play: Play, speaker: Speaker) -> None:
    """What is said is read: above the bound, above the limit, another model, another tier; then it is billed, too."""
    for lie in ("usage-above-bound", "output-above-limit", "dearer-model", "dearer-tier"):
        simulator, client = play(TALK, lie=lie)
        raw = send(client, speaker, speaker.body("Look!", stream=True, limit=100), stream=True)[1]
        reading, bill = read_by(speaker, raw, stream=True), simulator.meter.bills[0]
        size = simulator.log.messages()[0].size_bytes
        assert tokens(reading.usage) == bill.usage
        broken = {
            "usage-above-bound": bill.usage.prompt > size + 10_000,
            "output-above-limit": bill.usage.output > 100,
            "dearer-model": reading.model == bill.model != speaker.model,
            "dearer-tier": reading.modifiers.tier == "priority",
        }
        assert [name for name, is_broken in broken.items() if is_broken] == [lie]


@every
@pytest.mark.parametrize("lie", ["no-usage", "usage-going-down", "usage-negative", "usage-huge"])
def test_a_usage_that_cannot_be_believed_is_not(play: Play, speaker: Speaker, lie: str) -> None:
    """The truth is billed, and our reading is either in doubt, or not whole."""
    simulator, client = play(TALK, lie=lie)
    raw = send(client, speaker, speaker.body("Look! " * 2_000, stream=True), stream=True)[1]
    reading = read_by(speaker, raw, stream=True)
    honest = lie == "usage-going-down" and speaker.name in {"responses", "chat"}  # told once, so nothing goes down
    assert honest or reading.doubt or not reading.usage_is_whole
    assert simulator.meter.bills[0].usage.output == 300


def test_several_answers_are_billed_over_one_prompt(play: Play) -> None:
    simulator, client = play(TALK)
    for speaker, more in (
        (ChatSpeaker(), {"n": 3}),
        (GeminiSpeaker(), {"generationConfig": {"candidateCount": 3, "maxOutputTokens": 500}}),
    ):
        for stream in (False, True):
            raw = send(client, speaker, speaker.body("Look!", stream=stream) | more, stream=stream)[1]
            reading = read_by(speaker, raw, stream=stream, answers=3)
            assert tokens(reading.usage) == simulator.meter.bills[-1].usage
            assert simulator.meter.bills[-1].usage.output == 900
            assert reading.is_complete


def test_a_stream_of_chat_tells_its_usage_only_where_it_is_asked_to(play: Play) -> None:
    _, client = play(TALK)
    speaker = ChatSpeaker()
    asked = speaker.body("Look!", stream=True)
    unasked = {name: value for name, value in asked.items() if name != "stream_options"}
    told = [b'"usage":{' in send(client, speaker, body, stream=True)[1] for body in (asked, unasked)]
    assert told == [True, False]


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_a_tier_is_told_and_billed(play: Play, tier: str) -> None:
    simulator, client = play(TALK)
    speaker = ResponsesSpeaker()
    plain = send(client, speaker, speaker.body("Look!"))
    tiered = send(client, speaker, speaker.body("Look!") | {"service_tier": tier})
    assert [read_by(speaker, raw, stream=False).modifiers.tier for _, raw in (plain, tiered)] == ["standard", tier]
    usual, other = simulator.meter.bills
    assert (other.amount > usual.amount) is (tier == "priority")
    assert other.amount != usual.amount


def test_an_answer_may_be_gone_on_from_by_its_id(play: Play) -> None:
    """What was said before is billed again, as a part of the prompt; what was not to be kept is not there."""
    simulator, client = play(TALK)
    speaker = ResponsesSpeaker()
    for store, status in ((True, 200), (False, 400)):
        said = json.loads(send(client, speaker, speaker.body("Look!") | {"store": store})[1])
        call = next(item for item in said["output"] if item["type"] == "function_call")
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "one"}
        more = speaker.body("") | {"previous_response_id": said["id"], "input": [output]}
        assert send(client, speaker, more)[0] == status
    first, second, _ = simulator.meter.bills
    assert second.usage.prompt > first.usage.prompt
    assert [record.step for record in simulator.log.messages()] == ["look", "tell", "look", ""]


def test_a_tool_that_takes_a_text_gets_the_text(play: Play) -> None:
    """Codex's `apply_patch` and `exec` are of this kind, the second inside a namespace."""
    patch = script("use = [{ tool = 'apply_patch', input = { input = '*** Begin Patch' } }]\nwhen = { first = true }")
    _, client = play(patch)
    inner = {"type": "custom", "name": "apply_patch", "format": {"type": "text"}}
    item = {"type": "additional_tools", "tools": [{"type": "namespace", "name": "functions", "tools": [inner]}]}
    speaker = ResponsesSpeaker()
    for body in (
        speaker.body("go", tools=False) | {"tools": [inner]},
        speaker.body("go", tools=False) | {"input": [item, {"role": "user", "content": "go"}]},
    ):
        call = speaker.hear(send(client, speaker, body)[1], stream=False).raw[-1]
        assert (call["type"], call["input"]) == ("custom_tool_call", "*** Begin Patch")
        output = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "ok"}
        after = {**body, "input": [*body["input"], call, output]}
        assert speaker.hear(send(client, speaker, after)[1], stream=False).text == "There is nothing left to do."
    assert call["namespace"] == "functions"


def test_an_answer_to_a_call_needs_no_id_in_gemini(play: Play) -> None:
    """Google's own SDK leaves it out where the application writes the answer itself."""
    _, client = play(TALK)
    speaker = GeminiSpeaker()
    body = speaker.body("Look!")
    asked = speaker.hear(send(client, speaker, body)[1], stream=False)
    after = speaker.follow(body, asked, "one", "two")
    for part in after["contents"][-1]["parts"]:
        del part["functionResponse"]["id"]
    assert speaker.hear(send(client, speaker, after)[1], stream=False).text.startswith("Look!: one\ntwo")


@every
def test_the_key_is_taken_from_the_header_that_the_api_uses(play: Play, speaker: Speaker) -> None:
    simulator, _ = play(TALK, keys=frozenset({"sk-fake-1"}))
    names = {"anthropic": "x-api-key", "gemini": "x-goog-api-key", "gemini-list": "x-goog-api-key"}
    header = names.get(speaker.name, "authorization")
    value = "Bearer sk-fake-1" if header == "authorization" else "sk-fake-1"
    known = Client(simulator.url, key="", headers={header: value})
    assert send(known, speaker, speaker.body("Look!"))[0] == 200
    assert send(Client(simulator.url, key="sk-fake-2"), speaker, speaker.body("Look!"))[0] in {400, 401}
    assert "sk-fake-1" not in "".join(json.dumps(record.as_json()) for record in simulator.log.records)


def test_a_key_in_the_address_is_a_key_and_is_not_written_down(play: Play) -> None:
    simulator, _ = play(TALK, keys=frozenset({"sk-fake-1"}))
    speaker = GeminiSpeaker()
    client = Client(simulator.url, key="")
    assert send(client, speaker, speaker.body("x"), suffix="?key=sk-fake-1")[0] == 200
    assert "sk-fake-1" not in json.dumps(simulator.log.records[0].as_json())


@pytest.mark.parametrize("file", sorted(RECORDED.glob("*/*.json")), ids=lambda path: path.stem)
def test_what_real_agents_sent_is_answered(play: Play, file: Path) -> None:
    said = json.loads(file.read_text("utf-8"))
    body, path = said["body"], said["path"]
    _, client = play(script("say = 'yes'"))
    connection = client.open(path, body)
    response = connection.getresponse()
    raw = response.read()
    connection.close()
    assert response.status == 200, raw


@every
def test_the_models_are_listed(play: Play, speaker: Speaker) -> None:
    simulator, client = play(TALK)
    path = "/v1beta/models" if speaker.name.startswith("gemini") else "/v1/models"
    if speaker.name in {"responses", "chat"}:
        client = Client(simulator.url, key="", headers={"authorization": "Bearer sk-fake"})
    said = client.get(path).data
    names = [str(each.get("id", each.get("name"))) for each in said.get("data", said.get("models"))]
    assert speaker.model in [name.removeprefix("models/") for name in names]


def family_of(speaker: Speaker) -> Family:
    return GENERATING.get(speaker.path(stream=False), list(GENERATING.values())[-1])()


said = st.text(max_size=60)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(said, min_size=1, max_size=4), results=st.lists(said, max_size=3), is_ascii=st.booleans())
def test_input_is_at_most_what_our_dialect_bounds_it_by(
    texts: list[str], results: list[str], *, is_ascii: bool
) -> None:
    """The law that every hold stands on (MONEY 2.1, 2.2), with the tightest tokenizer there is: a token is a byte."""
    for speaker in SPEAKERS[:4]:
        body = speaker.body("\n".join(texts))
        calls = tuple(("call_a_1_1_0123456789", TOOL, {"path": text}) for text in results)
        sent = _with_calls(speaker, body, Heard("", calls, "", None), results) if results else body
        raw = json.dumps(sent, ensure_ascii=is_ascii, separators=(",", ":")).encode()
        path = speaker.path(stream=False)
        asked = family_of(speaker).read(raw, {}, path=path, bytes_per_token=1)
        bound = speaker.dialect().ask(raw, {}, allow=frozenset(), path=path).bound
        billed = sum(block.tokens for block in asked.blocks) + REQUEST_TOKENS
        assert billed <= bound.text_bytes + bound.pad


def _with_calls(speaker: Speaker, body: Any, heard: Any, results: list[str]) -> Any:
    """A conversation whose calls were made, as each API writes them."""
    raw: dict[str, Any] = {
        "anthropic": [{"type": "tool_use", "id": c[0], "name": c[1], "input": c[2]} for c in heard.calls],
        "responses": [
            {"type": "function_call", "call_id": c[0], "name": c[1], "arguments": json.dumps(c[2])} for c in heard.calls
        ],
        "chat": {
            "role": "assistant",
            "tool_calls": [
                {"id": c[0], "type": "function", "function": {"name": c[1], "arguments": json.dumps(c[2])}}
                for c in heard.calls
            ],
        },
        "gemini": [{"functionCall": {"id": c[0], "name": c[1], "args": c[2]}} for c in heard.calls],
    }
    return speaker.follow(body, replace(heard, raw=raw[speaker.name]), *results)


@every
def test_what_is_sent_back_counts_no_more_than_it_cost(play: Play, speaker: Speaker) -> None:
    """So that a settled prompt, its settled output and the bytes of the tail bound the next prompt (MONEY 2.4)."""
    simulator, client = play(TALK)
    body = speaker.body("Look!")
    heard = speaker.hear(send(client, speaker, body)[1], stream=False)
    send(client, speaker, speaker.follow(body, heard, "one", "two"))
    first, second = (bill.usage for bill in simulator.meter.bills)
    tail = 200  # two results, with their ids
    assert second.prompt <= first.prompt + first.output + tail


def test_every_path_has_its_api() -> None:
    assert {family.__name__ for family in GENERATING.values()} == {
        "Messages",
        "Responses",
        "Completions",
        "Gemini",
    }
    assert set(COUNTING.values()) <= set(GENERATING.values())
    assert events(b"data: 1\n\n") == [1]
