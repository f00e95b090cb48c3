"""A job: one run with everything that it is carried out with, whether a command or a worker carries it out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.agents.find import Found as FoundAgent
from crewcap.core.runs import Issue, Run
from crewcap.core.scrub import Scrubber
from crewcap.errors import CrewcapError
from crewcap.runner import answers, prompt, start
from crewcap.runner.account import account
from crewcap.runner.fitting import OWNER
from crewcap.runner.grounds import Found, find_around, plan_for
from crewcap.runner.house import House
from crewcap.runner.lending import lent_files, secrets_of
from crewcap.runner.moments import Moment
from crewcap.runner.person import login_here
from crewcap.runner.plan import Asked, Plan
from crewcap.runner.reach import contacted, loosened, network
from crewcap.runner.report import markdown
from crewcap.runner.scrubbed import scrubbed
from crewcap.settings.models import Settings
from crewcap.stores import Totals
from crewcap.trackers import Tracker
from crewcap.trackers.files import Files
from crewcap.trackers.prompts import Prompts
from crewcap.workspaces import Sandbox
from crewcap.workspaces.egress.allowed import allowed_of
from crewcap.workspaces.egress.log import NAME, read_log
from crewcap.workspaces.repository.repositories import Base, LeftOut, Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run, ready to start."""

    plan: Plan
    settings: Settings
    repository: Repository
    base: Base
    left_out: LeftOut
    found: FoundAgent
    agent_title: str  # "Claude Code"
    tracker: Tracker
    trust: str = OWNER  # what whoever wrote the issue may do in the repository


def prepare(house: House, issue: Issue, tracker: Tracker, asked: Asked, *, repo: str | None) -> Job:
    """Find the repository, read its own settings, plan, and find the agent; nothing is started."""
    found = find_around(house, issue, repo)
    return _job(house, found, plan_for(house, found, issue, asked), tracker, issue)


def prepare_again(house: House, run: Run) -> Job:
    """A run that is there already, ready to go on: its own issue, model and cap, whatever routes say by now."""
    asked = Asked(
        agent=run.agent,
        model=run.model,
        effort=run.effort,
        cap=run.cap,
        max_turns=run.max_turns,
        timeout_s=run.timeout_s,
        sandbox=run.sandbox,
        user=run.user,
        workflow=run.workflow,
        is_again=True,
        login=login_here(),
    )
    job = prepare(house, replace(run.issue, cap=None), tracker_of(run.issue), asked, repo=run.repo_path)
    return replace(job, plan=replace(job.plan, issue=run.issue), trust=run.trust or OWNER)


def tracker_of(issue: Issue) -> Tracker:
    """Where an issue lives, by its name; a file says by itself where it is."""
    return Files(Path("/")) if issue.tracker == "files" else Prompts()


def make_order(
    house: House,
    job: Job,
    sandbox: Sandbox,
    *,
    tell: Callable[[Moment], None],
    keys: Mapping[str, str],
) -> start.Order:
    """What the run is carried out with. `keys` are the providers', for a gateway that is started; a worker has none."""
    return start.Order(
        home=house.home,
        config_path=house.config_path,
        settings=job.settings,
        environ={**house.environ, **keys},
        ledger=house.ledger,
        runs=house.runs,
        clock=house.clock,
        sandbox=sandbox,
        mirrors=house.mirrors,
        repository=job.repository,
        base=job.base,
        trust=job.trust,
        tell=tell,
        report=_reporter(house, job, tuple(keys.values())),
    )


def _job(house: House, found: Found, plan: Plan, tracker: Tracker, issue: Issue) -> Job:
    adapter = start.adapter_of(plan)
    return Job(
        plan=plan,
        settings=found.settings,
        repository=found.repository,
        base=found.base,
        left_out=_but_for(issue, found.repository, house.mirrors.left_out(found.repository)),
        found=start.find_agent(found.settings, adapter, house.environ),
        agent_title=adapter.title,
        tracker=tracker,
    )


def _but_for(issue: Issue, repository: Repository, left_out: LeftOut) -> LeftOut:
    """Without the issue's own file, which is read as it stands, and which our report makes uncommitted."""
    top = repository.local or Path("/")
    changed = tuple(name for name in left_out.changed if str(top / name) != issue.source)
    untracked = tuple(name for name in left_out.untracked if str(top / name) != issue.source)
    return replace(left_out, changed=changed, untracked=untracked)


def _reporter(house: House, job: Job, secrets: Collection[str]) -> Callable[[Run, Totals], None]:
    """Where the run's report goes: back to where its issue came from, from the ledger, without our secrets.

    Nor with those of the project: who wrote the issue may have written one into it, and we do not repeat it.
    """
    known: list[Scrubber] = []  # once: to read a secret may run a program

    def report(run: Run, totals: Totals) -> None:
        del totals  # the account reads them itself, with more
        known[:] = known or [_secrets(house, job)]
        scrubber = known[0] + _lent(house, job, run)
        text = _told(house, job, scrubbed(run, scrubber), secrets)
        job.tracker.report(run.issue, run=run.name, text=scrubber.text(text))

    return report


def _told(house: House, job: Job, run: Run, secrets: Collection[str]) -> str:
    """The report's text, with the run's money as the ledger has it now."""
    now, project = house.clock(), job.plan.project
    books = account(
        house.ledger,
        house.book,
        run,
        issue_cap=job.plan.issue_cap,
        now=now,
        cache_turns=house.cache_turns,
        prices_of=house.settings.prices_of,
    )
    return markdown(
        run,
        books,
        now=now,
        check=prompt.check_of(job.plan),
        told=prompt.first(job.plan, run),
        reach=(
            f"sandbox: {run.sandbox}; network: {network(run.sandbox, project)}",
            *loosened(run.sandbox, project),
            *contacted(read_log(house.home.run(run.id) / NAME)),
        ),
        secrets=secrets,
        replies=answers.replies(run, house.runs.follow_ups(run.issue.tracker, run.issue.key)),
        answer=answers.here(run) if run.hosted and job.tracker.hears else "",
    )


def _secrets(house: House, job: Job) -> Scrubber:
    """Knows the project's secrets; one that cannot be read was given to no run, and is known to nobody here."""
    plan = job.plan
    try:
        allowed = allowed_of(job.settings, plan.repo, plan.project.hosts, environ=house.environ)
        return secrets_of(plan.project, allowed, trust=job.trust, environ=house.environ)[1]
    except CrewcapError:
        return Scrubber()


def _lent(house: House, job: Job, run: Run) -> Scrubber:
    """Knows the values in the files that were copied into this run's workspace, as soon as they were."""
    return Scrubber(lent_files(house.home.run(run.id), source=job.repository.local).values)
