"""Claude Code's transcripts: what a message is, what is none, and what it says however badly it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.transcripts import Told

from .conftest import Desk, told_by
from .trees import make

RECORDED = Path(__file__).with_name("recorded")


def line(output: object = 10, **more: Any) -> str:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": output, **more.pop("usage", {})}
    message = {
        "id": "msg_1",
        "model": "claude-sonnet-5",
        "role": "assistant",
        "usage": usage,
        **more.pop("message", {}),
    }
    around = {
        "requestId": "req_1",
        "sessionId": "one",
        "timestamp": "2026-11-20T10:00:00.000Z",
        "cwd": "/home/ana/shop",
    }
    return json.dumps({"type": "assistant", "message": message, **around, **more}, separators=(",", ":")) + "\n"


def one(text: str) -> Told:
    told, _, _ = told_by("claude", text)
    assert len(told) == 1
    return told[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_with_every_trap_is_worth_its_true_total(desk: Desk, seed: int) -> None:
    """To the last unit, and so is every day and every model."""
    truth = make(desk.folder / "projects", seed=seed, megabytes=2, filler=400)
    desk.run()
    found = desk.whole()
    assert (found.messages, found.unpriced, found.cost) == (truth.messages, truth.unpriced, Money(truth.nano))
    tokens = {kind: getattr(found.usage, kind) for kind in truth.tokens}
    assert tokens == dict(truth.tokens)
    models: dict[str, int] = {}
    for each in desk.sums():
        models[each.model] = models.get(each.model, 0) + each.cost.nano
    assert models == dict(truth.by_model)


def test_what_the_real_agent_wrote_is_what_was_billed(desk: Desk) -> None:
    """Claude Code 2.1.330: a session, a fork of it, and the session gone on with; the provider's meter said $0.119."""
    desk.run(RECORDED / "claude")
    assert (desk.whole().messages, desk.whole().cost) == (5, Money.usd("0.119336550"))
    by_session = {each.session: each.messages for each in desk.index.sums(by_session=True)}
    assert sorted(by_session.values()) == [1, 4]


def test_the_line_with_the_most_output_counts_wherever_it_stands() -> None:
    """A fork may end in the middle of a message, so the last line may know less."""
    assert one(line(3) + line(90) + line(4)).output == 90


def test_a_message_keeps_its_first_time_and_session() -> None:
    later = {"timestamp": "2026-11-21T00:00:01Z", "sessionId": "fork"}
    told = one(line(3, timestamp="2026-11-20T23:59:59Z") + line(90, **later))
    assert (told.session, told.at) == ("one", 1_795_219_199_000)


def test_a_copied_line_belongs_to_the_session_that_asked() -> None:
    assert one(line(sessionId="fork", requestSessionId="one")).session == "one"
    assert one(line(sessionId="fork", forkedFrom={"sessionId": "old", "messageUuid": "u"})).session == "old"


def test_progress_tells_the_same_message_one_level_deeper() -> None:
    inner = json.loads(line(90))
    echo = {
        "type": "progress",
        "data": {"message": inner, "type": "agent_progress"},
        "timestamp": "2026-11-20T11:00:00Z",
    }
    told = one(line(90) + json.dumps(echo, separators=(",", ":")) + "\n")
    assert told.output == 90
    alone = one(json.dumps({**echo, "sessionId": "one"}, separators=(",", ":")) + "\n")
    assert (alone.key, alone.is_sub, alone.session) == (told.key, True, "one")


@pytest.mark.parametrize(
    "nothing",
    [
        line(message={"model": "<synthetic>"}),
        json.dumps({"type": "user", "message": {"content": []}, "toolUseResult": {"usage": {"output_tokens": 9}}},
                   separators=(",", ":")),
        json.dumps({"type": "user", "message": {"role": "user", "content": line()}}, separators=(",", ":")),
        json.dumps({"message": {"content": [{"input": {"usage": {"output_tokens": 9}}}]}}, separators=(",", ":")),
        json.dumps({"data": {"message": "text"}, "x": {"usage": {"a": 1}}}, separators=(",", ":")),
        "",
        "\n\n",
    ],
)  # fmt: skip
def test_what_is_no_bill_does_not_count(nothing: str) -> None:
    told, sink, _ = told_by("claude", nothing)
    assert (told, sink.problems) == ([], {})


def test_a_message_without_a_request_id_is_still_one_message() -> None:
    assert one(line(3, requestId=None) + line(9, requestId=None)).key == "claude:msg_1:"


def test_modifiers_and_writes_are_those_of_the_answer() -> None:
    usage = {
        "speed": "fast", "inference_geo": "us", "service_tier": "priority",
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_1h_input_tokens": 4, "ephemeral_5m_input_tokens": 5},
        "server_tool_use": {"web_search_requests": 2},
    }  # fmt: skip
    told = one(line(usage=usage))
    assert (told.speed, told.geo, told.tier, told.write_5m, told.write_1h, told.searches) == (
        "fast",
        "us",
        "priority",
        5,
        4,
        2,
    )


def test_writes_that_are_not_split_are_of_the_lifetime_that_was_asked_for() -> None:
    usage = {"cache_creation_input_tokens": 9}
    assert one(line(usage=usage)).write_5m == 9
    assert one(line(usage=usage, promptCacheRequested="1h")).write_1h == 9


def test_several_samplings_are_each_at_their_own_model(desk: Desk) -> None:
    """What the list tells is the bill: a compaction or an advisor is not in the figures above it."""
    entries = [
        {"type": "message", "input_tokens": 1_000_000, "output_tokens": 0, "model": "claude-sonnet-5"},
        {"type": "advisor_message", "input_tokens": 1_000_000, "output_tokens": 0, "model": "claude-opus-4-8"},
    ]
    desk.write(
        "a.jsonl", line(0, usage={"input_tokens": 1_000_000, "cache_read_input_tokens": 0, "iterations": entries})
    )
    desk.run()
    assert desk.whole().cost == Money.usd("7.00")


