"""What every store of runs has in common: a run as one document, how its state may move, and who has its issue."""

from __future__ import annotations

import re

import msgspec

from crewcap.core.runs import TRANSITIONS, Run, RunState, Verdict, WrongTransition
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
        asked = run.question
        said = f"{asked.answer!r} by {asked.answered_by}" if asked and asked.answer else f"it is {run.state}"
        super().__init__(f"{run.name} was answered already: {said}", help=f"crewcap show {run.name}")
        self.run = run


def _go_on(run: Run) -> str:
    """What a person who asked for a second run probably wants of the first."""
    if run.state != RunState.WAITING:
        return f"crewcap show {run.name}"
    more = " --add 2" if run.verdict == Verdict.BUDGET_EXHAUSTED else ""
    return f"crewcap resume {run.name}{more}"


def refuse_wrong_move(before: str, run: Run) -> None:
    """`WrongTransition` when the run's state may not follow the one that is stored."""
    stored = RunState(before)
    successors = {after for (state, _), after in TRANSITIONS.items() if state == stored}
    if stored != run.state and run.state not in successors:
        raise WrongTransition(f"a run that is {stored} cannot become {run.state}")


def one_line(text: str) -> str:
    """A line of a story: read in a terminal, so no control character of an agent's reaches it."""
    return _CONTROL.sub(" ", text)[:LONGEST_LINE]


def dump(run: Run) -> str:
    """The whole run as JSON."""
    return msgspec.json.encode(run).decode()


def load(document: str) -> Run:
    """Inverse of `dump`."""
    return msgspec.json.decode(document, type=Run)
