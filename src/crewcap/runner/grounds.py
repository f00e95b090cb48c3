"""The repository that a command is about, with its own settings merged in, and the ground that its runs stand on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crewcap.core.runs import Issue, Run
from crewcap.runner.fitting import Grounds
from crewcap.runner.house import House
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


def find_repository(house: House, repo: str | None, *, around: str = ".") -> Found:
    """The repository by its name in the settings, its path or address; else the one around a path. Fetches its HEAD."""
    settings, mirrors = house.settings, house.mirrors
    known = settings.repos.get(repo) if repo is not None else None
    where = (known.url or ".") if known else around if repo is None else repo
    repository = mirrors.repository(where)
    base = mirrors.update(repository)
    name = repo if known and repo else name_of(settings, repository)
    return _with_its_own(house, name, repository, base)


def find_around(house: House, issue: Issue, repo: str | None) -> Found:
    """The repository that was named, else the one around the issue's file, else here."""
    return find_repository(house, repo, around=str(Path(issue.source).parent) if issue.source else ".")


def plan_for(house: House, found: Found, issue: Issue, asked: Asked) -> Plan:
    """What a run of this issue would be."""
    return make_plan(
        found.settings,
        house.book,
        house.ledger,
        issue=apart(issue, found.name, house.runs),
        repo=found.name,
        repo_path=str(found.repository.local or found.repository.address),
        asked=asked,
        now=house.clock(),
    )


def repository_of(house: House, run: Run) -> Found:
    """The repository of a run that is there already, as it was where the run started; asks no network."""
    repository = house.mirrors.repository(run.repo_path)
    return _with_its_own(house, run.repo, repository, Base(commit=run.base, branch=run.base_branch))


def grounds_of(house: House, settings: Settings, sandbox: Sandbox) -> Grounds:
    """What runs of this home stand on."""
    return Grounds(
        home=house.home,
        settings=settings,
        environ=house.environ,
        sandbox=sandbox,
        mirrors=house.mirrors,
        clock=house.clock,
    )


def name_of(settings: Settings, repository: Repository) -> str:
    """The name that settings give to a repository, else its own."""
    return next((name for name, known in settings.repos.items() if _is_at(known.url, repository)), repository.name)


def _with_its_own(house: House, name: str, repository: Repository, base: Base) -> Found:
    settings = house.settings
    own = house.mirrors.file(repository, at=base.commit, path=FILE)
    if own is not None:
        settings = merge(settings, name, own, where=f"{FILE} of {name}")
    return Found(name=name, repository=repository, base=base, settings=settings, has_file=own is not None)


def _is_at(url: str, repository: Repository) -> bool:
    """Whether this is where the repository is, also by way of a link."""
    if repository.local is None:
        return url.rstrip("/") == repository.identity
    return bool(url) and Path(url).expanduser().resolve() == repository.local.resolve()
