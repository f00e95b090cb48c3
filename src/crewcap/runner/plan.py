"""What will be run, decided before anything is: agent, model, cap, sandbox, and why each of them.

A plan is a value. `--dry-run` prints it; a real run stores what matters of it, so that a restart does not decide
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from crewcap.core.budget import Balance, Scope
from crewcap.core.hours import Hours
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import PriceBook, RateCard, UnknownPrice
from crewcap.core.routing import Occasion, Route, bind_cap, choose, insist
from crewcap.core.runs import Issue, Run
from crewcap.errors import MoneyRefused, UsageError
from crewcap.runner.access import scopes_of
from crewcap.runner.person import person_here
from crewcap.settings.models import Defaults, RepoSettings, Settings
from crewcap.stores import Ledger, RunStore
from crewcap.trackers.issue_text import slug

_OF_A_REPOSITORY = frozenset({"files", "prompt", "stdin"})  # trackers whose keys another repository may have as well
PROVIDER = "anthropic"  # the one dialect that this version's agents speak


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person said on the command line; empty and None say nothing."""

    agent: str = ""
    model: str = ""
    effort: str = ""
    cap: Money | None = None
    max_turns: int = 0
    timeout_s: int = 0
    sandbox: str = ""
    login: str = ""  # whom the system knows at the keyboard
    user: str = ""  # where that is known already: of a run that is there, of a schedule
    workflow: str = ""  # what the run is one of
    priority: int | None = None
    hours: Hours | None = None  # when it may start
    is_again: bool = False  # a run that is there: its cap was bound when it was written down


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before a run."""

    issue: Issue
    repo: str
    repo_path: str  # or its address: not a path, which would not keep its two slashes
    project: RepoSettings
    route: Route  # its models are full ids
    cap: Money
    cap_because: str
    wish: Money = (
        ZERO  # the same, before any budget: what a run that may wait for money is queued with; zero = as `cap`
    )
    wish_because: str = ""
    issue_cap: Money
    user: str
    teams: tuple[str, ...]
    balances: tuple[Balance, ...]  # what is left where it matters, before the run
    sandbox: str  # as asked for: auto, or a rung
    workflow: str = ""
    priority: int = 0
    hours: str = ""  # when it may start
    card: RateCard | None = None  # the model's prices

    @property
    def context_window(self) -> int:
        """Tokens of the model's context; 0 = nobody published it."""
        return (self.card.context_window if self.card else None) or 0


def make_plan(
    settings: Settings,
    book: PriceBook,
    ledger: Ledger,
    *,
    issue: Issue,
    repo: str,
    repo_path: str,
    asked: Asked,
    now: datetime,
) -> Plan:
    """Choose everything; `MoneyRefused` where a budget has nothing left, `UsageError` for what does not exist."""
    project = settings.repos.get(repo, RepoSettings())
    user = asked.user or _user_of(settings, ledger, issue, asked)
    teams = tuple(dict.fromkeys((*settings.team_of(user), *([project.team] if project.team else []))))
    issue_cap = min(settings.defaults.issue_cap, project.issue_cap or settings.defaults.issue_cap)
    balances = _balances(
        ledger, scopes_of(issue, run="", repo=repo, user=user, teams=teams, workflow=asked.workflow), issue, issue_cap
    )
    route = _route(settings, issue, repo, balances, asked)
    default, whose = settings.defaults.cap, "your default"
    if project.cap is not None and project.cap < default:
        default, whose = project.cap, "the repository's own cap"
    bind = partial(bind_cap, default=default, whose=whose, route=route, issue=issue, asked=asked.cap)
    cap, because = bind(budgets=balances)
    wish, wish_because = bind()
    if not cap and not asked.is_again:
        tightest = min(balances, key=lambda balance: balance.left)
        raise MoneyRefused(
            f"nothing was started: {cap.show()} is {because}",
            help=f"raise it with: crewcap budget set {tightest.scope} {tightest.window} AMOUNT",
        )
    route = _pinned(route, book, now)
    return Plan(
        issue=issue,
        repo=repo,
        repo_path=repo_path,
        project=project,
        route=route,
        cap=cap,
        cap_because=because,
        wish=wish,
        wish_because=wish_because,
        issue_cap=issue_cap,
        user=user,
        teams=teams,
        balances=balances,
        sandbox=asked.sandbox or settings.defaults.sandbox,
        workflow=asked.workflow,
        priority=route.priority if asked.priority is None else asked.priority,
        hours=str(asked.hours or route.hours or ""),
        card=book.card(PROVIDER, route.model, at=now),
    )


