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
from collections.abc import Mapping
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
        found = self._cutter.feed(chunk)
        for data in found:
            is_last = self._bill.is_over or b'"finishReason"' in data  # of all snapshots the last one counts
            self._bill.take(lenient.bill(data, FIGURES) if is_last else lenient.parsed(data))
        if found:
            self._reading = self._bill.reading()
        return self._reading

    def close(self) -> Reading:
        """The stream is over; what it was cut off in the middle of is no doubt."""
        for data in self._cutter.close() if self._cutter else ():
            self._bill.take(lenient.bill(data, FIGURES) or [])
        if self._reading.has_started:
            self._reading = self._bill.reading(is_closed=True)
        return self._reading


class WholeMeter:
    """Reads an answer that is one JSON text: one object, or the list that a stream without events is."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._pieces: list[bytes] = []  # nearly always one, which is then read where it lies

    def feed(self, chunk: bytes) -> Reading:
        """Take the next bytes; nothing is known before the last one."""
        self._pieces.append(chunk)
        return Reading(has_started=any(self._pieces))

    def close(self) -> Reading:
        """The body is whole, or was cut off: then it is not JSON, and nothing is known."""
        body, self._pieces = b"".join(self._pieces), []
        said = lenient.bill(body, FIGURES)
        if not isinstance(said, (dict, list)):
            return Reading(has_started=bool(body))
        bill = _Bill(self._answers, is_whole=isinstance(said, dict))
        bill.take(said)
        return bill.reading(is_closed=True)


class _Events:
    """The data of server-sent events; an error may stand among them as bare JSON."""

    def __init__(self) -> None:
        self._splitter = sse.Splitter()

    def feed(self, chunk: bytes) -> list[bytes]:
        return [data for block in self._splitter.feed(chunk) if (data := self._data(block))]

    def close(self) -> list[bytes]:
        return [data for block in self._splitter.close() if (data := self._data(block))]

    @staticmethod
    def _data(block: bytes) -> bytes:
        bare = block.strip()
        return bare if bare[:1] in (b"{", b"[") else sse.read(block).data.strip()


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
FIGURES = lenient.Figures(b'"usageMetadata"', tuple(f'"{name}"'.encode() for name in _FIGURES))
_SENT = ("promptTokensDetails", "toolUsePromptTokensDetails")
_CACHED = ("cacheTokensDetails",)
_MEDIA = ("audio", "image", "video")


@dataclass(slots=True)
class _Bill:
    """What the chunks so far add up to."""

    answers: int  # how many candidates were asked for
    is_whole: bool = False  # one object holds everything, however many candidates it has
    model: str = ""
    request_id: str = ""
    stop_reason: str = ""
    error: str = ""
    has_usage: bool = False
    has_last_word: bool = False
    figures: _Figures = _Figures()
    raw: dict[str, Any] = field(default_factory=dict)
    modifiers: Modifiers = STANDARD
    searches: dict[tuple[int, str], int] = field(default_factory=dict)  # by candidate and fee
    seen: set[int] = field(default_factory=set)  # candidates, by index
    finished: set[int] = field(default_factory=set)
    is_blocked: bool = False
    doubts: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Every candidate is finished, or there will be none."""
        return self.is_whole or self.is_blocked or (len(self.finished) >= self.answers and self.finished >= self.seen)

    def take(self, said: Any) -> None:
        """One chunk, a list of them, or a whole answer."""
        for chunk in said if isinstance(said, list) else [said]:
            if not isinstance(chunk, dict):
                self._doubt("a chunk could not be read")
            elif "error" in chunk:
                self.error = _error(chunk["error"])
            else:
                self._take_chunk(chunk)

    def reading(self, *, is_closed: bool = False) -> Reading:
        """What is known; the end, and the words for the audit, once nothing more can come."""
        is_complete = is_closed and self.is_over and not self.error
        if is_complete and not self.model:
            self._doubt("the answer does not name its model")
        figures = self.figures
        is_exact = figures.prompt is not None and (figures.cached is not None or self.has_last_word)
        return Reading(
            model=self.model,
            usage=self._usage() if self.has_usage or self.searches else None,
            usage_is_whole=self.has_last_word and figures.are_whole,
            prompt_is_exact=is_exact and not self.doubts,
            is_complete=is_complete,
            has_started=True,
            modifiers=self.modifiers,
            error=self.error,
            stop_reason=self.stop_reason,
            request_id=self.request_id,
            raw_usage=lenient.shown(self.raw) if is_closed and self.raw else "",
            doubt="; ".join(self.doubts),
        )

    def _take_chunk(self, chunk: dict[str, Any]) -> None:
        self.model = lenient.word(chunk.get("modelVersion")).removeprefix("models/") or self.model
        self.request_id = lenient.word(chunk.get("responseId")) or self.request_id
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, dict) and lenient.word(feedback.get("blockReason")):
            self.is_blocked, self.stop_reason = True, feedback["blockReason"]
        for candidate in _listed(chunk.get("candidates")):
            if isinstance(candidate, dict):
                self._take_candidate(candidate)
        if chunk.get("usageMetadata") is not None:
            self._take_usage(chunk["usageMetadata"])

    def _take_candidate(self, candidate: dict[str, Any]) -> None:
        index = candidate.get("index")
        index = index if type(index) is int else 0
        self.seen.add(index)
        if "groundingMetadata" in candidate:
            self._take_searches(index, candidate["groundingMetadata"])
        reason = lenient.word(candidate.get("finishReason"))
        if reason not in _UNFINISHED:
            self.finished.add(index)
            self.stop_reason = reason

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

    def _take_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            self._doubt("the answer's usageMetadata is not an object")
            return
        if lenient.is_contradictory(usage):
            self._doubt(lenient.TWICE)
        self.has_usage = True
        self.figures = self._not_below(self._overlay(usage))
        self.raw |= usage
        self._take_tier(usage)
        self.has_last_word |= self.is_over

    def _usage(self) -> Usage:
        usage = self.figures.usage()
        media = _media(self.raw, _SENT)
        if not media and not self.searches:
            return usage
        return replace(usage, pieces=self._pieces(), apart=_apart(usage, media, _media(self.raw, _CACHED)))

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

    def _pieces(self) -> dict[str, int]:
        pieces: dict[str, int] = {}
        for (_, fee), count in self.searches.items():
            pieces[fee] = pieces.get(fee, 0) + count
        if "web_search" in pieces and SEARCHES_BILLED_ONCE.match(self.model):
            pieces["web_search"] = 1
        return pieces

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


def _media(raw: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, int]:
    """Tokens of pictures, sound and film in these lists; each list was told whole by its last snapshot."""
    found: dict[str, int] = {}
    for entry in (entry for key in keys for entry in _listed(raw.get(key)) if isinstance(entry, dict)):
        medium, count = lenient.word(entry.get("modality")).lower(), entry.get("tokenCount")
        if medium in _MEDIA and count is not None and lenient.is_count(count):
            found[medium] = found.get(medium, 0) + count
    return found


def _apart(usage: Usage, sent: Mapping[str, int], cached: Mapping[str, int]) -> dict[str, int]:
    """Those tokens by what price lists call them; what cannot have been fresh was read from the cache."""
    apart: dict[str, int] = {}
    for medium, count in sent.items():
        fresh = min(max(0, count - cached.get(medium, 0)), usage.input)
        apart[f"input_{medium}_token"] = fresh
        apart[f"cache_{medium}_read_token"] = min(max(0, count - fresh), usage.cache_read)
    return {name: count for name, count in apart.items() if count}
