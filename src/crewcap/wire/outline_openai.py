"""A request to one of OpenAI's APIs as a conversation: of items, or of messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

from crewcap.core.asks import Bound
from crewcap.wire import openai_known as known
from crewcap.wire import openai_request, outline
from crewcap.wire.findings import size
from crewcap.wire.openai_request import Found, PartForms
from crewcap.wire.outline import Outline

_BESIDE = known.NOT_IN_THE_PROMPT | {
    "input",
    "instructions",
    "messages",
    "tools",
    "max_completion_tokens",
    "max_tokens",
}
_MARK = "prompt_cache_breakpoint"
_THOUGHTS = ("reasoning", "reasoning_content", "reasoning_details")  # what compatible providers call them in a message
_CHAT_PARTS = PartForms(known.CHAT_PARTS, known.COSTLY_CHAT_PARTS)


def read_chat(body: bytes) -> Outline:
    """Compare a chat by tools and messages."""
    fields = outline.read(body)
    messages = fields["messages"]

    def added(since: int) -> Bound:
        found = Found()
        openai_request.read_tools(fields.get("tools"), "tools", found)
        found.has_tools |= fields.get("functions") is not None
        for message in messages[since:]:
            openai_request.read_parts(message.get("content"), "the content of a message", _CHAT_PARTS, found)
        openai_request.pad_schema(fields.get("response_format"), found)
        return found.bound(sum(outline.sizes(body, "messages")[since:]))

    return Outline(
        fixed=outline.but(fields, _BESIDE),
        heads=(("tools", fields.get("tools")),),
        turns=[_turn(message, "text") for message in messages],
        added=added,
        thoughts=lambda first: sum(_thoughts(messages[:first])),
    )


def turns_of(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of an input, every message in one spelling."""
    return [_item(item) for item in items]


def thoughts_of(items: Iterable[Mapping[str, Any]]) -> int:
    """Bytes of the reasoning among items: it is dropped from a prompt, and may come back."""
    return sum(size(item) for item in items if item.get("type") == "reasoning")


def name_of(items: Any, *beside: str) -> str:
    """What the conversation is called: by all that was said before the model said anything."""
    if isinstance(items, str):
        return outline.name_of((items,), *beside)
    return outline.name_of(_opening(items) if isinstance(items, list) else (), *beside)


def _opening(items: list[Any]) -> Iterator[str]:
    dicts = (item for item in items if isinstance(item, dict))
    for item in takewhile(lambda each: each.get("role") in ("developer", "system", "user"), dicts):
        yield from outline.texts_of(item.get("content"))


def _item(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("type", "message") != "message":
        return outline.ordered(_unmarked(item))
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    return _turn({"type": "message", **item}, kind)


def _turn(message: dict[str, Any], kind: str) -> dict[str, Any]:
    """A text is a list of one part of text, and marks are no part of what is said."""
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": kind, "text": content}]
    if isinstance(content, list):
        content = [outline.ordered(_unmarked(part)) if isinstance(part, dict) else part for part in content]
    return outline.ordered(_unmarked({**message, "content": content}))


def _unmarked(value: dict[str, Any]) -> dict[str, Any]:
    return {key: member for key, member in value.items() if key != _MARK} if _MARK in value else value


def _thoughts(messages: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    for message in messages:
        yield from (size(message[name]) for name in _THOUGHTS if name in message)