def apart(issue: Issue, repo: str, runs: RunStore) -> Issue:
    """The issue under a name of its own, where another repository has had runs of one with the same name.

    Keys of files and prompts are unique within a repository alone, and a lifetime budget belongs to one issue. The
    first repository keeps the plain name, `issue:files/fix-login`; another's is `issue:files/fix-login@acme/shop`.
    """
    if issue.tracker not in _OF_A_REPOSITORY or issue.key.endswith(f"@{repo}"):
        return issue
    own = replace(issue, key=f"{issue.key}@{repo}")
    for name, mine in ((own.key, own), (issue.key, issue)):
        known = [run for run in runs.find(f"{slug(name, otherwise='run')}.") if _is_of(run, issue.tracker, name)]
        if any(run.repo == repo for run in known):
            return mine
    return own if known else issue


def _is_of(run: Run, tracker: str, key: str) -> bool:
    return (run.issue.tracker, run.issue.key) == (tracker, key)


def _user_of(settings: Settings, ledger: Ledger, issue: Issue, asked: Asked) -> str:
    """The person behind the trigger, as the settings know them; without an author, the one at the keyboard."""
    if not issue.author:
        return person_here(settings, ledger, asked.login)
    return issue.author if issue.author in settings.users else settings.user_of(f"{issue.tracker}:{issue.author}")


def _balances(ledger: Ledger, scopes: Sequence[Scope], issue: Issue, issue_cap: Money) -> tuple[Balance, ...]:
    """What is left in every scope of the run; the issue's lifetime cap counts before it is in the books."""
    mine = Scope(f"issue:{issue.scope_name}")
    known = [
        replace(balance, limit=issue_cap) if balance.scope == mine and balance.source == "default" else balance
        for balance in ledger.all_balances()
        if balance.scope in scopes
    ]  # what an earlier run brought along is what settings said then
    if not any(balance.scope == mine and balance.window == "total" for balance in known):
        so_far = ledger.totals(mine)
        known.append(
            Balance(
                scope=mine,
                window="total",
                label="total",
                limit=issue_cap,
                spent=so_far.spent,
                uncertain=so_far.uncertain,
                held=so_far.held,
                source="default",
            )
        )
    return tuple(known)


def _route(settings: Settings, issue: Issue, repo: str, balances: Sequence[Balance], asked: Asked) -> Route:
    """The first rule that matches, under what a person said."""
    left = min((balance.left for balance in balances), default=ZERO)
    occasion = Occasion(issue=issue, repo=repo, left=left)
    return insist(
        choose(settings.routes, occasion, defaults=_base_route(settings.defaults)),
        agent=asked.agent,
        model=asked.model,
        effort=asked.effort,
        max_turns=asked.max_turns,
        timeout_s=asked.timeout_s,
    )


def usual_timeout_s(settings: Settings, repo: str) -> int:
    """How long a run in this repository may take that no label, title or author tells from others."""
    anything = Issue(tracker="prompt", key="", title="", body="")
    route = choose(settings.routes, Occasion(issue=anything, repo=repo), defaults=_base_route(settings.defaults))
    return route.timeout_s


def _base_route(defaults: Defaults) -> Route:
    """What holds where no rule matches."""
    return Route(
        agent=defaults.agent,
        model=defaults.model,
        subagent_model=defaults.subagent_model or "",
        effort=defaults.effort,
        thinking_tokens=defaults.thinking_tokens,
        max_turns=defaults.max_turns,
        max_agents=defaults.max_agents,
        max_depth=defaults.max_depth,
        max_concurrent=defaults.max_concurrent,
        timeout_s=defaults.timeout_s,
        max_output=defaults.max_output,
    )


def _pinned(route: Route, book: PriceBook, now: datetime) -> Route:
    """The route with full model ids, so that what a name means cannot change under a run."""
    try:
        model = book.resolve(PROVIDER, route.model, at=now)
        subagent = book.resolve(PROVIDER, route.subagent_model, at=now) if route.subagent_model else ""
    except UnknownPrice as error:
        raise UsageError(f"{error}, so no run may use it", help="crewcap price list shows what has a price") from error
    return replace(route, model=model, subagent_model=subagent)
