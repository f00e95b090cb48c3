"""Anthropic's Messages API: what its bodies say, and its answers as events or as one message."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crewcap.core.pricing import Modifiers, RateCard, Usage
from crewcap.simulator.answers import Answer, Piece
from crewcap.simulator.conversation import (
    Asked,
    BadRequest,
    Block,
    Mark,
    call_of,
    cwd_in,
    digest,
    digest_of,
    parsed,
    without_reminders,
)
from crewcap.simulator.family import Part, Refused, sse
from crewcap.simulator.script import Step
from crewcap.simulator.tokens import MESSAGE_TOKENS, TOOLS_TOKENS, tokens_of_block, tokens_of_tool
from crewcap.simulator.troubles import Trouble


class Messages:
    """The Messages API, streamed or not."""

    provider = "anthropic"
    tells = frozenset({"geo", "speed", "tier"})
    keeps_unasked = False

    def read(
        self, body: bytes, headers: Mapping[str, str], *, path: str = "", counting: bool = False, bytes_per_token: int
    ) -> Asked:
        """Read a body of POST /v1/messages, or of its count call."""
        del path
        return read(body, headers, counting=counting, bytes_per_token=bytes_per_token)

    def limit(self, asked: Asked, card: RateCard) -> int:
        """The limit that was said, which may not be above the model's."""
        if card.max_output is not None and asked.max_tokens > card.max_output:
            raise BadRequest(
                f"max_tokens: {asked.max_tokens} > {card.max_output}, which is the maximum allowed number of output "
                f"tokens for {asked.model}"
            )
        return asked.max_tokens

    def remember(self, answer: Answer, asked: Asked) -> None:
        """Nothing is kept: every request says all of its conversation."""

    def whole(self, answer: Answer, asked: Asked) -> Any:
        """The answer of a request that does not stream."""
        del asked
        return message(answer)

    def parts(self, answer: Answer, step: Step, asked: Asked) -> Iterator[Part]:
        """The answer as events."""
        del asked
        for event, generated in events(answer, step):
            kind = event["type"]
            yield Part(data=sse(event, kind), generated=generated, is_paced=kind == "content_block_delta")

    def stream_type(self, asked: Asked) -> str:
        """Events, always."""
        del asked
        return "text/event-stream; charset=utf-8"

    def counted(self, tokens: int) -> Any:
        """The count call's answer."""
        return {"input_tokens": tokens}

    def listed(self, names: list[str]) -> Any:
        """The models."""
        data = [{"type": "model", "id": name, "display_name": name} for name in names]
        return {"data": data, "has_more": False, "first_id": None, "last_id": None}

    def naming(self, request_id: str) -> dict[str, str]:
        """The header that names a request."""
        return {"request-id": request_id}

    def refusal(self, trouble: Trouble, request_id: str) -> Refused:
        """An error answer."""
        headers = {"content-type": "application/json", **trouble.headers}
        return Refused(status=trouble.status, headers=headers, body=trouble.body(request_id))

    def broken(self, trouble: Trouble, request_id: str, asked: Asked) -> bytes:
        """An error in the middle of a stream."""
        del asked
        event = trouble.event(request_id)
        return sse(event, "error")


def read(body: bytes, headers: Mapping[str, str], *, counting: bool = False, bytes_per_token: int = 4) -> Asked:
    """Read a body of POST /v1/messages (or of its count call); `BadRequest` in the provider's words."""
    data = parsed(body)
    messages = _messages(data)
    blocks = tuple(_blocks(data, messages, bytes_per_token))
    results = _last_results(messages)
    said = [text for text in (_said(message) for message in messages) if text]
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
        last_call=call_of(str(results[-1].get("tool_use_id", ""))) if results else None,
        cwd=_cwd(data, messages),
        tools=frozenset(str(tool.get("name", "")) for tool in data.get("tools") or [] if isinstance(tool, dict)),
        blocks=blocks,
        digest=digest_of(blocks),
    )


