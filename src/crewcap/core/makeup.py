"""What prompts were made of: definitions of tools, instructions, what people said, files, results, history.

A provider bills a prompt as one number. The gateway sees the letters of each part on their way through, and the share
of a part's letters in all of them, applied to the tokens that were billed, says about how many of them it was. That is
an *estimate* (a tokenizer takes fewer letters of code for a token than of prose) and is called one wherever it is
shown. The tokens of all parts together are exact: they are the tokens that were billed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from crewcap.core.budget import KeyId


@dataclass(frozen=True, slots=True, kw_only=True)
class Makeup:
    """How much each part is: letters of one request, or tokens of many."""

    tools: int = 0  # definitions
    instructions: int = 0  # the system prompt
    prompts: int = 0  # what people said
    files: int = 0  # what was read, as far as its tools are known to read; documents and images
    results: int = 0  # of all other tools
    history: int = 0  # what the model had said, thought and called before

    @property
    def whole(self) -> int:
        """All parts."""
        return sum(getattr(self, name) for name in PARTS)

    def __add__(self, other: Makeup) -> Makeup:
        return Makeup(**{name: getattr(self, name) + getattr(other, name) for name in PARTS})


PARTS = tuple(each.name for each in fields(Makeup))
WORDS = {
    "tools": "tool definitions",
    "instructions": "instructions",
    "prompts": "prompts",
    "files": "files",
    "results": "tool results",
    "history": "history",
}
"""What parts are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeupRow:
    """The prompts of one key and model in one quarter of an hour."""

    key: KeyId
    quarter: int  # of an hour, since 1970
    model: str
    requests: int
    tokens: Makeup


def shared_out(letters: Makeup, tokens: int) -> Makeup:
    """So many tokens, by the letters of each part; what does not divide goes to the largest part."""
    whole = letters.whole
    if not whole:
        return Makeup(prompts=tokens)
    shares = {name: getattr(letters, name) * tokens // whole for name in PARTS}
    largest = max(PARTS, key=lambda name: getattr(letters, name))
    shares[largest] += tokens - sum(shares.values())
    return Makeup(**shares)
