"""One run on its way, with real parts around it: git, the books, the gateway, a sandbox; only the agent is a fake one.

    async with shop.open(agent) as rig:
        run = await rig.drive()

A kill is an exception out of the screen: nothing behind it is tidied up, and what is stored is what a kill leaves.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.gateway.conftest import endpoints_for, script
from tests.runner.fake_agent import PROGRAM, FakeAgent
from tests.workspaces.repos import git

from crewcap import config
from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.routing import Route
from crewcap.core.runs import Issue, Run, RunId, RunState, Said
from crewcap.gateway.client import GatewayHandle, find
from crewcap.gateway.policy import Policy
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.runner.doors import Doors
from crewcap.runner.fitting import OWNER, Fitted, Grounds, Plot, fit_out
from crewcap.runner.moments import Counted, Heard, Moment, Stepped
from crewcap.runner.plan import PROVIDER, Plan
from crewcap.runner.process import Site
from crewcap.runner.record import Tools
from crewcap.runner.tree import Tree
from crewcap.runner.workflow import Workflow
from crewcap.settings.models import RepoSettings, Settings
from crewcap.simulator.script import Script
from crewcap.simulator.server import Simulator
from crewcap.stores import Totals
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns
from crewcap.workspaces import Sandbox
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base
from crewcap.workspaces.sandbox.uids import Lease, lease
from crewcap.workspaces.sandbox.unconfined import Unconfined

MODEL = "claude-sonnet-4-6"
CHECK = "grep -q 'a + b' adder.py && echo '1 passed' || { echo '1 failed'; exit 1; }"
ISSUE = Issue(tracker="prompt", key="fix-sum", title="Fix the sum", body="2 + 2 should be 4.")
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone."""


def killed(*_: object) -> None:
    """Be killed."""
    raise Killed


def utc_now() -> datetime:
    return datetime.now(UTC)


def stepped(name: str) -> Callable[[Moment], bool]:
    """The moment in which a step is told."""
    return lambda moment: isinstance(moment, Stepped) and moment.name == name


def heard(text: str) -> Callable[[Moment], bool]:
    """The moment in which the agent says this."""
    return lambda moment: isinstance(moment, Heard) and moment.event == Said(text=text)


