"""What a request to the Messages API may cost: its body read whole, every member judged by the known lists.

    text      every byte of the body but the images' own; a token is at least one byte, and the JSON around a
              block pays for the marks that the provider puts there instead
    images    counted; each is the model's maximum
    window    what the body does not hold (PDFs, addresses, file ids, blocks that stand for text at the provider)
              can be anything up to the context window
    pad       what the provider adds by itself: tools, vendor tools, schemas and definitions that are shown again

What is refused is refused by name, in a sentence that ends in the settings line which lets it pass. Whether a
refusal counts is the caller's to say: keys without a cap may use what they like.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from crewcap.core.asks import Ask, Bound
from crewcap.core.pricing import Modifiers, Write
from crewcap.wire import Malformed, outline, strict_json
from crewcap.wire import anthropic_known as known
from crewcap.wire.refusals import has_no_hold, may_be_allowed, quoted, unknown

MOST_TOKENS = 10_000_000  # more than any model has; larger numbers are typing errors or mischief
MOST_USES = 1_000
PAD = 256
PAD_TOOLS = 1_024
PAD_CLIENT_TOOL = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the settings say about requests."""

    allow: frozenset[str] = frozenset()
    reserve_geo: str = "us"  # the region to hold at where the body names none that binds
    strict_betas: bool = False


def read(body: bytes, betas: Iterable[str], rules: Rules) -> Ask:
    """Turn a body into what it asks for; `Malformed` if it cannot be read without guessing."""
    document = strict_json.parse(body)
    fields, found = document.value, _Found(rules)
    betas = tuple(betas)
    model = _text(fields, "model")
    max_output = _tokens(fields, "max_tokens")
    stream = _flag(fields, "stream")
    if model.lower().endswith(known.LONG_CONTEXT_NAME):
        found.window_at_least = known.LONG_CONTEXT_TOKENS
    _judge_fields(fields, found)
    _judge_betas(betas, found)
    _read_tools(fields, found)
    _read_messages(fields, found)
    _read_edits(fields.get("context_management"), found)
    _pad_schemas(fields, found)
    return Ask(
        model=model,
        stream=stream,
        max_output=max_output,
        thinking_budget=_thinking_budget(fields.get("thinking")),
        bound=found.bound(len(body)),
        write=_write(document.objects, found),
        modifiers=_modifiers(fields, found),
        samplings=found.samplings,
        pieces=dict(found.pieces),
        other_models=tuple(dict.fromkeys(found.other_models)),
        geo_is_assumed=fields.get("inference_geo") != "us",
        is_countable=found.is_countable,
        inner_output=found.inner_output,
        conversation=outline.name_of(_first_texts(fields), *sorted(betas)),
        refusals=tuple(dict.fromkeys(found.refusals)),
        notes=tuple(dict.fromkeys(found.notes)),
    )


def bound_of_messages(fields: dict[str, Any], messages: Iterable[dict[str, Any]], size_bytes: int) -> Bound:
    """What some of a body's messages can be billed as, with all that the provider adds to the whole of it."""
    found = _Found(Rules())
    _read_tools(fields, found)
    for message in messages:
        _read_blocks(message.get("content"), "the content of a message", found)
    _pad_schemas(fields, found)
    return found.bound(size_bytes)


def size_of(value: Any) -> int:
    """Bytes of a part of the body, written as widely as JSON writes it."""
    return len(json.dumps(value))


