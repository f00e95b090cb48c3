"""The report of a run, in Markdown, as it is written into its issue.

The first line answers the reader's three questions: is it done, is it good, what did it cost. Everything that came
from an agent, an issue or a command is made harmless on its way in: no mark-up, no mentions, no images, no colours,
no secrets, no marks of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from crewcap.core import savings
from crewcap.core.harmless import one_line, redact
from crewcap.core.money import Money
from crewcap.core.questions import resume_command
from crewcap.core.report import filled
from crewcap.core.runs import OPEN_STATES, Check, Run, RunState, Verdict
from crewcap.core.verdict import AT_CAP
from crewcap.runner.account import Account

_BAR = 20
_SPECIAL = re.compile(r"[\\`*_\[\]#|~<>&@]")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;", "#": "&#35;"}
_VERDICTS = {
    Verdict.FINISHED: "Done",
    Verdict.NO_CHANGES: "No change",
    Verdict.CHECK_FAILED: "Not done, the check is red",
    Verdict.BUDGET_EXHAUSTED: "Out of money",
    Verdict.TIMED_OUT: "Timed out",
    Verdict.TURN_LIMITED: "Out of turns",
    Verdict.CANCELLED: "Stopped",
    Verdict.TRUNCATED: "Cut off",
    Verdict.AGENT_ERROR: "The agent failed",
    Verdict.PROVIDER_ERROR: "The provider failed",
    Verdict.SETUP_FAILED: "The setup failed",
    Verdict.RUNAWAY: "Stopped by the watch",
}


def markdown(
    run: Run,
    account: Account,
    *,
    now: datetime,
    check: str = "",
    told: str = "",
    reach: Sequence[str] = (),
    secrets: Iterable[str] = (),
    replies: Sequence[str] = (),
    answer: str = "",
) -> str:
    """The whole report. `told` is the agent's prompt; `reach` says line by line what it could reach.

    `replies` (Markdown) say what came of what was written at the issue; `answer` says how to write there.
    """
    secrets = tuple(secrets)
    run, check, told = _without(run, secrets), redact(check, secrets), redact(told, secrets)
    parts = [
        _first(run, account),
        _second(run, account, now),
        "",
        *_table(run, account, check),
        "",
        *_question(run),
        *_notes(run, account),
        *_replies(replies),
        *_folded("Where the money went", _money(run, account)),
        *_folded("What it was told, what it could reach", _told(told, [redact(line, secrets) for line in reach])),
        f"<sub>{answer}{_last(run, account)}</sub>",
    ]
    return redact("\n".join(parts), secrets)  # once more: a secret may have been in pieces


def text(words: str, *, limit: int = 300) -> str:
    """Words of strangers as plain text inside Markdown: nothing in them is mark-up, a mention or a reference."""
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match[0], "\\" + match[0]), one_line(words, limit=limit))


def code(words: str, *, limit: int = 200) -> str:
    """Words of strangers as code, inside a table too."""
    return f"`{one_line(words, limit=limit).replace('`', chr(39)).replace('|', chr(0xA6)) or ' '}`"


def _without(run: Run, secrets: Sequence[str]) -> Run:
    """The run without secrets in the words that strangers could write; before anything is escaped, which hides them."""
    clean = {
        name: redact(getattr(run, name), secrets)
        for name in ("reason", "branch", "model", "because", "cap_because", "merge")
    }
    checks = {
        name: replace(check, summary=redact(check.summary, secrets))
        for name, check in (("check_before", run.check_before), ("check_after", run.check_after))
    }
    notes = tuple(redact(note, secrets) for note in run.issue.notes)
    watched = tuple(replace(remark, words=redact(remark.words, secrets)) for remark in run.watched)
    return replace(run, watched=watched, **clean, **checks, issue=replace(run.issue, notes=notes))  # type: ignore[arg-type]  # by name


def _first(run: Run, account: Account) -> str:
    """Is it done, is it good, what did it cost."""
    branch = f"{code(run.branch)}, " if run.branch and run.commits else ""
    return f"**{_state(run)}**: {branch}{_quality(run)}{account.cost.show()} of {run.cap.show()}"


def _state(run: Run) -> str:
    if run.state == RunState.WAITING:
        if run.verdict == Verdict.BUDGET_EXHAUSTED and run.reason not in {"", AT_CAP}:
            return "Paused at a limit"
        paused = {Verdict.BUDGET_EXHAUSTED: "Paused at the cap", Verdict.RUNAWAY: "Paused by the watch"}
        return paused.get(run.verdict, "Paused") if run.verdict else "Paused"
    if run.state in OPEN_STATES:
        return "Working"
    return _VERDICTS[run.verdict] if run.verdict else "Failed"


def _quality(run: Run) -> str:
    """What our own check said, or that there is none."""
    check = run.check_after
    if run.state in OPEN_STATES - {RunState.WAITING} or not run.commits:
        return ""
    if check.result == "not_run":
        return "not checked, "
    said = f" ({text(check.summary)})" if check.summary else ""
    return f"checks {'green' if check.result == 'passed' else 'red'}{said}, "


def _second(run: Run, account: Account, now: datetime) -> str:
    cells = filled(account.cost.nano, run.cap.nano, _BAR)
    seconds = int(((run.ended_at or now) - (run.started_at or run.created_at)).total_seconds())
    time = f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{max(0, seconds)} s"
    turns = f"{account.totals.requests} turn{'' if account.totals.requests == 1 else 's'}"
    return f"`{'#' * cells}{'.' * (_BAR - cells)}`  {turns}, {time}, {code(run.model)}"


def _table(run: Run, account: Account, check: str) -> Iterator[str]:
    """Before and after: the check, and the issue's money."""
    yield "| | before | after |"
    yield "|---|---|---|"
    if run.check_before.result != "not_run" or run.check_after.result != "not_run":
        name = f"check {code(check)}" if check else "check"
        yield f"| {name} | {_checked(run.check_before)} | {_checked(run.check_after, is_new=True)} |"
    before = Money(max(0, (account.issue_cost - account.cost).nano))
    yield f"| this issue, all runs | {before.show()} | {account.issue_cost.show()} of {account.issue_cap.show()} |"


