"""What a watch is fed: what was seen of a run, by the ledger, the agent's own lines and the gateway.

Every sign says when it was, in seconds of any one clock, and at which turn: the requests of the run so far.
"""

from __future__ import annotations

from dataclasses import dataclass

from crewcap.core.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """One request to the model is over, by the ledger."""

    at: float
    turn: int  # 1 = the run's first
    cost: Money
    agent: str = ""  # empty = the main conversation
    model: str = ""
    prompt: int = 0  # tokens; 0 = no answer told
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Requests that the gateway refused, since the sign before."""

    at: float
    turn: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """The agent calls a tool."""

    at: float
    turn: int
    call: str  # the agent's id of it
    likeness: str  # the same for the same call; empty = not known
    verb: str
    what: str
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """The tool answers."""

    at: float
    turn: int
    call: str
    likeness: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Peopled:
    """How many agents there are beside the main conversation, and how deep they are nested."""

    at: float
    turn: int
    agents: int
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Somebody looked whether the workspace changed since the look before, or the last edit that was seen."""

    at: float
    turn: int
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """A request is under way for so long, and the agent has said nothing for so long."""

    at: float
    turn: int
    waiting_s: float
    silent_s: float


Sign = Requested | Refused | Called | Replied | Peopled | Looked | Waited
