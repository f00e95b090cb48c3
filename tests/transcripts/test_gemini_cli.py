"""Gemini CLI's chats, of today and of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

from crewcap.core.money import Money

from .conftest import Desk, told_by

RECORDED = Path(__file__).with_name("recorded")
TOKENS = {"input": 1_000, "output": 30, "cached": 400, "thoughts": 90, "tool": 7, "total": 1_127}
ANSWER = {
    "id": "m1",
    "timestamp": "2026-05-02T10:00:00Z",
    "type": "gemini",
    "tokens": TOKENS,
    "model": "gemini-2.5-pro",
}


def test_what_the_real_agent_wrote_is_what_was_billed(desk: Desk) -> None:
    """Gemini CLI 0.61: a chat, taken up again; answers are written again when their tools have run."""
    desk.run(RECORDED / "gemini")
    assert (desk.whole().messages, desk.whole().cost) == (4, Money.usd("0.024554250"))
    assert {each.repo for each in desk.sums()} == {"/home/ana/shop"}


def test_thoughts_are_output_and_what_tools_brought_is_input() -> None:
    told, _, _ = told_by("gemini", json.dumps(ANSWER) + "\n", folder="")
    assert [(each.input, each.cache_read, each.output, each.thinking) for each in told] == [(607, 400, 120, 90)]


def test_an_older_chat_is_one_object_that_is_written_anew(desk: Desk) -> None:
    chat = {"sessionId": "s", "messages": [{"id": "m0", "type": "user"}, ANSWER]}
    path = desk.write("tmp/0123abcd/chats/session-1.json", json.dumps(chat, indent=2))
    desk.run()
    path.write_text(json.dumps({**chat, "messages": [ANSWER, {**ANSWER, "id": "m2"}]}, indent=2))
    desk.run()
    assert (desk.whole().messages, desk.whole().usage.output) == (2, 240)


def test_a_chat_that_is_set_anew_repeats_its_answers() -> None:
    text = json.dumps(ANSWER) + "\n" + json.dumps({"$set": {"messages": [ANSWER]}}) + "\n"
    assert len(told_by("gemini", text, folder="")[0]) == 1


def test_bad_figures_and_torn_lines_are_told() -> None:
    odd = {**ANSWER, "tokens": {"input": -1, "output": "12", "cached": None}}
    told, sink, _ = told_by("gemini", json.dumps(odd) + '\n{"tokens":{\n', folder="")
    assert ([each.output for each in told], sum(sink.problems.values())) == ([12], 3)
