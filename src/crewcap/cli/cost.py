"""`crewcap cost`: one number, explained by the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.run_view import KINDS, find_one
from crewcap.core.budget import ALL, Scope, ScopeError, parse_scope, span_of
from crewcap.core.money import ZERO, Money, total
from crewcap.errors import UsageError
from crewcap.stores import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose cost, and since when."""

    title: str
    scope: Scope
    since: datetime | None = None


@click.command(epilog="Example: crewcap cost fix-login.1")
@click.argument("run", default="")
@click.option("--issue", help="All runs of an issue: files/fix-login.")
@click.option("--repo", help="All runs in a repository.")
@click.option("--today", is_flag=True, help="Everything since midnight, in the settings' time zone.")
@common
@with_call
def cost(call: Call, *, run: str, issue: str | None, repo: str | None, today: bool) -> None:
    """What a run (the latest by default), an issue, a repository or today has cost, and why."""
    asked = _question(call, run=run, issue=issue, repo=repo, today=today)
    entries = () if call.app.is_new else call.app.ledger.entries(scope=asked.scope, since=asked.since)
    held = ZERO if call.app.is_new else call.app.ledger.totals(asked.scope).held
    if call.as_json:
        call.emit(_object(asked, entries, held))
    else:
        call.out("\n".join(_lines(asked, entries, held)))


def _question(call: Call, *, run: str, issue: str | None, repo: str | None, today: bool) -> Question:
    """What the words mean; two at once mean nothing."""
    if sum((bool(run), bool(issue), bool(repo), today)) > 1:
        raise UsageError("name one of RUN, --issue, --repo and --today", help="crewcap cost --help")
    try:
        if issue:
            return Question(title=f"issue {issue}", scope=parse_scope(f"issue:{issue}"))
        if repo:
            return Question(title=f"repository {repo}", scope=parse_scope(f"repo:{repo}"))
    except ScopeError as error:
        message, _, better = str(error).partition("; ")
        raise UsageError(message, help=better) from error
    if today:
        zone = call.app.settings.timezone
        return Question(title="today", scope=ALL, since=span_of("day", call.clock(), ZoneInfo(zone), zone).starts_at)
    found = find_one(call, run)
    return Question(title=f"{found.name}  {found.issue.title}", scope=Scope(f"run:{found.id}"))


def _lines(asked: Question, entries: Sequence[Entry], held: Money) -> list[str]:
    """The number first, then the models that made it."""
    spent, uncertain = _sums(entries)
    lines = [asked.title, f"  cost       {(spent + uncertain).show()}   ({(spent + uncertain).exact()})"]
    if uncertain:
        lines.append(f"  of it      {uncertain.show()} uncertain: sent, and no answer told its cost")
    if held:
        lines.append(f"  held       {held.show()} promised to requests in flight; what they do not use comes back")
    billed, planned = _apart(entries)
    if planned:
        lines.append(f"  notional   {_notional(planned).show()} beside it, paid by a subscription")
    lines.append(f"  requests   {len(entries)}")
    lines += [_row(model, mine, sum(_sums(mine), ZERO)) for model, mine in _by_model(billed)]
    lines += [_row(f"{model}, by plan", mine, _notional(mine)) for model, mine in _by_model(planned)]
    return lines


def _apart(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """What was billed, and what a subscription paid for: two kinds of money that are never summed."""
    return [entry for entry in entries if not entry.notional], [entry for entry in entries if entry.notional]


def _by_model(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    for model in dict.fromkeys(entry.model for entry in entries):
        yield model, [entry for entry in entries if entry.model == model]


def _row(name: str, entries: Sequence[Entry], money: Money) -> str:
    tokens = _tokens(entries)
    words = ", ".join(f"{kind} {tokens[kind]:,}" for kind in KINDS if tokens[kind])
    return f"  {name:<24} {money.show():>9}   {words}"


def _notional(entries: Sequence[Entry]) -> Money:
    return total([entry.notional for entry in entries])


def _sums(entries: Sequence[Entry]) -> tuple[Money, Money]:
    return total([entry.spent for entry in entries]), total([entry.uncertain for entry in entries])


def _tokens(entries: Sequence[Entry]) -> dict[str, int]:
    return {kind: sum(getattr(entry.usage, kind) for entry in entries) for kind in KINDS}


def _object(asked: Question, entries: Sequence[Entry], held: Money) -> dict[str, object]:
    spent, uncertain = _sums(entries)
    return {
        "scope": asked.scope,
        "since": asked.since.astimezone(UTC).isoformat() if asked.since else None,
        "cost_usd": (spent + uncertain).exact(),
        "spent_usd": spent.exact(),
        "uncertain_usd": uncertain.exact(),
        "held_usd": held.exact(),
        "notional_usd": _notional(entries).exact(),
        "requests": len(entries),
        "tokens": _tokens(entries),
    }
