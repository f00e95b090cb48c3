"""`crewcap cost`: one number, explained by the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.books import Books, makeup_of
from crewcap.cli.money.report_rows import (
    LEGEND,
    STATES,
    TOKENS,
    as_object,
    cost_cell,
    kinds_line,
    makeup_line,
    makeup_object,
    money,
)
from crewcap.cli.runs.view import find_one
from crewcap.cli.screen.figures import NARROW, Screen, percent, wrap
from crewcap.cli.screen.period import Period, period_options, read_period
from crewcap.core.budget import ALL, Scope, ScopeError, parse_scope
from crewcap.core.bundles import Line, add_up
from crewcap.core.harmless import one_line
from crewcap.core.makeup import Makeup
from crewcap.core.runs import Run
from crewcap.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose cost, and since when."""

    title: str
    scope: Scope
    period: Period
    run: Run | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The number, and everything that explains it."""

    whole: Line
    models: Sequence[Line]
    makeup: Makeup


@click.command(epilog="Example: crewcap cost fix-login.1")
@click.argument("run", default="")
@click.option("--issue", help="All runs of an issue: files/fix-login.")
@click.option("--repo", help="All runs in a repository.")
@click.option("--today", is_flag=True, help="Everything since midnight, in the settings' time zone.")
@click.option("--plot", is_flag=True, help="A run's cost by turn, over the band of earlier runs.")
@click.option("--html", "page", metavar="FILE", help="Write a page with the plot and the numbers, for a browser.")
@period_options
@common
@with_call
def cost(
    call: Call,
    /,
    *,
    run: str,
    issue: str | None,
    repo: str | None,
    today: bool,
    plot: bool,
    page: str | None,
    **period: str,
) -> None:
    """What a run (the latest by default), an issue, a repository or a stretch of time has cost, and why."""
    asked = _question(call, run=run, issue=issue, repo=repo, today=today, period=period)
    books = Books(call=call)
    if plot or page:
        _show_course(books, asked, page)
        return
    answer = _answer(books, asked)
    if not answer.whole.requests and (issue or repo):
        known = "crewcap report issue" if issue else "crewcap report repo"
        call.note(f"note: nothing was booked on {asked.scope} in that time; {known} shows what was")
    if call.as_json:
        call.emit(_object(asked, answer))
        return
    screen = Screen.of(sys.stdout, call.environ)
    narrow = [part for line in _lines(asked, answer) for part in wrap(line, screen.columns, indent="  ")]
    call.out("\n".join(narrow if screen.columns < NARROW else screen.lines(_lines(asked, answer))))


def _question(
    call: Call, *, run: str, issue: str | None, repo: str | None, today: bool, period: Mapping[str, str]
) -> Question:
    """What the words mean; two at once mean nothing."""
    if sum((bool(run), bool(issue), bool(repo), today)) > 1:
        raise UsageError("name one of RUN, --issue, --repo and --today", help="crewcap cost --help")
    if today and (period["since"] or period["until"]):
        raise UsageError("--today is a stretch of time of its own", help="leave --since and --until out")
    words = {**period, "since": "today"} if today else period
    when = read_period(**words, now=call.clock(), default_zone=call.app.settings.timezone)
    try:
        if issue:
            return Question(title=f"issue {issue}", scope=parse_scope(f"issue:{issue}"), period=when)
        if repo:
            return Question(title=f"repository {repo}", scope=parse_scope(f"repo:{repo}"), period=when)
    except ScopeError as error:
        message, _, better = str(error).partition("; ")
        raise UsageError(message, help=better) from error
    if today:
        return Question(title="today", scope=ALL, period=when)
    if not run and (period["since"] or period["until"]):
        return Question(title=f"everything, {when.words()}", scope=ALL, period=when)
    found = find_one(call, run)
    title = f"{found.name}  {one_line(found.issue.title)}"
    return Question(title=title, scope=Scope(f"run:{found.id}"), period=when, run=found)


def _answer(books: Books, asked: Question) -> Answer:
    models = books.lines(("model", "billing"), asked.period, scope=asked.scope)
    return Answer(whole=add_up(models), models=models, makeup=makeup_of(books.call, asked.scope, asked.period))


def _lines(asked: Question, answer: Answer) -> Iterator[str]:
    """The number first, then where it went, then the models that made it."""
    whole = answer.whole
    yield asked.title
    yield f"  cost       {cost_cell(whole)}   ({whole.cost.exact()})"
    if whole.uncertain:
        yield f"  of it      {money(whole.uncertain)} uncertain: sent, and no answer told its cost"
    if whole.held:
        yield f"  held       {money(whole.held)} promised to requests in flight; what they do not use comes back"
    if whole.notional:
        yield f"  notional   {money(whole.notional)} beside it, paid by a subscription"
    if whole.spent:
        yield f"  went for   {kinds_line(whole.costs)}"
    if answer.makeup.whole:
        yield f"  prompts    {makeup_line(answer.makeup)} (estimated)"
    if whole.usage.prompt:
        yield f"  cache      hit {percent(whole.usage.cache_read, whole.usage.prompt)}{_saved(whole)}"
    yield f"  requests   {whole.requests}"
    yield from (_model(line) for line in answer.models)
    if "e" in {word[-1] for word in (kinds_line(whole.costs) + _saved(whole)).replace(",", " ").split()}:
        yield f"  {LEGEND['e']}"


def _saved(whole: Line) -> str:
    saved = whole.saved
    if not saved or not whole.spent:
        return ""
    word = "saved" if saved.nano > 0 else "cost"
    return f", {word} {money(saved if saved.nano > 0 else -saved, 'e')} against no caching"


def _model(line: Line) -> str:
    """A model's money and tokens; what was billed and what a subscription paid stand apart."""
    model, billing = line.keys
    tokens = ", ".join(f"{kind} {getattr(line.usage, kind):,}" for kind in TOKENS if getattr(line.usage, kind))
    name = f"{one_line(model)}, by plan" if billing == "plan" else one_line(model)
    amount = money(line.notional) if billing == "plan" else cost_cell(line)
    return f"  {name:<24} {amount:>10}   {tokens}".rstrip()


def _object(asked: Question, answer: Answer) -> dict[str, object]:
    whole = as_object(answer.whole, ())
    return {
        "scope": asked.scope,
        "since": _iso(asked.period.since),
        "until": _iso(asked.period.until),
        **whole,
        "models": [as_object(line, ("model", "billing")) for line in answer.models],
        "input_parts": makeup_object(answer.makeup),
        "states": STATES,
    }


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None


def _show_course(books: Books, asked: Question, page: str | None) -> None:
    """How a run's cost came about, turn by turn."""
    if asked.run is None:
        raise UsageError("only a run has a course of costs", help="name a RUN; or: crewcap report day --plot")
    from crewcap.cli.money.plots import course_of, course_plot  # noqa: PLC0415
    from crewcap.cli.screen import page as pages  # noqa: PLC0415  (only who asks for it)

    course = course_of(books, asked.run)
    if page:
        pages.course_page(books.call, course, list(_lines(asked, _answer(books, asked))), page)
    else:
        books.call.out("\n".join(course_plot(course, Screen.of(sys.stdout, books.call.environ))))
