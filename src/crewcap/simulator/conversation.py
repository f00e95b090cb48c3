"""What a request says: the parts of a Messages body that a script picks its step by, and the blocks that are billed.

Nothing here counts messages or attempts. Where a conversation stands is read from its content alone: the last tool
result names, in the id of the call that it answers, the step that made the call. A request that is retried, resumed
after a kill, or sent by another process is therefore given the same step.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crewcap.simulator.tokens import MESSAGE_TOKENS, TOOLS_TOKENS, tokens_of_block, tokens_of_tool

Mark = Literal["", "5m", "1h"]


class BadRequest(ValueError):
    """The body is not one that the Messages API takes; the message is what the API would say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A billed part of the prompt: a tool, a system block or a content block, in the order of the prefix."""

    digest: bytes  # of what it says, its cache mark left out
    tokens: int
    mark: Mark = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The tool call that the last result answers, as its id tells."""

    step: str
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, read."""

    model: str
    max_tokens: int
    stream: bool
    thinks: bool
    geo: str
    speed: str
    is_subagent: bool
    task: str  # the first thing that a person (or the parent agent) said
    asked: str  # the last thing they said
    result: str  # text of the last tool results
    has_results: bool
    last_call: Call | None  # None where the id is not one of ours
    cwd: str
    tools: frozenset[str]
    blocks: tuple[Block, ...]
    digest: str  # of the whole conversation

    @property
    def marks(self) -> int:
        """How many blocks ask to be cached up to."""
        return sum(1 for block in self.blocks if block.mark)


def read(body: bytes, headers: Mapping[str, str], *, counting: bool = False, bytes_per_token: int = 4) -> Asked:
    """Read a body of POST /v1/messages (or of its count call); `BadRequest` in the provider's words."""
    data = _parse(body)
    messages = _messages(data)
    blocks = tuple(_blocks(data, messages, bytes_per_token))
    results = _last_results(messages)
    said = [text for text in (_said(message) for message in messages if message.get("role") == "user") if text]
    return Asked(
        model=_text(data, "model"),
        max_tokens=0 if counting else _positive(data, "max_tokens"),
        stream=data.get("stream") is True,
        thinks=_thinks(data),
        geo=str(data.get("inference_geo") or "global"),
        speed=str(data.get("speed") or "standard"),
        is_subagent=_is_subagent(data, headers),
        task=said[0] if said else "",
        asked=said[-1] if said else "",
        result="\n".join(_plain(result.get("content")) for result in results),
        has_results=bool(results),
        last_call=_call(str(results[-1].get("tool_use_id", ""))) if results else None,
        cwd=_cwd(data, messages),
        tools=frozenset(str(tool.get("name", "")) for tool in data.get("tools") or [] if isinstance(tool, dict)),
        blocks=blocks,
        digest=hashlib.sha256(b"".join(block.digest for block in blocks)).hexdigest(),
    )


def call_id(step: str, round_: int, number: int, digest: str) -> str:
    """The id of a tool call that a step makes: it tells the next request where the conversation stands."""
    return f"toolu_{step}_{round_}_{number}_{digest[:10]}"


_CALL = re.compile(r"toolu_(?P<step>[a-z0-9-]+)_(?P<round>\d+)_\d+_[0-9a-f]{10}\Z")
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_CWD = re.compile(r"(?:[Ww]orking directory: *|<cwd>)(?P<path>/[^\n<]*)")
_SUBAGENT = ("cc_is_subagent=true", "You are an agent for Claude Code")