def _checked(check: Check, *, is_new: bool = False) -> str:
    if check.result == "not_run":
        return "not run"
    words = text(check.summary or check.result)
    return f"**{words}**" if is_new and check.result == "passed" else words


def _notes(run: Run, account: Account) -> Iterator[str]:
    """What a reader must know beside the numbers."""
    notes = []
    if run.reason and run.state not in {RunState.DONE, *(OPEN_STATES - {RunState.WAITING})}:
        notes.append(text(run.reason))
    if run.merge:
        notes.append(f"{text(run.merge)}.")
    if account.totals.refused:
        what = "request was" if account.totals.refused == 1 else "requests were"
        notes.append(f"{account.totals.refused} {what} refused before costing anything.")
    if run.wrap_up:
        notes.append(f"The money ran short: {text(run.wrap_up)}.")
    notes += [f"The watch: {text(remark.words)}." for remark in run.watched if remark.words not in run.reason]
    if run.agents:
        notes.append(f"Agents: {text(run.agents)}.")
    if account.totals.uncertain:
        notes.append(
            f"{account.totals.uncertain.show()} of it is uncertain: no answer told the cost, so it stays charged."
        )
    if account.totals.notional:
        notes.append(f"{account.totals.notional.show()} more is notional: a subscription paid for it.")
    if account.totals.held and run.state not in OPEN_STATES:
        notes.append(f"{account.totals.held.show()} more is still promised to requests in flight.")
    notes += [f"The issue: {text(note)}." for note in run.issue.notes]
    if notes:
        yield from (f"- {note}" for note in notes)
        yield ""


