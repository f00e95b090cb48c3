"""A request to the Messages API as a conversation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crewcap.core.asks import Bound
from crewcap.wire import anthropic_known as known
from crewcap.wire import anthropic_request, outline
from crewcap.wire.outline import Outline

_BESIDE = known.NOT_IN_THE_PROMPT | {"cache_control", "messages", "system", "tools"}
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


def read(body: bytes) -> Outline:
    """Compare it by tools, system and messages, in the order in which the provider reads them."""
    fields = outline.read(body)
    messages = fields["messages"]

    def added(since: int) -> Bound:
        size_bytes = sum(outline.sizes(body, "messages")[since:])
        return anthropic_request.bound_of_messages(fields, messages[since:], size_bytes)

    return Outline(
        fixed=outline.but(fields, _BESIDE),
        heads=(("tools", _unmarked_all(fields.get("tools"))), ("system", _content(fields.get("system")))),
        turns=[_turn(message) for message in messages],
        added=added,
        thoughts=lambda first: sum(_thoughts(messages[:first])),
    )


def _turn(message: dict[str, Any]) -> dict[str, Any]:
    return outline.ordered({**message, "content": _content(message.get("content"))})


def _content(content: Any) -> Any:
    """A text is a list of one block of text, and marks are no part of what is said."""
    if isinstance(content, str):
        return [outline.ordered({"type": "text", "text": content})]
    return _unmarked_all(content)


def _unmarked_all(blocks: Any) -> Any:
    if not isinstance(blocks, list):
        return blocks
    return [_unmarked(block) if isinstance(block, dict) else block for block in blocks]


def _unmarked(block: dict[str, Any]) -> dict[str, Any]:
    """A block or a tool without its mark; what a tool is called with, and its schema, are left as they are."""
    if "cache_control" in block:
        block = {key: value for key, value in block.items() if key != "cache_control"}
    if block.get("type") == "tool_result" and "content" in block:
        block = {**block, "content": _content(block["content"])}
    return outline.ordered(block)


def _thoughts(messages: list[dict[str, Any]]) -> Iterator[int]:
    for message in messages:
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if block.get("type") in _THOUGHTS:
                yield anthropic_request.size_of(block)
