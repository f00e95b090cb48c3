"""The Gemini API: what its contents say, and its answers as chunks or as one answer.

The model stands in the path, and so does whether the answer streams. A stream is one of events where `alt=sse` asks
for them, and else one JSON list. Every chunk tells the usage so far: the prompt with what came from the cache inside,
what was thought beside what was said; a figure that is zero is left out.

Fields are read in both of their spellings, `maxOutputTokens` and `max_output_tokens`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from crewcap.core.pricing import RateCard, Usage
from crewcap.simulator.answers import Answer, Piece, longest_text
from crewcap.simulator.conversation import Asked, BadRequest, Role, Said, call_of, fields_of, gathered, parsed
from crewcap.simulator.family import Part, Refused, compact, shares, sse
from crewcap.simulator.openai import translated
from crewcap.simulator.script import Step
from crewcap.simulator.tokens import IMAGE_TOKENS, REMOTE_DOCUMENT_TOKENS
from crewcap.simulator.troubles import Trouble

MOST_OUTPUT = 65_536  # where the price book does not know the model's own
MOST_ANSWERS = 8
_PATH = re.compile(r"/v1(?:beta)?/models/(?P<model>[^:/]+):(?P<method>[A-Za-z]+)\Z")
_THINKS_NOT = re.compile(r"gemini-(?:1\.|2\.0)")
_FINISH = {"max_tokens": "MAX_TOKENS", "model_context_window_exceeded": "MAX_TOKENS", "refusal": "SAFETY"}
_SNAKE = re.compile(r"(?<!^)([A-Z])")
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_WORDS: Mapping[str, Trouble] = {
    "usage_limit": Trouble(status=429, kind="RESOURCE_EXHAUSTED", code="QUOTA_EXHAUSTED", message=_QUOTA),
    "credit_balance": Trouble(status=429, kind="RESOURCE_EXHAUSTED", code="QUOTA_EXHAUSTED", message=_QUOTA),
    "spend_limit": Trouble(status=429, kind="RESOURCE_EXHAUSTED", code="QUOTA_EXHAUSTED", message=_QUOTA),
    "billing": Trouble(
        status=403,
        kind="PERMISSION_DENIED",
        code="BILLING_DISABLED",
        message="This API method requires billing to be enabled.",
    ),
    "bad_request": Trouble(status=400, kind="INVALID_ARGUMENT", message="Request contains an invalid argument."),
    "authentication": Trouble(
        status=400,
        kind="INVALID_ARGUMENT",
        code="API_KEY_INVALID",
        message="API key not valid. Please pass a valid API key.",
    ),
    "permission": Trouble(
        status=403, kind="PERMISSION_DENIED", message="The caller does not have permission to use this model."
    ),
    "not_found": Trouble(status=404, kind="NOT_FOUND", message="This model is not found for this API version."),
    "too_large": Trouble(status=400, kind="INVALID_ARGUMENT", message="Request payload size exceeds the limit."),
    "rate_limit": Trouble(
        status=429,
        kind="RESOURCE_EXHAUSTED",
        code="RATE_LIMIT_EXCEEDED",
        message="Resource has been exhausted (e.g. check quota). Please retry in 2s.",
        headers={"retry-after": "2"},
    ),
    "flex_unavailable": Trouble(status=503, kind="UNAVAILABLE", message="There is no capacity at the moment."),
    "api_error": Trouble(status=500, kind="INTERNAL", message="An internal error has occurred."),
    "unavailable": Trouble(status=503, kind="UNAVAILABLE", message="The service is currently unavailable."),
    "overloaded": Trouble(status=503, kind="UNAVAILABLE", message="The model is overloaded. Please try again later."),
}


class Gemini:
    """generateContent, streamGenerateContent and countTokens."""

    provider = "google"
    tells = frozenset({"tier"})
    keeps_unasked = True

    def read(
        self, body: bytes, headers: Mapping[str, str], *, path: str = "", counting: bool = False, bytes_per_token: int
    ) -> Asked:
        """Read a path and its body; a count call may hold the request as one member."""
        del headers
        model, method, as_events = _target(path)
        data = parsed(body)
        if counting:
            data = _object(data, "generateContentRequest") or data
        config = _object(data, "generationConfig")
        thinking = _object(config, "thinkingConfig")
        budget = _whole(thinking, "thinkingBudget")
        tools = list(_tools(data))
        declared = [each for tool in tools for each in _listed(_get(tool, "functionDeclarations"))]
        talk = gathered(list(_parts(data, config)), ((each, False) for each in tools), bytes_per_token=bytes_per_token)
        return Asked(
            **fields_of(talk),
            model=model,
            max_tokens=_limit(config),
            stream=method == "streamGenerateContent",
            thinks=budget != 0 and not _THINKS_NOT.match(model),
            tier={"flex": "flex", "priority": "priority"}.get(str(_get(data, "serviceTier")).lower(), "standard"),
            tools=frozenset(str(each.get("name", "")) for each in declared if isinstance(each, dict)),
            answers=_answers(config),
            most_thoughts=budget if budget is not None and budget > 0 else None,
            as_events=as_events,
        )

    def limit(self, asked: Asked, card: RateCard) -> int:
        """The limit that was said, or else the model's own."""
        most = card.max_output or MOST_OUTPUT
        if asked.max_tokens > most:
            raise BadRequest(f"Unable to submit request because it has a maxOutputTokens value of {asked.max_tokens}")
        return asked.max_tokens or most

    def remember(self, answer: Answer, asked: Asked) -> None:
        """Nothing is kept: every request says all of its conversation."""

    def whole(self, answer: Answer, asked: Asked) -> dict[str, Any]:
        """The answer of a request that does not stream."""
        parts = [part for piece in answer.pieces for part in _whole_parts(piece)]
        candidates = [_candidate(parts, index, _finish(answer)) for index in range(asked.answers)]
        return _chunk(answer, candidates, answer.end)

    def parts(self, answer: Answer, step: Step, asked: Asked) -> Iterator[Part]:
        """The answer in chunks, as events or as the elements of a list."""
        is_first = True
        for candidate, generated, is_last in _candidates(answer, step, asked):
            usage = answer.end if is_last else _so_far(answer, generated)
            chunk = _chunk(answer, [candidate], usage)
            data = sse(chunk) if asked.as_events else _element(chunk, is_first=is_first, is_last=is_last)
            yield Part(data=data, generated=generated, is_paced="finishReason" not in candidate)
            is_first = False

    def stream_type(self, asked: Asked) -> str:
        """Events or a list."""
        return "text/event-stream" if asked.as_events else "application/json; charset=UTF-8"

    def counted(self, tokens: int) -> dict[str, Any]:
        """The count call's answer."""
        return {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}

    def listed(self, names: list[str]) -> dict[str, Any]:
        """The models."""
        ways = ["generateContent", "countTokens"]
        return {"models": [{"name": f"models/{name}", "supportedGenerationMethods": ways} for name in names]}

    def naming(self, request_id: str) -> dict[str, str]:
        """Google names no request in a header."""
        del request_id
        return {}

    def refusal(self, trouble: Trouble, request_id: str) -> Refused:
        """An error answer."""
        del request_id
        own = translated(trouble, _WORDS)
        headers = {"content-type": "application/json; charset=UTF-8", **own.headers}
        return Refused(status=own.status, headers=headers, body=json.dumps(_error(own)).encode())

    def broken(self, trouble: Trouble, request_id: str, asked: Asked) -> bytes:
        """An error in the middle of a stream."""
        del request_id
        error = _error(translated(trouble, _WORDS))
        return sse(error) if asked.as_events else f",\r\n{compact(error)}]".encode()