@dataclass(kw_only=True)
class Rig:
    """A run, and everything that a test looks at or turns."""

    shop: Shop
    agent: FakeAgent
    gateway: GatewayHandle
    run: Run
    plan: Plan
    options: dict[str, Any]
    moments: list[Moment] = field(default_factory=list)
    reports: list[Run] = field(default_factory=list)
    going: Workflow = field(init=False)
    _on: list[tuple[Callable[[Moment], bool], Callable[[Workflow], object]]] = field(default_factory=list)

    def on(self, fits: Callable[[Moment], bool], act: Callable[[Workflow], object]) -> None:
        """Do something at the first such moment of the next drive."""
        self._on.append((fits, act))

    async def drive(self, *, say: str = "", **options: Any) -> Run:
        """One process that drives the run as it is stored, to its end."""
        made = self.workflow(say=say, **options)
        try:
            async with made:
                return await made.drive()
        finally:
            self.run = made.run

    async def drive_until_killed(self) -> Run:
        """The same, for a test that kills it; what is stored."""
        try:
            await self.drive()
        except Killed:
            return self.stored()
        raise AssertionError("it was to be killed, and ended")

    def workflow(self, *, say: str = "", **options: Any) -> Workflow:
        """A second start knows nothing but what is stored."""
        stored, self.moments = self.stored(), []
        tools = self._tools(**{**self.options, **options})
        self.going = Workflow(tools=tools, plan=self.plan, run=stored, say=say)
        return self.going

    def stored(self) -> Run:
        found = self.shop.runs.get(self.run.id)
        assert found is not None
        return found

    def steps(self) -> list[str]:
        """What the last drive told, step by step, without what this machine cannot do."""
        told = [moment for moment in self.moments if isinstance(moment, Stepped) and moment.name != "limits"]
        return [f"{moment.name}: {moment.text}" for moment in told]

    def answers(self) -> list[str]:
        """What the gateway answered the agent in the last drive."""
        spoken = [moment.event for moment in self.moments if isinstance(moment, Heard)]
        return [one.text for one in spoken if isinstance(one, Said) and one.text.startswith("status ")]

    def counted(self) -> Counted:
        """The last count of money and turns."""
        return [moment for moment in self.moments if isinstance(moment, Counted)][-1]

    def story(self) -> list[str]:
        return [event.text for event in self.shop.runs.story(self.run.id)]

    def totals(self) -> Totals:
        return self.shop.ledger.totals(Scope(f"run:{self.run.id}"))

    @property
    def folder(self) -> Path:
        return self.shop.home.run(self.run.id)

    @property
    def site(self) -> Site:
        return self.shop.site(self.run)

    def _hear(self, moment: Moment) -> None:
        self.moments.append(moment)
        for number, (fits, act) in enumerate(self._on):
            if fits(moment):
                del self._on[number]
                act(self.going)
                return

    def _report(self, run: Run, totals: Totals) -> None:
        del totals
        self.reports.append(run)

    def _tools(self, **options: Any) -> Tools:
        self.folder.mkdir(parents=True, exist_ok=True)
        common: dict[str, Any] = {
            "runs": self.shop.runs,
            "ledger": self.shop.ledger,
            "doors": Doors(self.gateway),
            "adapter": self.agent,
            "fitted": self.shop.fitted(self.run, self.plan),
            "tree": Tree(mirrors=self.shop.mirrors, repository=self.shop.repository),
            "folder": self.folder,
            "clock": utc_now,
            "tell": self._hear,
            "report": self._report,
            "silent_s": 60.0,
            "fix_attempts": 2,
        }
        return Tools(**{**common, **options})


