"""What can be answered at a run's issue, and what came of what was written there: parts of its report."""

from __future__ import annotations

from collections.abc import Sequence

from crewcap.core.commands import NAME
from crewcap.core.runs import OPEN_STATES, Run, RunState
from crewcap.runner.report import code, text
from crewcap.stores import FollowUp

_SHOWN = 10  # of the newest replies
_LONGEST = 60  # letters of what was written


def here(run: Run) -> str:
    """How it is answered at its issue, in one sentence of Markdown."""
    if run.state == RunState.WAITING:
        choices = [_written(choice) for choice in run.question.choices] if run.question else ["go on", "stop"]
        return _sentence(choices)
    if run.state in OPEN_STATES:
        return _sentence(["pause", "stop"], "or a sentence for its agent")
    return _sentence(["retry", "budget +2"], "or a sentence with what else is to be done")


def replies(run: Run, follow_ups: Sequence[FollowUp]) -> tuple[str, ...]:
    """What came of the newest that was written for this run, a line each."""
    mine = [each for each in follow_ups if each.run == run.id and each.reply]
    return tuple(f"{_shown(each)}: {text(each.reply)}." for each in mine[-_SHOWN:])


def _shown(written: FollowUp) -> str:
    return "The issue was changed" if written.kind == "edit" else code(f"{NAME} {written.text}", limit=_LONGEST)


def _written(choice: str) -> str:
    return f"budget {choice}" if choice.startswith("+") else choice


def _sentence(choices: Sequence[str], more: str = "") -> str:
    said = [code(f"{NAME} {choice}") for choice in choices]
    rest = f", {more} behind {code(NAME)}" if more else ""
    return f"Answer here: {', '.join(said)}{rest}. "