def usage_json(usage: Usage, tier: str) -> dict[str, Any]:
    """Usage in Google's words."""
    figures = {
        "promptTokenCount": usage.prompt,
        "cachedContentTokenCount": usage.cache_read,
        "candidatesTokenCount": usage.output - usage.thinking,
        "thoughtsTokenCount": usage.thinking,
        "totalTokenCount": usage.prompt + usage.output,
    }
    told = {name: count for name, count in figures.items() if count}
    details = [{"modality": "TEXT", "tokenCount": usage.prompt}]
    return {**told, "promptTokensDetails": details, "serviceTier": tier}


def _target(path: str) -> tuple[str, str, bool]:
    """Model, method, and whether events are asked for."""
    parts = urlsplit(path)
    found = _PATH.search(unquote(parts.path))
    if found is None:
        raise BadRequest("The path is not /v1beta/models/{model}:{method}")
    return found["model"], found["method"], parse_qs(parts.query).get("alt") == ["sse"]


def _get(value: Any, name: str) -> Any:
    """A member by either spelling of its name."""
    if not isinstance(value, Mapping):
        return None
    return value.get(name, value.get(_SNAKE.sub(r"_\1", name).lower()))


def _object(value: Any, name: str) -> dict[str, Any]:
    found = _get(value, name)
    return found if isinstance(found, dict) else {}


