"""The seam of runs: what a store keeps of them beside their money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:  # whoever opens one small store need not import the core of all
    from crewcap.core.budget import Scope
    from crewcap.core.runs import Run, RunId, Word, WordKind


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One line of a run's story."""

    seq: int
    at: datetime
    kind: str  # "state", "step", "agent", "check", "money", "note"
    text: str  # one line, sanitised
    data: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One due time of a schedule, and what came of it."""

    schedule: str
    at: datetime  # when it was due
    run: str = ""  # the long id of the run that was started; empty = none was
    note: str = ""  # why none was: "its last run nightly.4 is still open"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeen:
    """A worker, and when it last said that it is alive."""

    name: str
    seen_at: datetime
    version: str  # of the workflow that it carries out


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """What somebody wrote at an issue for crewcap, or the issue's new text, and what came of it."""

    tracker: str
    issue: str  # its key
    id: str  # the tracker's, of these words
    run: RunId
    attempt: int  # of the run, where it was at rest when this was taken up; 0 = it was not
    at: datetime
    kind: Literal["words", "edit"]
    by: str
    text: str
    reply: str = ""
    is_done: bool = False


class RunStore(Protocol):
    """Runs, their steps and their story."""

    def create(self, run: Run) -> Run:
        """Store a new run; its number (the `.2` of its name) is given here.

        `AlreadyOpen` where its issue has an open run, `AlreadyTriggered` where its trigger started one: each carries
        the run that is there.
        """
        ...

    def save(self, run: Run, *, was: Run | None = None) -> None:
        """Replace what is known; a state may change only as the transition table says.

        Whoever does not drive the run says what it `was` when they decided: `Overtaken` where it is not that any more.
        A run that comes to rest, or goes back into the queue, gives back its slots. `AlreadyOpen` where a run that was
        over is to go on and its issue has another one by now.
        """
        ...

    def get(self, id_: RunId) -> Run | None:
        """By long id."""
        ...

    def find(self, text: str) -> Sequence[Run]:
        """By name, unique prefix of name or id; empty text = the latest. All matches."""
        ...

    def list(self, *, limit: int = 50, open_only: bool = False) -> Sequence[Run]:
        """Newest first."""
        ...

    def log(self, run: RunId, kind: str, text: str, **data: str | float | bool) -> None:
        """Append to the story."""
        ...

    def story(self, run: RunId, *, after: int = 0) -> Sequence[LoggedEvent]:
        """The story from a point on."""
        ...

    def version(self) -> int:
        """A number that becomes another one when anybody else writes to these books: whether to read them again."""
        ...

    # what is said to a run
    def say(self, run: RunId, kind: WordKind, text: str = "", *, by: str = "") -> int:
        """Leave a word for whoever drives a run; its number."""
        ...

    def unheard(self, run: RunId) -> Sequence[Word]:
        """Words that nobody has acted on, oldest first."""
        ...

    def heard(self, run: RunId, *, upto: int) -> None:
        """These were acted on; a driver that takes over does not hear them again."""
        ...

    def answer(self, run: RunId, question: str, answer: str, *, by: str) -> Run:
        """Answer a run's open question; the run as it is then. `AlreadyAnswered` tells who was first, and with what."""
        ...

    # what is written at its issue
    def begin_follow_up(self, wanted: FollowUp) -> bool:
        """Take up what was written, once; False where that was done already, by whomever."""
        ...

    def end_follow_up(self, done: FollowUp, reply: str) -> None:
        """What came of it; said twice, the first holds."""
        ...

    def follow_ups(self, tracker: str, issue: str) -> Sequence[FollowUp]:
        """Everything that was taken up of an issue, oldest first."""
        ...

    def is_from_here(self, run: RunId) -> bool:
        """Whether a run was written down in this home: a path of another machine's names another file here."""
        ...

    # slots
    def admit(self, run: RunId, *, slots: Mapping[Scope, int]) -> Scope | None:
        """Take a place in every scope of a queued run, all or none; the scope that is full, or None.

        `slots` are the limits; a scope that is not in it has none, and is counted all the same. A run that has its
        places keeps them: asking again is asking once. Exact with any number of processes.
        """
        ...

    def give_back(self, run: RunId) -> None:
        """Give back a run's places before it has begun."""
        ...

    def taken(self) -> Mapping[Scope, int]:
        """How many runs have a place, by scope."""
        ...

    def admitted(self) -> frozenset[RunId]:
        """Runs that have their places."""
        ...

    # schedules
    def note_tick(self, tick: Tick) -> bool:
        """Remember what came of a tick, once; False where that is known already."""
        ...

    def ticks(self, schedule: str, *, limit: int = 1) -> Sequence[Tick]:
        """A schedule's newest ticks, newest first."""
        ...

    # workers
    def beat(self, worker: str, *, version: str) -> bool:
        """This worker is alive, by the store's own clock; whether it was known to be."""
        ...

    def workers(self, *, silent_s: float | None = None) -> Sequence[WorkerSeen]:
        """Workers that are known, or those that have been silent for longer than this, by the store's own clock."""
        ...

    def forget_worker(self, worker: str) -> None:
        """It is gone and nothing of it is left."""
        ...

    def alone(self, name: str) -> AbstractContextManager[bool]:
        """Whether this process is the only one that does something now; the right ends with the block, or with us."""
        ...
