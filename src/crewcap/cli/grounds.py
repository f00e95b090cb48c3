"""The repository that a command is about, with its own settings merged in, and the ground that its runs stand on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crewcap.cli.context import Call
from crewcap.core.runs import Issue, Run
from crewcap.runner.fitting import Grounds
from crewcap.runner.plan import Asked, Plan, apart, make_plan
from crewcap.settings.models import RepoSettings, Settings
from crewcap.settings.repository import FILE, merge
from crewcap.workspaces import Sandbox
from crewcap.workspaces.repository.repositories import Base, Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A repository as runs find it."""

    name: str  # in the settings, else its own
    repository: Repository
    base: Base
    settings: Settings  # with the repository's own merged in
    has_file: bool  # whether it has settings of its own

    @property
    def project(self) -> RepoSettings:
        """What is set for it."""
        return self.settings.repos.get(self.name, RepoSettings())


def find_repository(call: Call, repo: str | None, *, around: str = ".") -> Found:
    """The repository by its name in the settings, its path or address; else the one around a path. Fetches its HEAD."""
    settings, mirrors = call.app.settings, call.app.mirrors
    known = settings.repos.get(repo) if repo is not None else None
    where = (known.url or ".") if known else around if repo is None else repo
    repository = mirrors.repository(where)
    base = mirrors.update(repository)
    name = repo if known and repo else name_of(settings, repository)
    return _with_its_own(call, name, repository, base)


def find_around(call: Call, issue: Issue, repo: str | None) -> Found:
    """The repository that was named, else the one around the issue's file, else here."""
    return find_repository(call, repo, around=str(Path(issue.source).parent) if issue.source else ".")


def plan_for(call: Call, found: Found, issue: Issue, asked: Asked) -> Plan:
    """What a run of this issue would be."""
    return make_plan(
        found.settings,
        call.app.book,
        call.app.ledger,
        issue=apart(issue, found.name, call.app.runs),
        repo=found.name,
        repo_path=str(found.repository.local or found.repository.address),
        asked=asked,
        now=call.clock(),
    )


def repository_of(call: Call, run: Run) -> Found:
    """The repository of a run that is there already, as it was where the run started; asks no network."""
    repository = call.app.mirrors.repository(run.repo_path)
    return _with_its_own(call, run.repo, repository, Base(commit=run.base, branch=run.base_branch))


def grounds_of(call: Call, settings: Settings, sandbox: Sandbox) -> Grounds:
    """What runs of this home stand on."""
    return Grounds(
        home=call.home,
        settings=settings,
        environ=call.environ,
        sandbox=sandbox,
        mirrors=call.app.mirrors,
        clock=call.clock,
    )


def name_of(settings: Settings, repository: Repository) -> str:
    """The name that settings give to a repository, else its own."""
    return next((name for name, known in settings.repos.items() if _is_at(known.url, repository)), repository.name)


def _with_its_own(call: Call, name: str, repository: Repository, base: Base) -> Found:
    settings = call.app.settings
    own = call.app.mirrors.file(repository, at=base.commit, path=FILE)
    if own is not None:
        settings = merge(settings, name, own, where=f"{FILE} of {name}")
    return Found(name=name, repository=repository, base=base, settings=settings, has_file=own is not None)


def _is_at(url: str, repository: Repository) -> bool:
    """Whether this is where the repository is, also by way of a link."""
    if repository.local is None:
        return url.rstrip("/") == repository.identity
    return bool(url) and Path(url).expanduser().resolve() == repository.local.resolve()