def usage_json(usage: Usage, modifiers: Modifiers, *, says_speed: bool = False) -> dict[str, Any]:
    """Usage in the provider's words."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.write_5m + usage.write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.write_5m,
            "ephemeral_1h_input_tokens": usage.write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.thinking},
        "service_tier": modifiers.tier,
        "inference_geo": modifiers.geo,
        **({"speed": modifiers.speed} if says_speed else {}),
    }


def message(answer: Answer) -> dict[str, Any]:
    """The answer of a request that does not stream."""
    content = [
        _opened(piece) | ({"input": piece.input} if piece.kind == "tool_use" else _whole(piece))
        for piece in answer.pieces
    ]
    return _shell(answer) | {"content": content, "stop_reason": answer.stop_reason, **_usage(answer, answer.end)}


def events(answer: Answer, step: Step) -> Iterator[tuple[dict[str, Any], int]]:
    """The answer as events, each with the output tokens that were generated when it is sent."""
    yield {"type": "message_start", "message": _shell(answer) | _usage(answer, answer.start)}, 0
    yield {"type": "ping"}, 0
    done = 0
    longest = max(answer.pieces, key=lambda piece: piece.tokens, default=None)
    for index, piece in enumerate(answer.pieces):
        yield {"type": "content_block_start", "index": index, "content_block": _opened(piece)}, done
        count = step.events if piece is longest and piece.kind != "tool_use" else 1
        for part, delta in enumerate(_deltas(piece, count), 1):
            generated = done + min(piece.tokens, piece.tokens * part // count)
            yield {"type": "content_block_delta", "index": index, "delta": delta}, generated
        done += piece.tokens
        yield {"type": "content_block_stop", "index": index}, done
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, **_usage(answer, answer.end)}, answer.usage.output
    yield {"type": "message_stop"}, answer.usage.output


_SUBAGENT = ("cc_is_subagent=true", "You are an agent for Claude Code")


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
        tokens = tokens_of_tool(plain, is_own=_is_own(plain), bytes_per_token=bytes_per_token) + (
            0 if index else TOOLS_TOKENS
        )
        yield Block(digest=digest("tool", plain), tokens=tokens, mark=mark)
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
        yield Block(digest=digest(role, plain), tokens=tokens, mark=mark or automatic)


def _is_own(tool: Any) -> bool:
    """A tool that the provider defines itself."""
    return isinstance(tool, dict) and tool.get("type", "custom") != "custom"


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
    """What a message says in a person's words, without the reminders that agents put beside them."""
    if message.get("role") == "system":
        return "\n".join(_SENT_MEANWHILE.findall(_plain(message.get("content"))))
    if message.get("role") != "user":
        return ""
    texts = (part.get("text", "") for part in _content(message.get("content")) if _is_type(part, "text"))
    return "\n".join(filter(None, (without_reminders(str(text)) for text in texts)))


_SENT_MEANWHILE = re.compile(r"The user sent a new message while you were working:\n(.*?)\n\n", re.DOTALL)
"""How Claude Code hands on what was said into a turn that it is in."""


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


def _cwd(data: Mapping[str, Any], messages: Iterable[Mapping[str, Any]]) -> str:
    """The agent's working directory, which it tells in a system block or in a message."""
    return cwd_in(_plain(content) for content in (data.get("system"), *(each.get("content") for each in messages)))


def _is_subagent(data: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """A gateway may drop the agent's header, so what the system prompt says counts as well."""
    if headers.get("x-claude-code-agent-id"):
        return True
    system = _plain(data.get("system"))
    return any(sign in system for sign in _SUBAGENT)


def _shell(answer: Answer) -> dict[str, Any]:
    """A message before it has content."""
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(answer: Answer, usage: Usage | None) -> dict[str, Any]:
    return {} if usage is None else {"usage": usage_json(usage, answer.modifiers, says_speed=answer.says_speed)}


def _opened(piece: Piece) -> dict[str, Any]:
    """A content block as it begins."""
    if piece.kind == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    if piece.kind == "text":
        return {"type": "text", "text": ""}
    return {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}


def _whole(piece: Piece) -> dict[str, Any]:
    return {"thinking": "", "signature": _signature(piece)} if piece.kind == "thinking" else {"text": piece.text}


def _deltas(piece: Piece, count: int) -> Iterator[dict[str, Any]]:
    """The content of a piece in so many parts."""
    if piece.kind == "tool_use":
        yield {"type": "input_json_delta", "partial_json": json.dumps(piece.input, ensure_ascii=False)}
        return
    if piece.kind == "text":
        size = len(piece.text)
        for n in range(count):
            yield {"type": "text_delta", "text": piece.text[size * n // count : size * (n + 1) // count]}
        return
    for _ in range(count - 1):
        yield {"type": "thinking_delta", "thinking": ""}
    yield {"type": "signature_delta", "signature": _signature(piece)}


def _signature(piece: Piece) -> str:
    """Stands for thoughts that are not shown."""
    return base64.b64encode(hashlib.sha256(f"{piece.tokens}".encode()).digest()).decode()
