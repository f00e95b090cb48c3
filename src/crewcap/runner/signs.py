"""What is stored or heard of a run, as the signs that its watch is fed; one that works and one that is over alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crewcap.core.budget import Scope
from crewcap.core.runs import OPEN_STATES, Acted, AgentEvent, Answered, Run
from crewcap.core.watch_past import Past, PastRun, past_run
from crewcap.core.watch_signs import Called, Replied, Requested
from crewcap.stores import Entry, Ledger

MOST_PAST = 60  # earlier runs that a run is compared with


def requested(entry: Entry, *, turn: int) -> Requested:
    """A closed request."""
    usage = entry.usage
    return Requested(
        at=entry.closed_at.timestamp(),
        turn=turn,
        cost=entry.spent + entry.uncertain,
        agent=entry.agent,
        model=entry.model,
        prompt=usage.prompt,
        cache_read=usage.cache_read,
        cache_write=usage.write_5m + usage.write_1h,
        output=usage.output,
        failed=entry.kind != "settled",
    )


def of_event(event: AgentEvent, *, at: float, turn: int) -> Called | Replied | None:
    """What the agent does; None for what the watch has no use for."""
    match event:
        case Acted():
            return Called(
                at=at,
                turn=turn,
                call=event.call,
                likeness=event.likeness,
                verb=event.verb,
                what=event.what,
                agent=event.agent,
            )
        case Answered():
            return Replied(at=at, turn=turn, call=event.call, likeness=event.likeness, is_error=event.is_error)
    return None


def alike(run: Run, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Earlier runs that a run may be compared with, the newest first: of its repository, by its model, and over."""
    before = (
        each
        for each in runs
        if (each.repo, each.model) == (run.repo, run.model)
        and each.state not in OPEN_STATES
        and each.turns
        and each.created_at < run.created_at
    )
    return tuple(sorted(before, key=lambda each: each.created_at, reverse=True)[:MOST_PAST])


def past_of(ledger: Ledger, runs: Sequence[Run]) -> Past:
    """What these runs cost, turn by turn."""
    return Past(tuple(past for run in runs if (past := in_the_past(entries_of(ledger, run))).costs))


def in_the_past(entries: Sequence[Entry]) -> PastRun:
    """A run that is over."""
    return past_run([(entry.closed_at.timestamp(), (entry.spent + entry.uncertain).nano) for entry in entries])


def entries_of(ledger: Ledger, run: Run) -> tuple[Entry, ...]:
    """Its closed requests, in the order in which they ended."""
    return tuple(sorted(ledger.entries(scope=Scope(f"run:{run.id}")), key=lambda entry: entry.closed_at))