def _question(run: Run) -> Iterator[str]:
    """What it asks, what can be answered, and until when."""
    asked = run.question
    if run.state != RunState.WAITING or asked is None or not asked.is_open:
        return
    yield f"**It asks**: {text(asked.text)}. " + (
        "It goes on by itself when that is there again."
        if run.hosted and run.waits_for in {"money", "provider"}
        else f"Answer with one of {', '.join(code(choice) for choice in asked.choices)}: {_how(run)}."
    )
    if asked.expires_at is not None:
        kept = "; its branch is kept" if run.commits else ""
        yield f"Without an answer it stops on {asked.expires_at.astimezone(UTC):%Y-%m-%d}{kept}."
    yield ""


def _how(run: Run) -> str:
    return f"{code(resume_command(run))} or {code(f'crewcap stop {run.name}')}"


def _replies(replies: Sequence[str]) -> Iterator[str]:
    if replies:
        yield from (f"- {reply}" for reply in replies)
        yield ""


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A part that opens on a click; left out when there is nothing in it."""
    inside = list(lines)
    if inside:
        yield f"<details><summary>{title}</summary>"
        yield ""
        yield from inside
        yield ""
        yield "</details>"


def _money(run: Run, account: Account) -> Iterator[str]:
    parts, usage = account.parts, account.totals.usage
    if not account.totals.spent:
        return
    kinds = {
        "cache writes": parts.cache_write,
        "cache reads": parts.cache_read,
        "input": parts.input,
        "other": parts.other,
    }
    said = [f"{name} {amount.show()}" for name, amount in kinds.items() if amount]
    thinking = f" ({parts.thinking.show()} of it thinking)" if parts.thinking else ""
    yield f"- {', '.join((*said, f'output {parts.output.show()}{thinking}'))}"
    if account.dearest is not None and account.totals.requests > 1:
        dear = account.dearest.usage
        size = f"{dear.prompt:,} tokens in, {dear.output:,} out"
        yield f"- dearest request: {account.dearest.spent.show()} ({size})"
    instead = [f"{code(model)} {amount.show()}" for model, amount in account.elsewhere]
    if parts.saved:
        instead.append(f"no caching {parts.without_caching.show()}")
    if instead:
        yield f"- the same tokens would have cost: {', '.join(instead)}"
    yield from (f"- {line}" for line in savings.lines(account.caches))
    prompt = f"input {usage.input:,}, cache write {usage.write_5m + usage.write_1h:,}, cache read {usage.cache_read:,}"
    yield f"- tokens: {prompt}, output {usage.output:,}"
    yield f"- model and cap: {text(run.because)}; {text(run.cap_because)}"


def _told(told: str, reach: Sequence[str]) -> Iterator[str]:
    """The prompt as it was sent, behind a fence that is longer than any in it; and what could be reached."""
    for line in reach:
        yield f"- {text(line)}"
    if not told:
        return
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", told)), default=0))
    if reach:
        yield ""
    yield f"{fence}text"
    yield from (one_line(line, limit=2_000) for line in told.splitlines())
    yield fence


def _last(run: Run, account: Account) -> str:
    """Where to look next, and how exact all of this is."""
    look = f"`crewcap diff {run.name}`, `crewcap checkout {run.name}`" if run.commits else f"`crewcap show {run.name}`"
    if run.commits and run.withheld:
        look = f"Not published: {text(run.withheld)}. `crewcap diff {run.name}`"
    if run.state == RunState.WAITING:
        look = f"`{resume_command(run)}`, `crewcap stop {run.name}`"
    if run.state in OPEN_STATES - {RunState.WAITING}:
        look = f"`crewcap logs -f {run.name}`, `crewcap stop {run.name}`"
    table = f", price table {account.book[:8]}" if account.book else ""
    uncertain = f", ${account.totals.uncertain.exact()} of it uncertain" if account.totals.uncertain else ""
    return f"{look}. Exactly ${account.cost.exact()}{uncertain}{table}."
