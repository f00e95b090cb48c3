"""What `crewcap run` puts together: which repository is meant, and which run is gone on with."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.cli.run_home import RunHome, cut_short, driven, utc_now
from tests.workspaces.repos import make_repository

from crewcap.agents.find import Found
from crewcap.cli.context import Call
from crewcap.cli.runs.job import _open_or_new
from crewcap.core.runs import Issue, Run, RunState
from crewcap.runner.jobs import Job
from crewcap.runner.plan import Asked, make_plan
from crewcap.runner.start import Order
from crewcap.stores.run_rows import AlreadyOpen
from crewcap.trackers.prompts import Prompts
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import LeftOut
from crewcap.workspaces.sandbox.unconfined import Unconfined


class Again:
    """The same issue, started once more."""

    def __init__(self, home: RunHome) -> None:
        self.home = home
        make_repository(home.user)
        self.call = Call(home=home.home, config_path=home.config, environ=dict(os.environ))
        mirrors = Mirrors(home.home.mirrors, environ=os.environ)
        repository = mirrors.repository(home.user)
        base = mirrors.update(repository)
        plan = make_plan(
            self.call.app.settings,
            self.call.app.book,
            home.ledger,
            issue=Issue(tracker="files", key="fix-login", title="Fix", body="..."),
            repo="shop",
            repo_path=str(home.user),
            asked=Asked(),
            now=utc_now(),
        )
        found = Found(path="/x/claude", version="2.1.330", origin="setting")
        self.job = Job(
            plan=plan,
            settings=self.call.app.settings,
            repository=repository,
            base=base,
            left_out=LeftOut(),
            found=found,
            agent_title="Claude Code",
            tracker=Prompts(),
        )
        self.order = Order(
            home=home.home,
            config_path=None,
            settings=self.call.app.settings,
            environ={},
            ledger=home.ledger,
            runs=home.runs,
            clock=utc_now,
            sandbox=Unconfined(),
            mirrors=mirrors,
            repository=repository,
            base=base,
            tell=lambda _: None,
            report=lambda _run, _totals: None,
        )

    def start(self) -> Run:
        try:
            return _open_or_new(self.call, self.order, self.job)
        finally:
            self.call.close()


@pytest.fixture
def again(home: RunHome) -> Again:
    return Again(home)


def test_a_run_that_was_cut_short_is_gone_on_with(again: Again) -> None:
    run = again.home.add(state=RunState.RUNNING, **cut_short())
    assert again.start() == run


@pytest.mark.parametrize(("state", "driver"), [(RunState.RUNNING, driven()), (RunState.WAITING, cut_short())])
def test_a_run_that_somebody_drives_or_that_waits_is_left_alone(
    again: Again, state: RunState, driver: dict[str, Any]
) -> None:
    again.home.add(state=state, **driver)
    with pytest.raises(AlreadyOpen, match=f"fix-login.1 is open for this issue .{state}."):
        again.start()


def test_a_run_of_another_repository_is_never_gone_on_with_here(again: Again) -> None:
    """The same words may be asked for in two repositories; work of the one has no place in the other."""
    again.home.add(state=RunState.RUNNING, repo_path="/srv/other", **cut_short())
    with pytest.raises(AlreadyOpen):
        again.start()


def test_where_nothing_is_open_a_new_run_is_written_down(again: Again) -> None:
    again.home.add()
    assert (again.start().name, len(again.home.runs.list())) == ("fix-login.2", 2)
