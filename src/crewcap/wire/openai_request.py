"""What a request to one of OpenAI's APIs may cost, as far as both of them speak alike.

    text      every byte of the body but the images' own; a token is at least one byte. That holds for encrypted
              reasoning too: it is longer than what it stands for
    images    counted, wherever they come from; each is the model's maximum
    window    what the body does not hold (earlier answers, files, what hosted tools left behind) can be anything up
              to the context window
    pad       what the provider adds by itself: tools, vendor tools, schemas and definitions that are shown again
    write     since GPT-5.6 the provider writes its cache unasked, at a price above that of input, so every request is
              held as one that writes: `dearest_input` takes the dearest kind of the card, which for models without
              a price for writes is their input price. A lifetime of 12 hours is the price list's longer write
    tier      what the gateway writes into the body, and what a request for it may fall back to
    answers   `n` of them are written over one prompt, each up to the output limit

A hosted tool is bounded by `max_tool_calls`: after n calls the model was run n + 1 times, over whatever fits the
context window. The regions of a provider with regional addresses are part of its address, not of its requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from crewcap.core.asks import Bound
from crewcap.core.pricing import Modifiers, Write
from crewcap.wire import Malformed, Tier, findings, refusals
from crewcap.wire import openai_known as known
from crewcap.wire.findings import Findings, is_whole, objects, size
from crewcap.wire.refusals import quoted

MOST_CALLS = 1_000
PAD = 256
PAD_TOOLS = 1_024
PAD_CLIENT_TOOL = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the settings say about requests."""

    allow: frozenset[str] = frozenset()
    tier: Tier = "default"  # what the route pays for
    geo: str = "global"  # the region that the provider's address stands for
    counts: bool = False  # the provider's count call is free and may be asked


@dataclass(slots=True)
class Found(Findings):
    """What the reading of one body has found so far."""

    images: int = 0
    image_bytes: int = 0
    pad: int = PAD
    has_tools: bool = False
    has_hosted: bool = False
    calls: int = 0  # of hosted tools, each of which samples the model once more
    times: int = 1  # how often all that may happen (compaction)
    whole_window: bool = False
    is_countable: bool = True
    lives_long: bool = False  # a cache write of the dearer lifetime is asked for
    pieces: Counter[str] = field(default_factory=Counter)
    apart: set[str] = field(default_factory=set)

    @property
    def samplings(self) -> int:
        """How often the model may be run over the prompt."""
        return (1 + self.calls) * self.times

    @property
    def write(self) -> Write:
        """The dearest cache write that the request may cause."""
        return "1h" if self.lives_long else "5m"

    def bound(self, size_bytes: int) -> Bound:
        """The most prompt tokens of one run."""
        return Bound(
            text_bytes=size_bytes - self.image_bytes,
            pad=self.pad + (PAD_TOOLS if self.has_tools else 0),
            images=self.images,
            whole_window=self.whole_window,
        )

    def unknown(self, kind: str, name: str) -> None:
        """Something of a known kind whose name is on no list: refused, or taken for all that fits the window."""
        self.whole_window = True
        if not self.allows(name):
            self.refusals.append(refusals.unknown(kind, name))


@dataclass(frozen=True, slots=True)
class PartForms:
    """The kinds of parts of one API."""

    plain: Mapping[str, known.Part]
    costly: Mapping[str, known.Costly]


def judge_fields(
    fields: Mapping[str, Any], known_fields: Collection[str], costly: Mapping[str, known.Costly], found: Found
) -> None:
    """Every top-level member against the lists."""
    for name, value in fields.items():
        if name in costly:
            if value not in (None, [], False):
                judge_costly("field", name, costly[name], found)
        elif name not in known_fields:
            found.unknown("field", name)
        if value is not None and name not in known.COUNT_FIELDS | known.NOT_IN_THE_PROMPT:
            found.is_countable = False


def judge_costly(kind: str, name: str, costly: known.Costly, found: Found) -> None:
    """Refuse by name what moves the cost, or hold for it."""
    what, allow_name = f"the {kind} {quoted(name)}", costly.name or name
    if costly.if_allowed == "unbounded":
        found.never(what, costly.why)
    elif not found.allows(name, allow_name):
        found.refuse(what, costly.why, allow_name)
    match costly.if_allowed:
        case "twice":
            found.times *= 2
        case "window" | "unbounded":
            found.whole_window = True
        case "nothing":
            pass
    if costly.piece:
        found.pieces[costly.piece] += 1
        if costly.piece.startswith("input_"):
            found.apart.add(costly.piece)


def judge_model(model: str, found: Found) -> None:
    """Some models cost more than their tokens."""
    if known.SEARCHING_MODEL.search(model.lower()):
        found.never(f"the model {quoted(model)}", "searches the web in each request, at a fee that no answer tells")
        found.pieces["web_search_preview"] += 1


def judge_tier(fields: Mapping[str, Any], rules: Rules, found: Found) -> None:
    """The tier is the gateway's to say."""
    if fields.get("service_tier") not in (None, rules.tier):
        found.notes.append(f"service_tier was replaced by {rules.tier}")