@pytest.mark.parametrize("figure", [-1, 1.5, "12", True, 10**30, {"a": 1}, [1]])
def test_a_figure_that_is_no_count_is_in_doubt_and_counts_what_it_says_at_least(figure: object) -> None:
    told, sink, _ = told_by("claude", line(figure))
    assert [each.output for each in told] == [
        {1.5: 2, "12": 12}.get(figure, 0) if not isinstance(figure, (dict, list)) else 0
    ]
    assert list(sink.problems.values()) == [1]


def test_nan_is_no_figure() -> None:
    told, sink, _ = told_by("claude", line().replace('"output_tokens":10', '"output_tokens":NaN'))
    assert ([each.output for each in told], len(sink.problems)) == ([0], 1)


def test_the_last_of_two_equal_keys_counts_as_in_any_reader_of_json() -> None:
    assert one(line().replace('"output_tokens":10', '"output_tokens":10,"output_tokens":20')).output == 20


def test_a_line_without_a_time_has_that_of_its_file() -> None:
    told, sink, _ = told_by("claude", line(timestamp=None), mtime_ms=77)
    assert (told[0].at, list(sink.problems.values())) == (77, [1])


@pytest.mark.parametrize("year", ["1970-01-01T00:00:00Z", "2090-06-01T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_a_clock_that_is_wrong_is_taken_at_its_word(desk: Desk, year: str) -> None:
    desk.write("a.jsonl", line(timestamp=year))
    desk.run()
    assert desk.whole().messages == 1


@pytest.mark.parametrize("colon", [": ", " :", " \t: "])
def test_another_writers_spaces_around_a_colon_hide_nothing(colon: str) -> None:
    assert one(line(30).replace(":{", f"{colon}{{")).output == 30


def test_the_word_usage_as_a_value_is_no_bill() -> None:
    told, sink, _ = told_by("claude", '{"type":"usage","usage":null,"x":"usage"}\n' + line())
    assert (len(told), sink.problems) == (1, {})


PROGRESS = {"type": "progress", "sessionId": "one", "timestamp": "2026-11-20T10:00:00.000Z"}


def copied(original: str) -> str:
    """A progress line that echoes a message without its request's id."""
    echo = {name: said for name, said in json.loads(original).items() if name not in {"requestId", "sessionId"}}
    return json.dumps({**PROGRESS, "data": {"message": echo}}, separators=(",", ":")) + "\n"


@pytest.mark.parametrize("lines", [[copied(line(90)), line(30)], [line(30), copied(line(90))]])
def test_a_copy_without_its_requests_id_is_the_same_message(desk: Desk, lines: list[str]) -> None:
    desk.write("a.jsonl", "".join(lines))
    desk.write("b.jsonl", copied(line(40)))
    for _ in range(2):
        desk.run()
        assert (desk.whole().messages, desk.whole().usage.output) == (1, 90)
    desk.write("c.jsonl", copied(line(50)))
    desk.run()
    assert (desk.whole().messages, desk.whole().usage.output) == (1, 90)


def test_a_copy_that_could_be_of_two_requests_or_is_of_another_session_stays_a_message(desk: Desk) -> None:
    desk.write("a.jsonl", line(30) + line(31, requestId="req_2") + copied(line(30)))
    elsewhere = line(5, message={"id": "msg_2"}, sessionId="two", timestamp="2026-11-19T10:00:00Z")
    desk.write("b.jsonl", elsewhere + copied(line(5)).replace("msg_1", "msg_2"))
    desk.run()
    assert desk.whole().messages == 5


def test_a_torn_line_is_told_and_the_next_one_is_read() -> None:
    told, sink, _ = told_by("claude", line()[:-60] + "\n" + line(message={"id": "msg_2"}))
    assert (len(told), sink.problems) == (1, {"torn: no JSON": 1})


def test_half_a_letter_in_a_name_is_no_reason_to_stop(desk: Desk) -> None:
    text = line(cwd="/home/ana/shop").replace("/home/ana/shop", "/home/\\ud83d/shop")
    desk.write("a.jsonl", text)
    desk.run()
    assert desk.whole().messages == 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 5))
def test_no_bytes_can_stop_a_reader(noise: bytes, place: int) -> None:
    """Whatever stands between two messages, both are read or the line that it broke is told."""
    before, after = line().encode(), line(message={"id": "msg_2"}).encode()
    told, sink, _ = told_by("claude", before + noise + b'{"usage":{' * place + b"\n" + after)
    assert {"claude:msg_1:req_1", "claude:msg_2:req_1"} <= {each.key for each in told}
    del sink


@settings(max_examples=40, deadline=None)
@given(st.permutations(list(range(6))), st.integers(1, 5))
def test_order_and_repetition_change_nothing(order: list[int], cut: int) -> None:
    """Lines of two messages, in any order, in one block or in two, some of them twice."""
    every = [line(n, message={"id": f"msg_{n % 2}"}, timestamp=f"2026-11-20T10:00:0{n}Z") for n in range(6)]
    text = [every[n] for n in order]
    _, together, _ = told_by("claude", "".join(text + text[:2]))
    _, first, _ = told_by("claude", "".join(text[:cut]))
    for each in told_by("claude", "".join(text[cut:]))[0]:
        first.add(each)
    assert first.told == together.told
    assert {told.output for told in together.told.values()} == {4, 5}
