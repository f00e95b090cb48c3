"""What a request says, in whichever API: what a script picks its step by, and the blocks that are billed.

Nothing here counts messages or attempts. Where a conversation stands is read from its content alone: the last tool
result names, in the id of the call that it answers, the step that made the call. A request that is retried, resumed
after a kill, or sent by another process is therefore given the same step.

Each API has a file of its own that reads its bodies into parts (`Said`) and hands them to `gathered`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from crewcap.simulator.tokens import MESSAGE_TOKENS, TOOLS_TOKENS, tokens_of_block, tokens_of_tool

Mark = Literal["", "5m", "1h"]
Role = Literal["system", "user", "assistant", "tool"]


class BadRequest(ValueError):
    """The body is not one that the API takes; the message is what the API would say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A billed part of the prompt: a tool, a system block or a content block, in the order of the prefix."""

    digest: bytes  # of what it says, its cache mark left out
    tokens: int
    mark: Mark = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The tool call that the last result answers, as its id tells."""

    step: str
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One part of a conversation, whichever shape it was sent in."""

    role: Role
    turn: int  # the number of its message: parts of one message share it
    billed: Any  # what counts as input: no more than what was sent
    text: str = ""
    answers: str | None = None  # the id of the call that this is the result of
    tokens: int | None = None  # where they are not counted by bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What a conversation says, and where it stands."""

    task: str  # the first thing that a person (or the parent agent) said
    asked: str  # the last thing they said
    result: str  # text of the last tool results
    has_results: bool
    last_call: Call | None  # None where the id is not one of ours
    cwd: str
    blocks: tuple[Block, ...]
    digest: str  # of the whole conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Talk):
    """One request, read."""

    model: str
    max_tokens: int  # 0: none was said, and the model's own limit holds
    stream: bool
    thinks: bool
    geo: str = "global"
    speed: str = "standard"
    tier: str = "standard"
    is_subagent: bool = False
    tools: frozenset[str]
    answers: int = 1  # so many are written over one prompt
    most_thoughts: int | None = None  # tokens; None where the request does not say
    write: Mark = ""  # the lifetime that is asked for where the provider writes its cache unasked
    tells_usage: bool = True  # a stream of Chat Completions tells its usage where it is asked to
    as_events: bool = True  # a stream of Gemini's is one JSON list where events are not asked for
    is_kept: bool = False  # a later request may go on from the answer by its id
    items: tuple[Any, ...] = ()  # what was sent, where it may be kept
    freeform: frozenset[str] = frozenset()  # tools whose input is a text and not an object
    namespaces: Mapping[str, str] = field(default_factory=dict)  # of tools that stand in one

    @property
    def marks(self) -> int:
        """How many blocks ask to be cached up to."""
        return sum(1 for block in self.blocks if block.mark)


def parsed(body: bytes) -> dict[str, Any]:
    """A body as an object; floats stay text, so that they count as what was sent."""
    try:
        data = json.loads(body, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadRequest("The request body must be an object")
    return data


def gathered(parts: Sequence[Said], tools: Iterable[tuple[Any, bool]], *, bytes_per_token: int) -> Talk:
    """What these parts say together; `tools` are definitions, each with whether it is one of the provider's own."""
    blocks = (*_tool_blocks(tools, bytes_per_token), *_part_blocks(parts, bytes_per_token))
    results = _last_results(parts)
    said = _said(parts)
    return Talk(
        task=said[0] if said else "",
        asked=said[-1] if said else "",
        result="\n".join(part.text for part in results if part.text),
        has_results=bool(results),
        last_call=call_of(results[-1].answers or "") if results else None,
        cwd=cwd_in(part.text for part in parts),
        blocks=blocks,
        digest=digest_of(blocks),
    )


def fields_of(talk: Talk) -> dict[str, Any]:
    """The same by name, for what is asked beside it."""
    return {name: getattr(talk, name) for name in Talk.__dataclass_fields__}


def call_id(step: str, round_: int, number: int, digest: str) -> str:
    """The id of a tool call that a step makes: it tells the next request where the conversation stands."""
    return f"toolu_{step}_{round_}_{number}_{digest[:10]}"


def call_of(identifier: str) -> Call | None:
    """The call that an id was given to; None where the id is not one of ours."""
    match = _CALL.match(identifier)
    return Call(step=match["step"], round=int(match["round"])) if match else None


def without_reminders(text: str) -> str:
    """What a person said, without what agents put beside it."""
    return _REMINDER.sub("", text).strip()


def cwd_in(texts: Iterable[str]) -> str:
    """The agent's working directory, which it tells in one of these; `.` where it does not."""
    for text in texts:
        match = _CWD.search(text)
        if match:
            return match["path"].strip()
    return "."


def digest(kind: str, part: Any) -> bytes:
    """The same for everything that says the same."""
    return hashlib.sha256(json.dumps([kind, part], sort_keys=True, separators=(",", ":")).encode()).digest()


def digest_of(blocks: Iterable[Block]) -> str:
    """The same for the same prompt."""
    return hashlib.sha256(b"".join(block.digest for block in blocks)).hexdigest()


_CALL = re.compile(r"(?:toolu|call)_(?P<step>[a-z0-9-]+)_(?P<round>\d+)_\d+_[0-9a-f]{10}\Z")
_REMINDER = re.compile(
    r"<(?P<name>system-reminder|environment_context|session_context|user_instructions|INSTRUCTIONS)>.*?</(?P=name)>",
    re.DOTALL,
)
_CWD = re.compile(r"(?:[Ww]orking directory: *|<cwd>|\*\*Workspace Directories:\*\*\n *- )(?P<path>/[^\n<]*)")


def _tool_blocks(tools: Iterable[tuple[Any, bool]], bytes_per_token: int) -> Iterator[Block]:
    for index, (tool, is_own) in enumerate(tools):
        tokens = tokens_of_tool(tool, is_own=is_own, bytes_per_token=bytes_per_token)
        yield Block(digest=digest("tool", tool), tokens=tokens + (0 if index else TOOLS_TOKENS))


def _part_blocks(parts: Sequence[Said], bytes_per_token: int) -> Iterator[Block]:
    turn = 0
    for part in parts:
        opening = MESSAGE_TOKENS if part.turn != turn and part.role != "system" else 0
        turn = part.turn
        counted = part.tokens
        if counted is None:
            counted = tokens_of_block(part.billed, bytes_per_token=bytes_per_token)
        yield Block(digest=digest(part.role, part.billed), tokens=counted + opening)


def _said(parts: Sequence[Said]) -> list[str]:
    """What a user said in words, message by message."""
    turns: dict[int, list[str]] = {}
    for part in parts:
        if part.role == "user" and part.answers is None and (text := without_reminders(part.text)):
            turns.setdefault(part.turn, []).append(text)
    return ["\n".join(texts) for texts in turns.values()]


def _last_results(parts: Sequence[Said]) -> list[Said]:
    """The latest results: those that no word of the model's stands between."""
    found: list[Said] = []
    for part in reversed(parts):
        if found and part.role == "assistant":
            break
        if part.answers is not None:
            found.append(part)
    return found[::-1]
