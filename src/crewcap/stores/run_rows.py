"""What every store of runs has in common: a run as one document, how its state may move, and who has its issue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from crewcap.core.budget import ALL, Scope
from crewcap.core.questions import resume_command
from crewcap.core.runs import AT_WORK, TRANSITIONS, Run, RunState, WrongTransition
from crewcap.errors import UsageError

LONGEST_LINE = 2_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x80-\x9f]+")


class AlreadyOpen(UsageError):
    """The issue has an open run already."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"{run.name} is open for this issue ({run.state})",
            help=f"{_go_on(run)}, or crewcap stop {run.name}",
        )
        self.run = run


class AlreadyTriggered(UsageError):
    """What is to start a run has started one."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"{run.trigger} has started {run.name} already", help=f"crewcap show {run.name}")
        self.run = run


class AlreadyAnswered(UsageError):
    """A question is answered once, and somebody was first."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"{run.name} was answered already: {_what_was_said(run)}", help=f"crewcap show {run.name}")
        self.run = run


def _what_was_said(run: Run) -> str:
    asked = run.question
    if asked and asked.answer:
        return f"{asked.answer!r} by {asked.answered_by or 'somebody'}"
    return "it asks something else by now" if run.state == RunState.WAITING else f"it is {run.state}"


class Overtaken(UsageError):
    """The run was changed by somebody else since it was looked at."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"{run.name} went on meanwhile: it is {run.state}", help=f"crewcap show {run.name}")
        self.run = run


def refuse_overtaken(stored: str, run: Run, *, was: Run | None) -> None:
    """`Overtaken` where the stored run is not any more the one that somebody looked at; saved twice is saved once.

    Who drives a run looks at nothing first: it is overtaken where a later attempt was begun, which is another's.
    """
    now = load(stored)
    if now.attempt > run.attempt or (was is not None and now not in (was, run)):
        raise Overtaken(now)


def _go_on(run: Run) -> str:
    """What a person who asked for a second run probably wants of the first."""
    if run.state != RunState.WAITING:
        return f"crewcap show {run.name}"
    return resume_command(run)


def refuse_wrong_move(before: str, run: Run) -> None:
    """`WrongTransition` when the run's state may not follow the one that is stored."""
    stored = RunState(before)
    successors = {after for (state, _), after in TRANSITIONS.items() if state == stored}
    if stored != run.state and run.state not in successors:
        raise WrongTransition(f"a run that is {stored} cannot become {run.state}")


def gives_back(before: str, run: Run) -> bool:
    """Whether a run that moves so has no use for its places any more; one that stays in the queue keeps them."""
    return run.state not in AT_WORK and (run.state != RunState.QUEUED or before != RunState.QUEUED)


def places_of(run: Run) -> Sequence[Scope]:
    """Where a run takes a place: in its scopes, and in `all`, whatever they are."""
    return [Scope(scope) for scope in dict.fromkeys((*run.scopes, ALL))]


def refuse_unless_queued(run: Run) -> None:
    """Places are for runs that are about to begin."""
    if run.state != RunState.QUEUED:
        raise UsageError(
            f"{run.name} is {run.state}, and only a queued run is admitted", help=f"crewcap show {run.name}"
        )


def answered(run: Run, question: str, answer: str, *, by: str, at: datetime) -> Run:
    """The run with its question answered; `AlreadyAnswered` where it does not ask this any more."""
    words = one_line(answer).strip()
    if not words:
        raise UsageError(f"an answer to {run.name} needs words", help=f"crewcap show {run.name} lists the choices")
    asked = run.question
    if asked is None or asked.id != question or not asked.is_open or run.state != RunState.WAITING:
        raise AlreadyAnswered(run)
    return replace(run, question=replace(asked, answer=words, answered_by=one_line(by), answered_at=at))


def keep_answer(run: Run, stored: str) -> Run:
    """The run with the answer that its question got after its holder had read it: no answer is ever lost."""
    if run.question is None or not run.question.is_open:
        return run
    asked = load(stored).question
    return replace(run, question=asked) if asked and asked.id == run.question.id else run


def one_line(text: str) -> str:
    """A line of a story: read in a terminal, so no control character of an agent's reaches it."""
    return _CONTROL.sub(" ", as_said(text))[:LONGEST_LINE]


def as_said(text: str) -> str:
    """The same, as far as a store has letters for it: bytes that are no text may come from a command line."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def dump(run: Run) -> str:
    """The whole run as JSON."""
    return msgspec.json.encode(run).decode()


def load(document: str) -> Run:
    """Inverse of `dump`."""
    return msgspec.json.decode(document, type=Run)
