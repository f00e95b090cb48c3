"""What is decided before a run, from real settings, real books and real prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.ledger_machine import order

from crewcap import config
from crewcap.core.budget import ALL, Granted, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.core.runs import Issue, Run, RunId, RunState
from crewcap.errors import MoneyRefused, UsageError
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.runner.plan import Asked, Plan, apart, make_plan
from crewcap.stores import Limit, Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns
from crewcap.trackers.issue_text import slug

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUE = Issue(tracker="files", key="fix", title="Fix the login", body="...", labels=("hard",), author="ana")
usd = Money.usd


class Desk:
    """Where runs are planned: one settings file, one ledger."""

    def __init__(self, folder: Path, book: Book) -> None:
        clocks = Clocks(NOW)
        self.ledger = SqliteLedger(Home(folder / "home"), clock=clocks.clock, monotonic=clocks.monotonic)
        self._file, self._book = folder / "config.toml", book
        self._file.touch()

    def settings(self, text: str) -> None:
        """What the user's file says."""
        self._file.write_text(text, encoding="utf-8")

    def plan(self, issue: Issue = ISSUE, repo: str = "shop", **asked: Any) -> Plan:
        settings = config.load(self._file, {})
        self.ledger.sync_file_limits(settings.limits(), zone=settings.timezone)
        return make_plan(
            settings,
            self._book,
            self.ledger,
            issue=issue,
            repo=repo,
            repo_path="/srv/shop",
            asked=Asked(**asked),
            now=NOW,
        )

    def spend(self, amount: str, *scopes: str) -> None:
        """Something else has spent this."""
        boot, key = self.ledger.start_boot(), KeyId("other")
        named = (Scope("key:other"), *(Scope(scope) for scope in scopes), ALL)
        self.ledger.add_key(VirtualKey(id=key, hash="other", scopes=named, created_at=NOW), cap=None)
        granted = self.ledger.reserve(order("h", boot=boot, key=key, amount=usd(amount)))
        assert isinstance(granted, Granted)
        end = Settlement(hold=HoldId("h"), kind="settled", spent=usd(amount), uncertain=ZERO, usage=Usage(input=1))
        assert self.ledger.settle(end)


@pytest.fixture
def desk(tmp_path: Path, book: Book) -> Iterator[Desk]:
    made = Desk(tmp_path, book)
    yield made
    made.ledger.close()


def test_without_any_settings_a_run_is_capped_and_its_model_is_a_full_id(desk: Desk) -> None:
    plan = desk.plan()
    assert (plan.cap, plan.cap_because) == (usd(5), "your default")
    assert (plan.route.agent, plan.route.max_turns, plan.route.timeout_s, plan.sandbox) == ("claude", 40, 2700, "auto")
    assert plan.route.model.startswith("claude-sonnet-")
    assert plan.route.because == "default; no route matched"
    assert {(one.scope, one.window): one.left for one in plan.balances} == {
        (ALL, "day"): usd(25),
        (Scope("issue:files/fix"), "total"): usd(10),
    }
    assert (plan.user, plan.teams, plan.project.check) == ("unknown", (), "")


ROUTES = """
[defaults]
cap = 3.00
[[routes]]
name = "hard"
match = { label = "hard" }
model = "opus"
subagent_model = "haiku"
cap = 8.00
effort = "high"
[[routes]]
match = { repo = "shop" }
cap = 2.00
check = "make quick"
"""


def test_the_first_route_that_matches_sets_model_and_effort_but_the_smallest_cap_binds(desk: Desk) -> None:
    desk.settings(ROUTES)
    plan = desk.plan()
    assert plan.route.model.startswith("claude-opus-")
    assert plan.route.subagent_model.startswith("claude-haiku-")
    assert (plan.route.effort, plan.route.because) == ("high", 'route "hard": label hard')
    assert (plan.cap, plan.cap_because) == (usd(3), 'your default; route "hard" would allow $8.00')


def test_a_route_may_lower_the_cap_and_bring_a_check(desk: Desk) -> None:
    desk.settings(ROUTES)
    plan = desk.plan(replace(ISSUE, labels=()))
    assert (plan.cap, plan.cap_because, plan.route.check) == (usd(2), "route 2", "make quick")


def test_a_person_at_the_keyboard_is_above_routes_and_below_budgets(desk: Desk) -> None:
    desk.settings(ROUTES + '\n[budgets]\n"repo:shop" = { day = 4.00 }\n')
    plan = desk.plan(cap=usd("3.50"), model="haiku", effort="low", max_turns=7, timeout_s=60, sandbox="unconfined")
    assert (plan.cap, plan.cap_because) == (usd("3.50"), "--cap")
    assert plan.route.model.startswith("claude-haiku-")
    assert (plan.route.effort, plan.route.max_turns, plan.route.timeout_s) == ("low", 7, 60)
    assert (plan.sandbox, plan.route.because) == (
        "unconfined",
        '--model, --effort, --max-turns, --timeout; else route "hard": label hard',
    )
    plan = desk.plan(cap=usd(50))
    assert plan.cap == usd(4)
    assert plan.cap_because == "all that is left of the budget of repo:shop, $4.00 a day; --cap would allow $50.00"


def test_the_issues_own_words_only_lower(desk: Desk) -> None:
    plan = desk.plan(replace(ISSUE, cap=usd("0.50")), cap=usd(3))
    assert (plan.cap, plan.cap_because) == (usd("0.50"), "the issue's front matter")
    assert desk.plan(replace(ISSUE, cap=usd(500))).cap == usd(5)