@dataclass(slots=True)
class _Found:
    """What the reading of one body has found so far."""

    rules: Rules
    images: int = 0
    image_bytes: int = 0
    pad: int = PAD
    whole_window: bool = False
    window_at_least: int = 0
    is_countable: bool = True
    uses: int = 0  # of server tools, each of which samples the model once more
    times: int = 1  # how often all that may happen (fallbacks, compaction)
    inner_output: int = 0
    fast: bool = False
    pieces: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)  # how often a tool's definition is shown again
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    marks: list[Any] = field(default_factory=list)  # cache marks under another name
    other_models: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def samplings(self) -> int:
        return (1 + self.uses) * self.times

    def bound(self, size_bytes: int) -> Bound:
        return Bound(
            text_bytes=size_bytes - self.image_bytes,
            pad=self.pad + sum(self._shown_again(name, times) for name, times in self.shown.items()),
            images=self.images,
            whole_window=self.whole_window,
            window_at_least=self.window_at_least,
        )

    def _shown_again(self, name: str, times: int) -> int:
        """Bytes of a definition that blocks show once more; the first showing of a deferred tool is padded already."""
        tool = self.tools.get(name)
        if tool is None:
            return times * max((size_of(tool) for tool in self.tools.values()), default=0)
        return (times - 1 if tool.get("defer_loading") else times) * size_of(tool)

    def allows(self, *names: str) -> bool:
        return not self.rules.allow.isdisjoint(names)

    def refuse(self, what: str, why: str, name: str) -> None:
        self.refusals.append(may_be_allowed(what, why, name))

    def never(self, what: str, why: str) -> None:
        self.refusals.append(has_no_hold(what, why))

    def unknown(self, kind: str, name: str) -> None:
        """Something of a known kind whose name is on no list: refused, or taken for all that fits the window."""
        self.whole_window = True
        if not self.allows(name):
            self.refusals.append(unknown(kind, name))


def _judge_fields(fields: dict[str, Any], found: _Found) -> None:
    _judge_mark(fields, found)
    for name, value in fields.items():
        costly = known.COSTLY_FIELDS.get(name)
        if costly is not None:
            if value not in (None, []):
                _judge_costly(name, value, costly, found)
        elif name not in known.FIELDS:
            found.unknown("field", name)
        if value is not None and name not in known.COUNT_FIELDS | known.NOT_IN_THE_PROMPT:
            found.is_countable = False
    tier = fields.get("service_tier")
    if tier not in (None, "standard_only"):
        found.notes.append("service_tier was replaced by standard_only")


def _judge_costly(name: str, value: Any, costly: known.Costly, found: _Found) -> None:
    what = f"the field {quoted(name)}"
    if costly.if_allowed == "unbounded":
        found.never(what, f"{costly.why} without a limit")
    elif not found.allows(name):
        found.refuse(what, costly.why, name)
    match costly.if_allowed:
        case "twice":
            found.times *= 2
        case "window":
            found.whole_window = True
        case "fallbacks":
            _read_fallbacks(value, found)
        case "unbounded" | "nothing":
            pass


def _read_fallbacks(value: Any, found: _Found) -> None:
    if not isinstance(value, list):
        found.never('the field "fallbacks"', "leaves it to the provider which models run")
        return
    for entry in _dicts(value, "fallbacks"):
        found.other_models.append(_text(entry, "model"))
        found.fast |= entry.get("speed") == "fast"
        if entry.get("max_tokens") is not None:
            found.inner_output = max(found.inner_output, _tokens(entry, "max_tokens"))
    found.times *= 1 + len(value)


def _judge_betas(betas: Iterable[str], found: _Found) -> None:
    for beta in betas:
        if beta.startswith(known.LONG_CONTEXT):
            found.window_at_least = known.LONG_CONTEXT_TOKENS
        why = next((why for start, why in known.COSTLY_BETAS.items() if beta.startswith(start)), None)
        if why is not None and not found.allows(beta):
            found.refuse(f"the beta {quoted(beta)}", why, beta)
        elif beta not in known.BETAS and found.rules.strict_betas and not found.allows(beta):
            found.refuse(f"the beta {quoted(beta)}", "is not known to crewcap (strict_betas is on)", beta)
        elif beta not in known.BETAS:
            found.notes.append(f"the beta {quoted(beta)} is not on crewcap's list")


def _read_tools(fields: dict[str, Any], found: _Found) -> None:
    if fields.get("tools") is None:
        return
    found.pad += PAD_TOOLS
    for tool in _dicts(fields["tools"], "tools"):
        _read_tool(tool, found)