def _parse(body: bytes) -> dict[str, Any]:
    """The body as an object; floats stay text, so that they count as what was sent."""
    try:
        data = json.loads(body, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadRequest("The request body must be an object")
    return data


def _messages(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: at least one message is required")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant", "system"}:
            raise BadRequest(f"messages.{index}.role: Input should be 'user' or 'assistant'")
    return messages


def _text(data: Mapping[str, Any], key: str) -> str:
    if not isinstance(data.get(key), str) or not data[key]:
        raise BadRequest(f"{key}: Field required")
    return str(data[key])


def _positive(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{key}: Field required")
    if value < 1:
        raise BadRequest(f"{key}: must be greater than or equal to 1")
    return value


def _thinks(data: Mapping[str, Any]) -> bool:
    thinking = data.get("thinking")
    if not isinstance(thinking, Mapping):
        return False
    budget, limit = thinking.get("budget_tokens"), data.get("max_tokens")
    if isinstance(budget, int) and isinstance(limit, int) and budget >= limit:
        raise BadRequest("`max_tokens` must be greater than `thinking.budget_tokens`")
    return thinking.get("type") in {"enabled", "adaptive"}


def _blocks(data: Mapping[str, Any], messages: list[dict[str, Any]], bytes_per_token: int) -> Iterator[Block]:
    """Every billed block in the provider's order of the prefix: tools, system, messages."""
    for index, tool in enumerate(data.get("tools") or []):
        plain, mark = _unmarked(tool)
        tokens = tokens_of_tool(plain, bytes_per_token=bytes_per_token) + (0 if index else TOOLS_TOKENS)
        yield Block(digest=_digest("tool", plain), tokens=tokens, mark=mark)
    config = data.get("output_config")
    schema = config.get("format") if isinstance(config, dict) else None
    parts = [("system", part, 0) for part in _content(data.get("system"))]
    parts += [("schema", schema, 0)] if schema else []
    parts += [
        (message["role"], part, 0 if index else MESSAGE_TOKENS)
        for message in messages
        for index, part in enumerate(_content(message.get("content")))
    ]
    for number, (role, part, opening) in enumerate(parts, 1):
        plain, mark = _unmarked(part)
        tokens = tokens_of_block(plain, bytes_per_token=bytes_per_token) + opening
        automatic = _mark(data.get("cache_control")) if number == len(parts) else ""
        yield Block(digest=_digest(role, plain), tokens=tokens, mark=mark or automatic)


def _content(content: Any) -> list[Any]:
    """Content is a text or a list of blocks; both spell the same prompt."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is None or isinstance(content, list):
        return content or []
    raise BadRequest("content: Input should be a valid string or list")


def _unmarked(part: Any) -> tuple[Any, Mark]:
    """A block without its cache mark, and the mark: agents move theirs every turn, and it is no part of the prompt."""
    if not isinstance(part, dict) or "cache_control" not in part:
        return part, ""
    return {key: value for key, value in part.items() if key != "cache_control"}, _mark(part["cache_control"])


def _digest(kind: str, part: Any) -> bytes:
    return hashlib.sha256(json.dumps([kind, part], sort_keys=True, separators=(",", ":")).encode()).digest()


def _mark(control: Any) -> Mark:
    if not control:
        return ""
    if not isinstance(control, Mapping) or control.get("type") != "ephemeral":
        raise BadRequest("cache_control.type: Input should be 'ephemeral'")
    ttl = control.get("ttl", "5m")
    if ttl not in {"5m", "1h"}:
        raise BadRequest("cache_control.ttl: Input should be '5m' or '1h'")
    return "1h" if ttl == "1h" else "5m"


def _said(message: Mapping[str, Any]) -> str:
    """What a user message says in words, without the reminders that agents put beside them."""
    texts = (part.get("text", "") for part in _content(message.get("content")) if _is_type(part, "text"))
    return "\n".join(filter(None, (_REMINDER.sub("", str(text)).strip() for text in texts)))


def _last_results(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tool results of the latest message that has any."""
    for message in reversed(list(messages)):
        results = [part for part in _content(message.get("content")) if _is_type(part, "tool_result")]
        if results:
            return results
    return []


def _is_type(part: Any, kind: str) -> bool:
    return isinstance(part, dict) and part.get("type") == kind


def _plain(content: Any) -> str:
    """The text of a tool result."""
    return "\n".join(str(part.get("text", "")) for part in _content(content) if _is_type(part, "text"))


def _call(identifier: str) -> Call | None:
    match = _CALL.match(identifier)
    return Call(step=match["step"], round=int(match["round"])) if match else None


def _cwd(data: Mapping[str, Any], messages: Iterable[Mapping[str, Any]]) -> str:
    """The agent's working directory, which it tells in a system block or in a message; `.` where it does not."""
    for content in (data.get("system"), *(message.get("content") for message in messages)):
        match = _CWD.search(_plain(content))
        if match:
            return match["path"].strip()
    return "."


def _is_subagent(data: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """A gateway may drop the agent's header, so what the system prompt says counts as well."""
    if headers.get("x-claude-code-agent-id"):
        return True
    system = _plain(data.get("system"))
    return any(sign in system for sign in _SUBAGENT)
