"""One client for each API of the simulator: how a request is written, and what is understood of an answer."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from crewcap.wire import Dialect, Reading
from crewcap.wire.anthropic import Anthropic
from crewcap.wire.gemini import Gemini
from crewcap.wire.openai_chat import Chat
from crewcap.wire.openai_responses import Responses

from .conftest import Client, events

TOOL = "look"
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
NO_KEY = {"x-api-key": ""}


@dataclass(frozen=True)
class Heard:
    """What an answer says, however it came."""

    text: str
    calls: tuple[tuple[str, str, Mapping[str, Any]], ...]  # id, name, input
    stop: str
    raw: Any  # what is sent back in the next request


class Speaker(Protocol):
    """One API."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def limit_stop(self) -> str:
        """Why an answer stops at its limit."""

    @property
    def count_path(self) -> str: ...

    def dialect(self) -> Dialect: ...

    def path(self, *, stream: bool) -> str: ...

    def body(self, text: str, *, stream: bool = False, limit: int | None = 20_000, tools: bool = True) -> Any: ...

    def hear(self, raw: bytes, *, stream: bool) -> Heard: ...

    def follow(self, body: Any, heard: Heard, *results: str) -> Any: ...

    def count_body(self, body: Any) -> Any: ...

    def counted(self, answer: Any) -> int: ...


def read_by(speaker: Speaker, raw: bytes, *, stream: bool, answers: int = 1, size: int = 7) -> Reading:
    """Our own meter's reading of an answer, fed in small chunks."""
    meter = speaker.dialect().meter(stream=stream, write="5m", answers=answers)
    for start in range(0, len(raw), size):
        meter.feed(raw[start : start + size])
    return meter.close()


def send(client: Client, speaker: Speaker, body: Any, *, stream: bool = False, suffix: str = "") -> tuple[int, bytes]:
    """Ask; the status and every byte, also of an answer that is cut."""
    connection = client.open(speaker.path(stream=stream) + suffix, body)
    response = connection.getresponse()
    raw = b""
    try:
        while chunk := response.read1(65_536):
            raw += chunk
    except (http.client.HTTPException, ConnectionError, ValueError):
        pass  # cut; `read1` meets a chunk without its size
    finally:
        connection.close()
    return response.status, raw


