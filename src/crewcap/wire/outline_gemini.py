"""A request to the Gemini API as a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from crewcap.core.asks import Bound
from crewcap.wire import gemini_known as known
from crewcap.wire import gemini_request, outline
from crewcap.wire.findings import size
from crewcap.wire.outline import Outline

_BESIDE = (known.NOT_IN_THE_PROMPT - {"model"}) | {"contents", "systemInstruction", "system_instruction", "tools"}


def read(body: bytes) -> Outline | None:
    """Compare it by tools, system instruction and contents; one content may stand without its list, seldom."""
    fields = outline.read(body)
    contents = fields["contents"]
    if not isinstance(contents, list):
        return None

    def added(since: int) -> Bound:
        size_bytes = sum(outline.sizes(body, "contents")[since:])
        return gemini_request.bound_of_contents(fields, contents[since:], size_bytes)

    system = fields.get("systemInstruction", fields.get("system_instruction"))
    return Outline(
        fixed=outline.but(fields, _BESIDE),
        heads=(("tools", fields.get("tools")), ("system", system)),
        turns=[outline.ordered(content) for content in contents],
        added=added,
        thoughts=lambda first: sum(_thoughts(contents[:first])),
    )


def _thoughts(contents: Iterable[dict[str, Any]]) -> Iterator[int]:
    """Thoughts are dropped from a prompt, and may come back with their signatures."""
    for content in contents:
        parts = content.get("parts")
        for part in parts if isinstance(parts, list) else (parts,):
            if isinstance(part, dict) and not part.keys().isdisjoint(_SIGNS):
                yield size(part)


_SIGNS = frozenset({"thought", "thoughtSignature", "thought_signature"})
