"""The end of a run on the screen: what came of it, where the work is, what it cost, and the cheapest next step."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

from crewcap.cli.live.opening import table
from crewcap.cli.screen.figures import NARROW, Colour, bar, columns_of, count, duration, many, percent, wrap
from crewcap.core.harmless import one_line
from crewcap.core.money import Money, MoneyError
from crewcap.core.questions import resume_command
from crewcap.core.runs import Check, Run, RunState, Verdict
from crewcap.core.verdict import AT_CAP
from crewcap.stores import Totals

_CENT = 10_000_000  # nano-dollars
_GAP, _INDENT = "     ", 12
_WORDS = {
    Verdict.NO_CHANGES: "no change",
    Verdict.CHECK_FAILED: "check red",
    Verdict.TIMED_OUT: "timed out",
    Verdict.TURN_LIMITED: "out of turns",
    Verdict.TRUNCATED: "cut off",
    Verdict.AGENT_ERROR: "agent failed",
    Verdict.PROVIDER_ERROR: "provider failed",
    Verdict.SETUP_FAILED: "setup failed",
    Verdict.BUDGET_EXHAUSTED: "out of money",
    Verdict.RUNAWAY: "runaway",
}

_AT_A_LIMIT = "paused at a limit"  # that it shares with others
_PAUSED = {Verdict.BUDGET_EXHAUSTED: AT_CAP, Verdict.RUNAWAY: "paused by the watch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What a run ended with; its money is the ledger's."""

    run: Run
    totals: Totals
    wall_s: float
    waited_s: float = 0  # of it: for an answer, or in the queue again
    lefts: Sequence[tuple[str, Money]] = ()
    saved: Money | None = None  # by caching, against the same tokens without
    caches: Sequence[str] = ()  # what was seen of prompt caches: a prefix that broke, a lifetime that costs more
    needs: str = ""  # what it would take to go on: "about $0.80 more (0.40-1.90)"
    last: str = ""  # what the agent did last


def closing_lines(closing: Closing, columns: int) -> list[str]:
    """The last block, as it stays on the screen."""
    rows = _paused(closing) if closing.run.state == RunState.WAITING else _ended(closing, columns)
    return [*_headline(closing, columns), *table(rows, columns)]


def colour_of(run: Run) -> Colour | None:
    """Green for a passed check, yellow for waiting, red where money ended it; nothing else is coloured."""
    if run.state == RunState.WAITING:
        return "yellow"
    if run.verdict == Verdict.BUDGET_EXHAUSTED:
        return "red"
    return "green" if run.state == RunState.DONE and run.check_after.result == "passed" else None


def headline(run: Run) -> str:
    """What came of it, in a word or three."""
    if run.state == RunState.WAITING:
        if is_at_a_limit(run):
            return _AT_A_LIMIT
        return _PAUSED.get(run.verdict, "paused") if run.verdict else "paused"
    if run.state == RunState.DONE:
        return "done"
    if run.state == RunState.STOPPED:
        return "stopped by the watch" if run.verdict == Verdict.RUNAWAY else "stopped"
    return _WORDS.get(run.verdict, "failed") if run.verdict else "failed"


def is_at_a_limit(run: Run) -> bool:
    """Whether it was not its own cap that paused it; the reason says which limit it was."""
    return run.state == RunState.WAITING and run.verdict == Verdict.BUDGET_EXHAUSTED and run.reason not in {"", AT_CAP}


def _headline(closing: Closing, columns: int) -> list[str]:
    """State, money, turns, time."""
    run, totals = closing.run, closing.totals
    cost = totals.spent + totals.uncertain
    money = f"{cost.show()} of {run.cap.show()}"
    turns, time = many(totals.requests, "turn"), duration(closing.wall_s)
    if columns < NARROW:
        return wrap(f"{headline(run)} {money} {percent(cost, run.cap)} {turns} {time}", columns)
    return [f"{headline(run)}   {money} {bar(cost, run.cap)}   {turns}   {time}"]


def _ended(closing: Closing, columns: int) -> Iterator[tuple[str, str]]:
    """Rows of a run that is over."""
    run, usage = closing.run, closing.totals.usage
    if run.state != RunState.DONE and run.reason:
        yield "why", one_line(run.reason, limit=400)
    yield from _watched(run)
    if run.commits:
        yield "branch", f"{run.branch}   {_work(run)}  ({'not published' if run.withheld else 'not checked out'})"
    if run.commits and run.withheld:
        yield "withheld", one_line(run.withheld, limit=400)
    if run.merge:
        yield "base", one_line(run.merge, limit=2_000)
    if run.workspace_removed_at is not None:
        branch = "; the branch is kept" if run.commits else ""
        yield "workspace", f"removed on {run.workspace_removed_at.astimezone(UTC):%Y-%m-%d}{branch}"
    if run.check_after.result != "passed" and run.commits:
        yield "check", _check(run.check_after, run.check_before)
    if usage.prompt or usage.output:
        yield "tokens", _tokens(closing)
        yield "cache", _cache(closing)
        yield from (("", line) for line in closing.caches)
    yield from _uncertain(closing)
    if run.agent_seconds:
        yield "time", _time(closing)
    if closing.lefts:
        yield "left", "   ".join(f"{name} {amount.show()}" for name, amount in closing.lefts)
    yield from _next(run, columns)


