"""Transcripts of Claude Code: `projects/<folder>/<session>.jsonl`, subagents in files beside or inside them.

One answer is a line for each of its blocks. All carry the answer's id and request id; older versions wrote the first
ones while the answer was still coming, with an output count that is far too low. Forks copy lines, with the time at
which they were first written and (in newer versions) the session that asked. Progress lines echo subagents' messages
one level deeper. A tool's result may carry a `usage` of its own, which is a sum and no bill. Answers that the agent
made up itself are by the model `<synthetic>`.

Every line is decoded as a whole, once, which proves that the bill is the message's own and that the line is not torn;
only a few of its fields become values. A decoder passes over text as fast as anything looks for a word in it. Of the
lines about one message that stand in one block only the fullest becomes a telling, at the time of the first.

What a request takes in is a part of every bill: a `usage` without one of its figures is none. Inside a JSON string a
quote is escaped, so `input_tokens"` (`cache_read_input_tokens` ends the same) can only be the end of a real key: a line
that cannot be decoded and does not have it is nobody's bill.

What does not fit (a figure that is no whole number, several samplings in one answer) goes the long way, through the
meter that reads the provider's own answers: what it says at least is counted, and the doubt is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from crewcap.core.transcripts import Told
from crewcap.transcripts import Block, Manner, Sink, State

AGENT = "claude"
PROVIDER = "anthropic"
SYNTHETIC = "<synthetic>"
NEEDLE = b'input_tokens"'
WENT_IN = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
MOST_TOKENS = 1_000_000_000  # of one kind in one answer; as `wire.lenient` has it

_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)] | None
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Writes(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: _Count = None
    ephemeral_5m_input_tokens: _Count = None


class _Details(msgspec.Struct, gc=False):
    thinking_tokens: _Count = None


class _Usage(msgspec.Struct, gc=False):
    """A bill as it usually is; anything else is a validation error, and goes the long way.

    Fields of all of these stand in the order in which the agent writes them: the decoder finds the next one at once.
    """

    input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    output_tokens: _Count = None
    output_tokens_details: _Details | None = None
    server_tool_use: dict[str, _Count] | None = None
    service_tier: str | None = None
    cache_creation: _Writes | None = None
    inference_geo: str | None = None
    iterations: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=0)] | None = None
    speed: str | None = None


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None


class Fork(msgspec.Struct, gc=False, rename="camel"):
    """Where a copied line comes from."""

    session_id: str | None = None


class Line(msgspec.Struct, gc=False, rename="camel"):
    """A line, as far as it says something of a bill."""

    is_sidechain: bool | None = None
    message: _Message | None = None
    request_id: str | None = None
    prompt_cache_requested: str | None = None
    uuid: str | None = None
    timestamp: _Moment | None = None
    cwd: str | None = None
    session_id: str | None = None
    request_session_id: str | None = None  # of a copied line: the session that asked
    forked_from: Fork | None = None
    data: _Echo | None = None


class _Echo(msgspec.Struct, gc=False):
    """What a progress line carries."""

    message: Line | None = None


_decode = msgspec.json.Decoder(Line).decode
_USES = frozenset({"web_search_requests", "web_fetch_requests"})
_GEOS = {"not_available": "global"}
_GLOBAL, _STANDARD = "global", "standard"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
        """Decode every line, merge those about one message, and tell of each once."""
        lines, odd = _decoded(block)
        names: dict[str, str] = {}
        for key, kept in _merged(lines).items():
            _tell(key, kept, names.setdefault, state, into)
        if odd:
            from crewcap.transcripts.claude_odd import take_odd  # noqa: PLC0415  (mostly there is none)

            for raw in odd:
                take_odd(raw, state, into)


def _decoded(block: Block) -> tuple[list[Line], list[bytes]]:
    """Lines that are written as usual, and those that are not but may be bills."""
    pieces = _pieces(block)
    rest, found, odd = iter(pieces), list[Line](), list[memoryview]()
    while True:
        try:
            found.extend(map(_decode, rest))  # stops behind a line that it cannot decode
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            odd.append(pieces[len(found) + len(odd)])
        else:
            return found, [raw for piece in odd if NEEDLE in (raw := bytes(piece))]


def _pieces(block: Block) -> list[memoryview]:
    """A block's lines, where they stand."""
    find, view, end = block.buffer.find, memoryview(block.buffer), block.end
    pieces, start = list[memoryview](), block.start
    add = pieces.append
    while (stop := find(b"\n", start, end)) >= 0:
        add(view[start:stop])
        start = stop + 1
    if start < end:
        add(view[start:end])
    return pieces


@dataclass(slots=True)
class _Kept:
    """What a block's lines say about one message: the fullest of them, and the first."""

    fullest: Line
    usage: _Usage  # of the fullest
    output: int  # of the fullest
    first: Line


