"""A request as a conversation: whether it goes on from an earlier one, what it adds, and where it stopped being equal.

Requests are compared by structure, never by their bytes: an agent moves its cache marks every turn, and writes a text
that carries one as a list of blocks. So an outline has its marks taken out and every text written in one way. Inside
a block nothing is taken for equal that a model may read otherwise: `1`, `1.0` and `true` differ, and so does the order
of the members of a tool's input.

What was billed for an earlier request bounds a later one (MONEY 2.4). Where the later request begins with the same
turns, its prompt is at most

    the earlier prompt + the earlier answer + what stands behind the turns that both share

also where the two share only a part: the beginning of a prompt has no more tokens than the whole of it. One thing is
left out of a prompt and may come back: thoughts of an earlier turn, which providers drop once somebody said something
new. So where turns of the earlier request are gone, the thoughts that stand in the shared ones are counted again.

An outline is made when it is needed, which is seldom: when a request does not fit by its bytes, and when a prefix
that should have been read from a cache was not. Until then a request is remembered by its bytes alone, and by a name
(`name_of`) that costs next to nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from crewcap.core.asks import Bound

_SKETCHED = 512  # letters at either end of a text that a conversation is named by
_MOST_TEXTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One request, for comparison."""

    fixed: Any  # everything beside what follows that may change the prompt
    heads: tuple[tuple[str, Any], ...]  # what stands before the turns, in the provider's order: tools, system
    turns: Sequence[Any]
    added: Callable[[int], Bound]  # what all turns but the first n can be billed as, with all that a provider adds
    thoughts: Callable[[int], int]  # bytes of the thoughts in the first n turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place at which a request is not what the one before it was."""

    part: str  # "system", "tools", "message 3", "settings"
    offset: int  # letters into that part, as JSON without its cache marks

    def __str__(self) -> str:
        return f"{self.part}, character {self.offset:,}" if self.part != "settings" else "settings beside the messages"


def grown(before: Outline, now: Outline) -> Bound | None:
    """What `now` can be billed beyond all that `before` was; None where it does not go on from it."""
    if not (_is_same(before.fixed, now.fixed) and _is_same(before.heads, now.heads)):
        return None
    shared = _shared(before.turns, now.turns)
    if not shared:
        return None
    bound = now.added(shared)
    if shared < len(before.turns):
        bound = replace(bound, text_bytes=bound.text_bytes + now.thoughts(shared))
    return bound


def difference(before: Outline, now: Outline) -> Difference | None:
    """Where the earlier request stops being the beginning of the later one; None where it is all of it."""
    for (part, was), (_, value) in zip(before.heads, now.heads, strict=True):
        if not _is_same(was, value):
            return Difference(part=part, offset=_offset(was, value))
    shared = _shared(before.turns, now.turns)
    if shared < len(before.turns):
        value = now.turns[shared] if shared < len(now.turns) else None
        return Difference(part=f"message {shared + 1}", offset=_offset(before.turns[shared], value))
    return None if _is_same(before.fixed, now.fixed) else Difference(part="settings", offset=0)


def name_of(texts: Iterable[str], *beside: str) -> str:
    """A name for a conversation, from how it begins: the same for every request that goes on from there.

    It only says where to look. Two conversations may have one name, so nothing rests on it.
    """
    said = [f"{len(text)}\0{text[:_SKETCHED]}\0{text[-_SKETCHED:]}" for text, _ in zip(texts, range(_MOST_TEXTS))]  # noqa: B905  (the shorter one decides)
    whole = "\0\0".join([*said, *beside]).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


def texts_of(content: Any) -> Iterable[str]:
    """The texts of a content, however it is spelled."""
    if isinstance(content, str):
        return (content,)
    parts = content if isinstance(content, list) else ()
    return (part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def read(body: bytes) -> dict[str, Any]:
    """A body that was read strictly before, read again without looking for mistakes; numbers stay as they stand."""
    value: dict[str, Any] = json.loads(body, parse_int=_number, parse_float=_number)
    return value


def ordered(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block whose members stand in one order, which means nothing there."""
    return dict(sorted(block.items()))


def but(fields: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """All members but these."""
    return {name: value for name, value in fields.items() if name not in names and value is not None}


def sizes(body: bytes, member: str) -> list[int]:
    """Bytes of each item of a top-level list, as they were received, with the comma behind it."""
    raw = _MEMBERS.decode(body).get(member)
    items = _ITEMS.decode(raw) if raw is not None else []
    return [len(memoryview(item)) + 1 for item in items]


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def _number(spelled: str) -> tuple[str]:
    """Nothing else in JSON becomes a tuple, so a number equals nothing but itself."""
    return (spelled,)


def _is_same(was: Any, now: Any) -> bool:
    return bool(was == now) and msgspec.json.encode(was) == msgspec.json.encode(now)


def _shared(before: Sequence[Any], now: Sequence[Any]) -> int:
    """How many turns both begin with."""
    count = 0
    for was, turn in zip(before, now):  # noqa: B905  (the shorter one decides)
        if not _is_same(was, turn):
            break
        count += 1
    return count


def _offset(was: Any, now: Any) -> int:
    """The first letter at which two values are written differently."""
    one, other = _written(was), _written(now)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _written(value: Any) -> str:
    return msgspec.json.encode(value).decode()
