"""Which agent, model and limits a run gets, and which cap binds it.

Rules are looked at in the order in which they were written; the first that matches wins, and what it does not say
stays at the defaults. A rule matches when everything that it names holds; where it names several words for one thing,
one of them is enough. `because` always names the rule, so that nobody has to guess.

The cap is the smallest of the default, the route's, the issue's own front matter and what every budget has left. A
person at the keyboard may ask for more than default and route allow (`--cap`), but never for more than a budget has,
nor for more than the issue itself asks for: front matter only ever lowers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from crewcap.core.budget import Balance
from crewcap.core.hours import Hours
from crewcap.core.money import Money
from crewcap.core.runs import Issue

LONGEST_TITLE = 300  # letters of a title that patterns look at


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a route is chosen for."""

    issue: Issue
    repo: str
    trigger: str = "command"  # what started the run
    workflow: str = "run"
    author_trust: str = "owner"  # what the author may do in the repository; who sits at the keyboard owns it
    left: Money | None = None  # the least that any budget has left


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `[[routes]]` of the settings: what must hold (nothing named = always), and what it sets (None = default)."""

    name: str = ""
    label: tuple[str, ...] = ()  # one of the issue's labels
    repo: tuple[str, ...] = ()
    path: tuple[str, ...] = ()  # the issue's file: `*` stays inside a folder, `**` crosses folders
    trigger: tuple[str, ...] = ()
    workflow: tuple[str, ...] = ()
    title: tuple[str, ...] = ()  # words of the title; `*` stands for anything
    author_trust: tuple[str, ...] = ()
    left_below: Money | None = None  # some budget has less left than this
    agent: str | None = None
    model: str | None = None
    subagent_model: str | None = None
    effort: str | None = None
    thinking_tokens: int | None = None
    cap: Money | None = None
    max_turns: int | None = None
    max_agents: int | None = None
    max_depth: int | None = None
    max_concurrent: int | None = None
    timeout_s: int | None = None
    max_output: int | None = None
    check: str | None = None
    priority: int | None = None
    hours: Hours | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """How far a run's agent may fan out; None = as far as money and turns go."""

    agents: int | None = None  # beside the main conversation, in all
    depth: int | None = None  # 1 = the main conversation's agents start none of their own
    concurrent: int | None = None  # requests at the same time; more of them wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a run is to be done. `cap` is what the route allows, not yet what binds."""

    agent: str
    model: str
    subagent_model: str = ""
    effort: str = ""
    thinking_tokens: int | None = None
    cap: Money | None = None  # None = the route says nothing about money
    max_turns: int
    max_agents: int | None = None
    max_depth: int | None = None
    max_concurrent: int | None = None
    timeout_s: int
    max_output: int = 16_000
    check: str | None = None  # None = the repository's own
    priority: int = 0  # of two queued runs the higher is first
    hours: Hours | None = None  # when it may start; None = whenever
    because: str = "default; no route matched"
    rule: str = ""  # how the rule is called in messages; empty = none matched

    @property
    def fan_out(self) -> FanOut:
        """How far the agent may fan out."""
        return FanOut(agents=self.max_agents, depth=self.max_depth, concurrent=self.max_concurrent)


_SETS = tuple(field.name for field in fields(Route) if field.name not in {"because", "rule"})


def choose(rules: Sequence[Rule], occasion: Occasion, *, defaults: Route) -> Route:
    """The first rule that matches, on top of the defaults."""
    for number, rule in enumerate(rules, start=1):
        reasons = _reasons(rule, occasion)
        if reasons is None:
            continue
        name = f'route "{rule.name}"' if rule.name else f"route {number}"
        said = {what: value for what in _SETS if (value := getattr(rule, what)) is not None}
        return replace(defaults, **said, because=f"{name}: {', '.join(reasons) or 'always'}", rule=name)
    return defaults


