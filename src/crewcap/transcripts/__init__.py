"""Floor 2: what agents left on this machine, read as past usage.

A reader knows where one agent keeps its transcripts, which files are its own, and what their lines mean. It is handed
whole lines, as they were appended, and tells of messages; what it must remember is kept for it. A newcomer is one file
and one line in `READERS`.

What is read here is a second opinion: an agent does not write down requests that were cut, retried or made on the side,
so its transcripts are a lower bound. The ledger is not touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from crewcap.core.transcripts import Told, better

__all__ = ["READERS", "Block", "Manner", "Reader", "Sink", "State", "everyone", "reader"]

State = dict[str, Any]
"""What a reader must know of a file's earlier lines to understand the next ones; kept with the file, as JSON."""


Manner = Literal["lines", "whole", "itself"]
"""How a file is read: line by line, where it only grows; as a whole, whenever it has changed; by the reader itself."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines: `buffer[start:end]`. The buffer is used again for the next block."""

    buffer: bytearray
    start: int
    end: int


@dataclass(slots=True)
class Sink:
    """Where readers put what they found."""

    told: dict[str, Told] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)  # lines that were not counted, or are in doubt, by reason

    def add(self, told: Told) -> None:
        """A message, told once more."""
        before = self.told.get(told.key)
        self.told[told.key] = told if before is None else better(before, told)


class Reader(Protocol):
    """One agent's transcripts."""

    agent: str

    def places(self, environ: Mapping[str, str]) -> tuple[Path, ...]:
        """Where this agent keeps them."""
        ...

    def claims(self, name: str, folder: str) -> bool:
        """Whether a file is one of this agent's, by its name and the path of its folder."""
        ...

    def manner(self, path: str) -> Manner:
        """How a file is read."""
        ...

    def beside(self, path: str) -> tuple[str, ...]:
        """Files that hold what this one does not have yet; a change of them is a change of it."""
        ...

    def read(self, block: Block, state: State, into: Sink) -> None:
        """The next lines of a file, or all of it; `state` is what it left there, with `path` and `mtime_ms`."""
        ...


def _claude() -> Reader:
    from crewcap.transcripts.claude_code import ClaudeCode  # noqa: PLC0415  (a reader is imported when it is used)

    return ClaudeCode()


def _codex() -> Reader:
    from crewcap.transcripts.codex import Codex  # noqa: PLC0415  (a reader is imported when it is used)

    return Codex()


def _gemini() -> Reader:
    from crewcap.transcripts.gemini_cli import GeminiCli  # noqa: PLC0415  (a reader is imported when it is used)

    return GeminiCli()


def _opencode() -> Reader:
    from crewcap.transcripts.opencode import OpenCode  # noqa: PLC0415  (a reader is imported when it is used)

    return OpenCode()


READERS: Mapping[str, Callable[[], Reader]] = {
    "codex": _codex,
    "gemini": _gemini,
    "opencode": _opencode,
    "claude": _claude,  # last: it claims every .jsonl that is nobody else's
}


def reader(agent: str) -> Reader:
    """The reader of an agent."""
    return READERS[agent]()


def everyone() -> tuple[Reader, ...]:
    """Every agent's reader, in the order in which they are asked whose a file is."""
    return tuple(make() for make in READERS.values())
