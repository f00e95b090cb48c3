"""OpenAI's Responses API as a dialect: what Codex and most newer clients speak.

A request is a list of items. Tools may stand among them too (`additional_tools`, the outcome of a tool search), and
an item without a type is a message if it has a role, and else a reference to something that is kept at the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crewcap.core.asks import Ask, Bound
from crewcap.core.pricing import Modifiers, Write
from crewcap.wire import (
    Answer,
    Malformed,
    Meter,
    Outline,
    RefusalKind,
    Tier,
    findings,
    openai_refusal,
    openai_request,
    outline,
    outline_openai,
    strict_json,
)
from crewcap.wire import openai_known as known
from crewcap.wire.openai_meter import ResponsesMeter, ResponsesStreamMeter
from crewcap.wire.openai_request import Found, PartForms, Rules
from crewcap.wire.refusals import quoted

PATH = "/v1/responses"
COUNT_PATH = "/v1/responses/input_tokens"

_BESIDE = known.NOT_IN_THE_PROMPT | {"input", "instructions", "tools"}
_PARTS = PartForms(known.RESPONSES_PARTS, known.COSTLY_RESPONSES_PARTS)


class Responses:
    """The Responses API, streamed or not."""

    name = "openai"
    ping = b": ping\n\n"
    streams_json = False

    def __init__(
        self, *, tier: Tier = "default", geo: str = "global", is_vendors: bool = True, counts: bool = False
    ) -> None:
        """`is_vendors`: the provider is OpenAI; others may not know its tiers.

        `counts`: the provider's count call is known to be free there; the vendor publishes no price for it.
        """
        self._is_vendors = is_vendors
        self._tier = tier
        self._geo = geo
        self.has_count = counts

    def ask(self, body: bytes, headers: Mapping[str, str], *, allow: frozenset[str], path: str = "") -> Ask:
        """Read the whole body; nothing that costs stands elsewhere."""
        del headers, path
        return read(body, Rules(allow=allow, tier=self._tier, geo=self._geo, counts=self.has_count))

    def rewrite(self, body: bytes, *, max_output: int | None) -> bytes:
        """Lower or add the top-level output limit, and write the tier."""
        has_tier = self._is_vendors or any(each.name == "service_tier" for each in strict_json.members(body))
        values = {"service_tier": quoted(self._tier).encode()} if has_tier else {}
        if max_output is not None:
            values["max_output_tokens"] = str(max_output).encode()
        return strict_json.splice(body, values)

    def count_body(self, body: bytes, *, path: str = "") -> bytes:
        """The fields that the count call takes, each as received."""
        del path
        return strict_json.pick(body, known.COUNT_FIELDS)

    def read_count(self, answer: bytes) -> int:
        """`input_tokens` of a count call's answer."""
        count = findings.whole(strict_json.parse(answer).value, "input_tokens")
        if count is None:
            raise Malformed("the provider's count has no input_tokens")
        return count

    def outline(self, body: bytes) -> Outline | None:
        """By tools, instructions and items."""
        return read_outline(body)

    def meter(self, *, stream: bool, write: Write = "5m", answers: int = 1) -> Meter:
        """A meter for a stream of events, or for one JSON body."""
        del answers
        dearest = Modifiers(tier=known.SERVED_AS[self._tier][0], geo=self._geo)
        return ResponsesStreamMeter(write, dearest) if stream else ResponsesMeter(write, dearest)

    def sieve(self, ask: Ask) -> None:
        """Every byte goes on: usage is a part of each answer."""
        del ask

    def refuse(self, kind: RefusalKind, message: str, *, retry_after_s: int | None = None) -> Answer:
        """An error in the shape of OpenAI's APIs."""
        return openai_refusal.refuse(kind, message, retry_after_s=retry_after_s)


