"""A run: one attempt of one agent at one issue, and every way in which it may move.

`TRANSITIONS` is the only place that says what may follow what; the diagram in the docs and the test's cases are
made from it.

    queued ──prepare──> preparing ──start──> running ──finish──> finishing ──succeed──> done
       ▲                     ├──fail──> failed  ▲                 │   ├──fail──> failed
       │                     │                  └──start (red)────┘   └──pause─> waiting
       └──resume── waiting, done, failed, stopped

A run at its cap *waits*: its branch, session and workspace are kept. `resume` brings every run that came to rest back
into the queue, and what is prepared already is not prepared twice. A run whose workspace is gone, because another
machine goes on with it, is prepared anew from wherever it was. `stop` works from everywhere that is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NewType

from crewcap.core.money import ZERO, Money
from crewcap.core.questions import Question

RunId = NewType("RunId", str)


class RunState(StrEnum):
    """Where a run is."""

    QUEUED = "queued"
    PREPARING = "preparing"  # workspace, setup, baseline check
    RUNNING = "running"  # the agent works
    WAITING = "waiting"  # for money or an answer; everything is kept
    FINISHING = "finishing"  # check, bundle, report
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class RunEvent(StrEnum):
    """What may move a run."""

    PREPARE = "prepare"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    FINISH = "finish"
    SUCCEED = "succeed"
    FAIL = "fail"
    STOP = "stop"


_S, _E = RunState, RunEvent
TRANSITIONS: Mapping[tuple[RunState, RunEvent], RunState] = {
    (_S.QUEUED, _E.PREPARE): _S.PREPARING,
    (_S.QUEUED, _E.STOP): _S.STOPPED,
    (_S.QUEUED, _E.FAIL): _S.FAILED,
    (_S.QUEUED, _E.PAUSE): _S.WAITING,  # its provider's key is out of order, or its own cap is used up
    (_S.PREPARING, _E.START): _S.RUNNING,
    (_S.PREPARING, _E.FAIL): _S.FAILED,
    (_S.PREPARING, _E.STOP): _S.STOPPED,
    (_S.RUNNING, _E.FINISH): _S.FINISHING,
    (_S.RUNNING, _E.PREPARE): _S.PREPARING,  # another machine goes on with it
    (_S.FINISHING, _E.PREPARE): _S.PREPARING,
    (_S.FINISHING, _E.START): _S.RUNNING,  # a red check goes back into the session
    (_S.FINISHING, _E.SUCCEED): _S.DONE,
    (_S.FINISHING, _E.PAUSE): _S.WAITING,
    (_S.FINISHING, _E.FAIL): _S.FAILED,
    (_S.FINISHING, _E.STOP): _S.STOPPED,
    (_S.WAITING, _E.RESUME): _S.QUEUED,
    (_S.WAITING, _E.STOP): _S.STOPPED,
    (_S.DONE, _E.RESUME): _S.QUEUED,  # a follow-up: the same session, the same branch
    (_S.FAILED, _E.RESUME): _S.QUEUED,
    (_S.STOPPED, _E.RESUME): _S.QUEUED,
}
OPEN_STATES = frozenset({_S.QUEUED, _S.PREPARING, _S.RUNNING, _S.FINISHING, _S.WAITING})
AT_WORK = frozenset({_S.PREPARING, _S.RUNNING, _S.FINISHING})
"""Where somebody drives a run, and where it takes a place from others."""


class WrongTransition(ValueError):
    """A run was asked to move in a way that the table does not know."""


def move(state: RunState, event: RunEvent) -> RunState:
    """The state that follows; `WrongTransition` if none does."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise WrongTransition(f"a run that is {state} cannot {event}") from None


