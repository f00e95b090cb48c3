"""What an agent is told: `prompt.md` at its start, `red.md` when a check is red, `changed.md` when its issue changed.

`taken_up.md` comes with the first where a session was lost and its work was not.

Text from strangers stands between two lines that name a digest of that very text, so that nothing inside can pretend
to be the end of it.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from string import Template

from crewcap.core.harmless import one_line, plain
from crewcap.core.money import Money
from crewcap.core.runs import Check, Issue, Run
from crewcap.runner.plan import Plan

LONGEST_TAIL = 12_000  # letters of a check's output: they are paid for in every later request


def first(plan: Plan, run: Run) -> str:
    """The whole first message of a run."""
    instructions = plan.project.instructions.strip()
    return _fill(
        "prompt.md",
        title=one_line(run.issue.title),
        mark=_mark(run.issue.body),
        body=run.issue.body,
        done=_done(check_of(plan), run.check_before),
        cap=run.cap.show(),
        turns=str(run.max_turns),
        instructions=f"\n# This project\n\n{instructions}\n" if instructions else "",
    )


def taken_up(run: Run) -> str:
    """What an agent is told in addition that finds work of an earlier session, which is lost; empty = there is none."""
    return _fill("taken_up.md", base=run.base[:12]) if run.commits else ""


def red(plan: Plan, run: Run) -> str:
    """What goes back into the session when the check is red after the agent's work."""
    tail = plain(run.check_after.tail)[-LONGEST_TAIL:].strip("\n")
    return _fill(
        "red.md",
        check=one_line(check_of(plan)),
        result=f"red ({run.check_after.summary})" if run.check_after.summary else "red",
        mark=_mark(tail),
        tail=tail or "(it printed nothing)",
        compared=_compared(run.check_before),
        attempt=str(run.fixes),
    )


def changed(issue: Issue) -> str:
    """What an agent is told whose issue was changed."""
    return _fill("changed.md", title=one_line(issue.title), mark=_mark(issue.body), body=issue.body)


def wrap_up(run: Run, *, left: Money) -> str:
    """What is said into a live session when the final slice of its cap is opened."""
    return _fill("wrap_up.md", left=left.show(), cap=run.cap.show())


def check_of(plan: Plan) -> str:
    """The command that decides whether a run did well; empty where none is set."""
    return plan.route.check or plan.project.check


def _done(check: str, before: Check) -> str:
    """What the agent is measured by, and how it stands now."""
    if not check:
        return (
            "No check is set for this repository. Prove your change in the way the project itself does, if it has one."
        )
    stands = {
        "passed": f"It passes now ({before.summary}), and must still pass.",
        "failed": f"It is red now ({before.summary}); what the task is about must be green, nothing more may be red.",
        "not_run": "It was not run before.",
    }
    return (
        f"When you have ended, `{one_line(check)}` is run and decides. {stands[before.result]} Run it yourself first."
    )


def _compared(before: Check) -> str:
    if before.result == "passed":
        return f"Before your work it was green ({before.summary})."
    if before.result == "failed":
        return f"Before your work it was red as well ({before.summary}); only what is worse now is yours."
    return ""


def _mark(text: str) -> str:
    """A name for a text that the text cannot contain."""
    return f"text {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _fill(name: str, **words: str) -> str:
    """A template with its words; values are never looked at for words of their own."""
    template = resources.files("crewcap.runner").joinpath(name).read_text(encoding="utf-8")
    return Template(template).substitute(words)
