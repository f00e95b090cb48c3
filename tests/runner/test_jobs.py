"""One run with everything that it is carried out with, whether it begins or goes on."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.runner.worker.houses import Street, queued
from tests.workspaces.repos import git

from crewcap.app import App
from crewcap.core.budget import Scope
from crewcap.core.money import Money
from crewcap.core.runs import Issue, Run, RunState, Verdict
from crewcap.errors import SettingsError, UnsafeEnvironment, UsageError
from crewcap.runner import jobs
from crewcap.runner.plan import Asked
from crewcap.stores import Totals
from crewcap.trackers.files import Files
from crewcap.trackers.prompts import Prompts
from crewcap.workspaces.sandbox.unconfined import Unconfined

SECRET = "sk-ant-fake-key-of-a-job"
LENT = "tok-5f2a9c81d0e7"
PROMPT = Issue(tracker="prompt", key="p1", title="Fix the sum", body="2 + 2 should be 4.")


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    made = Street(tmp_path, None)
    yield made
    made.end()


@pytest.fixture
def house(street: Street) -> App:
    return street.house("a")


def prepared(house: App, issue: Issue = PROMPT, **asked: Any) -> jobs.Job:
    tracker = jobs.tracker_of(issue)
    return jobs.prepare(house, issue, tracker, Asked(user="ana", **asked), repo="shop")


def of_a_file(street: Street, text: str = "---\ntitle: Fix it\n---\nPlease.\n") -> Issue:
    path = street.user / "issue.md"
    path.write_text(text)
    return Files(Path("/")).read(str(path))


def test_a_job_knows_its_repository_its_base_its_plan_and_its_agent(street: Street, house: App) -> None:
    job = prepared(house)
    assert (job.repository.local, job.base.commit) == (street.user, git(street.user, "rev-parse", "HEAD"))
    assert (job.plan.repo, job.plan.issue, job.plan.user) == ("shop", PROMPT, "ana")
    assert (job.agent_title, job.found.version) == ("Claude Code", "2.1.330")
    assert house.runs.list(limit=10) == []  # nothing is started, and nothing is written down


def test_what_is_asked_for_binds_the_plan(house: App) -> None:
    job = prepared(house, cap=Money.usd("1.50"), max_turns=7)
    assert (job.plan.cap, job.plan.route.max_turns) == (Money.usd("1.50"), 7)


def test_a_repository_or_an_agent_that_is_not_there_is_refused_before_anything(street: Street, house: App) -> None:
    with pytest.raises(UsageError):
        jobs.prepare(house, PROMPT, Prompts(), Asked(user="ana"), repo="nowhere")
    (street.folder / "claude").unlink()
    with pytest.raises((SettingsError, UnsafeEnvironment)):
        prepared(house)


def test_an_issues_own_file_is_not_told_as_work_that_is_left_out(street: Street, house: App) -> None:
    """It is read as it stands, and our report makes it uncommitted."""
    issue = of_a_file(street)
    (street.user / "other").write_text("x")
    assert prepared(house, issue).left_out.untracked == ("other",)
    assert set(prepared(house).left_out.untracked) == {"issue.md", "other"}
    git(street.user, "add", "issue.md")
    assert prepared(house, issue).left_out.changed == ()


def test_a_run_that_goes_on_is_planned_as_it_was_whatever_is_set_by_now(street: Street) -> None:
    """Its own model, cap, turns and words; what its issue says of money was heard at its start."""
    house = street.house("b")
    run = queued(
        house, 1, issue=replace(PROMPT, cap=Money.usd("0.10")), model="claude-haiku-4-5", cap=Money.usd(4),
        max_turns=9, timeout_s=600, repo_path=str(street.user), trust="reads",
    )  # fmt: skip
    job = jobs.prepare_again(house, run)
    assert (job.plan.cap, job.plan.route.model, job.plan.route.max_turns) == (Money.usd(4), "claude-haiku-4-5", 9)
    assert (job.plan.route.timeout_s, job.plan.issue, job.trust) == (600, run.issue, "reads")
    assert jobs.prepare_again(house, replace(run, trust="")).trust == "owner"


def test_an_issue_says_by_itself_where_it_lives(street: Street) -> None:
    assert isinstance(jobs.tracker_of(of_a_file(street)), Files)
    assert isinstance(jobs.tracker_of(PROMPT), Prompts)


def test_a_worker_is_handed_no_key_and_a_command_its_gateways(house: App) -> None:
    job = prepared(house)
    keys = {"ANTHROPIC_API_KEY": SECRET}
    theirs = jobs.make_order(house, job, Unconfined(), tell=print, keys=keys)
    assert theirs.environ["ANTHROPIC_API_KEY"] == SECRET
    ours = jobs.make_order(house, job, Unconfined(), tell=print, keys={})
    assert ours.environ == house.environ
    assert (ours.repository, ours.base, ours.trust) == (job.repository, job.base, job.trust)


def test_the_report_goes_to_where_the_issue_came_from_and_holds_no_key(street: Street, house: App) -> None:
    issue = of_a_file(street)
    job = prepared(house, issue)
    run = over(house, issue, reason=f"the provider said: {SECRET} is wrong")
    order = jobs.make_order(house, job, Unconfined(), tell=print, keys={"ANTHROPIC_API_KEY": SECRET})
    order.report(run, totals(house, run))
    told = (street.user / "issue.md").read_text()
    assert told.startswith("---\ntitle: Fix it\n---\nPlease.\n")
    assert run.name in told
    assert SECRET not in told


@pytest.mark.parametrize("written", [LENT, LENT[::-1], base64.b64encode(LENT.encode()).decode()])
def test_a_secret_that_somebody_wrote_into_the_issue_is_not_repeated(street: Street, written: str) -> None:
    """It stands there by its author's hand; the report quotes the issue, and goes to more people."""
    street._settings = 'secrets = { SHOP_TOKEN = { env = "SHOP_TOKEN_HERE" } }'
    house = street.house("c")
    house.environ = {**house.environ, "SHOP_TOKEN_HERE": LENT}
    issue = of_a_file(street, f"---\ntitle: Fix it\n---\nThe token is {written} here.\n")
    run = over(house, issue, reason=f"it failed with {written}")
    jobs.make_order(house, prepared(house, issue), Unconfined(), tell=print, keys={}).report(run, totals(house, run))
    said = (street.user / "issue.md").read_text().partition(run.name)[2]
    assert "The token is [secret removed]" in said
    assert written not in said


def test_a_report_is_written_also_where_a_secret_cannot_be_read(street: Street) -> None:
    """The run has failed for it, and says so at its issue."""
    street._settings = 'secrets = { SHOP_TOKEN = { env = "SHOP_TOKEN_HERE" } }'
    house, issue = street.house("c"), of_a_file(street)
    run = over(house, issue, reason="secrets: SHOP_TOKEN: $SHOP_TOKEN_HERE is not set")
    jobs.make_order(house, prepared(house, issue), Unconfined(), tell=print, keys={}).report(run, totals(house, run))
    assert run.name in (street.user / "issue.md").read_text()


def over(house: App, issue: Issue, **fields: Any) -> Run:
    run = queued(house, 1, issue=issue, repo_path=issue.source, **fields)
    return replace(run, state=RunState.FAILED, verdict=Verdict.PROVIDER_ERROR, ended_at=house.clock())


def totals(house: App, run: Run) -> Totals:
    return house.ledger.totals(Scope(f"run:{run.id}"))
