"""The bill of one answer of OpenAI's APIs, read as it passes.

OpenAI counts the whole prompt and tells which of it came from the cache and which was written to it; a token is in
one of the three only, so fresh input is what is left. Reasoning is inside the output. Where a provider's total is
more than prompt and output (some leave reasoning out of the output), the rest is billed as output.

A stream of the Responses API tells its usage in its last event (`response.completed`, `.incomplete` or `.failed`); a
stream of Chat Completions in a chunk before `[DONE]`. Neither tells anything before: an answer that is cut tells
nothing, and `prompt_is_exact` is never set. A figure's value is its last snapshot. A later one may divide the prompt
anew, but may not make the prompt or the output smaller: what was once reported stays charged, and the reading says
that it is in doubt. So does it where a figure is no whole number from zero to a thousand million, or where the parts
of the prompt are more than the prompt.

Model and tier are the answer's own. Where it does not name its tier, it is the dearest that the request may meet.

Only events that can matter are decoded. Inside a JSON string a quote is escaped, so `"usage"` with both quotes bare
is never a word of the model's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crewcap.core.pricing import Modifiers, Usage, Write
from crewcap.wire import Reading, lenient, sse
from crewcap.wire import openai_known as known
from crewcap.wire.frames import BodyMeter, EventMeter
from crewcap.wire.lenient import short, word

FIGURES = lenient.Figures(
    b'"usage"',
    (
        b'"input_tokens"',
        b'"output_tokens"',
        b'"prompt_tokens"',
        b'"completion_tokens"',
        b'"total_tokens"',
        b'"cached_tokens"',
        b'"cache_write_tokens"',
    ),
)
_DONE = b"[DONE]"
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_MOST_DOUBTS = 10
_SOUND = ("audio_tokens", "input_audio_token")
_QUIET = ((b'"usage":null', b'"usage": null'), (b'"finish_reason":null', b'"finish_reason": null'))


class _StreamMeter(EventMeter):
    """Reads those events of a stream that may tell something."""

    def __init__(self, bill: _Bill) -> None:
        super().__init__(Reading(modifiers=bill.modifiers))
        self._bill = bill

    def _read(self, data: bytes, *, cut: bool) -> dict[str, Any] | None:
        """An event's object; one that is none may have been the bill."""
        event = lenient.bill(data, FIGURES)
        if isinstance(event, dict):
            return event
        if not cut:
            self._bill.doubts.add("an event could not be read")
            self._reading = self._bill.onto(self._reading)
        return None


