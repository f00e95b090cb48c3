"""Transcripts of Claude Code: `projects/<folder>/<session>.jsonl`, subagents in files beside or inside them.

One answer is a line for each of its blocks. All carry the answer's id and request id; older versions wrote the first
ones while the answer was still coming, with an output count that is far too low. Forks copy lines, with the time at
which they were first written and (in newer versions) the session that asked. Progress lines echo subagents' messages
one level deeper. A tool's result may carry a `usage` of its own, which is a sum and no bill. Answers that the agent
made up itself are by the model `<synthetic>`.

What a request takes in is a part of every bill, as `input_tokens` (and `cache_read_input_tokens`, whose name ends the
same). Inside a JSON string a quote is escaped, so `input_tokens"` can only be the end of a real key: lines without it
are never looked at, and quoted transcripts do not count. Such a line is decoded as a whole, once, which proves that the
bill is the message's own and that the line is not torn; only a few of its fields become values. Of the lines about one
message that stand in one block only the best becomes a telling.

What does not fit (a figure that is no whole number, several samplings in one answer) goes the long way, through the
meter that reads the provider's own answers: what it says at least is counted, and the doubt is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeGuard

import msgspec

from crewcap.core.pricing import Usage
from crewcap.core.transcripts import Told
from crewcap.transcripts import Block, Manner, Sink, State
from crewcap.wire import lenient
from crewcap.wire.anthropic_meter import WholeMeter

AGENT = "claude"
PROVIDER = "anthropic"
SYNTHETIC = "<synthetic>"
NEEDLE = b'input_tokens"'

_Count = Annotated[int, msgspec.Meta(ge=0, le=lenient.MOST_TOKENS)] | None


class _Writes(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: _Count = None
    ephemeral_1h_input_tokens: _Count = None


class _Details(msgspec.Struct, gc=False):
    thinking_tokens: _Count = None


class _Used(msgspec.Struct, gc=False):
    web_search_requests: _Count = None


class _Usage(msgspec.Struct, gc=False):
    """A bill as it usually is; anything else is a validation error, and goes the long way."""

    input_tokens: _Count = None
    output_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    cache_creation: _Writes | None = None
    output_tokens_details: _Details | None = None
    server_tool_use: _Used | None = None
    speed: str | None = None
    inference_geo: str | None = None
    service_tier: str | None = None
    iterations: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=0)] | None = None


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None


class _Fork(msgspec.Struct, gc=False, rename="camel"):
    session_id: str | None = None


class _Line(msgspec.Struct, gc=False, rename="camel"):
    message: _Message | None = None
    timestamp: datetime | None = None
    request_id: str | None = None
    session_id: str | None = None
    request_session_id: str | None = None  # of a copied line: the session that asked
    forked_from: _Fork | None = None
    cwd: str | None = None
    is_sidechain: bool | None = None
    uuid: str | None = None
    prompt_cache_requested: str | None = None
    data: _Echo | None = None


class _Echo(msgspec.Struct, gc=False):
    """What a progress line carries."""

    message: _Line | None = None


_decode = msgspec.json.Decoder(_Line).decode
_GEOS = {"not_available": "global"}
_GLOBAL, _STANDARD = "global", "standard"


class ClaudeCode:
    """Implements `Reader`."""

    agent = AGENT

    def places(self, environ: Mapping[str, str]) -> tuple[Path, ...]:
        """`$CLAUDE_CONFIG_DIR` (several, separated by commas), else the old and the new folder below the home."""
        said = [Path(word.strip()).expanduser() for word in environ.get("CLAUDE_CONFIG_DIR", "").split(",") if word]
        home = Path(environ.get("HOME", "~"))
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        return tuple(folder / "projects" for folder in (said or (home / ".claude", config / "claude")))

    def claims(self, name: str, folder: str) -> bool:
        """Every file of JSON lines that no other agent claims."""
        del folder
        return name.endswith(".jsonl")

    def manner(self, path: str) -> Manner:
        """It only grows."""
        del path
        return "lines"

    def beside(self, path: str) -> tuple[str, ...]:
        """Nothing."""
        del path
        return ()

    def read(self, block: Block, state: State, into: Sink) -> None:
        """Hop from one bill to the next and decode the lines around them."""
        buffer, done, end = block.buffer, block.start, block.end
        find, rfind, view, decode = buffer.find, buffer.rfind, memoryview(buffer), _decode
        kept: dict[str, _Line] = {}
        while (at := find(NEEDLE, done, end)) >= 0:
            head = rfind(b"\n", done, at) + 1 or done
            done = find(b"\n", at, end)
            if done < 0:
                done = end
            try:
                _keep(decode(view[head:done]), kept)
            except (msgspec.DecodeError, UnicodeDecodeError):
                _take_odd(bytes(view[head:done]), state, into)
        for key, line in kept.items():
            _tell(key, line, state, into)


def _keep(line: _Line, kept: dict[str, _Line]) -> None:
    """A line that is written as usual. Of several about a message that follow each other only one goes further."""
    message = line.message
    if message is None or (usage := message.usage) is None:
        if line.data is not None and line.data.message is not None:
            _keep_echo(line.data.message, line, kept)
        return
    if message.model is None or message.model == SYNTHETIC:
        return
    key = f"claude:{message.id}:{line.request_id or ''}" if message.id else _key(None, line)
    before = kept.get(key)
    if before is None:
        kept[key] = line
    elif (usage.output_tokens or 0) > (before.message.usage.output_tokens or 0):  # type: ignore[union-attr]  # kept lines have both
        kept[key] = line
        _keep_first(line, before)
    else:
        _keep_first(before, line)


def _keep_first(line: _Line, other: _Line) -> None:
    """The earlier time of two, with its session."""
    if other.timestamp is not None and (line.timestamp is None or other.timestamp <= line.timestamp):
        line.timestamp = other.timestamp
        line.session_id, line.request_session_id, line.forked_from = (
            other.session_id,
            other.request_session_id,
            other.forked_from,
        )


def _keep_echo(echo: _Line, line: _Line, kept: dict[str, _Line]) -> None:
    """A subagent's message, told again one level deeper by a progress line, whose session and folder are its own."""
    if echo.message is None:
        return
    echo.session_id = echo.session_id or line.session_id
    echo.cwd = echo.cwd or line.cwd
    echo.timestamp = echo.timestamp or line.timestamp
    echo.is_sidechain = True
    echo.data = None
    _keep(echo, kept)


