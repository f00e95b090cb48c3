"""Steps are picked by what a request says, so the same request always gets the same step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crewcap.errors import SettingsError
from crewcap.simulator.anthropic import read
from crewcap.simulator.conversation import Asked, call_id
from crewcap.simulator.script import Script, fill
from crewcap.simulator.script_file import parse

SCRIPT = parse(
    """
    [variables]
    file = "a.py"
    [[step]]
    name = "sub"
    when = { agent = "sub" }
    [[step]]
    name = "read"
    when = { first = true }
    [[step]]
    name = "loop"
    when = { after = "read" }
    repeat = 3
    [[step]]
    name = "red"
    when = { after = "loop", result = "FAILED" }
    [[step]]
    name = "green"
    when = { after = "loop" }
    """,
    name="steps",
)


def standing_at(step: str = "", round_: int = 1, said: str = "ok", **more: Any) -> Asked:
    """A request whose last tool result answers a call of this step."""
    messages: list[Any] = [{"role": "user", "content": "go"}]
    if step:
        result = {"type": "tool_result", "tool_use_id": call_id(step, round_, 1, "0" * 10), "content": said}
        messages.append({"role": "user", "content": [result]})
    body = {"model": "m", "max_tokens": 1, "messages": messages, **more}
    return read(json.dumps(body).encode(), {})


@pytest.mark.parametrize(
    ("asked", "step", "round_"),
    [
        (standing_at(), "read", 1),
        (standing_at("read"), "loop", 1),
        (standing_at("loop", 1), "loop", 2),
        (standing_at("loop", 2), "loop", 3),
        (standing_at("loop", 3), "green", 1),
        (standing_at("loop", 3, "1 FAILED"), "red", 1),
        (standing_at("read", system="cc_is_subagent=true"), "sub", 1),
        (standing_at("elsewhere"), "nothing-left", 1),
    ],
)
def test_the_first_step_that_fits_answers(asked: Asked, step: str, round_: int) -> None:
    pick = SCRIPT.pick(asked)
    assert (pick.step.name, pick.round) == (step, round_)


def test_a_request_sent_again_gets_the_same_step() -> None:
    """Nothing is counted: the hundredth attempt is answered as the first."""
    assert {SCRIPT.pick(standing_at("loop", 1)).step.name for _ in range(100)} == {"loop"}


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ("task = '^go$'", True),
        ("asked = 'stop'", False),
        ("model = 'm'", True),
        ("tool = 'Bash'", True),
        ("tool = 'Edit'", False),
        ("stream = true", False),
        ("agent = 'main', task = 'go'", True),
        ("agent = 'main', task = 'no'", False),
    ],
)
def test_every_condition_that_is_given_must_hold(when: str, *, fits: bool) -> None:
    script = parse(f"[[step]]\nname = 'it'\nwhen = {{ {when} }}", name="conditions")
    assert (script.pick(standing_at(tools=[{"name": "Bash"}])).step.name == "it") is fits


def test_a_variable_that_a_script_does_not_have_is_an_error() -> None:
    assert SCRIPT.with_variables({"file": "b.py"}).variables == {"file": "b.py"}
    with pytest.raises(SettingsError, match="there is no variable 'fil'; did you mean 'file'"):
        SCRIPT.with_variables({"fil": "b.py"})


def test_words_are_filled_in_at_any_depth_and_keep_their_type() -> None:
    """A text that is one word alone becomes the word, so that a tool can be given a boolean."""
    words = {"background": False, "n": 3}
    value = {"a": "{{background}}", "b": ["part {{n}} of 8"], "c": 7}
    assert fill(value, words.__getitem__) == {"a": False, "b": ["part 3 of 8"], "c": 7}


def test_where_no_step_fits_the_turn_ends() -> None:
    assert Script(name="empty", steps=()).pick(standing_at()).step.say == "There is nothing left to do."