def _merged(lines: Iterable[Line]) -> dict[str, _Kept]:
    """Each message of some lines; most are about that of the line before, which is compared before it is looked up."""
    every: dict[str, _Kept] = {}
    id_, request, model, kept = None, None, None, None  # of the line before
    for line in lines:
        message = line.message
        if message is None or message.usage is None:
            if line.data is None:
                continue
            line = _echo(line)  # noqa: PLW2901  (the line inside this one)
            message = line.message
        if message is None or (usage := message.usage) is None:
            continue
        is_next = message.id == id_ and line.request_id == request and message.model == model
        if kept is None or not is_next or not id_ or usage.input_tokens is None:
            if _is_no_bill(message.model, usage):
                continue
            id_, request, model = message.id, line.request_id, message.model
            key = key_of(id_, line)
            kept = every.get(key)
            if kept is None:
                kept = every[key] = _Kept(line, usage, usage.output_tokens or 0, line)
                continue
        output = usage.output_tokens or 0
        if output > kept.output or (output == kept.output and _is_fuller(line, usage, kept)):
            kept.fullest, kept.usage, kept.output = line, usage, output
        when, first = line.timestamp, kept.first.timestamp
        if when is not None and (first is None or when < first):
            kept.first = line
    return every


def _is_no_bill(model: str | None, usage: _Usage) -> bool:
    """An answer that the agent made up itself, or a usage that says nothing of what went in."""
    if model is None or model == SYNTHETIC:
        return True
    return usage.input_tokens is None and all(getattr(usage, name) is None for name in WENT_IN)


def _is_fuller(line: Line, usage: _Usage, kept: _Kept) -> bool:
    """Of two with as much output, as `core.transcripts.better` has it."""
    return usage != kept.usage and _went_in(usage, line) > _went_in(kept.usage, kept.fullest)


def _went_in(usage: _Usage, line: Line) -> tuple[int, int, int, int]:
    return usage.input_tokens or 0, usage.cache_read_input_tokens or 0, *_writes(usage, line)


def _echo(line: Line) -> Line:
    """A subagent's message, told again one level deeper by a progress line, whose session and folder are its own."""
    echo = line.data.message if line.data is not None else None
    if echo is None:
        return line
    echo.session_id = echo.session_id or line.session_id
    echo.cwd = echo.cwd or line.cwd
    echo.timestamp = echo.timestamp or line.timestamp
    echo.is_sidechain = True
    return echo


def _tell(key: str, kept: _Kept, one: Callable[[str, str], str], state: State, into: Sink) -> None:
    """What a message comes to. Names that come again are `one`: a message that waits to be written is half as large."""
    line, usage, output = kept.fullest, kept.usage, kept.output
    model = (line.message.model or "") if line.message is not None else ""
    session, folder = session_of(kept.first), line.cwd or ""
    speed, tier = usage.speed or _STANDARD, usage.service_tier or _STANDARD
    write_5m, write_1h = _writes(usage, line)
    used, details, geo = usage.server_tool_use, usage.output_tokens_details, usage.inference_geo
    told = (
        key,
        ms_of(kept.first, state, into),
        one(session, session),
        one(folder, folder),
        PROVIDER,
        one(model, model),
        usage.input_tokens or 0,
        usage.cache_read_input_tokens or 0,
        write_5m,
        write_1h,
        output,
        min(details.thinking_tokens or 0, output) if details is not None else 0,
        (used.get("web_search_requests") or 0) if used else 0,
        one(speed, speed),
        _GEOS.get(geo, one(geo, geo)) if geo else _GLOBAL,
        one(tier, tier),
        bool(line.is_sidechain),
        "",
    )
    made = tuple.__new__(Told, told)  # its own way of being made takes three times as long
    into.add(made if not used or used.keys() <= _USES else _with_pieces(made, used))


def _with_pieces(told: Told, used: Mapping[str, int | None]) -> Told:
    """Tools that this reader does not know may be billed by the piece."""
    from crewcap.transcripts.claude_odd import with_pieces  # noqa: PLC0415  (mostly there are none)

    return with_pieces(told, used)


def key_of(id_: str | None, line: Line) -> str:
    """An answer without an id is known by its line."""
    return f"claude:{id_}:{line.request_id or ''}" if id_ else f"claude:line:{line.uuid or line.timestamp}"


def session_of(line: Line) -> str:
    """The session that asked."""
    if line.request_session_id:
        return line.request_session_id
    fork = line.forked_from
    return (fork.session_id if fork is not None else None) or line.session_id or ""


def ms_of(line: Line, state: State, into: Sink) -> int:
    """A line without a time has that of its file."""
    when = line.timestamp
    if when is None:
        into.problems["without a time: the file's was taken"] += 1
        return int(state["mtime_ms"])
    since = when - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1_000 + (since.microseconds + 500) // 1_000


def _writes(usage: _Usage, line: Line) -> tuple[int, int]:
    """Cache writes by lifetime; those that are not split are of the lifetime asked for, five minutes by default."""
    split, written = usage.cache_creation, usage.cache_creation_input_tokens or 0
    if split is None:
        return (0, written) if line.prompt_cache_requested == "1h" else (written, 0)
    short, long = split.ephemeral_5m_input_tokens or 0, split.ephemeral_1h_input_tokens or 0
    untold = max(0, written - short - long)
    return (short, long + untold) if line.prompt_cache_requested == "1h" else (short + untold, long)