class ResponsesStreamMeter(_StreamMeter):
    """Reads a stream of the Responses API."""

    def __init__(self, write: Write, untold: Modifiers) -> None:
        super().__init__(_Bill(write, untold))
        self._has_begun = False

    def _take(self, block: bytes, *, cut: bool = False) -> None:
        if b'"response"' not in block and b'"error"' not in block:
            return
        event = self._read(sse.read(block).data, cut=cut)
        if event is not None:
            self._event(word(event.get("type")), event)

    def _event(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "error":
            self._reading = _with_error(event.get("error", event), self._reading)
            return
        response = event.get("response")
        if not isinstance(response, dict):
            return
        if kind == "response.created":
            if self._has_begun:
                self._bill.doubts.add("the answer begins twice")
            self._has_begun = True
        self._reading = self._bill.response(response, self._reading, is_last=kind in _ENDS)


class ResponsesMeter(BodyMeter):
    """Reads an answer of the Responses API that is one JSON body."""

    def __init__(self, write: Write, untold: Modifiers) -> None:
        super().__init__(Reading(modifiers=untold), FIGURES)
        self._bill = _Bill(write, untold)

    def _read(self, answer: dict[str, Any]) -> Reading:
        if "usage" not in answer and "output" not in answer:
            return _with_error(answer.get("error"), self._reading)
        return self._bill.response(answer, self._reading, is_last=True)


class ChatStreamMeter(_StreamMeter):
    """Reads a stream of Chat Completions."""

    def __init__(self, write: Write, untold: Modifiers) -> None:
        super().__init__(_Bill(write, untold))

    def _take(self, block: bytes, *, cut: bool = False) -> None:
        if _DONE in block and sse.read(block).data.strip() == _DONE:
            self._reading = replace(self._reading, is_complete=True)
        elif not self._reading.model or self._may_tell(block):
            data = sse.read(block).data
            chunk = self._read(data, cut=cut) if data else None
            if chunk is not None:
                self._reading = self._bill.completion(chunk, self._reading)

    @staticmethod
    def _may_tell(block: bytes) -> bool:
        """Most chunks of a stream that will tell its usage say that they do not."""
        if b'"error"' in block:
            return True
        if all(any(way in block for way in ways) for ways in _QUIET):
            return False
        return b'"usage"' in block or b'"finish_reason"' in block


class ChatMeter(BodyMeter):
    """Reads an answer of Chat Completions that is one JSON body."""

    def __init__(self, write: Write, untold: Modifiers) -> None:
        super().__init__(Reading(modifiers=untold), FIGURES)
        self._bill = _Bill(write, untold)

    def _read(self, answer: dict[str, Any]) -> Reading:
        reading = self._bill.completion(answer, self._reading)
        return replace(reading, is_complete="usage" in answer or "choices" in answer)


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of one usage object, overlaid snapshot by snapshot; None where nobody has said."""

    prompt: int | None = None  # all of it
    cached: int | None = None  # read from the cache, inside `prompt`
    written: int | None = None  # to caches of any lifetime, inside `prompt`
    written_30m: int | None = None
    written_12h: int | None = None
    output: int | None = None
    reasoning: int | None = None  # inside `output`
    total: int | None = None
    sound: int | None = None  # inside `prompt`
    spoken: int | None = None  # inside `output`

    @property
    def billed_output(self) -> int:
        """Output, and what the total has beyond prompt and output."""
        output = self.output or 0
        return max(output, (self.total or 0) - (self.prompt or 0))

    def usage(self, write: Write) -> Usage:
        """As disjoint kinds; a write of untold lifetime is the dearest that the request asked for."""
        told = (self.written_30m or 0) + (self.written_12h or 0)
        untold = max(0, (self.written or 0) - told)
        cached = self.cached or 0
        return Usage(
            input=max(0, (self.prompt or 0) - cached - max(told, self.written or 0)),
            cache_read=cached,
            write_5m=(self.written_30m or 0) + (0 if write == "1h" else untold),
            write_1h=(self.written_12h or 0) + (untold if write == "1h" else 0),
            output=self.billed_output,
            thinking=min(self.reasoning or 0, self.billed_output),
        )


@dataclass(slots=True)
class _Doubts:
    """Why the answer's figures cannot be taken at their word, each said once."""

    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        if sentence not in self.sentences and len(self.sentences) < _MOST_DOUBTS:
            self.sentences.append(sentence)

    def count(self, value: Any, name: str) -> int | None:
        """A figure, or the least that a badly written one can mean; None where it means nothing."""
        if lenient.is_count(value):
            return int(value)
        self.add(f"{name} is {short(value)}")
        return lenient.least_count(value)

    def __str__(self) -> str:
        return "; ".join(self.sentences)


@dataclass(slots=True)
class _Bill:
    """What the answer so far adds up to."""

    write: Write
    modifiers: Modifiers  # the dearest, until the answer says otherwise
    figures: _Figures = _Figures()
    pieces: dict[str, int] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    doubts: _Doubts = field(default_factory=_Doubts)

    def response(self, response: dict[str, Any], reading: Reading, *, is_last: bool) -> Reading:
        """The reading after a response object, which is whole where `is_last`."""
        status = word(response.get("status"))
        details = response.get("incomplete_details")
        reason = word(details.get("reason")) if isinstance(details, dict) else ""
        reading = self._named(response, reading)
        if is_last:
            self._take_fees(response)
            reading = replace(reading, is_complete=True, stop_reason=reason or status)
        if isinstance(response.get("error"), dict):
            reading = _with_error(response["error"], reading)
        return self._with_usage(response.get("usage"), reading)

    def completion(self, chunk: dict[str, Any], reading: Reading) -> Reading:
        """The reading after a chunk of a stream, or after a whole completion."""
        reading = self._named(chunk, reading)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            reason = word(choice.get("finish_reason")) if isinstance(choice, dict) else ""
            reading = replace(reading, stop_reason=reason) if reason else reading
        if chunk.get("error") is not None:
            reading = _with_error(chunk["error"], reading)
        return self._with_usage(chunk.get("usage"), reading)

    def onto(self, reading: Reading) -> Reading:
        """The reading with everything that is known of the bill."""
        if not self.raw and not self.pieces:
            return replace(reading, modifiers=self.modifiers, doubt=str(self.doubts))
        sound = self.figures.sound
        usage = replace(
            self.figures.usage(self.write),
            pieces=dict(self.pieces),
            apart={_SOUND[1]: sound} if sound else {},
        )
        return replace(
            reading,
            usage=usage,
            usage_is_whole=self.figures.prompt is not None and self.figures.output is not None,
            modifiers=self.modifiers,
            raw_usage=lenient.shown(self.raw),
            doubt=str(self.doubts),
        )

    def _named(self, answer: Mapping[str, Any], reading: Reading) -> Reading:
        """Model, id and tier, as far as this part of the answer says them."""
        tier = answer.get("service_tier")
        if isinstance(tier, str) and tier != "auto":  # before it is served, it may be called what was asked for
            self.modifiers = replace(self.modifiers, tier=known.TIER_WORDS.get(tier, tier))
        elif tier is not None and not isinstance(tier, str):
            self.doubts.add(f"service_tier is {short(tier)}")
        model = word(answer.get("model"))
        if known.SEARCHING_MODEL.search(model):
            self.pieces["web_search_preview"] = max(1, self.pieces.get("web_search_preview", 0))
        return replace(
            reading,
            model=model or reading.model,
            request_id=word(answer.get("id")) or reading.request_id,
        )

    def _with_usage(self, usage: Any, reading: Reading) -> Reading:
        if isinstance(usage, dict):
            if lenient.is_contradictory(usage):
                self.doubts.add(lenient.TWICE)
            self.figures = self._not_below(self.figures, self._overlay(usage))
            self.raw |= usage
            if not reading.model:
                self.doubts.add("the answer does not name its model")
        elif usage is not None:
            self.doubts.add("the answer's usage is not an object")
        return self.onto(reading)

    def _overlay(self, usage: Mapping[str, Any]) -> _Figures:
        inputs = _details(usage, "input_tokens_details", "prompt_tokens_details")
        outputs = _details(usage, "output_tokens_details", "completion_tokens_details")
        writes = _details(inputs, "cache_write_tokens_details")
        said = {
            "prompt": _first(usage, "input_tokens", "prompt_tokens"),
            "cached": inputs.get("cached_tokens"),
            "written": inputs.get("cache_write_tokens"),
            "written_30m": writes.get("ttl_30m_tokens"),
            "written_12h": writes.get("ttl_12h_tokens"),
            "output": _first(usage, "output_tokens", "completion_tokens"),
            "reasoning": outputs.get("reasoning_tokens"),
            "total": usage.get("total_tokens"),
            "sound": inputs.get(_SOUND[0]),
            "spoken": outputs.get(_SOUND[0]),
        }
        counts = {name: self.doubts.count(value, name) for name, value in said.items() if value is not None}
        if counts.get("spoken"):
            self.pieces["output_audio_token"] = counts["spoken"] or 0
        return replace(self.figures, **{name: count for name, count in counts.items() if count is not None})

    def _not_below(self, old: _Figures, new: _Figures) -> _Figures:
        """Neither prompt nor output may shrink; the prompt may not be less than its parts."""
        was, now = old.usage(self.write), new.usage(self.write)
        if now.prompt < was.prompt:
            self.doubts.add("a later snapshot makes the prompt smaller")
            kept = ("prompt", "cached", "written", "written_30m", "written_12h")
            new = replace(new, **{name: getattr(old, name) for name in kept})
        if now.output < was.output:
            self.doubts.add("a later snapshot makes the output smaller")
            new = replace(new, output=old.output, total=old.total)
        if new.prompt is not None and new.usage(self.write).prompt > new.prompt:
            self.doubts.add("the prompt is less than its parts")
        return new

    def _take_fees(self, response: Mapping[str, Any]) -> None:
        """Calls of hosted tools: as the provider counts them or as they stand in the answer, whichever is more."""
        output = response.get("output")
        items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        found = Counter(fee for item in items if (fee := _fee(item)))
        found["web_search"] = max(found["web_search"], self._searches(response.get("tool_usage")))
        if _has_preview(response.get("tools")):
            found["web_search_preview"] = found.pop("web_search")
        for piece, count in found.items():
            if count:
                self.pieces[piece] = max(count, self.pieces.get(piece, 0))

    def _searches(self, used: Any) -> int:
        said = used.get("web_search") if isinstance(used, dict) else None
        number = said.get("num_requests") if isinstance(said, dict) else None
        return (self.doubts.count(number, "web_search") or 0) if number is not None else 0


def _has_preview(tools: Any) -> bool:
    """Whether the searches of an answer were made by the older tool, whose fee is another one."""
    kinds = [word(tool.get("type")) for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return any(kind.startswith("web_search_preview") for kind in kinds)


def _fee(item: Mapping[str, Any]) -> str:
    """The fee that an item of an answer costs; '' for none."""
    fee = known.FEES_OF_ITEMS.get(word(item.get("type")), "")
    action = item.get("action")
    if fee == "web_search" and isinstance(action, dict) and action.get("type") not in (None, "search"):
        return ""  # it opened a page, or looked for something in it
    return fee


def _with_error(error: Any, reading: Reading) -> Reading:
    said = error if isinstance(error, dict) else {}
    return replace(reading, error=word(said.get("code")) or word(said.get("type")) or "error")


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    value = _first(usage, *names)
    return value if isinstance(value, dict) else {}


def _first(fields: Mapping[str, Any], *names: str) -> Any:
    """The first of these members that says anything."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)