def _read_tool(tool: dict[str, Any], found: _Found) -> None:
    _judge_mark(tool, found)
    if isinstance(tool.get("name"), str):
        found.tools[tool["name"]] = tool
    if tool.get("defer_loading"):
        found.pad += size_of(tool)
    kind = tool.get("type")
    if kind is None or kind == "custom":
        return
    if not isinstance(kind, str):
        raise Malformed("the type of a tool is not a string")
    server = known.SERVER_TOOL.match(kind)
    if kind in known.CLIENT_TOOLS:
        found.pad += PAD_CLIENT_TOOL
    elif kind == "mcp_toolset":
        found.never(f"the tool type {quoted(kind)}", known.COSTLY_FIELDS["mcp_servers"].why + " without a limit")
    elif server is not None:
        _read_server_tool(tool, kind, server["family"], found)
    else:
        found.unknown("tool type", kind)


def _read_server_tool(tool: dict[str, Any], kind: str, family: str, found: _Found) -> None:
    what = f"the tool type {quoted(kind)}"
    if not found.allows(kind, family):
        found.refuse(what, "lets the provider run the model more than once in one request", family)
    uses = tool.get("max_uses")
    if family not in known.PRICED_SERVER_TOOLS:
        found.never(what, "runs the model as often as it likes: it has no max_uses")
    elif not _is_whole(uses, MOST_USES):
        found.never(what, f"has no max_uses (a whole number up to {MOST_USES:,})")
    else:
        found.uses += uses
        fee = known.PRICED_SERVER_TOOLS[family]
        if fee is not None:
            found.pieces[fee] += uses
    if family == "advisor":
        _read_advisor(tool, found)


def _read_advisor(tool: dict[str, Any], found: _Found) -> None:
    found.other_models.append(_text(tool, "model"))
    if tool.get("caching") is not None:
        found.marks.append(tool["caching"])
    if _is_whole(tool.get("max_tokens"), MOST_TOKENS):
        found.inner_output = max(found.inner_output, tool["max_tokens"])
    else:
        found.never("the advisor tool", "has no max_tokens of its own")


def _read_messages(fields: dict[str, Any], found: _Found) -> None:
    _read_blocks(fields.get("system"), "system", found)
    if "messages" not in fields:
        raise Malformed("messages is missing")
    for message in _dicts(fields["messages"], "messages"):
        if not isinstance(message.get("role"), str):
            raise Malformed("a message has no role")
        _read_blocks(message.get("content"), "the content of a message", found)


def _first_texts(fields: dict[str, Any]) -> Iterable[str]:
    """How the conversation begins. Betas may change what a prompt is billed as, so other betas make another one."""
    messages = fields["messages"]
    return outline.texts_of(messages[0].get("content")) if messages else ()


def _read_blocks(content: Any, where: str, found: _Found) -> None:
    if content is None or isinstance(content, str):
        return
    for block in _dicts(content, where):
        kind = block.get("type")
        if not isinstance(kind, str):
            raise Malformed(f"a block in {where} has no type")
        _judge_mark(block, found)
        _read_block(block, kind, found)


def _read_block(block: dict[str, Any], kind: str, found: _Found) -> None:
    match known.BLOCKS.get(kind):
        case "text":
            pass
        case "image":
            _read_source(block.get("source"), kind, found)
        case "document":
            _read_document(block, kind, found)
        case "result":
            _read_blocks(block.get("content"), "a tool_result", found)
        case "reference":
            found.shown[str(block.get("tool_name"))] += 1
        case "addition":
            _read_addition(block.get("tool"), found)
        case "window":
            found.whole_window = True
            _read_blocks(block.get("tool_changes"), f"a {kind}", found)
        case None:
            found.unknown("content block", kind)


def _read_document(block: dict[str, Any], kind: str, found: _Found) -> None:
    """Citations cut a text into pieces and number each, so its bytes no longer bound it."""
    citations = block.get("citations")
    if citations is not None and not (isinstance(citations, dict) and citations.get("enabled") in (None, False)):
        found.whole_window = True
    if kind == "search_result":
        _read_blocks(block.get("content"), "a search_result", found)
    else:
        _read_source(block.get("source"), kind, found)


def _read_source(source: Any, kind: str, found: _Found) -> None:
    if not isinstance(source, dict) or not isinstance(source.get("type"), str):
        raise Malformed(f"a block of type {kind} has no source")
    form = source["type"]
    if form not in known.SOURCES:
        found.unknown("source type", form)
    elif form == "content":
        _read_blocks(source.get("content"), f"the source of a {kind}", found)
    elif form == "base64" and kind == "image":
        found.images += 1
        found.image_bytes += len(source["data"]) if isinstance(source.get("data"), str) else 0
    elif form != "text":
        found.whole_window = True