def _listed(value: Any) -> list[Any]:
    """A list; where the API takes a list, it takes one object that stands alone as well."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _whole(data: Mapping[str, Any], name: str) -> int | None:
    value = _get(data, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"Invalid value at '{name}' (TYPE_INT32), {value!r}")
    return value


def _limit(config: Mapping[str, Any]) -> int:
    value = _whole(config, "maxOutputTokens") or 0
    if value < 0:
        raise BadRequest("max_output_tokens must be positive.")
    return value


def _answers(config: Mapping[str, Any]) -> int:
    number = _whole(config, "candidateCount") or 1
    if not 1 <= number <= MOST_ANSWERS:
        raise BadRequest(f"The candidateCount must be from 1 to {MOST_ANSWERS}.")
    return number


def _tools(data: Mapping[str, Any]) -> Iterator[Any]:
    yield from (tool for tool in _listed(_get(data, "tools")) if isinstance(tool, dict))


def _parts(data: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Said]:
    """Everything that is billed beside the tools, in order."""
    for part in _listed(_get(_object(data, "systemInstruction"), "parts")):
        yield _part(part, "system", 0)
    for name in ("responseSchema", "responseJsonSchema"):
        if _get(config, name) is not None:
            yield Said(role="system", turn=0, billed=_get(config, name))
    contents = _listed(_get(data, "contents"))
    if not contents:
        raise BadRequest("GenerateContentRequest.contents: contents is not specified")
    called: list[str] = []
    for turn, content in enumerate(contents, 1):
        role: Role = "assistant" if _get(content, "role") == "model" else "user"
        parts = _listed(_get(content, "parts"))
        answered = iter(called)
        for part in parts:
            yield _part(part, role, turn, answered)
        called = [str(_get(call, "id") or "") for part in parts if (call := _object(part, "functionCall"))]


def _part(part: Any, role: Role, turn: int, called: Iterator[str] | None = None) -> Said:
    """One part; an answer without an id answers the calls before it in their order."""
    if isinstance(text := _get(part, "text"), str):
        return Said(role=role, turn=turn, billed={"text": text}, text=text)
    if call := _object(part, "functionCall"):
        billed = {"type": "tool_use", "id": call.get("id", ""), "name": call.get("name"), "input": call.get("args")}
        return Said(role=role, turn=turn, billed=billed)
    if result := _object(part, "functionResponse"):
        named, before = str(result.get("id", "")), next(called or iter(()), "")
        answers = named if call_of(named) else before
        return Said(role="tool", turn=turn, billed=result, text=_told(result.get("response")), answers=answers)
    if blob := _object(part, "inlineData"):
        is_image = str(_get(blob, "mimeType")).startswith("image/")
        return Said(role=role, turn=turn, billed=blob, tokens=IMAGE_TOKENS if is_image else REMOTE_DOCUMENT_TOKENS)
    tokens = REMOTE_DOCUMENT_TOKENS if _object(part, "fileData") else None
    return Said(role=role, turn=turn, billed=part, tokens=tokens)


def _told(response: Any) -> str:
    """The text of a result: the member that agents put it into, or all of it."""
    if isinstance(response, dict):
        for name in ("output", "result", "error"):
            if isinstance(response.get(name), str):
                return str(response[name])
    return compact(response)


def _finish(answer: Answer) -> str:
    return _FINISH.get(answer.stop_reason, "STOP")


def _whole_parts(piece: Piece) -> list[dict[str, Any]]:
    """A piece as parts; what was thought stays hidden."""
    match piece.kind:
        case "text":
            return [{"text": piece.text}]
        case "tool_use":
            call = {
                "id": f"call_{piece.id.removeprefix('toolu_')}",
                "name": piece.name,
                "args": dict(piece.input or {}),
            }
            return [{"functionCall": call, "thoughtSignature": base64.b64encode(piece.id.encode()).decode()}]
        case "thinking":
            return []


def _candidate(parts: list[dict[str, Any]], index: int, finish: str = "") -> dict[str, Any]:
    content = {"parts": parts or [{"text": ""}], "role": "model"}
    return {"content": content, **({"finishReason": finish} if finish else {}), "index": index}


def _candidates(answer: Answer, step: Step, asked: Asked) -> Iterator[tuple[dict[str, Any], int, bool]]:
    """Each chunk's candidate, the output tokens until then, and whether it is the last one."""
    each = answer.usage.output // asked.answers
    longest = longest_text(answer)
    for index in range(asked.answers):
        done = index * each
        for piece in answer.pieces:
            count = step.events if piece is longest else 1
            texts = shares(piece.text, count) if piece.kind == "text" else ()
            for part, text in enumerate(texts, 1):
                yield _candidate([{"text": text}], index), done + piece.tokens * part // count, False
            done += piece.tokens
            if piece.kind == "tool_use":
                yield _candidate(_whole_parts(piece), index), done, False
        yield _candidate([], index, _finish(answer)), (index + 1) * each, index == asked.answers - 1


