"""What a request to the Gemini API may cost: its body read whole, every member judged by the known lists.

    text      every byte of the body but the images' own; a token is at least one byte
    images    counted; each is the model's maximum
    window    documents, sound and film, and what the body does not hold, can be anything up to the context window;
              price lists may bill their tokens apart, so the dearest of those prices counts
    output    candidates x (`maxOutputTokens` + thinking): the thinking budget where one is set, the model's largest
              output where the model decides by itself how long it thinks, which is also what it does unasked
    pad       what the provider adds by itself: tools, and schemas that are shown again

The model, and whether the answer is a stream, stand in the path. What is refused is refused by name, in a sentence
that ends in the remedy. Whether a refusal counts is the caller's to say: keys without a cap may use what they like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from crewcap.core.asks import Ask, Bound
from crewcap.core.pricing import Modifiers
from crewcap.wire import Malformed, outline, refusals, strict_json
from crewcap.wire import gemini_known as known
from crewcap.wire.findings import Findings, whole
from crewcap.wire.gemini_fields import name_of, named, objects
from crewcap.wire.refusals import quoted

MOST_CANDIDATES = 1_000
PAD = 256
PAD_TOOLS = 1_024
TIER = b'"standard"'

_PATH = re.compile(r"/v1(?:beta)?/models/(?P<model>[A-Za-z0-9][A-Za-z0-9._-]{0,127}):(?P<method>[A-Za-z]{1,40})\Z")
_TOP = known.FIELDS.union(known.COSTLY_FIELDS)
_PARTS = frozenset(known.PARTS)
_TOOLS = known.DECLARED.union(known.TOOLS)
_STREAMS = {"generateContent": False, "streamGenerateContent": True}


class Target(NamedTuple):
    """What a path asks for. A path that says this says nothing else, so it may be forwarded as it is."""

    model: str
    method: str  # generateContent, streamGenerateContent, countTokens


def target(path: str) -> Target:
    """The model and the method that stand in a path; `Malformed` where they do not."""
    found = _PATH.match(path)
    if found is None:
        raise Malformed("the path is not /v1beta/models/{model}:{method} (or /v1/...)")
    return Target(found["model"], found["method"])


def read(body: bytes, path: str, allow: frozenset[str]) -> Ask:
    """Turn a path and a body into what they ask for; `Malformed` if they cannot be read without guessing."""
    model, method = target(path)
    if method not in _STREAMS:
        raise Malformed(f"{method} does not generate content")
    fields, found = named(strict_json.parse(body).value, _TOP), _Found(allow)
    config = _config(fields)
    _judge_model(fields, model)
    _judge_fields(fields, found)
    _read_tools(fields.get("tools"), found)
    _read_contents(fields, found)
    _judge_config(config, found)
    max_output = whole(config, "maxOutputTokens") or None  # zero is how the API writes that none is set
    thinking = _thinking(config, model)
    return Ask(
        model=model,
        stream=_STREAMS[method],
        max_output=max_output,
        thinking_budget=_budget_inside(thinking, max_output),
        bound=found.bound(len(body)),
        write="none",
        modifiers=(Modifiers(),),
        samplings=1 + found.uses,
        pieces={},
        is_countable=found.is_countable,
        answers=whole(config, "candidateCount", most=MOST_CANDIDATES) or 1,
        beside_output=thinking,
        apart=found.apart,
        conversation=outline.name_of(_first_texts(fields["contents"])),
        refusals=tuple(dict.fromkeys(found.refusals)),
        notes=tuple(dict.fromkeys(found.notes)),
    )


def bound_of_contents(fields: dict[str, Any], contents: list[Any], size_bytes: int) -> Bound:
    """What some of a body's contents can be billed as, with all that the provider adds to the whole of it."""
    fields, found = named(fields, _TOP), _Found()
    _read_tools(fields.get("tools"), found)
    for content in contents:
        _read_content(content, "contents", found)
    _judge_config(_config(fields), found)
    return found.bound(size_bytes)


def rewrite(body: bytes, max_output: int | None) -> bytes:
    """The same bytes with this output limit and our tier; a field that is only inside a tool call is left alone."""
    places = {name_of(member.name, _TOP): member for member in strict_json.members(body)}
    values = {places["serviceTier"].name: TIER} if "serviceTier" in places else {}
    if max_output is not None:
        limit = str(max_output).encode()
        config = places.get("generationConfig")
        values[config.name if config else "generationConfig"] = _with_limit(
            body[config.start : config.end] if config else b"{}", limit
        )
    return strict_json.splice(body, values) if values else body


