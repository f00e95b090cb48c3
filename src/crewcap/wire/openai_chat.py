"""OpenAI's Chat Completions API as a dialect: what opencode, Qwen Code, aider and most compatible providers speak.

A stream tells its usage only where it is asked to, so the gateway always asks (`stream_options.include_usage`); the
chunk that the client did not ask for is withheld from it by the sieve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crewcap.core.asks import Ask
from crewcap.core.pricing import Modifiers, Write
from crewcap.wire import (
    Answer,
    Malformed,
    Meter,
    Outline,
    RefusalKind,
    Sieve,
    Tier,
    findings,
    openai_refusal,
    openai_request,
    outline_openai,
    strict_json,
)
from crewcap.wire import openai_known as known
from crewcap.wire.openai_meter import ChatMeter, ChatStreamMeter
from crewcap.wire.openai_request import Found, PartForms, Rules
from crewcap.wire.openai_sieve import UsageSieve
from crewcap.wire.refusals import quoted

PATH = "/v1/chat/completions"
MOST_ANSWERS = 128

_PARTS = PartForms(known.CHAT_PARTS, known.COSTLY_CHAT_PARTS)
_LIMITS = ("max_completion_tokens", "max_tokens")  # the second is the older name, and not known to newer models
_STEERING = frozenset({"service_tier", "stream", "stream_options", *_LIMITS})


class Chat:
    """Chat Completions, streamed or not."""

    name = "openai"
    ping = b": ping\n\n"
    streams_json = False
    has_count = False

    def __init__(self, *, tier: Tier = "default", geo: str = "global", is_vendors: bool = True) -> None:
        """`is_vendors`: the provider is OpenAI; others may know neither its tiers nor the newer name of the limit."""
        self._is_vendors = is_vendors
        self._tier = tier
        self._geo = geo

    def ask(self, body: bytes, headers: Mapping[str, str], *, allow: frozenset[str], path: str = "") -> Ask:
        """Read the whole body; nothing that costs stands elsewhere."""
        del headers, path
        return read(body, Rules(allow=allow, tier=self._tier, geo=self._geo))

    def rewrite(self, body: bytes, *, max_output: int | None) -> bytes:
        """Lower or add the output limit, write the tier, and have a stream tell its usage."""
        said = (member for member in strict_json.members(body) if member.name in _STEERING)
        raw = {member.name: body[member.start : member.end] for member in said}
        values = {"service_tier": quoted(self._tier).encode()} if self._is_vendors or "service_tier" in raw else {}
        if max_output is not None:
            values[self._limit_name(raw)] = str(max_output).encode()
        if raw.get("stream") == b"true":
            values["stream_options"] = _asking_for_usage(raw.get("stream_options"))
        return strict_json.splice(body, values)

    def _limit_name(self, raw: Mapping[str, bytes]) -> str:
        """The name under which the client gave its limit, else the one that the provider knows."""
        unsaid = _LIMITS[0] if self._is_vendors else _LIMITS[1]
        return next((name for name in _LIMITS if raw.get(name, b"null") != b"null"), unsaid)

    def count_body(self, body: bytes, *, path: str = "") -> bytes:
        """There is no count call for this API."""
        del body, path
        raise Malformed("Chat Completions has no count call")

    def read_count(self, answer: bytes) -> int:
        """There is no count call for this API."""
        del answer
        raise Malformed("Chat Completions has no count call")

    def outline(self, body: bytes) -> Outline:
        """By tools and messages."""
        return outline_openai.read_chat(body)

    def meter(self, *, stream: bool, write: Write = "5m", answers: int = 1) -> Meter:
        """A meter for a stream of chunks, or for one JSON body; either is one bill for all answers."""
        del answers
        dearest = Modifiers(tier=known.SERVED_AS[self._tier][0], geo=self._geo)
        return ChatStreamMeter(write, dearest) if stream else ChatMeter(write, dearest)

    def sieve(self, ask: Ask) -> Sieve | None:
        """Holds back the usage chunk that only the gateway asked for."""
        return UsageSieve() if ask.hides_usage else None

    def refuse(self, kind: RefusalKind, message: str, *, retry_after_s: int | None = None) -> Answer:
        """An error in the shape of OpenAI's APIs."""
        return openai_refusal.refuse(kind, message, retry_after_s=retry_after_s)


