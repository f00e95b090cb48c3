"""Which agent, model and limits a run gets, and which cap binds."""

from __future__ import annotations

from typing import Any

import pytest

from crewcap.core.budget import ALL, Balance, Scope
from crewcap.core.hours import Hours
from crewcap.core.money import ZERO, Money
from crewcap.core.routing import Occasion, Route, Rule, bind_cap, choose, insist
from crewcap.core.runs import Issue

DEFAULTS = Route(agent="claude", model="sonnet", max_turns=40, timeout_s=2_700)


def usd(amount: str | int) -> Money:
    return Money.usd(amount)


def issue(**said: Any) -> Issue:
    return Issue(**{"tracker": "files", "key": "fix", "title": "Fix the login", "body": "...", **said})


def occasion(**said: Any) -> Occasion:
    inner = {name: said.pop(name) for name in ("labels", "title", "source") if name in said}
    return Occasion(**{"issue": issue(**inner), "repo": "acme/shop", **said})


def balance(scope: str, limit: str, left: str, window: Any = "day") -> Balance:
    return Balance(
        scope=Scope(scope),
        window=window,
        label="x",
        limit=usd(limit),
        spent=usd(limit) - usd(left),
        uncertain=ZERO,
        held=ZERO,
    )


def test_without_rules_everything_is_default_and_says_so() -> None:
    assert choose((), occasion(), defaults=DEFAULTS) == DEFAULTS
    assert DEFAULTS.because == "default; no route matched"


def test_the_first_rule_that_matches_wins_and_is_named() -> None:
    """Order is the user's; a later rule that fits as well changes nothing."""
    rules = (
        Rule(label=("docs",), model="haiku"),
        Rule(name="hard-ones", label=("hard",), model="opus", effort="high", cap=usd(8)),
        Rule(label=("hard",), model="sonnet"),
    )
    route = choose(rules, occasion(labels=("bug", "Hard")), defaults=DEFAULTS)
    assert (route.model, route.effort, route.cap, route.max_turns) == ("opus", "high", usd(8), 40)
    assert route.because == 'route "hard-ones": label hard'


def test_a_rule_may_say_when_and_how_early_a_run_has_its_turn() -> None:
    night = Hours.parse("20:00-07:00")
    route = choose((Rule(label=("chore",), priority=-10, hours=night),), occasion(labels=("chore",)), defaults=DEFAULTS)
    assert (route.priority, route.hours) == (-10, night)
    assert (DEFAULTS.priority, DEFAULTS.hours) == (0, None)


def test_what_a_rule_does_not_say_stays_at_the_defaults() -> None:
    route = choose((Rule(thinking_tokens=8_000),), occasion(), defaults=DEFAULTS)
    assert route == Route(
        agent="claude", model="sonnet", max_turns=40, timeout_s=2_700, thinking_tokens=8_000, because="route 1: always",
        rule="route 1",
    )  # fmt: skip


def test_everything_that_a_rule_names_must_hold() -> None:
    rule = Rule(label=("hard",), repo=("acme/*",), model="opus")
    assert choose((rule,), occasion(labels=("hard",)), defaults=DEFAULTS).because == "route 1: label hard, repo acme/*"
    assert choose((rule,), occasion(labels=("hard",), repo="other/shop"), defaults=DEFAULTS).model == "sonnet"