def _so_far(answer: Answer, generated: int) -> Usage | None:
    """What a chunk tells in the middle of a stream: thoughts come first."""
    if answer.start is None:
        return None
    thought = min(answer.usage.thinking, generated)
    return replace(answer.start, output=generated, thinking=thought)


def _chunk(answer: Answer, candidates: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
    told = {} if usage is None else {"usageMetadata": usage_json(usage, answer.modifiers.tier)}
    named = {"modelVersion": answer.model, "responseId": answer.id.replace("msg_", "resp_", 1)}
    return {"candidates": candidates, **told, **named}


def _element(chunk: Mapping[str, Any], *, is_first: bool, is_last: bool) -> bytes:
    """A chunk as an element of a list."""
    return f"{'[' if is_first else f',{chr(13)}{chr(10)}'}{compact(chunk)}{']' if is_last else ''}".encode()


def _error(trouble: Trouble) -> dict[str, Any]:
    details: list[dict[str, Any]] = []
    if trouble.code:
        info = "type.googleapis.com/google.rpc.ErrorInfo"
        details.append({"@type": info, "reason": trouble.code, "domain": "googleapis.com"})
    if wait_s := trouble.headers.get("retry-after"):
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait_s}s"})
    status = _STATUS.get(trouble.status, "UNKNOWN")
    said = {"code": trouble.status, "message": trouble.message, "status": status}
    return {"error": said | ({"details": details} if details else {})}
