"""What a run that waits for money probably needs: by runs like it that went on, and the context that is read again."""

from __future__ import annotations

from crewcap.cli.context import Call
from crewcap.cli.money.past import jobs_of
from crewcap.core.estimate import Rest, rest
from crewcap.core.history import NO_WORKFLOW
from crewcap.core.money import Money
from crewcap.core.questions import Question
from crewcap.core.runs import Run, RunState


def needs_of(call: Call, run: Run, *, spent: Money) -> str:
    """`about $0.80 more (0.40-1.90), of which re-reading the context $0.28`; empty where no money is asked for."""
    asked = run.question
    if run.state != RunState.WAITING or asked is None or not asked.add:
        return ""
    workflow = run.workflow or NO_WORKFLOW
    return needs(asked, rest(jobs_of(call), workflow=workflow, model=run.model, repo=run.repo, spent=spent))


def needs(asked: Question, still: Rest | None) -> str:
    """The same of values; what is known for sure where nothing is known of runs like it."""
    if still is not None:
        low, middle, high = (max(part + asked.again, asked.least) for part in (still.p10, still.p50, still.p90))
        reading = f", of which re-reading the context {asked.again.show()}" if asked.again else ""
        return f"about {middle.show()} more ({_plain(low)}-{_plain(high)}){reading}"
    reading = f"re-reading the context costs about {asked.again.show()}" if asked.again else ""
    least = f"at least {asked.least.show()} more" if asked.least else ""
    return "; ".join(filter(None, (least, reading)))


def _plain(amount: Money) -> str:
    return amount.show().removeprefix("$")
