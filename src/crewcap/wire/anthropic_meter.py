"""The bill of one answer of the Messages API, read as it passes.

A stream tells its usage in snapshots: `message_start` has the prompt with its cache split, each `message_delta` the
totals so far. A field's value is its last snapshot; snapshots are never added up. A later snapshot may divide the
prompt anew, but may not make the prompt or the output smaller: what was once reported stays charged, and the reading
says that it is in doubt. So does it where a figure is no whole number from zero to a thousand million.

The last word on the output stands at the end of an answer, so a usage is whole only when `input_tokens` was told and
`output_tokens` was told by a `message_delta` or by a whole message: the 1 of a `message_start` is no bill.

Where an answer lists `usage.iterations` (compaction, an advisor, fallbacks, server tools), each entry is a run of its
own model and their sum is the bill: compaction and advisor entries are not in the top-level figures. What the
top-level figures have beyond the list is added as an entry of its own.

Only events that can matter are decoded. Inside a JSON string a quote is escaped, so `"usage"` with both quotes bare
is always a key, whatever the model writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from crewcap.core.pricing import Modifiers, Usage, Write
from crewcap.core.quick import quickly_made
from crewcap.wire import STANDARD, Reading, lenient, sse
from crewcap.wire.anthropic_known import FREE_PIECES
from crewcap.wire.frames import BodyMeter, EventMeter


class StreamMeter(EventMeter):
    """Reads a stream of events."""

    def __init__(self, write: Write) -> None:
        super().__init__(Reading())
        self._bill = _Bill(write)

    def feed(self, chunk: bytes) -> Reading:
        """Nearly all chunks are whole events of which few tell anything: the others are not even cut."""
        is_whole = self._events.is_between and chunk.endswith(b"\n\n") and b"\r" not in chunk
        if not is_whole:
            return super().feed(chunk)
        if not self._reading.has_started:
            self._begin()
        if _may_tell(chunk):
            for block in _telling(chunk):
                self._take(block)
        return self._reading

    def _take(self, block: bytes, *, cut: bool = False) -> None:
        if _may_tell(block):
            event = lenient.bill(sse.read(block).data, FIGURES)
            if isinstance(event, dict):
                self._reading = self._bill.after(event, self._reading)
            elif not cut:
                self._reading = self._bill.unreadable(self._reading)


FIGURES = lenient.Figures(
    b'"usage"',
    (
        b'"input_tokens"',
        b'"cache_read_input_tokens"',
        b'"cache_creation_input_tokens"',
        b'"ephemeral_5m_input_tokens"',
        b'"ephemeral_1h_input_tokens"',
        b'"output_tokens"',
    ),
)
_USAGE, _STOP, _ERROR = b'"usage"', b'"message_stop"', b'"error"'
"""Without any of these an event tells nothing that a bill is made of."""


def _may_tell(data: bytes) -> bool:
    return _USAGE in data or _STOP in data or _ERROR in data


def _telling(events: bytes) -> list[bytes]:
    """Of whole events those that may tell something, in order."""
    found: dict[int, int] = {}
    for sign in (_USAGE, _STOP, _ERROR):
        at = events.find(sign)
        while at >= 0:
            before, end = events.rfind(b"\n\n", 0, at), events.index(b"\n\n", at)
            found[before + 2 if before >= 0 else 0] = end
            at = events.find(sign, end)
    return [events[start:end] for start, end in sorted(found.items())]


class WholeMeter(BodyMeter):
    """Reads an answer that is one JSON body."""

    def __init__(self, write: Write) -> None:
        super().__init__(Reading(), FIGURES)
        self._bill = _Bill(write)

    def _read(self, answer: dict[str, Any]) -> Reading:
        return self._bill.after(answer, self._reading)


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """The figures of one usage object, overlaid snapshot by snapshot; None where nobody has said."""

    input: int | None = None
    cache_read: int | None = None
    written: int | None = None  # to caches of any lifetime
    written_5m: int | None = None
    written_1h: int | None = None
    output: int | None = None
    thinking: int | None = None

    @property
    def told(self) -> int:
        """Writes whose lifetime was told."""
        return (self.written_5m or 0) + (self.written_1h or 0)

    @property
    def prompt(self) -> int:
        """All that was sent."""
        return (self.input or 0) + (self.cache_read or 0) + max(self.written or 0, self.told)

    @property
    def is_split(self) -> bool:
        """Every input kind was told, writes by lifetime."""
        return None not in (self.input, self.cache_read, self.written) and self.told == self.written

    def usage(self, write: Write) -> Usage:
        """As disjoint kinds; a write of untold lifetime is the dearest that the request asked for."""
        untold = max(0, (self.written or 0) - self.told)
        output = self.output or 0
        return Usage(
            input=self.input or 0,
            cache_read=self.cache_read or 0,
            write_5m=(self.written_5m or 0) + (0 if write == "1h" else untold),
            write_1h=(self.written_1h or 0) + (untold if write == "1h" else 0),
            output=output,
            thinking=min(self.thinking or 0, output),
        )


@dataclass(slots=True)
class _Bill:
    """What the events so far add up to."""

    write: Write
    figures: _Figures = _Figures()
    pieces: dict[str, int] = field(default_factory=dict)
    iterations: list[tuple[str, _Figures]] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    modifiers: Modifiers = STANDARD
    doubts: list[str] = field(default_factory=list)
    has_begun: bool = False
    output_is_final: bool = False

    def after(self, event: dict[str, Any], reading: Reading) -> Reading:
        """The reading after one event, or after a whole body."""
        match event.get("type"):
            case "message_start":
                return self._start(event.get("message"), reading)
            case "message":
                return self._message(event, reading, is_last=True)
            case "message_stop":
                return replace(reading, is_complete=True)
            case "error":
                return _with_error(event, reading)
            case _:
                return self._delta(event, reading)

    def unreadable(self, reading: Reading) -> Reading:
        """The reading after an event that should have told something, and is no JSON object."""
        self._doubt("an event could not be read")
        return replace(reading, doubt="; ".join(self.doubts))

    def _start(self, message: Any, reading: Reading) -> Reading:
        """A stream has one beginning; a second one may be a second bill."""
        if self.has_begun:
            self._doubt("the answer begins twice")
        self.has_begun = True
        if isinstance(message, dict):
            return self._message(message, reading, is_last=False)
        return replace(reading, doubt="; ".join(self.doubts))

    def _message(self, message: dict[str, Any], reading: Reading, *, is_last: bool) -> Reading:
        model, reason = lenient.word(message.get("model")), lenient.word(message.get("stop_reason"))
        if not model:
            self._doubt("the answer does not name its model")
        said = {
            "model": model or reading.model,
            "stop_reason": reason or reading.stop_reason,
            "is_edited": reading.is_edited or _is_edited(message),
            "request_id": lenient.word(message.get("id")) or reading.request_id,
            "is_complete": reading.is_complete or is_last,
        }
        return self._with_usage(message.get("usage"), reading, said, is_last=is_last)

    def _delta(self, event: dict[str, Any], reading: Reading) -> Reading:
        delta = event.get("delta")
        reason = lenient.word(delta.get("stop_reason")) if isinstance(delta, dict) else ""
        said: dict[str, Any] = {
            "stop_reason": reason or reading.stop_reason,
            "is_edited": reading.is_edited or _is_edited(event),
        }
        if "usage" in event:
            return self._with_usage(event["usage"], reading, said, is_last=True)
        return replace(reading, **said)

    def _with_usage(self, usage: Any, reading: Reading, said: dict[str, Any], *, is_last: bool) -> Reading:
        """The reading after what one event said, its usage among it."""
        if not isinstance(usage, dict):
            self._doubt("the answer's usage is not an object")
            return replace(reading, **said, doubt="; ".join(self.doubts))
        if lenient.is_contradictory(usage):
            self._doubt(lenient.TWICE)
        self.figures = self._not_below(self.figures, self._overlay(self.figures, usage))
        self._take_pieces(usage.get("server_tool_use"))
        self._take_iterations(usage.get("iterations"))
        self._take_modifiers(usage)
        self.raw |= usage
        self.output_is_final |= is_last and usage.get("output_tokens") is not None
        whole = self.figures.usage(self.write)
        return replace(
            reading,
            **said,
            usage=replace(whole, pieces=dict(self.pieces)) if self.pieces else whole,
            usage_is_whole=self.figures.input is not None and self.output_is_final,
            prompt_is_exact=self.figures.is_split and not self.doubts,
            modifiers=self.modifiers,
            samplings=self._samplings(said.get("model", reading.model), whole),
            raw_usage=lenient.shown(self.raw),
            doubt="; ".join(self.doubts),
        )

    def _overlay(self, old: _Figures, usage: Mapping[str, Any]) -> _Figures:
        split = usage.get("cache_creation")
        details = usage.get("output_tokens_details")
        split = split if isinstance(split, dict) else {}
        details = details if isinstance(details, dict) else {}
        said = {
            "input": usage.get("input_tokens"),
            "cache_read": usage.get("cache_read_input_tokens"),
            "written": usage.get("cache_creation_input_tokens"),
            "written_5m": split.get("ephemeral_5m_input_tokens"),
            "written_1h": split.get("ephemeral_1h_input_tokens"),
            "output": usage.get("output_tokens"),
            "thinking": details.get("thinking_tokens"),
        }
        told = ((name, self._count(value, name)) for name, value in said.items() if value is not None)
        return replace(old, **{name: count for name, count in told if count is not None})

    def _not_below(self, old: _Figures, new: _Figures) -> _Figures:
        """Neither prompt nor output may shrink; writes may not be less than their parts."""
        if new.prompt < old.prompt:
            self._doubt("a later snapshot makes the prompt smaller")
            kept = ("input", "cache_read", "written", "written_5m", "written_1h")
            new = replace(new, **{name: getattr(old, name) for name in kept})
        if (new.output or 0) < (old.output or 0):
            self._doubt("a later snapshot makes the output smaller")
            new = replace(new, output=old.output)
        if new.written is not None and new.told > new.written:
            self._doubt("the cache writes are less than their parts")
        return new

    def _count(self, value: Any, name: str) -> int | None:
        """A figure, or the least that a badly written one can mean; None where it means nothing."""
        if lenient.is_count(value):
            return int(value)
        self._doubt(f"{name} is {lenient.short(value)}")
        return lenient.least_count(value)

    def _take_pieces(self, used: Any) -> None:
        if used is None:
            return
        if not isinstance(used, dict):
            self._doubt("server_tool_use is not an object")
            return
        for key, value in used.items():
            piece = key.removesuffix("_requests")
            count = self._count(value, key) if value is not None else None
            if count and piece not in FREE_PIECES:
                self.pieces[piece] = max(count, self.pieces.get(piece, 0))

    def _take_iterations(self, entries: Any) -> None:
        if entries is None:
            return
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self._doubt("usage.iterations is not a list of objects")
            return
        if len(entries) < len(self.iterations):
            self._doubt("usage.iterations became shorter")
            return
        before = self.iterations + [("", _Figures())] * (len(entries) - len(self.iterations))
        self.iterations = [
            (lenient.word(entry.get("model")), self._not_below(old, self._overlay(_Figures(), entry)))
            for (_, old), entry in zip(before, entries, strict=True)
        ]

    def _samplings(self, model: str, whole: Usage) -> tuple[tuple[str, Usage], ...]:
        """Each entry at its own model, then what the top level has beyond them; fees stand on the first."""
        if not self.iterations:
            return ()
        entries = [(name or model, figures.usage(self.write)) for name, figures in self.iterations]
        rest = _beyond(whole, [usage for _, usage in entries])
        if rest.prompt or rest.output:
            entries.append((model, rest))
        first, usage = entries[0]
        return ((first, replace(usage, pieces=dict(self.pieces))), *entries[1:])

    def _take_modifiers(self, usage: Mapping[str, Any]) -> None:
        said: dict[str, str] = {}
        for name, key in (("speed", "speed"), ("geo", "inference_geo"), ("tier", "service_tier")):
            value = usage.get(key)
            if isinstance(value, str):
                said[name] = _WORDS.get(value, value)
            elif value is not None:
                self._doubt(f"{key} is {lenient.short(value)}")
        if any(getattr(self.modifiers, name) != word for name, word in said.items()):
            self.modifiers = replace(self.modifiers, **said)

    def _doubt(self, sentence: str) -> None:
        if sentence not in self.doubts and len(self.doubts) < 10:
            self.doubts.append(sentence)


_WORDS: Mapping[str, str] = {"not_available": "global"}
"""Models that know no regions say so in place of one."""

_KINDS = tuple(kind.name for kind in fields(Usage) if kind.name not in ("pieces", "apart", "thinking"))


def _beyond(whole: Usage, parts: list[Usage]) -> Usage:
    """Tokens that the whole has and no part has."""
    return Usage(**{kind: max(0, getattr(whole, kind) - sum(getattr(part, kind) for part in parts)) for kind in _KINDS})


def _is_edited(said: Mapping[str, Any]) -> bool:
    """Whether an edit of the context was applied; anything but an empty list of them counts as one."""
    management = said.get("context_management")
    if management is None:
        return False
    return not isinstance(management, dict) or management.get("applied_edits") not in (None, [])


def _with_error(event: dict[str, Any], reading: Reading) -> Reading:
    error = event.get("error")
    kind = lenient.word(error.get("type")) if isinstance(error, dict) else ""
    return replace(
        reading, error=kind or "error", request_id=lenient.word(event.get("request_id")) or reading.request_id
    )
