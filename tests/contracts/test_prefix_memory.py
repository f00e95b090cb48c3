"""THE PROPERTY, with prefix memory: whatever a client makes of a conversation, hold >= cost stays true.

The provider's law is written here a second time, from what a body says and not from what the dialect reads in it. A
text is at most its bytes, a picture at most 4,800 tokens; tools that are deferred may be shown in any turn; thoughts
count up to what the answer that had them was billed, whatever their signature's size, until somebody says something
new: then they are dropped. How dense a text is may be anything, but the same text is always as dense.

The client is a liar: it edits what was said, swaps tools, moves its marks, spells texts and numbers in other ways,
drops the answer or makes it larger, and goes back to earlier turns.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.laws import TIMES
from tests.gateway.ended import MODEL, ended, request, rules

from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.gateway.money.admission import Request
from crewcap.gateway.money.prefixes import Prefixes

TEXT = st.one_of(st.text('aé漢🙂"\n', max_size=30), st.sampled_from(["", "word " * 300, "漢" * 200, "\n" * 100]))
VALUE = st.one_of(TEXT, st.sampled_from([0, 1, -7, True, False, 1.0, 1.5, None, [1, 1, 1], {"a": 1, "b": True}]))
MARKS = st.sampled_from([None, None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


@dataclass
class Law:
    """What a provider may bill."""

    seed: int
    own: int  # tokens that it adds to every request
    hidden: dict[str, int] = field(default_factory=dict)  # by signature: tokens of thoughts that nobody sees

    def prompt(self, body: dict[str, Any], *, shows_deferred: bool) -> int:
        tools = body.get("tools", [])
        shown = [tool for tool in tools if shows_deferred or not tool.get("defer_loading")]
        total = self.own + (1_000 if tools else 0) + sum(self._dense(_unmarked(tool)) for tool in shown)
        total += sum(self._text(block["text"]) for block in body.get("system", []))
        last_said = max((n for n, message in enumerate(body["messages"]) if _is_said(message)), default=-1)
        return total + sum(
            4 + self._message(message, is_dropped=n < last_said) for n, message in enumerate(body["messages"])
        )

    def _message(self, message: dict[str, Any], *, is_dropped: bool) -> int:
        content = message["content"]
        if isinstance(content, str):
            return self._text(content)
        return sum(self._block(block, is_dropped=is_dropped) for block in content)

    def _block(self, block: dict[str, Any], *, is_dropped: bool) -> int:
        match block["type"]:
            case "text":
                return self._text(block["text"])
            case "image":
                return 4_800
            case "thinking":
                return 0 if is_dropped else self.hidden.get(block["signature"], len(block["signature"]))
            case "tool_use":
                return self._dense([block["name"], block["input"]])
            case _:
                return self._text(block["content"])

    def _text(self, text: str) -> int:
        return self._share(text, len(text.encode()))

    def _dense(self, value: Any) -> int:
        """As it is spelled: `1` and `true` are not as long, and another order is another text."""
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return self._share(written, len(written.encode()))

    def _share(self, text: str, size_bytes: int) -> int:
        digest = hashlib.sha256(f"{self.seed} {text}".encode()).digest()
        return size_bytes * (256 if digest[0] < 150 else digest[1]) // 256


def _unmarked(value: dict[str, Any]) -> dict[str, Any]:
    return {key: member for key, member in value.items() if key != "cache_control"}


def _is_said(message: dict[str, Any]) -> bool:
    content = message["content"]
    return message["role"] == "user" and (
        isinstance(content, str) or any(block["type"] in {"text", "image"} for block in content)
    )


# --- conversations


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = {"model": MODEL, "max_tokens": draw(st.integers(1, 8_000)), "stream": True}
    if draw(st.booleans()):
        body["system"] = [_marked(draw, {"type": "text", "text": draw(TEXT)})]
    if draw(st.booleans()):
        body["tools"] = [_tool(draw, number) for number in range(draw(st.integers(1, 3)))]
    body["messages"] = [_said(draw)]
    for turn in range(draw(st.integers(0, 2))):
        body["messages"] += [_answer(draw, turn), _told(draw) if draw(st.booleans()) else _said(draw)]
    return body


def _marked(draw: st.DrawFn, block: dict[str, Any]) -> dict[str, Any]:
    mark = draw(MARKS)
    return {**block, "cache_control": mark} if mark else block


def _tool(draw: st.DrawFn, number: int) -> dict[str, Any]:
    tool = {"name": f"t{number}", "description": draw(TEXT), "input_schema": {"type": "object", "default": draw(VALUE)}}
    return _marked(draw, {**tool, "defer_loading": True} if draw(st.booleans()) else tool)


def _said(draw: st.DrawFn) -> dict[str, Any]:
    text = draw(TEXT)
    content = text if draw(st.booleans()) else [_marked(draw, {"type": "text", "text": text})]
    return {"role": "user", "content": content}


def _answer(draw: st.DrawFn, turn: int) -> dict[str, Any]:
    thoughts = [{"type": "thinking", "thinking": "", "signature": _signature(turn)}] if draw(st.booleans()) else []
    use = {"type": "tool_use", "id": f"u{turn}", "name": "Bash", "input": {"command": draw(TEXT), "n": draw(VALUE)}}
    return {"role": "assistant", "content": [*thoughts, {"type": "text", "text": draw(TEXT)}, use]}


def _signature(turn: int) -> str:
    return f"{'c2ln' * 60}{turn}"


def _told(draw: st.DrawFn) -> dict[str, Any]:
    result = {"type": "tool_result", "tool_use_id": "u", "content": draw(TEXT)}
    beside = [PICTURE] if draw(st.integers(0, 4)) == 0 else []
    return {"role": "user", "content": [_marked(draw, result), *beside]}


# --- what a client makes of it


def _swap_numbers(value: Any) -> Any:
    """The same by Python's `==`, and another text."""
    match value:
        case bool():
            return int(value)
        case int() | float() if value in {0, 1}:
            return bool(value)
        case dict():
            return {key: _swap_numbers(member) for key, member in reversed(value.items())}
        case list():
            return [_swap_numbers(item) for item in value]
        case _:
            return value