def insist(
    route: Route, *, agent: str = "", model: str = "", effort: str = "", max_turns: int = 0, timeout_s: int = 0
) -> Route:
    """What a person said on the command line, above any route; empty and 0 say nothing."""
    asked = {"agent": agent, "model": model, "effort": effort, "max_turns": max_turns, "timeout_s": timeout_s}
    said = {what: value for what, value in asked.items() if value}
    if not said:
        return route
    options = ", ".join("--" + ("timeout" if what == "timeout_s" else what.replace("_", "-")) for what in said)
    rest = f"; else {route.because}" if route.rule else ""
    return replace(route, **said, because=f"{options}{rest}")  # type: ignore[arg-type]  # the keys are Route's own


def bind_cap(
    *,
    default: Money,
    route: Route,
    issue: Issue,
    asked: Money | None = None,
    budgets: Iterable[Balance] = (),
    whose: str = "your default",
) -> tuple[Money, str]:
    """The cap that binds, and why; `whose` says where the default is from.

    Zero when a budget has nothing left: such a run must not start.
    """
    wishes = [(asked, "--cap")] if asked is not None else _unasked(default, whose, route)
    if issue.cap is not None:
        wishes.append((issue.cap, "the issue's front matter"))
    wish, why = min(wishes, key=lambda pair: pair[0])
    tightest = min(budgets, key=lambda balance: balance.left, default=None)
    if tightest is not None and tightest.left < wish:
        return tightest.left, f"all that is left of {_named(tightest)}; {why} would allow {wish.show()}"
    if asked is None and route.cap is not None and route.cap > default and wish == default:
        why += f"; {route.rule} would allow {route.cap.show()}"
    return wish, why


def _unasked(default: Money, whose: str, route: Route) -> list[tuple[Money, str]]:
    """What settings allow when nobody said `--cap`."""
    allowed = [(default, whose)]
    if route.cap is not None:
        allowed.insert(0, (route.cap, route.rule or "your route"))
    return allowed


def _named(balance: Balance) -> str:
    """A budget as people say it: `all, a day ($25.00)`."""
    window = "ever" if balance.window == "total" else f"a {balance.window}"
    return f"the budget of {balance.scope}, {balance.limit.show()} {window}"


def _reasons(rule: Rule, occasion: Occasion) -> list[str] | None:
    """What made the rule match, in words; None when something that it names does not hold."""
    issue = occasion.issue
    seen = {
        "label": issue.labels,
        "repo": (occasion.repo,),
        "path": (issue.source,) if issue.source else (),
        "trigger": (occasion.trigger,),
        "workflow": (occasion.workflow,),
        "title": (issue.title[:LONGEST_TITLE],),
        "author_trust": (occasion.author_trust,),
    }
    reasons = []
    for what, values in seen.items():
        wanted: tuple[str, ...] = getattr(rule, what)
        if not wanted:
            continue
        hit = next((pattern for pattern in wanted if any(_fits(what, pattern, value) for value in values)), None)
        if hit is None:
            return None
        reasons.append(f"{what.replace('_', ' ')} {hit}")
    if rule.left_below is not None:
        if occasion.left is None or occasion.left >= rule.left_below:
            return None
        reasons.append(f"less than {rule.left_below.show()} left")
    return reasons


def _fits(what: str, pattern: str, value: str) -> bool:
    """Whether one thing that a rule names is what is there; case never matters.

    A title fits when the words are anywhere in it. A path may start at any folder: `issues/*.md` fits
    `/srv/shop/issues/a.md`.
    """
    if what == "title":
        return re.search(_regex(pattern, one="."), value, _FLAGS) is not None
    if what == "path":
        return re.search(rf"(?:^|/){_regex(pattern.lstrip('/'), one='[^/]')}\Z", value, _FLAGS) is not None
    return re.fullmatch(_regex(pattern, one="."), value, _FLAGS) is not None


_FLAGS = re.IGNORECASE | re.DOTALL


def _regex(pattern: str, *, one: str) -> str:
    """The regular expression of a pattern with `*`, `**` and `?`; `one` is what a single star may run over."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": f"{one}*", "?": one}
    return "".join(wild.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))
