"""Codex's transcripts: records and totals, forks and copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crewcap.core.money import Money

from .conftest import Desk, told_by

RECORDED = Path(__file__).with_name("recorded")


def event(kind: str, payload: dict[str, Any], at: str = "2026-11-02T10:00:00Z") -> str:
    return json.dumps({"timestamp": at, "type": kind, "payload": payload}) + "\n"


def meta(id_: str, **more: object) -> str:
    return event("session_meta", {"id": id_, "cwd": "/home/ana/shop", **more})


def context(model: str = "gpt-5.5", **more: object) -> str:
    return event("turn_context", {"model": model, "cwd": "/home/ana/shop", **more})


def usage(prompt: int, cached: int = 0, output: int = 0) -> dict[str, int]:
    return {
        "input_tokens": prompt,
        "cached_input_tokens": cached,
        "output_tokens": output,
        "total_tokens": prompt + output,
    }


def count(total: dict[str, int], last: dict[str, int] | None, at: str = "2026-11-02T10:00:00Z") -> str:
    info = {"total_token_usage": total, **({"last_token_usage": last} if last else {})}
    return event("event_msg", {"type": "token_count", "info": info}, at)


@pytest.mark.parametrize(
    ("folder", "messages", "cost"),
    [
        ("codex-gpt-5.5", 5, "0.085432500"),
        ("codex-gpt-6.1-sol", 4, "0.039595900"),
        ("codex-spawning", 4, "0.041062900"),
    ],
)
def test_what_the_real_agent_wrote_is_what_was_billed(desk: Desk, folder: str, messages: int, cost: str) -> None:
    """Codex 0.169: a thread, taken up again and forked, or with an agent of its own."""
    desk.run(RECORDED / folder)
    assert (desk.whole().messages, desk.whole().cost) == (messages, Money.usd(cost))


def test_a_count_is_what_was_added_and_comes_once() -> None:
    """Totals come again when a rate limit changes."""
    first, second = usage(100, 0, 10), usage(250, 90, 30)
    text = meta("a") + context() + count(first, first) + count(first, first) + count(second, usage(150, 90, 20))
    told, _, _ = told_by("codex", text)
    assert [(each.input, each.cache_read, each.output) for each in told] == [(100, 0, 10), (60, 90, 20)]


def test_the_oldest_versions_tell_totals_alone() -> None:
    text = meta("a") + context() + count(usage(100, 0, 10), None) + count(usage(250, 90, 30), None)
    told, _, _ = told_by("codex", text)
    assert [(each.input, each.cache_read, each.output) for each in told] == [(100, 0, 10), (60, 90, 20)]


def test_a_fork_repeats_its_parents_history_and_it_counts_once(desk: Desk) -> None:
    """The copy is stamped with the time of the copy; a fork of a fork names the oldest thread last."""
    history = context() + count(usage(100, 0, 10), usage(100, 0, 10)) + count(usage(250, 0, 30), usage(150, 0, 20))
    late = history.replace("10:00:00Z", "23:00:00Z")
    desk.write("rollout-1.jsonl", meta("a") + history)
    desk.write(
        "rollout-2.jsonl", meta("b", forked_from_id="a") + meta("a") + late + count(usage(300, 0, 35), usage(50, 0, 5))
    )
    desk.write("rollout-3.jsonl", meta("c", forked_from_id="b") + meta("b") + meta("a") + late)
    desk.run()
    found = desk.whole()
    assert (found.messages, found.usage.input, found.usage.output) == (3, 300, 35)
    assert {each.session for each in desk.index.sums(by_session=True)} == {"a", "b"}


def test_two_threads_with_the_same_tokens_are_two(desk: Desk) -> None:
    for name in ("a", "b"):
        desk.write(f"rollout-{name}.jsonl", meta(name) + context() + count(usage(100), usage(100)))
    desk.run()
    assert desk.whole().messages == 2


def test_what_it_was_told_before_is_known_when_the_file_grows(desk: Desk) -> None:
    path = desk.write("rollout-a.jsonl", meta("a") + context() + count(usage(100), usage(100)))
    desk.run()
    with path.open("a") as file:
        file.write(count(usage(100), usage(100)) + count(usage(180), usage(80)))
    desk.run()
    assert (desk.whole().messages, desk.whole().usage.input) == (2, 180)
    assert {each.repo for each in desk.sums()} == {"/home/ana/shop"}


def test_a_tier_that_was_paid_for_is_priced(desk: Desk) -> None:
    bought = usage(100_000)
    desk.write("rollout-a.jsonl", meta("a") + context("gpt-5.5", service_tier="fast") + count(bought, bought))
    desk.write("rollout-b.jsonl", meta("b") + context("gpt-5.5") + count(bought, bought))
    desk.run()
    costs = {each.modifiers.tier: each.cost for each in desk.sums()}
    assert costs["priority"] > costs["standard"] > Money(0)


def record(tokens: dict[str, int] | None, thread: dict[str, int]) -> str:
    told = {"usage": tokens} if tokens is not None else {}
    more = {"turn_token_usage": thread, "thread_token_usage": thread}
    return event("token_usage_record", {"thread_id": "a", "turn_id": "t", "response_id": "r1", **told, **more})


def reordered(line: str, *, reverse: bool) -> str:
    """The same line, its keys sorted at every level, or the other way round."""

    def of(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: of(value[name]) for name in sorted(value, reverse=reverse)}

    return json.dumps(of(json.loads(line))) + "\n"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("written", [None, 0, 50])
def test_keys_come_in_any_order(*, reverse: bool, written: int | None) -> None:
    """Where a line says what it is may stand behind all of its tokens."""
    more = {"reasoning_output_tokens": 0} | ({} if written is None else {"cache_write_input_tokens": written})
    total, last = usage(9_000, 0, 900) | more, usage(1_000, 0, 100) | more
    head = meta("a", base_instructions="x" * 9_000) + context(user_instructions="x" * 9_000)
    for line in (record(last, total), count(total, last)):
        text = "".join(reordered(each, reverse=reverse) for each in (head + line).splitlines())
        (told,), sink, _ = told_by("codex", text)
        assert (told.session, told.model, told.folder) == ("a", "gpt-5.5", "/home/ana/shop")
        assert (told.input, told.write_5m, told.output) == (1_000 - (written or 0), written or 0, 100)
        assert not sink.problems


def test_what_tells_tokens_and_is_not_understood_is_said() -> None:
    """A record without the response's own tokens does not hide the counts beside it."""
    text = record(None, usage(100)) + event(
        "event_msg", {"type": "token_count", "info": {"last_token_usage": usage(9)}}
    )
    told, sink, _ = told_by("codex", meta("a") + context() + text + count(usage(100), usage(100)))
    assert [each.input for each in told] == [100]
    assert sink.problems == {
        "a response without its tokens: not counted": 1,
        "a count without its total: not counted": 1,
    }


@pytest.mark.parametrize(
    "broken", ["null", "[]", '{"type":"token_count","info":null}', '{"type":"token_count","info":{}}']
)
def test_an_event_that_tells_nothing_is_nothing(broken: str) -> None:
    text = f'{{"timestamp":"2026-05-02T10:00:00Z","type":"event_msg","payload":{broken},"x":"\\"token_count\\""}}\n'
    assert told_by("codex", text.replace('"x"', '"token_count"'))[0] == []


def test_figures_that_are_no_counts_are_in_doubt() -> None:
    odd = {"input_tokens": -5, "cached_input_tokens": 1.5, "output_tokens": 7}
    told, sink, _ = told_by("codex", meta("a") + context() + count(odd, odd))  # type: ignore[arg-type]  # that is the point
    assert (told[0].output, sum(sink.problems.values()) > 0) == (7, True)