def count_body(body: bytes, path: str) -> bytes:
    """The count call's body: the request as one member, so that tools and the system's words are counted too."""
    kept = frozenset(m.name for m in strict_json.members(body) if name_of(m.name, _TOP) in known.COUNT_FIELDS)
    request = strict_json.splice(strict_json.pick(body, kept), {"model": _json(f"models/{target(path).model}")})
    return b'{"generateContentRequest":' + request + b"}"


@dataclass(slots=True)
class _Found(Findings):
    """What the reading of one body has found so far."""

    images: int = 0
    image_bytes: int = 0
    pad: int = PAD
    whole_window: bool = False
    is_countable: bool = True
    uses: int = 0  # of tools of the provider, each of which runs the model once more
    apart: frozenset[str] = frozenset()

    def bound(self, size_bytes: int) -> Bound:
        return Bound(
            text_bytes=size_bytes - self.image_bytes,
            pad=self.pad,
            images=self.images,
            whole_window=self.whole_window,
        )

    def fill_window(self, apart: frozenset[str] = known.MEDIA_APART) -> None:
        """Something can be of any size; and of any kind, where its kind is not said."""
        self.whole_window = True
        self.apart |= apart

    def outside(self, what: str, why: str, name: str) -> None:
        """Input that is not in the body: refused, or taken for all that fits the window."""
        self.fill_window()
        if not self.allows(name):
            self.refuse(what, why, name)

    def unknown(self, kind: str, name: str) -> None:
        """Something of a known kind whose name is on no list."""
        self.fill_window()
        self.is_countable = False
        if not self.allows(name):
            self.refusals.append(refusals.unknown(kind, name))


def _judge_model(fields: dict[str, Any], model: str) -> None:
    said = fields.get("model")
    if said is not None and said not in (model, f"models/{model}"):
        raise Malformed("the body names another model than the path")


def _judge_fields(fields: dict[str, Any], found: _Found) -> None:
    for name, value in fields.items():
        if name in known.COSTLY_FIELDS:
            if value is not None:
                found.outside(f"the field {quoted(name)}", known.COSTLY_FIELDS[name], name)
                found.is_countable = False
        elif name not in known.FIELDS:
            found.unknown("field", name)
    if fields.get("serviceTier") is not None:
        found.notes.append("serviceTier was replaced by standard")


def _read_tools(tools: Any, found: _Found) -> None:
    if tools is None:
        return
    found.pad += PAD_TOOLS
    for tool in objects(tools, "tools"):
        for name, value in named(tool, _TOOLS).items():
            if value is not None and value != [] and name not in known.DECLARED:
                _read_tool(name, found)


def _read_tool(name: str, found: _Found) -> None:
    tool = known.TOOLS.get(name)
    what = f"the tool {quoted(name)}"
    if tool is None:
        found.unknown("tool", name)
    elif tool.is_run_by_client:
        found.outside(what, tool.why, name)
        found.is_countable = False
    elif tool.uses is not None:
        found.outside(what, tool.why, name)
        found.uses += tool.uses
    else:
        found.never(what, f"{tool.why}, without a limit")


def _read_contents(fields: dict[str, Any], found: _Found) -> None:
    if fields.get("systemInstruction") is not None:
        _read_content(fields["systemInstruction"], "systemInstruction", found)
    if fields.get("contents") is None:
        raise Malformed("contents is missing")
    for content in objects(fields["contents"], "contents"):
        _read_content(content, "contents", found)


def _first_texts(contents: Any) -> Iterable[str]:
    """How the conversation begins."""
    first = contents[0] if isinstance(contents, list) and contents else contents
    return outline.texts_of(first.get("parts")) if isinstance(first, dict) else ()


def _read_content(content: Any, where: str, found: _Found) -> None:
    if not isinstance(content, dict):
        raise Malformed(f"{where} is not an object")
    content = named(content, frozenset({"parts", "role"}))
    if not isinstance(content.get("role", ""), str | None):
        raise Malformed(f"the role in {where} is not a string")
    _read_parts(content.get("parts"), where, found)