@dataclass(kw_only=True)
class Shop:
    """A user's repository, a home, and a gateway in front of a scripted provider."""

    folder: Path
    book: Book
    template: Path  # a repository that the user's own is a copy of
    environ: dict[str, str] = field(default_factory=dict)  # of the user, beside the usual
    trust: str = OWNER  # what whoever wrote the issue may do

    @cached_property
    def settings(self) -> Settings:
        """Of a user who wrote none."""
        return config.load(None, {"HOME": str(self.folder)})

    @property
    def user(self) -> Path:
        """The user's repository."""
        return self.folder / "shop"

    @cached_property
    def home(self) -> Home:
        home = Home(self.folder / "home")
        home.make()
        return home

    @cached_property
    def ledger(self) -> SqliteLedger:
        return SqliteLedger(self.home, clock=utc_now, monotonic=time.monotonic)

    @cached_property
    def runs(self) -> SqliteRuns:
        _ = self.ledger
        return SqliteRuns(self.home, clock=utc_now)

    @cached_property
    def _lease(self) -> Lease:
        return lease(self.home.root / "uids")

    @property
    def uid(self) -> int:
        """The run's user. Never our own where we are root: the end of a run ends everything of its user."""
        return self._lease.uid

    @cached_property
    def mirrors(self) -> Mirrors:
        return Mirrors(self.home.mirrors, environ=os.environ)

    @cached_property
    def repository(self) -> Any:
        shutil.copytree(self.template, self.user)
        return self.mirrors.repository(self.user)

    def site(self, run: Run) -> Site:
        """A run's folders, and no wall around them."""
        return self.fitted(run, self.plan()).rooms.site

    def fitted(self, run: Run, plan: Plan, *, sandbox: Sandbox | None = None, binary: Path = PROGRAM) -> Fitted:
        """The same as its phases find it."""
        grounds = Grounds(
            home=self.home,
            settings=self.settings,
            environ={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environ},
            sandbox=sandbox or Unconfined(),
            mirrors=self.mirrors,
            clock=utc_now,
        )
        plot = Plot(
            repo=run.repo,
            repository=self.repository,
            base=Base(commit=run.base, branch=run.base_branch),
            project=plan.project,
            folder=self.home.run(run.id),
            uid=self.uid,
            trust=self.trust,
            binary=binary,
        )
        return fit_out(grounds, plot)

    def git(self, *words: str) -> str:
        """Git as the user runs it."""
        return git(self.user, *words)

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()

    def plan(self, **changes: Any) -> Plan:
        """What was decided before the run."""
        project = {name: changes.pop(name) for name in RepoSettings.model_fields if name in changes and name != "cap"}
        route: dict[str, Any] = {"agent": "fake", "model": MODEL, "max_turns": 40, "timeout_s": 600}
        route |= {name: changes.pop(name) for name in (*route, "effort", "because", "max_agents") if name in changes}
        plan = Plan(
            issue=ISSUE,
            repo="shop",
            repo_path=str(self.user),
            project=RepoSettings(**project),
            route=Route(**route),
            cap=Money.usd(1),
            cap_because="your default",
            issue_cap=Money.usd(10),
            user="ana",
            teams=("core",),
            balances=(),
            sandbox="unconfined",
            card=self.book.card(PROVIDER, MODEL, at=NOW),
        )
        return replace(plan, **changes)

    def written(self, plan: Plan) -> Run:
        """A new run of this plan, as it is stored before anything is done."""
        base = self.mirrors.update(self.repository)
        run = Run(
            id=RunId(f"01RUN{time.monotonic_ns()}"),
            name="fix-sum",
            issue=plan.issue,
            state=RunState.QUEUED,
            repo=plan.repo,
            repo_path=str(self.user),
            base=base.commit,
            base_branch=base.branch,
            agent="fake",
            model=MODEL,
            cap=plan.cap,
            max_turns=plan.route.max_turns,
            timeout_s=plan.route.timeout_s,
            sandbox="unconfined",
            scopes=("issue:prompt/fix-sum", "repo:shop", "user:ana", "team:core", "all"),
            session="5e551011-0000-4000-8000-000000000001",
            created_at=NOW,
        )
        return self.runs.create(run)

    @asynccontextmanager
    async def open(self, *agent: Any, options: dict[str, Any] | None = None, **plan: Any) -> AsyncIterator[Rig]:
        """A run that is written down, and a gateway that lives as long as this is open."""
        provider = plan.pop("provider", None)
        decided = self.plan(**plan)
        async with self.gateway(provider or script()) as gateway:
            fake = agent[0] if agent and isinstance(agent[0], FakeAgent) else FakeAgent(*agent)
            yield Rig(
                shop=self,
                agent=fake,
                gateway=gateway,
                run=self.written(decided),
                plan=decided,
                options=options or {},
            )

    @asynccontextmanager
    async def gateway(self, provider: Script, **policy: Any) -> AsyncIterator[GatewayHandle]:
        """A gateway of this home, in front of a provider that follows a script."""
        with self._books() as books:
            async with (
                Simulator(provider, book=self.book) as simulator,
                Gateway(
                    home=self.home,
                    ledger=books,
                    book=self.book,
                    endpoints=endpoints_for(simulator.url),
                    policy=Policy(**policy),
                    clock=utc_now,
                ),
            ):
                handle = await find(self.home)
                assert handle is not None
                yield handle

    @contextmanager
    def _books(self) -> Iterator[SqliteLedger]:
        """The gateway's own hand on the books."""
        books = SqliteLedger(self.home, clock=utc_now, monotonic=time.monotonic)
        try:
            yield books
        finally:
            books.close()

    def close(self) -> None:
        for name in ("runs", "ledger"):
            if name in self.__dict__:
                self.__dict__[name].close()
        self._lease.release()