def _tell(key: str, line: _Line, state: State, into: Sink) -> None:
    """What a line comes to."""
    message = line.message
    usage = message.usage if message is not None else None
    if message is None or usage is None:
        return
    write_5m, write_1h = _writes(usage, line)
    used, details = usage.server_tool_use, usage.output_tokens_details
    output = usage.output_tokens or 0
    geo = usage.inference_geo
    into.add(
        Told(
            key,
            _ms(line, state, into),
            _session(line),
            line.cwd or "",
            PROVIDER,
            message.model or "",
            usage.input_tokens or 0,
            usage.cache_read_input_tokens or 0,
            write_5m,
            write_1h,
            output,
            min(details.thinking_tokens or 0, output) if details is not None else 0,
            (used.web_search_requests or 0) if used is not None else 0,
            usage.speed or _STANDARD,
            _GEOS.get(geo, geo) if geo else _GLOBAL,
            usage.service_tier or _STANDARD,
            bool(line.is_sidechain),
        )
    )


def _key(id_: str | None, line: _Line) -> str:
    """An answer without an id is known by its line."""
    return f"claude:{id_}:{line.request_id or ''}" if id_ else f"claude:line:{line.uuid or line.timestamp}"


def _session(line: _Line) -> str:
    if line.request_session_id:
        return line.request_session_id
    fork = line.forked_from
    return (fork.session_id if fork is not None else None) or line.session_id or ""


def _ms(line: _Line, state: State, into: Sink) -> int:
    """A line without a time has that of its file."""
    when = line.timestamp
    if when is None:
        into.problems["without a time: the file's was taken"] += 1
        return int(state["mtime_ms"])
    return round((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp() * 1_000)


def _writes(usage: _Usage, line: _Line) -> tuple[int, int]:
    """Cache writes by lifetime; those that are not split are of the lifetime asked for, five minutes by default."""
    split, written = usage.cache_creation, usage.cache_creation_input_tokens or 0
    if split is None:
        return (0, written) if line.prompt_cache_requested == "1h" else (written, 0)
    short, long = split.ephemeral_5m_input_tokens or 0, split.ephemeral_1h_input_tokens or 0
    untold = max(0, written - short - long)
    return (short, long + untold) if line.prompt_cache_requested == "1h" else (short + untold, long)


# --- the long way


def _take_odd(raw: bytes, state: State, into: Sink) -> None:
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
    return isinstance(message, dict) and isinstance(message.get("usage"), dict)


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
    others = {name: count for name, count in usage.pieces.items() if name != "web_search"}
    is_plain = not reading.samplings and not others
    told = Told(
        key=_key(lenient.word(message.get("id")) or None, line),
        at=_ms(line, state, into),
        session=_session(line),
        folder=line.cwd or "",
        provider=PROVIDER,
        model=reading.model,
        searches=usage.pieces.get("web_search", 0),
        speed=modifiers.speed,
        geo=modifiers.geo,
        tier=modifiers.tier,
        is_sub=bool(line.is_sidechain),
        parts="" if is_plain else _told_parts(parts, others),
    )
    into.add(told._replace(**whole))


_KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")


def _told_parts(parts: tuple[tuple[str, Usage], ...], pieces: Mapping[str, int]) -> str:
    """Each sampling's own model and tokens, as `pricing` reads them."""
    tokens = [[model, *(getattr(usage, kind) for kind in _KINDS)] for model, usage in parts]
    return msgspec.json.encode({"parts": tokens, "pieces": dict(pieces)}).decode()


def _countable(message: dict[str, Any]) -> dict[str, Any]:
    """What a meter needs of it."""
    return {key: message.get(key) for key in ("id", "model", "usage")}


def _line(said: dict[str, Any]) -> _Line:
    """The fields around a bill, each as far as it is one."""
    fork = said.get("forkedFrom")
    return _Line(
        timestamp=_moment(said.get("timestamp")),
        request_id=lenient.word(said.get("requestId")) or None,
        session_id=lenient.word(said.get("sessionId")) or None,
        request_session_id=lenient.word(said.get("requestSessionId")) or None,
        forked_from=_Fork(lenient.word(fork.get("sessionId")) or None) if isinstance(fork, dict) else None,
        cwd=lenient.word(said.get("cwd")) or None,
        is_sidechain=said.get("isSidechain") is True,
        uuid=lenient.word(said.get("uuid")) or None,
        prompt_cache_requested=lenient.word(said.get("promptCacheRequested")) or None,
    )


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
