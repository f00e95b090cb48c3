"""The bill of one answer of the Gemini API, read as it passes.

Every chunk of a stream carries a `usageMetadata`, a snapshot of all so far. A figure's value is its last snapshot;
snapshots are never added up, and what was once reported as output stays charged.

The prompt of the first chunks is an estimate. Of 255 streams among the vendor's own recordings (test data of Gemini
CLI, August 2026) the last chunk corrected it in 79, up to 1.14 and down to 0.72 times, and most told only then what
came from the cache. So the prompt is exact from an event that tells the cache's share (after which none of 48 changed)
or by the last word, and only a fall below half is a doubt.

    prompt        promptTokenCount + toolUsePromptTokenCount; cachedContentTokenCount is inside the first
    output        candidatesTokenCount + thoughtsTokenCount
    the rest      what totalTokenCount has beyond all these is output that was not told apart, as some models thought

Figures that are zero are left out, as this API leaves them out everywhere. So a usage is whole when the prompt was
told and the candidates or the total, by the last word of the answer: a chunk with which every candidate is finished,
or one that comes after it.

A stream has no end mark of its own. It is complete when it is over, every candidate has told why it finished (or the
prompt was blocked), and no error came. Until it is closed it is never called complete: another figure may follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crewcap.core.pricing import Modifiers, Usage
from crewcap.wire import STANDARD, Reading, lenient, sse
from crewcap.wire.gemini_known import SEARCHES_BILLED_ONCE, TIERS

_MARK = re.compile(rb'["\\{}]')
_UNFINISHED = ("", "FINISH_REASON_UNSPECIFIED")
_MOST_TIMES_TOO_HIGH = 2  # an estimate of the prompt


class StreamMeter:
    """Reads a stream: events, or (where the client did not ask for events) one JSON list, chunk by chunk."""

    def __init__(self, answers: int) -> None:
        self._bill = _Bill(answers)
        self._cutter: _Events | _Objects | None = None
        self._reading = Reading()

    def feed(self, chunk: bytes) -> Reading:
        """Take the next bytes; return what is known now."""
        if chunk and not self._reading.has_started:
            self._reading = replace(self._reading, has_started=True)
        if self._cutter is None:
            chunk = chunk.lstrip()
            if not chunk:
                return self._reading
            self._cutter = _Objects() if chunk[:1] in (b"[", b"{") else _Events()
        for data in self._cutter.feed(chunk):
            self._take(data)
        return self._reading

    def close(self) -> Reading:
        """The stream is over."""
        for data in self._cutter.close() if self._cutter else ():
            self._take(data, cut=True)
        self._reading = self._bill.closed(self._reading)
        return self._reading

    def _take(self, data: bytes, *, cut: bool = False) -> None:
        said = lenient.parsed(data)
        chunks = [said] if isinstance(said, dict) else said if isinstance(said, list) else []
        if not chunks and not cut:
            self._reading = self._bill.unreadable(self._reading)
        for chunk in chunks:
            self._reading = self._bill.after(chunk, self._reading)


class WholeMeter:
    """Reads an answer that is one JSON text: one object, or the list that a stream without events is."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._body = bytearray()
        self._reading = Reading()

    def feed(self, chunk: bytes) -> Reading:
        """Take the next bytes; nothing is known before the last one."""
        self._body += chunk
        if chunk and not self._reading.has_started:
            self._reading = replace(self._reading, has_started=True)
        return self._reading

    def close(self) -> Reading:
        """The body is whole, or was cut off: then it is not JSON, and nothing is known."""
        said = lenient.parsed(bytes(self._body))
        self._body.clear()
        bill = _Bill(self._answers, is_whole=isinstance(said, dict))
        chunks = said if isinstance(said, list) else [said] if isinstance(said, dict) else []
        for chunk in chunks:
            self._reading = bill.after(chunk, self._reading)
        self._reading = bill.closed(self._reading)
        return self._reading