class AnthropicSpeaker:
    name = "anthropic"
    model = "claude-sonnet-5"
    limit_stop = "max_tokens"
    count_path = "/v1/messages/count_tokens"

    def dialect(self) -> Dialect:
        return Anthropic()

    def path(self, *, stream: bool) -> str:
        del stream
        return "/v1/messages"

    def body(self, text: str, *, stream: bool = False, limit: int | None = 20_000, tools: bool = True) -> Any:
        said = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
        body: dict[str, Any] = {"model": self.model, "max_tokens": limit or 64_000, "stream": stream}
        body["messages"] = [{"role": "user", "content": [said]}]
        return body | ({"tools": [{"name": TOOL, "input_schema": SCHEMA}]} if tools else {})

    def hear(self, raw: bytes, *, stream: bool) -> Heard:
        message = _put_together(events(raw)) if stream else json.loads(raw)
        blocks = message["content"]
        return Heard(
            text="".join(block["text"] for block in blocks if block["type"] == "text"),
            calls=tuple((b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"),
            stop=message["stop_reason"],
            raw=blocks,
        )

    def follow(self, body: Any, heard: Heard, *results: str) -> Any:
        answers = [
            {"type": "tool_result", "tool_use_id": call[0], "content": result}
            for call, result in zip(heard.calls, results, strict=True)
        ]
        said = [{"role": "assistant", "content": heard.raw}, {"role": "user", "content": answers}]
        return {**body, "messages": [*body["messages"], *said]}

    def count_body(self, body: Any) -> Any:
        return {name: value for name, value in body.items() if name not in {"max_tokens", "stream"}}

    def counted(self, answer: Any) -> int:
        return int(answer["input_tokens"])


class ResponsesSpeaker:
    name = "responses"
    model = "gpt-5.6-sol"  # it bills what it writes to its cache
    limit_stop = "max_output_tokens"
    count_path = "/v1/responses/input_tokens"

    def dialect(self) -> Dialect:
        return Responses()

    def path(self, *, stream: bool) -> str:
        del stream
        return "/v1/responses"

    def body(self, text: str, *, stream: bool = False, limit: int | None = 20_000, tools: bool = True) -> Any:
        body: dict[str, Any] = {"model": self.model, "input": [{"role": "user", "content": text}], "stream": stream}
        body |= {"max_output_tokens": limit} if limit else {}
        return body | ({"tools": [{"type": "function", "name": TOOL, "parameters": SCHEMA}]} if tools else {})

    def hear(self, raw: bytes, *, stream: bool) -> Heard:
        response = events(raw)[-1]["response"] if stream else json.loads(raw)
        items = response["output"]
        return Heard(
            text="".join(part["text"] for item in items if item["type"] == "message" for part in item["content"]),
            calls=tuple(
                (i["call_id"], i["name"], json.loads(i["arguments"])) for i in items if i["type"] == "function_call"
            ),
            stop=(response["incomplete_details"] or {"reason": response["status"]})["reason"],
            raw=items,
        )

    def follow(self, body: Any, heard: Heard, *results: str) -> Any:
        answers = [
            {"type": "function_call_output", "call_id": call[0], "output": result}
            for call, result in zip(heard.calls, results, strict=True)
        ]
        return {**body, "input": [*body["input"], *heard.raw, *answers]}

    def count_body(self, body: Any) -> Any:
        return {name: value for name, value in body.items() if name not in {"max_output_tokens", "stream"}}

    def counted(self, answer: Any) -> int:
        return int(answer["input_tokens"])


class ChatSpeaker:
    name = "chat"
    model = "gpt-5.5"
    limit_stop = "length"
    count_path = ""

    def dialect(self) -> Dialect:
        return Chat()

    def path(self, *, stream: bool) -> str:
        del stream
        return "/v1/chat/completions"

    def body(self, text: str, *, stream: bool = False, limit: int | None = 20_000, tools: bool = True) -> Any:
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": text}], "stream": stream}
        body |= {"stream_options": {"include_usage": True}} if stream else {}
        body |= {"max_completion_tokens": limit} if limit else {}
        defined = {"type": "function", "function": {"name": TOOL, "parameters": SCHEMA}}
        return body | ({"tools": [defined]} if tools else {})

    def hear(self, raw: bytes, *, stream: bool) -> Heard:
        message, stop = _chat_stream(raw) if stream else _chat_whole(json.loads(raw))
        calls = message.get("tool_calls", [])
        return Heard(
            text=message.get("content") or "",
            calls=tuple((c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls),
            stop=stop,
            raw=message,
        )

    def follow(self, body: Any, heard: Heard, *results: str) -> Any:
        answers = [
            {"role": "tool", "tool_call_id": call[0], "content": result}
            for call, result in zip(heard.calls, results, strict=True)
        ]
        return {**body, "messages": [*body["messages"], heard.raw, *answers]}

    def count_body(self, body: Any) -> Any:
        raise NotImplementedError

    def counted(self, answer: Any) -> int:
        raise NotImplementedError


@dataclass(frozen=True)
class GeminiSpeaker:
    name: str = "gemini"
    alt: Literal["sse", "json"] = "sse"
    model: str = "gemini-2.5-pro"
    limit_stop: str = "MAX_TOKENS"
    count_path: str = "/v1beta/models/gemini-2.5-pro:countTokens"

    def dialect(self) -> Dialect:
        return Gemini()

    def path(self, *, stream: bool) -> str:
        method = "streamGenerateContent" if stream else "generateContent"
        return f"/v1beta/models/{self.model}:{method}" + ("?alt=sse" if stream and self.alt == "sse" else "")

    def body(self, text: str, *, stream: bool = False, limit: int | None = 20_000, tools: bool = True) -> Any:
        del stream
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        body |= {"generationConfig": {"maxOutputTokens": limit}} if limit else {}
        defined = {"functionDeclarations": [{"name": TOOL, "parametersJsonSchema": SCHEMA}]}
        return body | ({"tools": [defined]} if tools else {})

    def hear(self, raw: bytes, *, stream: bool) -> Heard:
        chunks = (events(raw) if self.alt == "sse" else json.loads(raw)) if stream else [json.loads(raw)]
        candidates = [chunk["candidates"][0] for chunk in chunks]
        parts = [part for candidate in candidates for part in candidate["content"]["parts"]]
        return Heard(
            text="".join(part.get("text", "") for part in parts),
            calls=tuple(
                (call["id"], call["name"], call["args"]) for part in parts if (call := part.get("functionCall"))
            ),
            stop=candidates[-1]["finishReason"],
            raw=[part for part in parts if part.get("text") != ""],
        )

    def follow(self, body: Any, heard: Heard, *results: str) -> Any:
        answers = [
            {"functionResponse": {"id": call[0], "name": call[1], "response": {"output": result}}}
            for call, result in zip(heard.calls, results, strict=True)
        ]
        said = [{"role": "model", "parts": heard.raw}, {"role": "user", "parts": answers}]
        return {**body, "contents": [*body["contents"], *said]}

    def count_body(self, body: Any) -> Any:
        return {"generateContentRequest": {"model": f"models/{self.model}", **body}}

    def counted(self, answer: Any) -> int:
        return int(answer["totalTokens"])


SPEAKERS: tuple[Speaker, ...] = (
    AnthropicSpeaker(),
    ResponsesSpeaker(),
    ChatSpeaker(),
    GeminiSpeaker(),
    GeminiSpeaker(name="gemini-list", alt="json"),
)


def _put_together(sent: list[Any]) -> dict[str, Any]:
    """The message that a stream of Anthropic's tells."""
    message = dict(sent[0]["message"])
    blocks: list[dict[str, Any]] = []
    for event in sent:
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            if delta["type"] == "text_delta":
                blocks[-1]["text"] += delta["text"]
            elif delta["type"] == "input_json_delta":
                blocks[-1]["input"] = json.loads(delta["partial_json"])
            elif delta["type"] == "signature_delta":
                blocks[-1]["signature"] += delta["signature"]
        elif event["type"] == "message_delta":
            message |= event["delta"]
    return message | {"content": blocks}


def _chat_whole(completion: Any) -> tuple[dict[str, Any], str]:
    choice = completion["choices"][0]
    return choice["message"], choice["finish_reason"]


def _chat_stream(raw: bytes) -> tuple[dict[str, Any], str]:
    """The message that a stream of chunks tells, of its first answer."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    calls: list[dict[str, Any]] = []
    stop = ""
    for chunk in events(raw):
        for choice in (each for each in chunk["choices"] if each["index"] == 0):
            message["content"] += choice["delta"].get("content") or ""
            calls += [
                {name: value for name, value in call.items() if name != "index"}
                for call in choice["delta"].get("tool_calls", [])
            ]
            stop = choice["finish_reason"] or stop
    return message | ({"tool_calls": calls} if calls else {}), stop