def _respelled(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": [{"text": content, "type": "text", "cache_control": {"type": "ephemeral"}}]}
    return {**message, "content": [_unmarked(block) for block in content]}


@st.composite
def next_bodies(draw: st.DrawFn, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The request that follows: honest, or after some of a liar's tricks."""
    new = copy.deepcopy(body)
    new["messages"] += [answer, _told(draw) if draw(st.booleans()) else _said(draw)]
    for trick in draw(st.lists(st.sampled_from(TRICKS), max_size=3)):
        trick(draw, new)
    return new


def _move_marks(_draw: st.DrawFn, body: dict[str, Any]) -> None:
    body["messages"] = [_respelled(message) for message in body["messages"]]


def _drop_answer(draw: st.DrawFn, body: dict[str, Any]) -> None:
    del body["messages"][draw(st.integers(0, len(body["messages"]) - 1))]
    body["messages"] = body["messages"] or [_said(draw)]


def _enlarge(draw: st.DrawFn, body: dict[str, Any]) -> None:
    number = draw(st.integers(0, len(body["messages"]) - 1))
    message = _respelled(body["messages"][number])
    body["messages"][number] = {
        **message, "content": [*message["content"], {"type": "text", "text": draw(TEXT) * 3}, dict(PICTURE)],
    }  # fmt: skip


def _renumber(_draw: st.DrawFn, body: dict[str, Any]) -> None:
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                block["input"] = _swap_numbers(block["input"])


def _swap_tools(draw: st.DrawFn, body: dict[str, Any]) -> None:
    body["tools"] = [_tool(draw, 0), *body.get("tools", [])][: draw(st.integers(1, 3))]


def _renumber_tools(_draw: st.DrawFn, body: dict[str, Any]) -> None:
    for tool in body.get("tools", []):
        tool["input_schema"] = _swap_numbers(tool["input_schema"])


def _say_otherwise(draw: st.DrawFn, body: dict[str, Any]) -> None:
    body["system"] = [{"type": "text", "text": draw(TEXT)}]


def _rethink(_draw: st.DrawFn, body: dict[str, Any]) -> None:
    body["max_tokens"] = 4_000
    body["thinking"] = {"type": "enabled", "budget_tokens": 1_024}


def _go_back(draw: st.DrawFn, body: dict[str, Any]) -> None:
    body["messages"] = [*body["messages"][: draw(st.integers(1, len(body["messages"])))], _told(draw)]


TRICKS = (
    _move_marks, _drop_answer, _enlarge, _renumber, _swap_tools, _renumber_tools, _say_otherwise, _rethink, _go_back,
)  # fmt: skip


# --- the gateway's side


def _dearest(asked: Request, usage: Usage) -> Money:
    """All of the prompt at the dearest kind that the request asks for, on the dearest card."""
    write, prompt, output = asked.ask.write, usage.input, usage.output
    dear = {
        "none": usage,
        "5m": Usage(write_5m=prompt, output=output),
        "1h": Usage(write_1h=prompt, output=output),
    }[write]
    return max(card.cost(dear) for card in asked.cards)


@settings(max_examples=300 * TIMES, deadline=None)
@given(body=bodies(), seed=st.integers(0, 9), own=st.integers(0, 256), data=st.data())
def test_no_conversation_costs_more_than_was_held_for_it_by_prefix_memory(
    body: dict[str, Any], seed: int, own: int, data: st.DataObject
) -> None:
    """For every settled request and every one that a client makes of it: hold >= cost, bound >= prompt."""
    law, prefixes = Law(seed, own), Prefixes()
    first = request(body)
    answer = _answer(data.draw, 9)  # type: ignore[arg-type]  # draws alike
    output = data.draw(st.integers(0, body["max_tokens"]))
    law.hidden[_signature(9)] = output
    prompt = law.prompt(body, shows_deferred=data.draw(st.booleans()))
    assert prompt <= first.prompt_bound  # the law of bytes alone
    prefixes.ended(ended(first, Usage(input=prompt, output=output)))

    new = data.draw(next_bodies(body, answer))
    admission, second = rules(prefixes), request(new)
    found = asyncio.run(admission.recalled(second))
    prompt = law.prompt(new, shows_deferred=data.draw(st.booleans()))
    if found is None:
        return
    closer, _ = found
    assert prompt <= closer.prompt_bound < second.prompt_bound
    limit = closer.ask.max_output or 0
    assert _dearest(closer, Usage(input=prompt, output=limit)) <= admission.amount(closer, limit)


@settings(max_examples=100 * TIMES, deadline=None)
@given(body=bodies(), data=st.data())
def test_an_honest_turn_is_bounded_by_what_was_settled(body: dict[str, Any], data: st.DataObject) -> None:
    """Marks that move and texts that become blocks change nothing: the bound is the settled bill and the new bytes."""
    prefixes = Prefixes()
    body |= {"max_tokens": 4_000, "messages": [{"role": "user", "content": "a long story " * 2_000}]}
    first = request(body)
    prefixes.ended(ended(first, Usage(input=5_000, output=100)))
    new = {**body, "messages": [*body["messages"], _answer(data.draw, 9)]}  # type: ignore[arg-type]  # draws alike
    _move_marks(data.draw, new)  # type: ignore[arg-type]  # draws alike
    admission, second = rules(prefixes), request(new)
    found = asyncio.run(admission.recalled(second))
    assert found is not None
    tail = len(json.dumps(new["messages"][-1], ensure_ascii=False).encode()) + 1
    assert 0 <= (found[0].prompt_tokens or 0) - (5_100 + tail + second.ask.bound.pad) <= 100  # numbers, spelled widely
    assert found[0].notes[-1].startswith("bound by prefix memory: 5000 tokens settled")