class _Events:
    """The data of server-sent events; an error may stand among them as bare JSON."""

    def __init__(self) -> None:
        self._splitter = sse.Splitter()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        return self._data(self._splitter.feed(chunk))

    def close(self) -> Iterator[bytes]:
        return self._data(self._splitter.close())

    @staticmethod
    def _data(blocks: list[bytes]) -> Iterator[bytes]:
        for block in blocks:
            bare = block.lstrip()
            data = bare if bare[:1] in (b"{", b"[") else sse.read(block).data
            if data.strip():
                yield data


class _Objects:
    """The outermost objects of a JSON list, each as soon as its last brace is there."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def feed(self, chunk: bytes) -> list[bytes]:
        found = []
        start = at = 0
        while at < len(chunk):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            mark = _MARK.search(chunk, at)
            if mark is None:
                break
            at = mark.end()
            depth = self._depth
            self._step(mark[0])
            if not depth and self._depth:
                start = at - 1
            elif depth and not self._depth:
                found.append(bytes(self._rest + chunk[start:at]))
                self._rest.clear()
        if self._depth:
            self._rest += chunk[start:]
        return found

    def close(self) -> list[bytes]:
        rest = bytes(self._rest)
        self._rest.clear()
        return [rest] if rest else []

    def _step(self, mark: bytes) -> None:
        """Between the objects only an opening brace means anything."""
        if mark == b"{" and not self._in_string:
            self._depth += 1
        elif not self._depth:
            return
        elif mark == b"\\":
            self._is_escaped = self._in_string
        elif mark == b'"':
            self._in_string = not self._in_string
        elif mark == b"}" and not self._in_string:
            self._depth -= 1


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of one usage, overlaid snapshot by snapshot; None where nobody has said."""

    prompt: int | None = None
    cached: int | None = None
    tool_prompt: int | None = None
    candidates: int | None = None
    thoughts: int | None = None
    total: int | None = None

    @property
    def sent(self) -> int:
        """Tokens that were sent; where the prompt is not told yet, at least what was read from the cache."""
        return (self.cached if self.prompt is None else self.prompt) or 0

    @property
    def untold(self) -> int:
        """What the total has beyond all that is told apart."""
        parts = self.sent + (self.tool_prompt or 0) + self.written
        return max(0, (self.total or 0) - parts) if self.prompt is not None else 0

    @property
    def written(self) -> int:
        """Tokens that were written, as far as they are told apart."""
        return (self.candidates or 0) + (self.thoughts or 0)

    @property
    def are_whole(self) -> bool:
        """The prompt is told, and what was written, as a figure or by the total."""
        return self.prompt is not None and not (self.candidates is None and self.total is None)

    def usage(self) -> Usage:
        """As disjoint kinds."""
        cached = min(self.cached or 0, self.sent)
        thoughts = (self.thoughts or 0) + self.untold
        return Usage(
            input=self.sent - cached + (self.tool_prompt or 0),
            cache_read=cached,
            output=self.written + self.untold,
            thinking=thoughts,
        )


_FIGURES: Mapping[str, str] = {
    "promptTokenCount": "prompt",
    "cachedContentTokenCount": "cached",
    "toolUsePromptTokenCount": "tool_prompt",
    "candidatesTokenCount": "candidates",
    "thoughtsTokenCount": "thoughts",
    "totalTokenCount": "total",
}
_SENT = ("promptTokensDetails", "toolUsePromptTokensDetails")
_CACHED = ("cacheTokensDetails",)
_MEDIA = ("audio", "image", "video")


