"""OpenAI's Chat Completions: what its messages say, and its answers as chunks or as one completion.

A stream tells its usage in a chunk of its own before `[DONE]`, and only where it is asked to
(`stream_options.include_usage`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crewcap.core.pricing import RateCard, Usage
from crewcap.simulator import openai
from crewcap.simulator.answers import Answer
from crewcap.simulator.conversation import Asked, BadRequest, Role, Said, fields_of, gathered, parsed
from crewcap.simulator.family import Part, Refused, compact, shares, sse
from crewcap.simulator.script import Step
from crewcap.simulator.tokens import IMAGE_TOKENS, REMOTE_DOCUMENT_TOKENS
from crewcap.simulator.troubles import Trouble

MOST_ANSWERS = 128
_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
_FINISH = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}


class Completions:
    """Chat Completions, streamed or not."""

    provider = "openai"
    tells = frozenset({"tier"})
    keeps_unasked = True

    def read(
        self, body: bytes, headers: Mapping[str, str], *, path: str = "", counting: bool = False, bytes_per_token: int
    ) -> Asked:
        """Read a body of POST /v1/chat/completions."""
        del path, counting
        data = parsed(body)
        model = openai.named(data)
        tools = [tool for tool in data.get("tools") or [] if isinstance(tool, dict)]
        talk = gathered(list(_parts(data)), ((tool, False) for tool in tools), bytes_per_token=bytes_per_token)
        options = data.get("stream_options")
        return Asked(
            **fields_of(talk),
            model=model,
            max_tokens=openai.positive(data, "max_completion_tokens") or openai.positive(data, "max_tokens"),
            stream=data.get("stream") is True,
            thinks=openai.reasons(model, data.get("reasoning_effort")),
            tier=openai.tier(data),
            is_subagent=openai.is_subagent(headers, data),
            tools=frozenset(_tool_name(tool) for tool in tools),
            answers=_answers(data),
            write="5m",
            tells_usage=isinstance(options, dict) and options.get("include_usage") is True,
            freeform=frozenset(_tool_name(tool) for tool in tools if tool.get("type") == "custom"),
        )

    def limit(self, asked: Asked, card: RateCard) -> int:
        """The limit that was said, or else the model's own."""
        return openai.limit(asked, card, field="max_completion_tokens")

    def remember(self, answer: Answer, asked: Asked) -> None:
        """Nothing is kept: every request says all of its conversation."""

    def whole(self, answer: Answer, asked: Asked) -> dict[str, Any]:
        """The answer of a request that does not stream."""
        message = {"role": "assistant", "content": _text(answer) or None, "refusal": None, **_calls(answer, asked)}
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
            for index in range(asked.answers)
        ]
        told = {} if answer.end is None else {"usage": usage_json(answer.end)}
        return {**_shell(answer, "chat.completion"), "choices": choices, **told}

    def parts(self, answer: Answer, step: Step, asked: Asked) -> Iterator[Part]:
        """The answer as chunks."""
        shell = _shell(answer, "chat.completion.chunk")
        untold = {"usage": None} if asked.tells_usage else {}
        for delta, finish, generated, index in _deltas(answer, step, asked):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            chunk = {**shell, "choices": [choice], **untold}
            yield Part(data=sse(chunk), generated=generated, is_paced=bool(delta.get("content")))
        if asked.tells_usage and answer.end is not None:
            told = {**shell, "choices": [], "usage": usage_json(answer.end)}
            yield Part(data=sse(told), generated=answer.usage.output)
        yield Part(data=b"data: [DONE]\n\n", generated=answer.usage.output)

    def stream_type(self, asked: Asked) -> str:
        """Events, always."""
        del asked
        return "text/event-stream; charset=utf-8"

    def counted(self, tokens: int) -> dict[str, Any]:
        """There is no count call: no path leads here."""
        raise NotImplementedError(tokens)

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
        return sse({"error": openai.error(trouble)})


def usage_json(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's words."""
    written = usage.write_5m + usage.write_1h
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "audio_tokens": 0,
            **({"cache_write_tokens": written} if written else {}),
        },
        "completion_tokens_details": {"reasoning_tokens": usage.thinking, "audio_tokens": 0},
    }


