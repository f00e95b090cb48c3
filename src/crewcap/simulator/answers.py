"""Answers: what a step says to one request, cut to the output limit; each API has a file that writes it its own way.

An answer is a row of pieces with a size in tokens: what the model thinks, what it says, the calls that it makes. A
piece that no longer fits the output limit is cut (text, thinking) or left out (a call), and then the answer stops for
`max_tokens`, as the provider's do. A step that asks for more tokens than it has words is filled up with thinking that
stays hidden, where the request thinks, and with words where it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from crewcap.core.pricing import Modifiers, RateCard, Usage
from crewcap.simulator.conversation import Asked, call_id
from crewcap.simulator.script import Pick, Script, Step, fill
from crewcap.simulator.tokens import tokens_of_block

_PLAIN = Modifiers()
_ODD, _MASK = 2_654_435_761, 0xFFFF_FFFF  # no two lines get the same number
_SHORTEST_LINE = len("line 0 says 00000000, ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One content block of an answer."""

    kind: Literal["thinking", "text", "tool_use"]
    tokens: int
    text: str = ""
    id: str = ""
    name: str = ""
    input: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What will be sent and billed; the lies change one of these."""

    id: str
    model: str
    pieces: tuple[Piece, ...]
    usage: Usage
    stop_reason: str
    modifiers: Modifiers = _PLAIN
    says_speed: bool = False
    start: Usage | None  # what the first event tells; None = the field is missing
    end: Usage | None  # what the last one tells
    created: int = 0  # seconds since 1970, where the API says when


def compose(pick: Pick, script: Script, asked: Asked, *, prompt: Usage, card: RateCard, number: int) -> Answer:
    """The answer of a step to a request whose prompt is billed as `prompt`."""
    step = pick.step
    wanted = _pieces(pick, script, asked)
    filler = max(0, _size(step, prompt, card, asked.answers) - sum(piece.tokens for piece in wanted))
    pieces, is_cut = _clamp(_filled(wanted, filler, asked, script), asked.max_tokens, script)
    output = asked.answers * max(1, sum(piece.tokens for piece in pieces))
    thinking = asked.answers * sum(piece.tokens for piece in pieces if piece.kind == "thinking")
    usage = replace(prompt, output=output, thinking=thinking)
    return Answer(
        id=f"msg_sim_{number:06d}",
        model=card.model,
        pieces=pieces,
        usage=usage,
        stop_reason="max_tokens" if is_cut else _stop_reason(step, pieces),
        modifiers=Modifiers(speed=asked.speed, geo=asked.geo, tier=asked.tier),
        says_speed=asked.speed != "standard",
        start=replace(usage, output=1, thinking=0),
        end=usage,
    )


def longest_text(answer: Answer) -> Piece | None:
    """What is sent in several parts where thoughts are not shown."""
    texts = (piece for piece in answer.pieces if piece.kind == "text")
    return max(texts, key=lambda piece: piece.tokens, default=None)


def _size(step: Step, prompt: Usage, card: RateCard, answers: int) -> int:
    """Output tokens of an answer that a step asks for; for a cost, as many as bring the whole turn up to it."""
    if step.cost is None:
        return step.output_tokens
    rates = card.rates_for(prompt.prompt)
    rest = step.cost.nano * 1_000 - rates.pico(prompt)
    return max(1, -(-rest // max(1, rates.output * answers)))


def _pieces(pick: Pick, script: Script, asked: Asked) -> list[Piece]:
    """What the step says and calls, its words filled in."""
    step = pick.step
    words = {
        **script.variables,
        "cwd": asked.cwd,
        "asked": asked.asked,
        "task": asked.task,
        "result": asked.result,
        "step": step.name,
        "round": pick.round,
        "n": 1,
    }
    said = str(fill(step.say, words.__getitem__))
    text = [_text(said, script)] if said else []
    inputs = [
        (_offered(use.tool, asked), fill(dict(use.input), (words | {"n": n}).__getitem__))
        for use in step.use
        for n in range(1, use.times + 1)
    ]
    return text + [
        _tool_use(call_id(step.name, pick.round, number, asked.digest), name, tool_input, script)
        for number, (name, tool_input) in enumerate(inputs, 1)
    ]


def _text(said: str, script: Script) -> Piece:
    """Words, as many tokens as they will count when the agent sends them back."""
    tokens = tokens_of_block({"type": "text", "text": said}, bytes_per_token=script.bytes_per_token)
    return Piece(kind="text", tokens=tokens, text=said)


def _tool_use(identifier: str, name: str, tool_input: Mapping[str, Any], script: Script) -> Piece:
    """A call, as many tokens as it will count when the agent sends it back."""
    block = {"type": "tool_use", "id": identifier, "name": name, "input": tool_input}
    tokens = tokens_of_block(block, bytes_per_token=script.bytes_per_token)
    return Piece(kind="tool_use", tokens=tokens, id=identifier, name=name, input=tool_input)


def _offered(tool: str, asked: Asked) -> str:
    """The tool by the name that this version of the agent gives it."""
    other = {"Agent": "Task", "Task": "Agent"}.get(tool, tool)
    return other if tool not in asked.tools and other in asked.tools else tool


def _filled(pieces: list[Piece], filler: int, asked: Asked, script: Script) -> list[Piece]:
    """Pieces with the tokens that the step has no words for: thoughts come first, words after what is said."""
    if not filler:
        return pieces
    most = filler if asked.most_thoughts is None else min(filler, asked.most_thoughts)
    thought = most if asked.thinks else 0
    thoughts = [Piece(kind="thinking", tokens=thought)] if thought else []
    rest = filler - thought
    words = [Piece(kind="text", tokens=rest, text=_filling(rest * script.bytes_per_token))] if rest else []
    said = sum(1 for piece in pieces if piece.kind == "text")
    return [*thoughts, *pieces[:said], *words, *pieces[said:]]


def _filling(size_bytes: int) -> str:
    """Words that never repeat themselves: agents end a model that does."""
    lines = (f"line {n} says {n * _ODD & _MASK:08x}, " for n in range(size_bytes // _SHORTEST_LINE + 1))
    return "".join(lines)[:size_bytes]


def _clamp(pieces: list[Piece], limit: int, script: Script) -> tuple[tuple[Piece, ...], bool]:
    """What fits in the output limit, and whether something was lost."""
    kept: list[Piece] = []
    left = limit
    for piece in pieces:
        if piece.tokens > left:
            return (*kept, *_part(piece, left, script)), True
        kept.append(piece)
        left -= piece.tokens
    return tuple(kept), False


def _part(piece: Piece, tokens: int, script: Script) -> tuple[Piece, ...]:
    """The beginning of a piece; a call that was begun is billed as words, and is no call."""
    if not tokens:
        return ()
    if piece.kind == "tool_use":
        return (Piece(kind="text", tokens=tokens, text="..."),)
    shorter = piece.text.encode()[: tokens * script.bytes_per_token].decode("utf-8", "ignore")
    return (replace(piece, tokens=tokens, text=shorter),)


def _stop_reason(step: Step, pieces: tuple[Piece, ...]) -> str:
    if step.end:
        return step.end
    return "tool_use" if any(piece.kind == "tool_use" for piece in pieces) else "end_turn"
