"""Lines of Claude Code that are not written as usual: torn ones, and bills that a meter has to read.

A figure that is no whole number, several samplings in one answer, a time without a zone: what such a bill says at least
is counted, and the doubt is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

import msgspec

from crewcap.core.pricing import Usage
from crewcap.core.transcripts import Told
from crewcap.transcripts import Sink, State
from crewcap.transcripts.claude_code import PROVIDER, SYNTHETIC, WENT_IN, Fork, Line, key_of, ms_of, session_of
from crewcap.wire import lenient
from crewcap.wire.anthropic_meter import WholeMeter


def take_odd(raw: bytes, state: State, into: Sink) -> None:
    """A line that is not written as usual: torn, or with a bill that a meter has to read."""
    said = lenient.parsed(raw)
    if not isinstance(said, dict):
        into.problems["torn: no JSON"] += 1
        return
    data = said.get("data")
    inner = data.get("message") if isinstance(data, dict) else None
    if isinstance(inner, dict) and not _is_bill(said.get("message")):
        said = {**said, **inner, "isSidechain": True}
    message = said.get("message")
    if _is_bill(message) and message.get("model") != SYNTHETIC:
        _take_bill(said, message, state, into)


def _is_bill(message: Any) -> TypeGuard[dict[str, Any]]:
    usage = message.get("usage") if isinstance(message, dict) else None
    return isinstance(usage, dict) and any(usage.get(name) is not None for name in WENT_IN)


def _take_bill(said: dict[str, Any], message: dict[str, Any], state: State, into: Sink) -> None:
    line = _line(said)
    meter = WholeMeter("1h" if line.prompt_cache_requested == "1h" else "5m")
    meter.feed(json.dumps({**_countable(message), "type": "message"}).encode())  # which keeps a NaN as it is
    reading = meter.close()
    if reading.usage is None or not reading.model:
        into.problems["no bill: neither a model nor a usage"] += 1
        return
    if reading.doubt:
        into.problems["in doubt: what it says at least was counted"] += 1
    usage, modifiers = reading.usage, reading.modifiers
    parts = reading.samplings or ((reading.model, usage),)
    whole = {kind: sum(getattr(part, kind) for _, part in parts) for kind in _KINDS}
    others = {name: count for name, count in usage.pieces.items() if name != _SEARCH}
    is_plain = not reading.samplings and not others
    told = Told(
        key=key_of(lenient.word(message.get("id")) or None, line),
        at=ms_of(line, state, into),
        session=session_of(line),
        folder=line.cwd or "",
        provider=PROVIDER,
        model=reading.model,
        searches=usage.pieces.get(_SEARCH, 0),
        speed=modifiers.speed,
        geo=modifiers.geo,
        tier=modifiers.tier,
        is_sub=bool(line.is_sidechain),
        parts="" if is_plain else _told_parts(parts, others),
    )
    into.add(told._replace(**whole))


_SEARCH = "web_search"
_KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")


def _told_parts(parts: tuple[tuple[str, Usage], ...], pieces: Mapping[str, int]) -> str:
    """Each sampling's own model and tokens, as `pricing` reads them."""
    tokens = [[model, *(getattr(usage, kind) for kind in _KINDS)] for model, usage in parts]
    return msgspec.json.encode({"parts": tokens, "pieces": dict(pieces)}).decode()


def with_pieces(told: Told, used: Mapping[str, int | None]) -> Told:
    """A message with what was billed by the piece, as the meter names and counts it."""
    meter = WholeMeter("5m")
    said = {"id": "", "model": told.model, "usage": {"input_tokens": 0, "output_tokens": 0, "server_tool_use": used}}
    meter.feed(json.dumps({**said, "type": "message"}).encode())
    usage = meter.close().usage or Usage()
    others = {name: count for name, count in usage.pieces.items() if name != _SEARCH}
    plain = told._replace(searches=usage.pieces.get(_SEARCH, 0))
    return plain._replace(parts=_told_parts(((told.model, told.usage),), others)) if others else plain


def _countable(message: dict[str, Any]) -> dict[str, Any]:
    """What a meter needs of it."""
    return {key: message.get(key) for key in ("id", "model", "usage")}


def _line(said: dict[str, Any]) -> Line:
    """The fields around a bill, each as far as it is one."""
    fork = said.get("forkedFrom")
    return Line(
        timestamp=_moment(said.get("timestamp")),
        request_id=lenient.word(said.get("requestId")) or None,
        session_id=lenient.word(said.get("sessionId")) or None,
        request_session_id=lenient.word(said.get("requestSessionId")) or None,
        forked_from=Fork(lenient.word(fork.get("sessionId")) or None) if isinstance(fork, dict) else None,
        cwd=lenient.word(said.get("cwd")) or None,
        is_sidechain=said.get("isSidechain") is True,
        uuid=lenient.word(said.get("uuid")) or None,
        prompt_cache_requested=lenient.word(said.get("promptCacheRequested")) or None,
    )


def _moment(text: Any) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