def modifiers(rules: Rules) -> tuple[Modifiers, ...]:
    """Everything that the answer may be billed at."""
    return tuple(Modifiers(tier=tier, geo=rules.geo) for tier in known.SERVED_AS[rules.tier])


def judge_lifetimes(fields: Mapping[str, Any], every: list[dict[str, Any]], found: Found) -> None:
    """How long a cache write shall live: said for all, or at a break point anywhere."""
    options = findings.object_or_none(fields, "prompt_cache_options") or {}
    points = [point for node in every if isinstance(point := node.get("prompt_cache_breakpoint"), dict)]
    lifetimes = [each["ttl"] for each in (options, *points) if each.get("ttl") is not None]
    found.lives_long = any(lifetime != "30m" for lifetime in lifetimes)
    for lifetime in lifetimes:
        if not isinstance(lifetime, str) or lifetime not in known.LIFETIMES:
            found.never(f"the cache lifetime {quoted(str(lifetime))}", "has no known price")


def read_tools(tools: Any, where: str, found: Found) -> None:
    """A list of tools, wherever it stands."""
    if tools is None:
        return
    found.has_tools = True
    for tool in objects(tools, where):
        _read_tool(tool, found)


def _read_tool(tool: dict[str, Any], found: Found) -> None:
    kind = findings.text(tool, "type")
    if any(each.get("defer_loading") for each in (tool, tool.get("function")) if isinstance(each, dict)):
        found.pad += size(tool)
    hosted = known.HOSTED_TOOL.match(kind)
    if kind in known.PLAIN_TOOLS:
        return
    if kind == "namespace":
        read_tools(tool.get("tools"), "the tools of a namespace", found)
    elif kind in known.CLIENT_TOOLS or _runs_at_the_client(kind, tool):
        found.pad += PAD_CLIENT_TOOL
    elif known.COMPUTER_TOOL.match(kind):
        _read_computer(kind, found)
    elif hosted is not None:
        _read_hosted(kind, hosted["family"], found)
    else:
        found.unknown("tool type", kind)


def _runs_at_the_client(kind: str, tool: Mapping[str, Any]) -> bool:
    if kind == "tool_search":
        return tool.get("execution") == "client"
    environment = tool.get("environment")
    return kind == "shell" and isinstance(environment, dict) and environment.get("type") == "local"


def _read_computer(kind: str, found: Found) -> None:
    found.pad += PAD_CLIENT_TOOL
    if not found.allows(kind, "computer_use"):
        what = f"the tool type {quoted(kind)}"
        found.refuse(what, "has the provider add instructions whose size is not published", "computer_use")


def _read_hosted(kind: str, family: str, found: Found) -> None:
    what = f"the tool type {quoted(kind)}"
    found.whole_window = True
    if family in known.PRICED_HOSTED_TOOLS:
        found.has_hosted = True
        found.pieces[known.PRICED_HOSTED_TOOLS[family]] = 0
        if not found.allows(kind, family):
            found.refuse(what, "lets the provider run the model more than once in one request", family)
        return
    why, piece = known.UNBOUNDED_HOSTED_TOOLS[family]
    found.never(what, why)
    if piece:
        found.pieces[piece] += 1


def bound_calls(fields: Mapping[str, Any], found: Found) -> None:
    """Hold for every call of a hosted tool that the request permits; to be called when all tools were read."""
    if not found.has_hosted:
        return
    most = fields.get("max_tool_calls")
    if not is_whole(most, most=MOST_CALLS):
        found.never("a hosted tool", f"has no limit without max_tool_calls (a whole number up to {MOST_CALLS:,})")
        return
    found.calls = most
    for piece in set(known.PRICED_HOSTED_TOOLS.values()) & found.pieces.keys():
        found.pieces[piece] = most


def read_parts(content: Any, where: str, forms: PartForms, found: Found) -> None:
    """The content of a message or of a tool's output: a text, or a list of parts."""
    if content is None or isinstance(content, str):
        return
    for part in objects(content, where):
        kind = part.get("type")
        if not isinstance(kind, str):
            raise Malformed(f"a part of {where} has no type")
        read_part(part, kind, forms, found)


def read_part(part: dict[str, Any], kind: str, forms: PartForms, found: Found) -> None:
    """One part of a content."""
    match forms.plain.get(kind):
        case "text":
            pass
        case "image":
            _read_image(part, found)
        case None:
            if kind in forms.costly:
                judge_costly("content part", kind, forms.costly[kind], found)
            else:
                found.unknown("content part", kind)


def _read_image(part: Mapping[str, Any], found: Found) -> None:
    """An image counts by its number; its bytes are not text where they stand in the body."""
    found.images += 1
    url = part.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    if isinstance(url, str) and url.startswith("data:image/"):
        found.image_bytes += len(url)


def pad_schema(form: Any, found: Found) -> None:
    """The shape that the answer shall have is shown to the model once more."""
    if form is not None:
        found.pad += size(form)
