"""Transcripts of Codex: `sessions/YYYY/MM/DD/rollout-*.jsonl`, and `archived_sessions/`.

Newer versions write a `token_usage_record` for each response, with the response's id: that is a message. Older ones
write `token_count` events: totals of the thread so far, and the last response's own tokens. They come again without a
new response (when a rate limit changes, after a compaction), so it is the *total* that tells one response from the
next, and the last tokens that are counted. Once a file has records, its counts are not looked at.

A fork, or an agent that is spawned, may begin with a copy of its parent's history, stamped with the time of the copy:
after its own `session_meta` come those of its ancestors. So a count is known by the oldest thread that the file names,
together with its total: the copy has the key of what it was copied from. (Two forks of one thread whose next responses
have the same tokens, to the last one, count as one; with records this cannot happen.)

OpenAI counts cached and written tokens inside the input, and reasoning inside the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from crewcap.core.transcripts import Told
from crewcap.transcripts import Block, Manner, Sink, State
from crewcap.transcripts.times import at_ms
from crewcap.wire import lenient
from crewcap.wire.openai_known import TIER_WORDS

AGENT = "codex"
PROVIDER = "openai"
_WORDS = (b'"session_meta"', b'"turn_context"', b'"thread_settings_applied"', b'"token_count"', b'"token_usage_record"')
_ENDS = (
    400  # characters at either end of a line, in which it says what it is: only its time and its payload stand beside
)
_SHORT = 4_096  # a line that tells tokens is no longer, in whatever order it tells them
_OVERLAP = max(map(len, _WORDS))
_SAID = b'"type":"response_item"'  # what people, models and tools said: most of a file
_TIERS = {**TIER_WORDS, "fast": "priority"}


class Codex:
    """Implements `Reader`."""

    agent = AGENT

    def places(self, environ: Mapping[str, str]) -> tuple[Path, ...]:
        """Below `$CODEX_HOME`, else below `~/.codex`."""
        home = Path(environ.get("CODEX_HOME") or Path(environ.get("HOME", "~")) / ".codex").expanduser()
        return (home / "sessions", home / "archived_sessions")

    def claims(self, name: str, folder: str) -> bool:
        """Its files say what they are by their name."""
        del folder
        return name.startswith("rollout-") and name.endswith(".jsonl")

    def manner(self, path: str) -> Manner:
        """It only grows."""
        del path
        return "lines"

    def beside(self, path: str) -> tuple[str, ...]:
        """Nothing."""
        del path
        return ()

    def read(self, block: Block, state: State, into: Sink) -> None:
        """Look at the ends of each line, and decode those that matter."""
        buffer, at, end = block.buffer, block.start, block.end
        while at < end:
            line_end = buffer.find(b"\n", at, end)
            line_end = end if line_end < 0 else line_end
            if _may_matter(buffer, at, line_end):
                _take(bytes(buffer[at:line_end]), state, into)
            at = line_end + 1


def _may_matter(buffer: bytearray, start: int, end: int) -> bool:
    """Whether a line has one of the words where it says what it is; keys may come in any order."""
    head = bytes(buffer[start : min(end, start + _ENDS)])
    if any(word in head for word in _WORDS):
        return True
    if end - start <= _ENDS or _SAID in head:
        return False
    since = start + _ENDS - _OVERLAP if end - start <= _SHORT else end - _ENDS
    rest = bytes(buffer[since:end])
    return any(word in rest for word in _WORDS)


class _Line(msgspec.Struct, gc=False):
    type: str = ""
    timestamp: str = ""
    payload: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Line).decode


def _take(raw: bytes, state: State, into: Sink) -> None:
    try:
        line = _decode(raw)
        payload = lenient.parsed(bytes(line.payload)) if line.payload else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = lenient.parsed(raw)
        if not isinstance(said, dict):
            into.problems["torn: no JSON"] += 1
            return
        line = _Line(lenient.word(said.get("type")), lenient.word(said.get("timestamp")))
        payload = said.get("payload")
    if not isinstance(payload, dict):
        return
    match line.type:
        case "session_meta":
            _begin(payload, state)
        case "turn_context":
            state["model"] = lenient.word(payload.get("model")) or state.get("model", "")
            state["cwd"] = lenient.word(payload.get("cwd")) or state.get("cwd", "")
            _settle_tier(payload, state)
        case "token_usage_record":
            _record(payload, line.timestamp, state, into)
        case "event_msg" if payload.get("type") == "thread_settings_applied":
            settings = payload.get("thread_settings")
            if isinstance(settings, dict):
                state["model"] = lenient.word(settings.get("model")) or state.get("model", "")
                _settle_tier(settings, state)
        case "event_msg" if payload.get("type") == "token_count":
            _count(payload.get("info"), line.timestamp, state, into)


def _begin(meta: dict[str, Any], state: State) -> None:
    """The first one is the file's own; those after it are of the threads that it was copied from, the oldest last."""
    id_ = lenient.word(meta.get("id"))
    if "thread" not in state:
        state["thread"] = id_
        state["session"] = lenient.word(meta.get("session_id")) or id_
        state["cwd"] = lenient.word(meta.get("cwd"))
        state["is_sub"] = meta.get("thread_source") == "subagent"
        state["family"] = lenient.word(meta.get("forked_from_id")) or id_
    elif id_:
        state["family"] = id_