class Verdict(StrEnum):
    """What came of a run; the words of INTERFACE."""

    FINISHED = "finished"
    NO_CHANGES = "no_changes"
    CHECK_FAILED = "check_failed"
    BUDGET_EXHAUSTED = "budget_exhausted"
    TIMED_OUT = "timed_out"
    TURN_LIMITED = "turn_limited"
    CANCELLED = "cancelled"
    TRUNCATED = "truncated"
    AGENT_ERROR = "agent_error"
    PROVIDER_ERROR = "provider_error"
    SETUP_FAILED = "setup_failed"
    RUNAWAY = "runaway"  # the watch ended it, or has it wait


EXIT_STATUS: Mapping[Verdict, int] = {
    Verdict.FINISHED: 0,
    Verdict.NO_CHANGES: 1,
    Verdict.CHECK_FAILED: 1,
    Verdict.BUDGET_EXHAUSTED: 3,
    Verdict.TIMED_OUT: 1,
    Verdict.TURN_LIMITED: 1,
    Verdict.CANCELLED: 130,
    Verdict.TRUNCATED: 1,
    Verdict.AGENT_ERROR: 1,
    Verdict.PROVIDER_ERROR: 1,
    Verdict.SETUP_FAILED: 1,
    Verdict.RUNAWAY: 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """What is asked for, as it stood when the run was triggered."""

    tracker: str  # "files", "prompt", "stdin"
    key: str  # unique within the tracker; "fix-login"
    title: str
    body: str
    labels: tuple[str, ...] = ()
    author: str = ""
    cap: Money | None = None  # front matter; may only lower
    source: str = ""  # path or address, for people
    notes: tuple[str, ...] = ()  # what reading it found worth saying: hidden text left out, unknown keys
    heard: tuple[str, ...] = ()  # ids of what stood there for crewcap when it was read, which is for no later run

    @property
    def scope_name(self) -> str:
        """The name behind `issue:` in budgets."""
        return f"{self.tracker}/{self.key}"


CheckResult = Literal["passed", "failed", "not_run"]

Cut = Literal["", "timeout", "stalled", "paused", "stopped", "left", "gateway", "outside"]
"""Why an agent did not end by itself, if it was so. `left` (its driver goes), `gateway` (that ended) and `outside` (a
signal of somebody else's, as a machine sends that shuts down) decide nothing: the run goes on later, or at once."""

Waits = Literal["", "answer", "provider", "money"]
"""What a waiting run waits for: a person's answer; its provider's key; money or a count that comes back by itself."""

WordKind = Literal["stop", "pause", "say"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What somebody said to a run, for whoever drives it to hear."""

    seq: int
    at: datetime
    kind: WordKind
    text: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What the project's own check said, before or after the agent."""

    result: CheckResult
    summary: str = ""  # "41 passed, 1 failed" where the output tells, else "exit 1"
    seconds: float = 0.0
    tail: str = ""  # last lines of the output, for the agent and the report


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What the watch said of a run, with its evidence."""

    rule: str
    action: str  # note, pause, stop
    words: str
    turn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt, as the store keeps it. Money is not here: the ledger alone knows it."""

    id: RunId
    name: str  # what people say: "fix-login.1"
    issue: Issue
    state: RunState
    repo: str  # name in settings, or the path's last part
    repo_path: str
    base: str = ""  # commit
    base_branch: str = ""
    branch: str = ""  # ours
    commit: str = ""  # the branch's tip when work came back
    agent: str = "claude"
    agent_version: str = ""
    model: str = ""
    because: str = ""  # which route or default chose agent and model
    cap: Money = ZERO
    cap_because: str = ""
    wish: Money = ZERO  # its cap, had no budget had less left when it was written down
    max_turns: int = 40
    timeout_s: int = 2_700
    sandbox: str = ""
    session: str = ""
    epoch: int = 1  # rises with each start of an agent
    verdict: Verdict | None = None
    reason: str = ""
    turns: int = 0
    check_before: Check = Check(result="not_run")
    check_after: Check = Check(result="not_run")
    commits: int = 0
    files_changed: int = 0
    lines_added: int = 0
    lines_removed: int = 0
    agent_seconds: float = 0.0  # wall clock of the agent, all its starts
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end: AgentEnd | None = None  # how the agent last ended, in its own words
    cut: Cut = ""  # why we ended it, if we did
    signal: int = 0  # what interrupted its driver, by number
    frozen: str = ""  # why the provider's key was out of order when the agent ended, if it was
    agents: str = ""  # what its agents did, in a sentence of the gateway's; empty = it had none
    merge: str = ""  # whether the branch that it started from moved meanwhile, in a sentence; empty = it did not
    withheld: str = (
        ""  # why its branch stays in the mirror: what was lent to the run stands in it; empty = it may leave
    )
    wrap_up: str = ""  # how it was told to wrap up when its money ran out; empty = it was not
    refused_before: int = 0  # requests that were refused before this start of the agent
    watched: tuple[Remark, ...] = ()  # what the watch noted, each with its evidence
    runaway: str = ""  # why the watch ended the agent's last start, if it did
    fixes: int = 0  # times that a red check went back into the session
    owner_pid: int = 0  # process that drives it
    owner_started: str = ""  # that process's start time, so that a reused pid is not taken for it
    effort: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)  # launch settings worth reporting
    scopes: tuple[str, ...] = ()  # that its money and its slots count in, without its own
    user: str = ""
    workflow: str = ""
    trust: str = ""  # what whoever wrote the issue may do in the repository (`core/trust`)
    trigger: str = ""  # what started it, where at most one run may come of that: "schedule:nightly@2026-11-22T02:00Z"
    hosted: bool = False  # a worker drives it, and not the command that wrote it down
    worker: str = ""  # which one does, or did last
    seconds_before: float = 0.0  # of its agent, before a person last had it go on: each go has its whole time
    turns_before: int = 0
    stumbles: int = 0  # steps of ours that failed in a way of their own
    attempt: int = 1  # the engine's go at it; rises when it is gone on with
    priority: int = 0
    hours: str = ""  # when it may start, "20:00-07:00"
    is_alone: bool = False  # its workflow has one place for all its runs
    queued_at: datetime | None = None  # this time
    queued_for: str = ""  # why it does not start yet
    position: int = 0  # in the queue; 0 = not in it
    opens_at: datetime | None = None  # when what it waits for is expected to be there
    waits_for: Waits = ""
    question: Question | None = None  # of its last pause
    is_prepared: bool = False  # its workspace, setup and first check are done, and stand
    workspace_removed_at: datetime | None = None


# What an agent says while it works: a closed union, whichever CLI it is.


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The agent is up and told us who it is."""

    session: str
    model: str
    version: str = ""
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Text to the user."""

    text: str
    agent: str = ""  # empty = the main conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """A tool call: `verb` is one of read, edit, run, search, agent, plan, other."""

    verb: str
    what: str  # path, command or description, one line
    call: str = ""  # the agent's id of the call
    agent: str = ""
    likeness: str = ""  # the same for the same call (`core/likeness`); empty = not known
    answer: str = ""  # the provider's id of the answer that the call was in
    lines_added: int = 0
    lines_removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A tool call's result."""

    call: str
    is_error: bool = False
    summary: str = ""  # one line
    agent: str = ""
    likeness: str = ""  # the same for the same answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """The agent is about to send a request again."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEnd:
    """The agent ended, in its own words; the verdict is ours (the ledger and git have the last word)."""

    kind: Literal["finished", "turn_limit", "budget", "api_error", "interrupted", "truncated", "crashed"]
    message: str = ""
    turns: int = 0
    api_status: int | None = None
    claimed_cost: str = ""  # the agent's own estimate, shown beside the ledger's


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A line that this version of the adapter does not know; kept in the log."""

    kind: str


AgentEvent = Started | Said | Acted | Answered | Retried | AgentEnd | Other