def _read_parts(parts: Any, where: str, found: _Found) -> None:
    for part in objects(parts if parts is not None else [], f"the parts of {where}"):
        for name, value in named(part, _PARTS).items():
            if value is not None:
                _read_part(name, value, found)


def _read_part(name: str, value: Any, found: _Found) -> None:
    match known.PARTS.get(name):
        case "text" | "mark":
            pass
        case "media":
            _read_media(value, found)
        case "result":
            _read_result(value, found)
        case "outside":
            found.outside(f"the part {quoted(name)}", "brings input that is not in the body", name)
        case "window":
            found.fill_window()
        case "resolution":
            _judge_resolution(value, found)
        case "processing":
            _judge_processing(value, found)
        case None:
            found.unknown("part", name)


def _read_media(blob: Any, found: _Found) -> None:
    """One picture counts as the model's largest; a document, sound or film as whatever fits the window."""
    if not isinstance(blob, dict):
        raise Malformed("inlineData is not an object")
    blob = named(blob, frozenset({"data", "mimeType"}))
    if not isinstance(blob.get("mimeType"), str) or not isinstance(blob.get("data", ""), str):
        raise Malformed("inlineData has no mimeType")
    if blob["mimeType"] not in known.IMAGES:
        found.fill_window(known.IMAGE_APART if known.DOCUMENT.match(blob["mimeType"]) else known.MEDIA_APART)
        return
    found.images += 1
    found.image_bytes += len(blob.get("data", ""))
    found.apart |= known.IMAGE_APART


def _read_result(result: Any, found: _Found) -> None:
    """The client's answer to a call: text, and media beside it."""
    if not isinstance(result, dict):
        raise Malformed("functionResponse is not an object")
    _read_parts(named(result, frozenset({"parts"})).get("parts"), "a functionResponse", found)


def _judge_resolution(value: Any, found: _Found) -> None:
    """Named levels stay below the model's maximum of an image; a number of tokens that the client chooses may not."""
    value = value if isinstance(value, dict) else {}
    if named(value, frozenset({"level", "numTokens"})).get("numTokens") is not None:
        found.fill_window()


def _judge_processing(value: Any, found: _Found) -> None:
    if value not in ("STATIC", "MEDIA_PROCESSING_UNSPECIFIED"):
        found.never(f"the mediaProcessing {quoted(str(value))}", "lets the model look at a film as often as it likes")


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    config = fields.get("generationConfig")
    if config is not None and not isinstance(config, dict):
        raise Malformed("generationConfig is not an object")
    return named(config or {}, known.CONFIG)


def _judge_config(config: dict[str, Any], found: _Found) -> None:
    for name, why in known.OTHER_MODELS.items():
        if config.get(name) is not None:
            found.never(f"the field {quoted(name)}", why)
    schemas = (value for name, value in config.items() if known.SCHEMA.match(name))
    found.pad += sum(len(json.dumps(schema)) for schema in schemas if schema is not None)


def _thinking(config: dict[str, Any], model: str) -> int | None:
    """Tokens that the model may think beside its output limit; None where it decides that by itself."""
    thinking = config.get("thinkingConfig")
    if thinking is not None and not isinstance(thinking, dict):
        raise Malformed("thinkingConfig is not an object")
    thinking = named(thinking or {}, known.THINKING)
    budget = whole(thinking, "thinkingBudget", least=-1)
    if thinking.get("thinkingLevel") is not None or budget == -1:
        return None
    if budget is None:
        return 0 if known.DOES_NOT_THINK.match(model) else None
    return budget


def _budget_inside(thinking: int | None, max_output: int | None) -> int:
    """What the output limit may not be lowered to: the API counts thinking in the limit, whatever else it says of it.

    A client whose own limit is below its thinking budget has chosen so.
    """
    if thinking is None or (max_output is not None and max_output <= thinking):
        return 0
    return thinking


def _with_limit(config: bytes, limit: bytes) -> bytes:
    """A generationConfig with this output limit, under the spelling that it has or the usual one."""
    if not config.startswith(b"{"):
        config = b"{}"  # it was null
    names = (member.name for member in strict_json.members(config))
    name = next((name for name in names if name_of(name, known.CONFIG) == "maxOutputTokens"), "maxOutputTokens")
    return strict_json.splice(config, {name: limit})


def _json(text: str) -> bytes:
    return json.dumps(text).encode()