def _settle_tier(said: dict[str, Any], state: State) -> None:
    tier = said.get("service_tier")
    if isinstance(tier, str):
        state["tier"] = _TIERS.get(tier, tier)


def _record(payload: dict[str, Any], when: str, state: State, into: Sink) -> None:
    """One response."""
    tokens = _tokens(payload.get("usage"), into)
    if tokens is None:
        into.problems["a response without its tokens: not counted"] += 1
        return
    state["has_records"] = True
    response = lenient.word(payload.get("response_id"))
    total = _tokens(payload.get("thread_token_usage"), into)
    key = f"codex:{response}" if response else f"codex:{state.get('family', '')}:{total}"
    _add(key, tokens, when, state, into)


def _count(info: Any, when: str, state: State, into: Sink) -> None:
    """A total, and what the last response added to it."""
    if state.get("has_records") or not isinstance(info, dict):
        return
    total = _tokens(info.get("total_token_usage"), into)
    if total is None:
        if info:
            into.problems["a count without its total: not counted"] += 1
        return
    before, state["total"] = state.get("total"), list(total)
    if before == list(total):
        return
    last = _tokens(info.get("last_token_usage"), into)
    if last is None:  # as the oldest versions wrote it
        last = tuple(max(0, now - then) for now, then in zip(total, before or (0,) * len(total), strict=True))
    _add(f"codex:{state.get('family', '')}:{total}", last, when, state, into)


_Tokens = tuple[int, ...]
_FIELDS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)


def _tokens(usage: Any, into: Sink) -> _Tokens | None:
    """Input, cached, written, output, reasoning; None where nothing was told."""
    if not isinstance(usage, dict):
        return None
    counts = []
    for name in _FIELDS:
        value = usage.get(name, 0)
        if not lenient.is_count(value):
            into.problems["in doubt: what it says at least was counted"] += 1
            value = lenient.least_count(value) or 0
        counts.append(value)
    return tuple(counts)


def _add(key: str, tokens: _Tokens, when: str, state: State, into: Sink) -> None:
    if not any(tokens):
        return
    prompt, cached, written, output, reasoning = tokens
    if cached + written > prompt:
        into.problems["in doubt: the prompt is less than its parts"] += 1
    into.add(
        Told(
            key=key,
            at=at_ms(when, state, into),
            session=state.get("session", ""),
            folder=state.get("cwd", ""),
            provider=PROVIDER,
            model=state.get("model", ""),
            input=max(0, prompt - cached - written),
            cache_read=cached,
            write_5m=written,
            output=output,
            thinking=min(reasoning, output),
            tier=state.get("tier", "standard"),
            is_sub=bool(state.get("is_sub")),
        )
    )