@pytest.mark.parametrize(
    ("rule", "said", "fits"),
    [
        (Rule(label=("a", "b")), {"labels": ("b",)}, True),
        (Rule(label=("a",)), {"labels": ()}, False),
        (Rule(label=("size:*",)), {"labels": ("size:XL",)}, True),
        (Rule(label=("c++",)), {"labels": ("c++",)}, True),
        (Rule(repo=("acme/shop",)), {}, True),
        (Rule(repo=("shop",)), {}, False),
        (Rule(path=("issues/*.md",)), {"source": "/srv/shop/issues/a.md"}, True),
        (Rule(path=("issues/*.md",)), {"source": "/srv/shop/issues/deep/a.md"}, False),
        (Rule(path=("issues/**/*.md",)), {"source": "/srv/shop/issues/deep/a.md"}, True),
        (Rule(path=("issues/**",)), {"source": "issues/deep/a.md"}, True),
        (Rule(path=("sues/*.md",)), {"source": "issues/a.md"}, False),
        (Rule(path=("*",)), {"source": ""}, False),
        (Rule(title=("login",)), {}, True),
        (Rule(title=("fix * login",)), {}, True),
        (Rule(title=("logout",)), {}, False),
        (Rule(title=("(login",)), {}, False),
        (Rule(trigger=("schedule",)), {}, False),
        (Rule(trigger=("schedule",)), {"trigger": "schedule"}, True),
        (Rule(workflow=("review",)), {"workflow": "review"}, True),
        (Rule(author_trust=("none", "read")), {"author_trust": "read"}, True),
        (Rule(author_trust=("none",)), {}, False),
        (Rule(left_below=usd(10)), {"left": usd(9)}, True),
        (Rule(left_below=usd(10)), {"left": usd(10)}, False),
        (Rule(left_below=usd(10)), {"left": None}, False),
    ],
)
def test_what_fits(rule: Rule, said: dict[str, Any], fits: bool) -> None:  # noqa: FBT001
    """Case never matters; a star stays inside one folder of a path; a title may hold the words anywhere."""
    assert (choose((rule,), occasion(**said), defaults=DEFAULTS).rule != "") is fits


def test_a_person_at_the_keyboard_outranks_every_route() -> None:
    route = choose((Rule(name="hard", model="opus"),), occasion(), defaults=DEFAULTS)
    asked = insist(route, model="haiku", max_turns=5)
    assert (asked.model, asked.max_turns, asked.agent) == ("haiku", 5, "claude")
    assert asked.because == '--model, --max-turns; else route "hard": always'
    assert insist(route) is route
    assert insist(DEFAULTS, timeout_s=60).because == "--timeout"


@pytest.mark.parametrize(
    ("said", "cap", "because"),
    [
        ({}, "5", "your default"),
        ({"route": "3"}, "3", 'route "r"'),
        ({"route": "5"}, "5", 'route "r"'),
        ({"route": "8"}, "5", 'your default; route "r" would allow $8.00'),
        ({"head": "2"}, "2", "the issue's front matter"),
        ({"head": "20"}, "5", "your default"),
        ({"asked": "8"}, "8", "--cap"),
        ({"asked": "8", "route": "3"}, "8", "--cap"),
        ({"asked": "0.10", "route": "3"}, "0.10", "--cap"),
        ({"asked": "8", "head": "2"}, "2", "the issue's front matter"),
        ({"asked": "80", "left": "18.40"}, "18.40",
         "all that is left of the budget of all, $25.00 a day; --cap would allow $80.00"),
        ({"left": "18.40"}, "5", "your default"),
        ({"left": "0"}, "0", "all that is left of the budget of all, $25.00 a day; your default would allow $5.00"),
    ],
)  # fmt: skip
def test_which_cap_binds_and_why(said: dict[str, str], cap: str, because: str) -> None:
    """The smallest of what settings, issue and budgets allow; `--cap` may exceed settings, never a budget."""
    route = choose((Rule(name="r", cap=usd(said["route"])),) if "route" in said else (), occasion(), defaults=DEFAULTS)
    bound = bind_cap(
        default=usd(5),
        route=route,
        issue=issue(cap=usd(said["head"]) if "head" in said else None),
        asked=usd(said["asked"]) if "asked" in said else None,
        budgets=[balance(ALL, "25", said.get("left", "25")), balance("repo:acme/shop", "100", "99", "month")],
    )
    assert bound == (usd(cap), because)


def test_a_cap_names_whose_default_it_is() -> None:
    bound = bind_cap(default=usd(1), whose="the repository's own cap", route=DEFAULTS, issue=issue())
    assert bound == (usd(1), "the repository's own cap")


def test_the_tightest_of_several_budgets_binds() -> None:
    budgets = [balance(ALL, "25", "4"), balance("issue:files/fix", "10", "1.25", "total")]
    cap, because = bind_cap(default=usd(5), route=DEFAULTS, issue=issue(), budgets=budgets)
    assert cap == usd("1.25")
    assert because.startswith("all that is left of the budget of issue:files/fix, $10.00 ever")
