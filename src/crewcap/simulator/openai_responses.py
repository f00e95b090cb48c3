"""OpenAI's Responses API: what its items say, and its answers as events or as one response.

Input tokens are told with those that came from the cache and those that were written to it inside; output with the
reasoning inside. A stream tells its usage in its last event only.

An answer is kept unless `store` is false, and a later request may go on from it by `previous_response_id`: then what
was said before is a part of its prompt.

A tool whose definition is `custom` takes a text: a script gives it as `input = { input = "..." }`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from crewcap.core.pricing import RateCard, Usage
from crewcap.simulator import openai
from crewcap.simulator.answers import Answer, Piece, longest_text
from crewcap.simulator.conversation import Asked, BadRequest, Role, Said, fields_of, gathered, parsed
from crewcap.simulator.family import Part, Refused, compact, shares, sse
from crewcap.simulator.script import Step
from crewcap.simulator.tokens import IMAGE_TOKENS, REMOTE_DOCUMENT_TOKENS, spelled, tokens_of_bytes
from crewcap.simulator.troubles import Trouble

LEAST_LIMIT = 16
_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_MESSAGES = frozenset({"message", "agent_message"})
_CLIENT_DEFINED = frozenset({"custom", "function", "namespace"})
_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant"}


class Responses:
    """The Responses API, streamed or not."""

    provider = "openai"
    tells = frozenset({"tier"})
    keeps_unasked = True

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, ...]] = {}  # conversations by the id of their last answer

    def read(
        self, body: bytes, headers: Mapping[str, str], *, path: str = "", counting: bool = False, bytes_per_token: int
    ) -> Asked:
        """Read a body of POST /v1/responses, or of its count call."""
        del path
        data = self._continued(parsed(body))
        tools = list(_tools(data))
        parts = list(_parts(data, bytes_per_token))
        if not parts:
            raise BadRequest("Missing required parameter: 'input'.")
        model = openai.named(data)
        talk = gathered(parts, ((tool, _is_own(tool)) for tool in tools), bytes_per_token=bytes_per_token)
        return Asked(
            **fields_of(talk),
            model=model,
            max_tokens=0 if counting else openai.positive(data, "max_output_tokens", least=LEAST_LIMIT),
            stream=data.get("stream") is True,
            thinks=openai.reasons(model, _object(data, "reasoning").get("effort")),
            tier=openai.tier(data),
            is_subagent=openai.is_subagent(headers, data),
            tools=frozenset(str(tool.get("name", "")) for tool in _each_tool(tools)),
            write="1h" if _object(data, "prompt_cache_options").get("ttl") == "12h" else "5m",
            freeform=frozenset(str(tool.get("name")) for tool in _each_tool(tools) if tool.get("type") == "custom"),
            namespaces=_namespaces(tools),
            is_kept=data.get("store") is not False,
            items=tuple(_items(data)),
        )

    def _continued(self, data: dict[str, Any]) -> dict[str, Any]:
        """The body with what it goes on from put before its own input."""
        before = data.get("previous_response_id")
        if before is None:
            return data
        if before not in self._kept:
            raise BadRequest(f"Previous response with id '{before}' not found.")
        return data | {"input": [*self._kept[before], *_items(data)]}

    def limit(self, asked: Asked, card: RateCard) -> int:
        """The limit that was said, or else the model's own."""
        return openai.limit(asked, card, field="max_output_tokens")

    def remember(self, answer: Answer, asked: Asked) -> None:
        """Keep the conversation for those who go on from this answer."""
        if asked.is_kept:
            said = (_item(answer, index, asked) for index in range(len(answer.pieces)))
            self._kept[_name(answer)] = (*asked.items, *said)

    def whole(self, answer: Answer, asked: Asked) -> dict[str, Any]:
        """The answer of a request that does not stream."""
        return _ended(answer, [_item(answer, index, asked) for index in range(len(answer.pieces))])

    def parts(self, answer: Answer, step: Step, asked: Asked) -> Iterator[Part]:
        """The answer as events."""
        for number, (event, generated) in enumerate(_events(answer, step, asked)):
            kind = event["type"]
            data = sse({"type": kind, "sequence_number": number, **event}, kind)
            yield Part(data=data, generated=generated, is_paced=kind.endswith(".delta"))

    def stream_type(self, asked: Asked) -> str:
        """Events, always."""
        del asked
        return "text/event-stream; charset=utf-8"

    def counted(self, tokens: int) -> dict[str, Any]:
        """The count call's answer."""
        return {"object": "response.input_tokens", "input_tokens": tokens}

    def listed(self, names: list[str]) -> dict[str, Any]:
        """The models."""
        return openai.listed(names)

    def naming(self, request_id: str) -> dict[str, str]:
        """The header that names a request."""
        return {"x-request-id": request_id}

    def refusal(self, trouble: Trouble, request_id: str) -> Refused:
        """An error answer."""
        del request_id
        return openai.refusal(trouble)

    def broken(self, trouble: Trouble, request_id: str, asked: Asked) -> bytes:
        """An error in the middle of a stream."""
        del request_id, asked
        said = openai.error(trouble)
        code = said["code"] or said["type"]
        return sse({"type": "error", "code": code, "message": said["message"], "param": None}, "error")


