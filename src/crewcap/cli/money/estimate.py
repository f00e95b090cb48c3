"""`crewcap estimate ISSUE`: what a run will probably cost, before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.past import jobs_of
from crewcap.cli.runs.options import read_issue
from crewcap.cli.screen.amounts import table
from crewcap.cli.screen.figures import count
from crewcap.core.estimate import PUBLISHED, Estimate, dear_signs, estimate, tokens_of
from crewcap.core.history import NO_WORKFLOW
from crewcap.core.money import Money
from crewcap.core.pricing import UnknownPrice, Usage

if TYPE_CHECKING:
    from crewcap.runner.grounds import Found
    from crewcap.runner.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The repository that a run starts from."""

    files: int
    tokens: int
    read_once: Money | None  # all of it as fresh input; None without a price


@click.command("estimate", epilog="Example: crewcap estimate issues/fix-login.md")
@click.argument("issue", required=False)
@click.option("-p", "--prompt", metavar="TEXT", help="The task itself, instead of an issue.")
@click.option("--repo", metavar="PATH|NAME", help="The repository; by default the one around the issue, or here.")
@click.option("--model", default="", help="sonnet, opus, haiku, or a full id.")
@common
@with_call
def estimate_(call: Call, *, issue: str | None, prompt: str | None, repo: str | None, model: str) -> None:
    """What a run of ISSUE will probably cost: from your own runs like it, else from what others published.

    It names what in the issue's own words will make it dear. Nothing is started and nothing is spent.
    """
    read, _ = read_issue(issue, prompt, command="estimate")
    from crewcap.runner.grounds import find_around, plan_for  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.runner.person import login_here  # noqa: PLC0415
    from crewcap.runner.plan import Asked  # noqa: PLC0415

    here = find_around(call.app, read, repo)
    plan = plan_for(call.app, here, read, Asked(model=model, login=login_here()))
    found = estimate_of(call, plan)
    size = _size(call, here, plan.route.model)
    if call.as_json:
        call.emit(_object(plan, found, size, dear_signs(read)))
        return
    for line in _words(plan, found, size):
        call.out(line)


def estimate_of(call: Call, plan: Plan) -> Estimate:
    """By earlier runs like the one that is planned."""
    return estimate(jobs_of(call), workflow=NO_WORKFLOW, model=plan.route.model, repo=plan.repo)


def estimate_words(found: Estimate) -> str:
    """`$0.25 half of the time, $0.80 nine times of ten   from 31 runs in shop`."""
    if found.basis == "published":
        return f"{found.p50.show()} to {found.p90.show()}   published, not yours"
    own = f"{found.p50.show()} half of the time, {found.p90.show()} nine times of ten"
    return f"{own}   from {found.jobs} {found.like}"


def estimate_object(found: Estimate) -> dict[str, object]:
    """The same for machines."""
    return {
        "basis": found.basis,
        "runs_seen": found.jobs,
        "like": found.like,
        "p50_usd": found.p50.exact(),
        "p90_usd": found.p90.exact(),
    }


def _size(call: Call, here: Found, model: str) -> Size:
    """How much there is to read."""
    sizes = call.app.mirrors.sizes(here.repository, at=here.base.commit)
    tokens = sum(tokens_of(size) for size in sizes)
    return Size(files=len(sizes), tokens=tokens, read_once=_read_once(call, model, tokens))


def _read_once(call: Call, model: str, tokens: int) -> Money | None:
    from crewcap.runner.plan import PROVIDER  # noqa: PLC0415

    try:
        return call.app.book.card(PROVIDER, model, at=call.clock()).cost(Usage(input=tokens))
    except UnknownPrice:
        return None


def _words(plan: Plan, found: Estimate, size: Size) -> Iterator[str]:
    yield plan.issue.title
    yield from (f"  {row}" for row in table(_rows(plan, found, size)))
    if found.basis == "published":
        yield f"  no estimate of your own yet ({found.jobs} of 10 runs seen); published, not yours:"
        for each in PUBLISHED:
            amount = each.low.show() if each.low == each.high else f"{each.low.show()} to {each.high.show()}"
            yield f"    {each.what}: {amount} ({each.source})"
    yield from (f"  dear: {sign}" for sign in dear_signs(plan.issue))
    if found.p90 > plan.cap:
        yield f"  the cap of {plan.cap.show()} ends one such run in ten or more before it is done"


def _rows(plan: Plan, found: Estimate, size: Size) -> Sequence[tuple[str, str]]:
    once = f", {size.read_once.show()} to read once" if size.read_once is not None else ""
    return [
        ("estimate", estimate_words(found)),
        ("cap", f"{plan.cap.show()} ({plan.cap_because})"),
        ("model", f"{plan.route.model} ({plan.route.because})"),
        ("repository", f"{plan.repo}: {size.files:,} files, about {count(size.tokens)} tokens{once}"),
    ]


def _object(plan: Plan, found: Estimate, size: Size, signs: Sequence[str]) -> dict[str, object]:
    return {
        "issue": f"{plan.issue.tracker}/{plan.issue.key}",
        "title": plan.issue.title,
        **estimate_object(found),
        "cap_usd": plan.cap.exact(),
        "model": plan.route.model,
        "files": size.files,
        "tokens": size.tokens,
        "read_once_usd": size.read_once.exact() if size.read_once is not None else None,
        "published": [
            {"what": each.what, "low_usd": each.low.exact(), "high_usd": each.high.exact(), "source": each.source}
            for each in PUBLISHED
        ]
        if found.basis == "published"
        else [],
        "dear": list(signs),
    }