def _read_addition(tool: Any, found: _Found) -> None:
    """A tool that is offered from here on: one of `tools`, or one that the block brings along."""
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise Malformed("a tool_addition has no tool")
    if tool["type"] == "tool_reference":
        found.shown[str(tool.get("name"))] += 1
    elif tool["type"] == "tool_definition" and isinstance(tool.get("definition"), dict):
        found.pad += PAD_TOOLS
        _read_tool(tool["definition"], found)
    else:
        found.unknown("tool_addition", tool["type"])


def _read_edits(management: Any, found: _Found) -> None:
    if management is None:
        return
    if not isinstance(management, dict):
        raise Malformed("context_management is not an object")
    for edit in _dicts(management.get("edits") or [], "context_management.edits"):
        kind = edit.get("type")
        if not isinstance(kind, str):
            raise Malformed("an edit in context_management has no type")
        if known.COMPACTION.match(kind):
            found.times *= 2
            if not found.allows(kind, "compaction"):
                found.refuse(f"the edit {quoted(kind)}", known.COSTLY_FIELDS["compaction"].why, "compaction")
        elif kind not in known.EDITS:
            found.unknown("edit", kind)


def _pad_schemas(fields: dict[str, Any], found: _Found) -> None:
    config = fields.get("output_config")
    formats = (fields.get("output_format"), config.get("format") if isinstance(config, dict) else None)
    found.pad += sum(size_of(schema) for schema in formats if schema is not None)


def _judge_mark(holder: dict[str, Any], found: _Found) -> None:
    """A lifetime that is not in the price list would be a price that nobody knows."""
    mark = holder.get("cache_control")
    ttl = mark.get("ttl") if isinstance(mark, dict) else None
    if ttl not in (None, "5m", "1h"):
        found.never(f"the cache lifetime {quoted(str(ttl))}", "has no known price")


def _write(objects: list[dict[str, Any]], found: _Found) -> Write:
    """The longest-lived cache write that any mark asks for, wherever it stands; 1 h where a lifetime is unknown.

    Runs after the first may write what they read, so more than one sampling is never below 5 minutes.
    """
    marks = [node["cache_control"] for node in objects if node.get("cache_control") is not None] + found.marks
    if any(isinstance(mark, dict) and mark.get("ttl") not in (None, "5m") for mark in marks):
        return "1h"
    return "5m" if marks or found.samplings > 1 else "none"


def _modifiers(fields: dict[str, Any], found: _Found) -> tuple[Modifiers, ...]:
    speed, geo = fields.get("speed"), fields.get("inference_geo")
    if speed not in (None, "standard", "fast"):
        found.never(f"the speed {quoted(str(speed))}", "has no known price")
    if geo not in (None, "global", "us"):
        found.never(f"the region {quoted(str(geo))}", "has no known price")
    found.fast |= speed == "fast"
    speeds = ("fast", "standard") if found.fast else ("standard",)
    geos = dict.fromkeys(("us" if geo == "us" else found.rules.reserve_geo, "global"))
    return tuple(Modifiers(speed=speed, geo=geo) for speed in speeds for geo in geos)


def _thinking_budget(thinking: Any) -> int:
    if thinking is None:
        return 0
    if not isinstance(thinking, dict):
        raise Malformed("thinking is not an object")
    return _tokens(thinking, "budget_tokens", "thinking.") if thinking.get("type") == "enabled" else 0


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name} is {'not a name' if name in fields else 'missing'}")
    return value


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise Malformed(f"{name} is neither true nor false")
    return value


def _tokens(fields: Mapping[str, Any], name: str, path: str = "") -> int:
    value = fields.get(name)
    if not _is_whole(value, MOST_TOKENS):
        problem = f"is not a whole number from 0 to {MOST_TOKENS:,}" if name in fields else "is missing"
        raise Malformed(f"{path}{name} {problem}")
    return value


def _is_whole(value: object, most: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= most


def _dicts(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Malformed(f"{where} is not a list of objects")
    return value