def usage_json(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's words."""
    written = usage.write_5m + usage.write_1h
    lifetimes = {"ttl_30m_tokens": usage.write_5m, "ttl_12h_tokens": usage.write_1h}
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            **({"cache_write_tokens": written, "cache_write_tokens_details": lifetimes} if written else {}),
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.thinking},
        "total_tokens": usage.prompt + usage.output,
    }


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _items(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = data.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    items = _listed(given)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise BadRequest(f"Invalid type for 'input[{index}]': expected an object.")
    return items


def _tools(data: Mapping[str, Any]) -> Iterator[Any]:
    """Definitions: beside the input, and those that stand in it."""
    yield from _listed(data.get("tools"))
    for item in _items(data):
        if item.get("type") == "additional_tools":
            yield from _listed(item.get("tools"))


def _each_tool(tools: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Every tool, those inside a namespace too."""
    for tool in tools:
        if isinstance(tool, dict):
            yield tool
            yield from _each_tool(_listed(tool.get("tools")))


def _namespaces(tools: list[Any]) -> dict[str, str]:
    return {
        str(tool.get("name")): str(space.get("name"))
        for space in tools
        if isinstance(space, dict) and space.get("type") == "namespace"
        for tool in _each_tool(_listed(space.get("tools")))
    }


def _is_own(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") not in _CLIENT_DEFINED


def _parts(data: Mapping[str, Any], bytes_per_token: int) -> Iterator[Said]:
    """Everything that is billed beside the tools, in order."""
    instructions = data.get("instructions")
    if isinstance(instructions, str) and instructions:
        yield Said(role="system", turn=0, billed={"text": instructions}, text=instructions)
    schema = _object(data, "text").get("format")
    if isinstance(schema, dict) and schema.get("type") != "text":
        yield Said(role="system", turn=0, billed=schema)
    for turn, item in enumerate(_items(data), 1):
        yield from _item_parts(item, turn, bytes_per_token)


def _item_parts(item: dict[str, Any], turn: int, bytes_per_token: int) -> Iterator[Said]:
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind in _MESSAGES:
        role = _ROLES.get(str(item.get("role", "user")), "system")
        for part in _content(item.get("content")):
            yield _content_part(part, role, turn)
    elif kind in _CALLS:
        called = openai.opened(item.get("arguments")) if kind == "function_call" else item.get("input")
        billed = {"type": "tool_use", "id": item.get("call_id"), "name": item.get("name"), "input": called}
        yield Said(role="assistant", turn=turn, billed=billed)
    elif kind in _OUTPUTS:
        yield from _results(item, turn)
    elif kind == "reasoning":
        size = spelled(item.get("encrypted_content") or "") + spelled(item.get("summary") or [])
        counted = tokens_of_bytes(size, bytes_per_token=bytes_per_token)
        yield Said(role="assistant", turn=turn, billed=item.get("encrypted_content"), tokens=counted)
    elif kind != "additional_tools":
        yield Said(role="assistant", turn=turn, billed=item)


def _content(content: Any) -> list[Any]:
    """A text, or a list of parts."""
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else _listed(content)


def _content_part(part: Any, role: Role, turn: int, answers: str | None = None) -> Said:
    """One part of a message, or of a call's output."""
    text = part.get("text", part.get("encrypted_content")) if isinstance(part, dict) else None  # agents seal theirs
    if isinstance(text, str):
        return Said(role=role, turn=turn, billed={"text": text}, text=text, answers=answers)
    kind = part.get("type") if isinstance(part, dict) else None
    tokens = {"input_image": IMAGE_TOKENS, "input_file": REMOTE_DOCUMENT_TOKENS}.get(str(kind))
    return Said(role=role, turn=turn, billed=part, tokens=tokens, answers=answers)


def _results(item: Mapping[str, Any], turn: int) -> Iterator[Said]:
    """What a call gave: a text, or parts, each of which tells which call it answers."""
    output = item.get("output")
    named = str(item.get("call_id", ""))
    parts = _content(output) or [{"text": ""}]
    yield Said(role="tool", turn=turn, billed={"id": named}, answers=named)
    for part in parts:
        yield _content_part(part, "tool", turn, answers=named)


def _name(answer: Answer) -> str:
    return answer.id.replace("msg_", "resp_", 1)


def _shell(answer: Answer) -> dict[str, Any]:
    """A response before it has output."""
    return {
        "id": _name(answer),
        "object": "response",
        "created_at": answer.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": openai.tier_told(answer),
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }


_INCOMPLETE = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}


def _ended(answer: Answer, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A response as it is at its end; without usage, where that is the lie."""
    reason = _INCOMPLETE.get(answer.stop_reason)
    response = _shell(answer) | {
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items,
    }
    if answer.end is None:
        del response["usage"]
        return response
    return response | {"usage": usage_json(answer.end)}


def _item(answer: Answer, index: int, asked: Asked) -> dict[str, Any]:
    """One piece of the answer as an item."""
    piece, number = answer.pieces[index], f"{answer.id.removeprefix('msg_')}_{index}"
    if piece.kind == "thinking":
        return {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": _sealed(piece)}
    if piece.kind == "text":
        content = [{"type": "output_text", "annotations": [], "logprobs": [], "text": piece.text}]
        return {
            "type": "message",
            "id": f"msg_{number}",
            "status": "completed",
            "role": "assistant",
            "content": content,
        }
    space = {"namespace": asked.namespaces[piece.name]} if piece.name in asked.namespaces else {}
    call = {"call_id": openai.call_name(piece.id), "name": piece.name, **space, "status": "completed"}
    if piece.name in asked.freeform:
        return {"type": "custom_tool_call", "id": f"ctc_{number}", "input": _text_input(piece), **call}
    return {"type": "function_call", "id": f"fc_{number}", "arguments": compact(piece.input or {}), **call}


def _sealed(piece: Piece) -> str:
    """Stands for thoughts that are not shown; never longer than they were, so sending it back is not dearer."""
    text = base64.b64encode(hashlib.sha512(f"{piece.tokens}".encode()).digest()).decode()
    return text[: piece.tokens]


def _text_input(piece: Piece) -> str:
    """What a tool gets that takes a text."""
    given = dict(piece.input or {})
    return str(given["input"]) if set(given) == {"input"} else compact(given)


def _events(answer: Answer, step: Step, asked: Asked) -> Iterator[tuple[dict[str, Any], int]]:
    """Each event with the output tokens that were made when it is sent."""
    yield {"type": "response.created", "response": _shell(answer)}, 0
    yield {"type": "response.in_progress", "response": _shell(answer)}, 0
    done = 0
    items = [_item(answer, index, asked) for index in range(len(answer.pieces))]
    longest = longest_text(answer)
    for index, (piece, item) in enumerate(zip(answer.pieces, items, strict=True)):
        place = {"output_index": index}
        yield {"type": "response.output_item.added", **place, "item": _begun(item)}, done
        count = step.events if piece is longest else 1
        for event, part in _inside(item, count):
            yield event | place | {"item_id": item["id"]}, done + min(piece.tokens, piece.tokens * part // count)
        done += piece.tokens
        yield {"type": "response.output_item.done", **place, "item": item}, done
    ended = _ended(answer, items)
    yield {"type": f"response.{ended['status']}", "response": ended}, answer.usage.output


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    """An item before it has content."""
    empty = {"content": [], "arguments": "", "input": "", "status": "in_progress"}
    return item | {name: value for name, value in empty.items() if name in item}


def _inside(item: dict[str, Any], count: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The events between an item's beginning and its end, each with how many parts of it are then said."""
    match item["type"]:
        case "message":
            content = item["content"][0]
            place = {"content_index": 0}
            yield {"type": "response.content_part.added", **place, "part": content | {"text": ""}}, 0
            for part, delta in enumerate(shares(content["text"], count), 1):
                yield {"type": "response.output_text.delta", **place, "delta": delta, "logprobs": []}, part
            text = {"text": content["text"], "logprobs": []}
            yield {"type": "response.output_text.done", **place, **text}, count
            yield {"type": "response.content_part.done", **place, "part": content}, count
        case "function_call":
            yield {"type": "response.function_call_arguments.delta", "delta": item["arguments"]}, count
            told = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **told}, count
        case "custom_tool_call":
            yield {"type": "response.custom_tool_call_input.delta", "delta": item["input"]}, count
            yield {"type": "response.custom_tool_call_input.done", "input": item["input"]}, count