def _paused(closing: Closing) -> Iterator[tuple[str, str]]:
    """Rows of a run that waits: what is kept, how it stands, what would help."""
    run, refused = closing.run, closing.totals.refused
    so_far = f"branch {run.branch} ({many(run.commits, 'commit')} so far), " if run.commits else ""
    until = run.question.expires_at if run.question is not None and run.question.is_open else None
    kept = f"{so_far}the session, the workspace" + (f"; until {until.astimezone(UTC):%Y-%m-%d}" if until else "")
    yield "kept", kept
    check = f"check: {_check(run.check_after, run.check_before)}" if run.check_after.result != "not_run" else ""
    last = f"last: {one_line(closing.last, limit=100)}" if closing.last else ""
    if check or last:
        yield "state", "    ".join(part for part in (check, last) if part)
    if run.runaway or is_at_a_limit(run) or run.waits_for == "provider":
        yield "why", one_line(run.runaway or run.reason, limit=400)
    yield from _watched(run)
    if refused:
        yield "refused", f"{many(refused, 'request')}, before {'it' if refused == 1 else 'they'} could cost anything"
    yield from _uncertain(closing)
    if closing.needs:
        yield "needs", closing.needs
    yield from _answer(run)


def _watched(run: Run) -> Iterator[tuple[str, str]]:
    """What the watch noted; why it ended the agent is said elsewhere."""
    notes = [one_line(remark.words, limit=300) for remark in run.watched if remark.words not in run.reason]
    yield from (("watch" if number == 0 else "", note) for number, note in enumerate(notes))


def _next(run: Run, columns: int) -> Iterator[tuple[str, str]]:
    """Commands to go on with, two beside each other where there is room."""
    looks = [f"crewcap diff {run.name}"] if run.commits else [f"crewcap logs {run.name}"]
    if run.verdict == Verdict.SETUP_FAILED:
        looks.append(f"crewcap doctor --repo {shlex.quote(run.repo_path)}")
    if run.commits and not run.withheld:
        looks.append(f"crewcap checkout {run.name}")
    row = _GAP.join(looks)
    if columns_of(row) + _INDENT <= columns:
        yield "next", row
    else:
        yield from (("next" if number == 0 else "", look) for number, look in enumerate(looks))


def _answer(run: Run) -> Iterator[tuple[str, str]]:
    """How it goes on; by itself, where nobody needs to say anything and somebody is there to see to it."""
    if run.hosted and run.waits_for in {"money", "provider"}:
        yield "next", f"it goes on by itself when that is there again   or   crewcap stop {run.name}"
        return
    yield "answer", f"{resume_command(run)}   or   crewcap stop {run.name}"


def _work(run: Run) -> str:
    files = many(run.files_changed, "file")
    return f"{many(run.commits, 'commit')}, {files}, +{run.lines_added} -{run.lines_removed}"


def _check(after: Check, before: Check) -> str:
    """`40 passed, 2 failed (was 41 passed, 1 failed)`, or that nothing was checked."""
    if after.result == "not_run":
        return "not checked: no check is set for this repository"
    was = f" (was {before.summary or before.result})" if before.result != "not_run" else ""
    return f"{after.summary or after.result}{was}"


def _time(closing: Closing) -> str:
    """Where it went."""
    agent_s, waited_s = closing.run.agent_seconds, closing.waited_s
    rest_s = max(0.0, closing.wall_s - agent_s - waited_s)
    waited = f", waited {duration(waited_s)}" if waited_s >= 1 else ""
    return f"agent {duration(agent_s)}, setup and checks {duration(rest_s)}{waited}"


def _tokens(closing: Closing) -> str:
    usage = closing.totals.usage
    thinking = f" (thinking ~{count(usage.thinking)})" if usage.thinking else ""
    written = count(usage.write_5m + usage.write_1h)
    prompt = f"input {count(usage.input)}  write {written}  read {count(usage.cache_read)}"
    return f"{prompt}  output {count(usage.output)}{thinking}"


def _cache(closing: Closing) -> str:
    usage, saved = closing.totals.usage, closing.saved
    hit = f"hit {percent(usage.cache_read, usage.prompt)}"
    if saved is None or not saved:
        return hit
    word = "saved" if saved.nano > 0 else "cost"
    return f"{hit}, {word} {Money(abs(saved.nano)).show()} against no caching"


def _claim(closing: Closing) -> Iterator[tuple[str, str]]:
    """The agent's own figure, where it is more than a cent and 2 % away from the ledger's."""
    claimed, cost = claimed_by(closing.run), closing.totals.spent + closing.totals.uncertain
    if claimed is None:
        return
    apart = abs((claimed - cost).nano)
    if apart > _CENT and apart * 50 > cost.nano:
        yield "claim", f"the agent itself says {claimed.show()}: its figure is of its last start alone"


def claimed_by(run: Run) -> Money | None:
    """What the agent itself says that its last start cost; None where it says nothing that is an amount."""
    said = run.end.claimed_cost if run.end is not None else ""
    whole, _, part = said.partition(".")
    try:
        return Money.usd(f"{whole}.{part[:9] or 0}")
    except MoneyError:
        return None


def _uncertain(closing: Closing) -> Iterator[tuple[str, str]]:
    """Money that nobody proved is charged, and said; so is a claim that differs."""
    yield from _claim(closing)
    if closing.totals.uncertain:
        yield (
            "uncertain",
            f"{closing.totals.uncertain.show()} of it: sent, and no answer tells the cost; it stays charged",
        )
    if closing.totals.notional:
        yield "notional", f"{closing.totals.notional.show()} beside it, paid by a subscription"
    if closing.totals.held:
        yield "held", f"{closing.totals.held.show()} more is still promised to requests in flight"