def test_what_others_spent_is_not_there_any_more(desk: Desk) -> None:
    desk.spend("22.00", "repo:other")
    plan = desk.plan()
    assert plan.cap == usd(3)
    assert plan.cap_because == "all that is left of the budget of all, $25.00 a day; your default would allow $5.00"


def test_a_budget_with_nothing_left_starts_nothing(desk: Desk) -> None:
    desk.spend("25.00", "repo:other")
    with pytest.raises(MoneyRefused, match=r"nothing was started: \$0\.00 is all that is left of the budget of all"):
        desk.plan(cap=usd(1))


def test_an_issue_has_a_lifetime_before_its_first_run(desk: Desk) -> None:
    """All its runs together; the settings' word of today counts, not that of its first run."""
    desk.spend("9.00", "issue:files/fix")
    assert desk.plan().cap == usd(1)
    desk.ledger.set_limit(Limit(scope=Scope("issue:files/fix"), window="total", amount=usd(10), source="default"))
    desk.settings("[defaults]\nissue_cap = 12.00\n")
    assert desk.plan().cap == usd(3)
    desk.settings("[defaults]\nissue_cap = 9.50\n")
    assert desk.plan().cap == usd("0.50")
    desk.ledger.set_limit(Limit(scope=Scope("issue:files/fix"), window="total", amount=usd(11), source="command"))
    assert desk.plan().cap == usd(2)


def test_a_repository_and_its_team_bring_their_budgets(desk: Desk) -> None:
    desk.settings("""
[teams]
core = ["bo"]
web = ["ana"]
[users]
ana = ["files:a.dev"]
bo = []
[repos.shop]
team = "core"
check = "make test"
cap = 4.00
issue_cap = 6.00
[budgets]
"team:core" = { day = 20.00 }
"team:web" = { week = 30.00 }
"user:ana" = { month = 40.00 }
"user:bo" = { month = 1.00 }
"repo:other" = { day = 1.00 }
""")
    plan = desk.plan()
    assert (plan.user, plan.teams, plan.project.check, plan.issue_cap) == (
        "ana",
        ("web", "core"),
        "make test",
        usd(6),
    )
    assert {one.scope for one in plan.balances} == {"team:core", "team:web", "user:ana", "issue:files/fix"}
    assert (plan.cap, plan.cap_because) == (usd(4), "the repository's own cap")
    assert desk.plan(replace(ISSUE, author="a.dev")).user == "ana"
    assert desk.plan(replace(ISSUE, author="mallory")).user == "unknown"


def test_an_issue_that_nobody_signed_is_of_who_started_it_here(desk: Desk) -> None:
    desk.settings('[users]\nana = ["local:adev"]\n[teams]\ncore = ["ana"]\n')
    plan = desk.plan(replace(ISSUE, author=""), login="adev")
    assert (plan.user, plan.teams) == ("ana", ("core",))
    assert desk.plan(replace(ISSUE, author=""), login="stranger").user == "unknown"
    assert desk.plan(replace(ISSUE, author="mallory"), login="adev").user == "unknown"


def test_a_route_can_depend_on_what_is_left(desk: Desk) -> None:
    desk.settings('[[routes]]\nmatch = { left_below = 5.00 }\nmodel = "haiku"\n')
    assert desk.plan().route.model.startswith("claude-sonnet-")
    desk.spend("21.00")
    assert desk.plan().route.because == "route 1: less than $5.00 left"


@pytest.mark.parametrize("model", ["gpt-0", "sonnnet", "claude-sonnet-0"])
def test_a_model_without_a_price_is_not_run(desk: Desk, model: str) -> None:
    with pytest.raises(UsageError, match=r"is not in the price book.*so no run may use it"):
        desk.plan(model=model)


@pytest.mark.usefixtures("desk")
def test_an_issue_of_the_same_name_in_another_repository_is_another_issue(tmp_path: Path) -> None:
    """The first keeps the plain name; a lifetime budget is never shared by two repositories' files or prompts."""
    runs = SqliteRuns(Home(tmp_path / "home"), clock=lambda: NOW)

    def planned(repo: str, issue: Issue = ISSUE) -> Issue:
        """A run of it was made, and is over."""
        found = apart(issue, repo, runs)
        runs.save(replace(runs.create(_run(found, repo, number=len(runs.list()))), state=RunState.STOPPED))
        return found

    assert [planned("shop").scope_name for _ in range(2)] == ["files/fix"] * 2
    other = planned("acme/other")
    assert other.scope_name == "files/fix@acme/other"
    assert [planned("acme/other"), planned("acme/other", other)] == [other, other]
    assert planned("shop").scope_name == "files/fix"
    assert planned("third").scope_name == "files/fix@third"
    issue = replace(ISSUE, tracker="github", key="acme/shop#1")
    assert [planned(repo, issue) for repo in ("shop", "acme/other")] == [issue, issue]
    runs.close()


def _run(issue: Issue, repo: str, *, number: int) -> Run:
    return Run(
        id=RunId(f"run-{number}"),
        name=slug(issue.key, otherwise="run"),
        issue=issue,
        repo=repo,
        repo_path="/srv/shop",
        base="",
        base_branch="",
        state=RunState.QUEUED,
        agent="claude",
        model="claude-sonnet-5",
        cap=usd(1),
        max_turns=1,
        timeout_s=1,
        sandbox="unconfined",
        session="",
        created_at=NOW,
    )