@dataclass(slots=True)
class _Bill:
    """What the chunks so far add up to."""

    answers: int  # how many candidates were asked for
    is_whole: bool = False  # one object holds everything, however many candidates it has
    figures: _Figures = _Figures()
    raw: dict[str, Any] = field(default_factory=dict)
    modifiers: Modifiers = STANDARD
    searches: dict[tuple[int, str], int] = field(default_factory=dict)  # by candidate and fee
    seen: set[int] = field(default_factory=set)  # candidates, by index
    finished: set[int] = field(default_factory=set)
    is_blocked: bool = False
    has_last_word: bool = False
    doubts: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Every candidate is finished, or there will be none."""
        return self.is_whole or self.is_blocked or (len(self.finished) >= self.answers and self.finished >= self.seen)

    @property
    def _is_exact(self) -> bool:
        """The prompt will not change any more."""
        return self.figures.prompt is not None and (self.figures.cached is not None or self.has_last_word)

    def after(self, chunk: Any, reading: Reading) -> Reading:
        """The reading after one chunk, or after a whole body."""
        if not isinstance(chunk, dict):
            return self.unreadable(reading)
        if "error" in chunk:
            return replace(reading, error=_error(chunk["error"]))
        reading = replace(
            reading,
            model=lenient.word(chunk.get("modelVersion")).removeprefix("models/") or reading.model,
            request_id=lenient.word(chunk.get("responseId")) or reading.request_id,
            stop_reason=self._ends(chunk) or reading.stop_reason,
        )
        usage = chunk.get("usageMetadata")
        if usage is None:
            return replace(reading, usage=self._usage(reading)) if self.searches else reading
        return self._with_usage(usage, reading)

    def unreadable(self, reading: Reading) -> Reading:
        """The reading after a chunk that should have told something, and is no JSON object."""
        self._doubt("a chunk could not be read")
        return replace(reading, doubt="; ".join(self.doubts))

    def closed(self, reading: Reading) -> Reading:
        """The reading once nothing more can come."""
        if reading.error or not self.is_over:
            return reading
        if not reading.model:
            self._doubt("the answer does not name its model")
        return replace(reading, is_complete=True, doubt="; ".join(self.doubts))

    def _ends(self, chunk: dict[str, Any]) -> str:
        """Why candidates finished, or why there are none; '' where they go on."""
        feedback = chunk.get("promptFeedback")
        reason = lenient.word(feedback.get("blockReason")) if isinstance(feedback, dict) else ""
        self.is_blocked |= bool(reason)
        for candidate in _listed(chunk.get("candidates")):
            if isinstance(candidate, dict):
                reason = self._candidate(candidate) or reason
        return reason

    def _candidate(self, candidate: dict[str, Any]) -> str:
        index = candidate.get("index")
        index = index if type(index) is int else 0
        self.seen.add(index)
        self._take_searches(index, candidate.get("groundingMetadata"))
        reason = lenient.word(candidate.get("finishReason"))
        if reason in _UNFINISHED:
            return ""
        self.finished.add(index)
        return reason

    def _take_searches(self, index: int, grounding: Any) -> None:
        """What is billed by the piece; what has no published fee keeps its name, to be booked at nothing never."""
        if not isinstance(grounding, dict):
            return
        places = [
            each for each in _listed(grounding.get("groundingChunks")) if isinstance(each, dict) and "maps" in each
        ]
        counts = {
            "web_search": len(_listed(grounding.get("webSearchQueries"))),
            "image_search": len(_listed(grounding.get("imageSearchQueries"))),
            "maps_search": min(1, len(places)),
        }
        for fee, count in counts.items():
            if count:
                self.searches[index, fee] = max(count, self.searches.get((index, fee), 0))

    def _with_usage(self, usage: Any, reading: Reading) -> Reading:
        if not isinstance(usage, dict):
            self._doubt("the answer's usageMetadata is not an object")
            return replace(reading, doubt="; ".join(self.doubts))
        self.figures = self._not_below(self._overlay(usage))
        self.raw |= usage
        self._take_tier(usage)
        self.has_last_word |= self.is_over
        return replace(
            reading,
            usage=self._usage(reading),
            usage_is_whole=self.has_last_word and self.figures.are_whole,
            prompt_is_exact=self._is_exact and not self.doubts,
            modifiers=self.modifiers,
            raw_usage=lenient.shown(self.raw),
            doubt="; ".join(self.doubts),
        )

    def _usage(self, reading: Reading) -> Usage:
        usage = self.figures.usage()
        return replace(usage, pieces=self._pieces(reading.model), apart=self._apart(usage))

    def _overlay(self, usage: Mapping[str, Any]) -> _Figures:
        """The last snapshot of each figure; a total is that of the prompt beside it."""
        said = {name: usage[key] for key, name in _FIGURES.items() if usage.get(key) is not None}
        counts = {name: self._count(value, name) for name, value in said.items()}
        old = replace(self.figures, total=None) if "prompt" in counts else self.figures
        return replace(old, **{name: count for name, count in counts.items() if count is not None})

    def _not_below(self, new: _Figures) -> _Figures:
        """An estimate may be corrected; nothing that was written may vanish, nor the cache hold more than was sent."""
        old = self.figures
        if new.sent * _MOST_TIMES_TOO_HIGH < old.sent or (new.tool_prompt or 0) < (old.tool_prompt or 0):
            self._doubt("a later snapshot makes the prompt smaller")
            new = replace(new, prompt=old.prompt, cached=old.cached, tool_prompt=old.tool_prompt, total=old.total)
        if new.written < old.written:
            self._doubt("a later snapshot makes the output smaller")
            new = replace(new, candidates=old.candidates, thoughts=old.thoughts)
        if new.prompt is not None and (new.cached or 0) > new.prompt:
            self._doubt("more was read from the cache than was sent")
        return new

    def _count(self, value: Any, name: str) -> int | None:
        """A figure, or the least that a badly written one can mean; None where it means nothing."""
        if lenient.is_count(value):
            return int(value)
        self._doubt(f"{name} is {lenient.short(value)}")
        return lenient.least_count(value)

    def _pieces(self, model: str) -> dict[str, int]:
        pieces: dict[str, int] = {}
        for (_, fee), count in self.searches.items():
            pieces[fee] = pieces.get(fee, 0) + count
        if "web_search" in pieces and SEARCHES_BILLED_ONCE.match(model):
            pieces["web_search"] = 1
        return pieces

    def _apart(self, usage: Usage) -> dict[str, int]:
        """Tokens of pictures, sound and film; what is more than the fresh ones can be was read from the cache."""
        apart = {}
        for medium in _MEDIA:
            sent, cached = _modality(self.raw, _SENT, medium), _modality(self.raw, _CACHED, medium)
            fresh = min(max(0, sent - cached), usage.input)
            apart[f"input_{medium}_token"] = fresh
            apart[f"cache_{medium}_read_token"] = min(max(0, sent - fresh), usage.cache_read)
        return {name: count for name, count in apart.items() if count}

    def _take_tier(self, usage: Mapping[str, Any]) -> None:
        for key in ("trafficType", "serviceTier"):
            value = usage.get(key)
            if isinstance(value, str):
                name = value.lower().removeprefix("service_tier_")
                self.modifiers = replace(self.modifiers, tier=TIERS.get(name, name))
            elif value is not None:
                self._doubt(f"{key} is {lenient.short(value)}")

    def _doubt(self, sentence: str) -> None:
        if sentence not in self.doubts and len(self.doubts) < 10:
            self.doubts.append(sentence)


def _error(error: Any) -> str:
    """Google's name for an error, else its number."""
    said = error if isinstance(error, dict) else {}
    return lenient.word(said.get("status")) or str(said.get("code", "error"))[:40]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _modality(raw: Mapping[str, Any], keys: tuple[str, ...], medium: str) -> int:
    """Tokens of one medium in these lists; each was told whole by its last snapshot."""
    entries = [entry for key in keys for entry in _listed(raw.get(key)) if isinstance(entry, dict)]
    said = (entry.get("tokenCount") for entry in entries if lenient.word(entry.get("modality")).lower() == medium)
    return sum(int(count) for count in said if count is not None and lenient.is_count(count))
