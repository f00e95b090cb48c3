"""Floor 1: agents' command lines, sans-I/O: argv and files out, lines in, events out.

An adapter knows one agent CLI: how it is started unattended, what its output lines mean, and how it ends. A new
agent is one file and one line in `AGENTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from crewcap.core.runs import AgentEnd, AgentEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrder:
    """What the runner wants of an agent; paths are as the agent sees them inside its sandbox."""

    binary: str
    prompt: str
    model: str  # full id
    session: str  # a UUID of ours
    home: str  # private, empty at the first start
    workspace: str
    gateway_url: str  # "http://127.0.0.1:8787"
    gateway_socket: str = ""  # a unix socket instead, where the sandbox has no loopback of its own
    key: str = field(repr=False)  # virtual
    run: str  # id, sent along as a header
    effort: str = ""  # low | medium | high | xhigh | max; empty = the agent's default
    subagent_model: str = ""  # full id; empty = the main model
    thinking_tokens: int | None = None
    max_turns: int = 40
    max_output: int = 16_000  # tokens per answer (MONEY 2.11)
    cap_usd: str = ""  # told to the agent as a second belt, where it can be
    resume: bool = False  # go on in `session`
    rules: tuple[str, ...] = ()  # paths of rules files inside the workspace (CLAUDE.md, AGENTS.md)
    lean: bool = False  # the short tool list
    tools: tuple[str, ...] = ()  # empty = the adapter's own choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A process to start: nothing of it needs a shell."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    files: Mapping[str, bytes]  # path inside the sandbox -> content, made before the start; the agent's own to write
    first_input: bytes  # written to stdin at once; stdin stays open for `say`


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an agent CLI can do for us."""

    can_resume: bool
    can_be_told: bool  # takes a message while it works
    has_subagents: bool
    dialect: str  # the wire dialect that it speaks


class AgentAdapter(Protocol):
    """One agent CLI."""

    name: str  # "claude", as users write it
    title: str  # "Claude Code", as users read it
    executable: str  # what to look for on PATH
    oldest: str  # first version whose protections were measured; an older one is not started

    def bundled(self) -> str | None:
        """Path of the CLI that an installed Python wheel carries, if any."""
        ...

    def parse_version(self, output: str) -> str:
        """The version in what `executable --version` prints; empty if there is none."""
        ...

    def capabilities(self) -> Capabilities:
        """What this CLI can do."""
        ...

    def launch(self, order: LaunchOrder) -> Launch:
        """Everything that is needed to start it."""
        ...

    def read(self, line: bytes) -> Iterable[AgentEvent]:
        """What one line of its output means; unknown lines are kept as `Other`, never fatal."""
        ...

    def say(self, text: str) -> bytes:
        """One more message of ours, as bytes for its stdin."""
        ...

    def end(self, *, exit_status: int, last: AgentEnd | None) -> AgentEnd:
        """How it ended, from its exit status and the last end event it wrote (which may be missing)."""
        ...


def _claude() -> AgentAdapter:
    from crewcap.agents.claude_code import ClaudeCode  # noqa: PLC0415  (an adapter is imported when it is used)

    return ClaudeCode()


AGENTS: Mapping[str, Callable[[], AgentAdapter]] = {"claude": _claude}