def read(body: bytes, rules: Rules) -> Ask:
    """Turn a body into what it asks for; `Malformed` if it cannot be read without guessing."""
    document = strict_json.parse(body)
    fields, found = document.value, Found(allow=rules.allow)
    model = findings.text(fields, "model")
    openai_request.judge_model(model, found)
    openai_request.judge_tier(fields, rules, found)
    openai_request.judge_fields(fields, known.RESPONSES_FIELDS, known.COSTLY_RESPONSES_FIELDS, found)
    openai_request.judge_lifetimes(fields, document.objects, found)
    openai_request.read_tools(fields.get("tools"), "tools", found)
    _read_input(fields.get("instructions"), "instructions", found)
    _read_input(fields.get("input"), "input", found)
    openai_request.bound_calls(fields, found)
    _judge_reasoning(fields, found)
    openai_request.pad_schema((findings.object_or_none(fields, "text") or {}).get("format"), found)
    continues = fields.get("previous_response_id")
    return Ask(
        model=model,
        stream=findings.flag(fields, "stream"),
        max_output=findings.whole(fields, "max_output_tokens"),
        thinking_budget=0,
        bound=found.bound(len(body)),
        write=found.write,
        modifiers=openai_request.modifiers(rules),
        samplings=found.samplings,
        pieces=dict(found.pieces),
        apart=frozenset(found.apart),
        is_countable=rules.counts and found.is_countable,
        conversation=outline_openai.name_of(fields.get("input"), str(fields.get("prompt_cache_key"))),
        continues=continues if isinstance(continues, str) else "",
        refusals=tuple(dict.fromkeys(found.refusals)),
        notes=tuple(dict.fromkeys(found.notes)),
    )


def read_outline(body: bytes) -> Outline | None:
    """A request as a conversation of items; none where the provider may leave some of them out by itself."""
    fields = outline.read(body)
    if fields.get("truncation") not in (None, "disabled"):
        return None
    items = _items(fields.get("input"))

    def added(since: int) -> Bound:
        found = Found()
        openai_request.read_tools(fields.get("tools"), "tools", found)
        _read_input(items[since:], "input", found)
        openai_request.pad_schema((findings.object_or_none(fields, "text") or {}).get("format"), found)
        listed = isinstance(fields.get("input"), list)
        return found.bound(sum(outline.sizes(body, "input")[since:]) if listed else len(body))

    return Outline(
        fixed=outline.but(fields, _BESIDE),
        heads=(("tools", fields.get("tools")), ("instructions", fields.get("instructions"))),
        turns=outline_openai.turns_of(items),
        added=added,
        thoughts=lambda first: outline_openai.thoughts_of(items[:first]),
    )


def _items(said: Any) -> list[dict[str, Any]]:
    """An input that is one text is one message."""
    if isinstance(said, str):
        return [{"type": "message", "role": "user", "content": said}]
    return findings.objects(said or [], "input")


def _judge_reasoning(fields: Mapping[str, Any], found: Found) -> None:
    mode = (findings.object_or_none(fields, "reasoning") or {}).get("mode")
    if mode not in (None, "standard"):
        found.never(f"the reasoning mode {quoted(str(mode))}", "has no known price")


def _read_input(items: Any, where: str, found: Found) -> None:
    """A text, or a list of items."""
    if items is None or isinstance(items, str):
        return
    for item in findings.objects(items, where):
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference"
        if not isinstance(kind, str):
            raise Malformed(f"the type of an item of {where} is not a string")
        _read_item(item, kind, found)


def _read_item(item: dict[str, Any], kind: str, found: Found) -> None:
    match known.ITEMS.get(kind):
        case "text":
            pass
        case "message":
            openai_request.read_parts(item.get("content"), f"a {kind}", _PARTS, found)
        case "output":
            openai_request.read_parts(item.get("output"), f"a {kind}", _PARTS, found)
        case "screenshot":
            output = findings.object_or_none(item, "output")
            openai_request.read_parts([output] if output else None, f"a {kind}", _PARTS, found)
        case "tools":
            openai_request.read_tools(item.get("tools"), f"the tools of a {kind}", found)
        case "settings":
            openai_request.pad_schema((findings.object_or_none(item, "text") or {}).get("format"), found)
        case "window":
            found.whole_window = True
        case None:
            if kind in known.COSTLY_ITEMS:
                openai_request.judge_costly("item", kind, known.COSTLY_ITEMS[kind], found)
            else:
                found.unknown("item", kind)