def read(body: bytes, rules: Rules) -> Ask:
    """Turn a body into what it asks for; `Malformed` if it cannot be read without guessing."""
    document = strict_json.parse(body)
    fields, found = document.value, Found(allow=rules.allow)
    model, stream = findings.text(fields, "model"), findings.flag(fields, "stream")
    options = findings.object_or_none(fields, "stream_options") or {}
    openai_request.judge_model(model, found)
    openai_request.judge_tier(fields, rules, found)
    openai_request.judge_fields(fields, known.CHAT_FIELDS, known.COSTLY_CHAT_FIELDS, found)
    openai_request.judge_lifetimes(fields, document.objects, found)
    openai_request.read_tools(fields.get("tools"), "tools", found)
    found.has_tools |= fields.get("functions") is not None
    openai_request.bound_calls(fields, found)
    _read_messages(fields, found)
    _judge_modalities(fields.get("modalities"), found)
    openai_request.pad_schema(fields.get("response_format"), found)
    return Ask(
        model=model,
        stream=stream,
        max_output=_max_output(fields),
        thinking_budget=0,
        bound=found.bound(len(body)),
        write=found.write,
        modifiers=openai_request.modifiers(rules),
        samplings=found.samplings,
        pieces=dict(found.pieces),
        apart=frozenset(found.apart),
        is_countable=False,
        answers=findings.whole(fields, "n", least=1, most=MOST_ANSWERS) or 1,
        beside_output=_beside_output(fields),
        conversation=outline_openai.name_of(fields["messages"], str(fields.get("prompt_cache_key"))),
        hides_usage=stream and not findings.flag(options, "include_usage"),
        refusals=tuple(dict.fromkeys(found.refusals)),
        notes=tuple(dict.fromkeys(found.notes)),
    )


def _max_output(fields: Mapping[str, Any]) -> int | None:
    """The output limit under whichever name; under both, readers differ on which one counts."""
    limits = [limit for name in _LIMITS if (limit := findings.whole(fields, name)) is not None]
    if len(limits) > 1:
        raise Malformed("max_completion_tokens and max_tokens are both given; send one")
    return limits[0] if limits else None


def _asking_for_usage(options: bytes | None) -> bytes:
    """The stream's options as received, but for the one that has it tell its usage."""
    if options is None or options == b"null":
        return b'{"include_usage":true}'
    return strict_json.splice(options, {"include_usage": b"true"})


def _beside_output(fields: Mapping[str, Any]) -> int:
    """Tokens of a predicted output that did not come true are billed as output all the same."""
    prediction = findings.object_or_none(fields, "prediction")
    return findings.size(prediction) if prediction else 0


def _read_messages(fields: Mapping[str, Any], found: Found) -> None:
    if "messages" not in fields:
        raise Malformed("messages is missing")
    for message in findings.objects(fields["messages"], "messages"):
        if not isinstance(message.get("role"), str):
            raise Malformed("a message has no role")
        if message.get("audio") is not None:
            openai_request.judge_costly("content part", "input_audio", known.COSTLY_CHAT_PARTS["input_audio"], found)
        openai_request.read_parts(message.get("content"), "the content of a message", _PARTS, found)


def _judge_modalities(modalities: Any, found: Found) -> None:
    """Every kind of output but text has a price of its own."""
    if modalities is None:
        return
    if not isinstance(modalities, list) or not all(isinstance(each, str) for each in modalities):
        raise Malformed("modalities is not a list of names")
    for other in [each for each in modalities if each != "text"]:
        found.never(f"the modality {quoted(other)}", "has a price of its own")
        found.pieces[f"output_{other[:20]}_token"] += 1