def _answers(data: Mapping[str, Any]) -> int:
    number = openai.positive(data, "n") or 1
    if number > MOST_ANSWERS:
        raise BadRequest(f"Invalid 'n': integer above maximum value. Expected a value <= {MOST_ANSWERS}.")
    return number


def _tool_name(tool: Mapping[str, Any]) -> str:
    defined = tool.get(str(tool.get("type")))
    return str(defined.get("name", "")) if isinstance(defined, dict) else ""


def _parts(data: Mapping[str, Any]) -> Iterator[Said]:
    """Everything that is billed beside the tools, in order."""
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("Missing required parameter: 'messages'.")
    schema = data.get("response_format")
    if isinstance(schema, dict) and schema.get("type") == "json_schema":
        yield Said(role="system", turn=0, billed=schema)
    for turn, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequest(f"Missing required parameter: 'messages[{turn - 1}].role'.")
        yield from _message_parts(message, turn)


def _message_parts(message: Mapping[str, Any], turn: int) -> Iterator[Said]:
    role = _ROLES.get(message["role"], "system")
    answers = str(message.get("tool_call_id", "")) if role == "tool" else None
    content = message.get("content")
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
        yield _part(part, role, turn, answers)
    for call in message.get("tool_calls") or []:
        called = call.get(str(call.get("type"))) if isinstance(call, dict) else None
        if isinstance(called, dict):
            given = openai.opened(called.get("arguments", called.get("input")))
            billed = {"type": "tool_use", "id": call.get("id"), "name": called.get("name"), "input": given}
            yield Said(role=role, turn=turn, billed=billed)


def _part(part: Any, role: Role, turn: int, answers: str | None) -> Said:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return Said(role=role, turn=turn, billed={"text": part["text"]}, text=part["text"], answers=answers)
    kind = str(part.get("type")) if isinstance(part, dict) else ""
    tokens = {"image_url": IMAGE_TOKENS, "file": REMOTE_DOCUMENT_TOKENS}.get(kind)
    return Said(role=role, turn=turn, billed=part, tokens=tokens, answers=answers)


def _shell(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.id.replace("msg_", "chatcmpl-", 1),
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": openai.tier_told(answer),
        "system_fingerprint": None,
    }


def _text(answer: Answer) -> str:
    return "".join(piece.text for piece in answer.pieces if piece.kind == "text")


def _calls(answer: Answer, asked: Asked) -> dict[str, Any]:
    """The calls of an answer, as a message has them."""
    calls = []
    for piece in answer.pieces:
        if piece.kind == "tool_use":
            given = dict(piece.input or {})
            if piece.name in asked.freeform:
                text = str(given["input"]) if set(given) == {"input"} else compact(given)
                kind, called = "custom", {"name": piece.name, "input": text}
            else:
                kind, called = "function", {"name": piece.name, "arguments": compact(given)}
            calls.append({"id": openai.call_name(piece.id), "type": kind, kind: called})
    return {"tool_calls": calls} if calls else {}


def _finish(answer: Answer) -> str:
    return _FINISH.get(answer.stop_reason, "stop")


def _deltas(answer: Answer, step: Step, asked: Asked) -> Iterator[tuple[dict[str, Any], str | None, int, int]]:
    """Each chunk's delta, reason to finish, output tokens until then, and answer."""
    each = answer.usage.output // asked.answers
    thought = sum(piece.tokens for piece in answer.pieces if piece.kind == "thinking")
    text, calls = _text(answer), _calls(answer, asked)
    for index in range(asked.answers):
        begun = index * each
        yield {"role": "assistant", "content": "", "refusal": None}, None, begun, index
        said = begun + min(each, thought)
        words = sum(piece.tokens for piece in answer.pieces if piece.kind == "text")
        for part, delta in enumerate(shares(text, step.events) if text else (), 1):
            yield {"content": delta}, None, said + words * part // step.events, index
        for number, call in enumerate(calls.get("tool_calls", ())):
            yield {"tool_calls": [{"index": number, **call}]}, None, said + words, index
        yield {}, _finish(answer), begun + each, index
