"""A repository's own `.crewcap.toml`: policy from strangers.

Whoever reads it takes it from the repository's default branch, never from a working tree, and gives its bytes here. It
may say how the project is set up and checked, and it may point at routes that the user has named. It may lower what a
run costs. It may not touch anything that costs money, holds a secret or guards the machine, and everything that the
user's own file says about the repository stands above it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from pydantic import Field

from crewcap.core.money import Money
from crewcap.core.routing import Rule
from crewcap.settings.kinds import Cap, Hosts, InnerPaths, Text, Texts
from crewcap.settings.load import Document, parse, validate
from crewcap.settings.locate import Path, dotted
from crewcap.settings.misplaced import Misplaced
from crewcap.settings.models import Defaults, Part, RepoSettings, RouteMatch, Settings, SettingsFile
from crewcap.settings.resolve import check_repo, rule_of
from crewcap.settings.values import nearest, quoted

FILE = ".crewcap.toml"
RAISE = "raise it in your own settings"
MAY = "setup, check, services, include, hosts, instructions, routes by name, and lower a cap"
_UNTRUSTED_RULE = {
    "agent", "model", "subagent_model", "effort", "thinking_tokens", "max_output", "check", "priority", "hours",
}  # fmt: skip


class LoweredDefaults(Part):
    """Amounts that a repository may set below the user's own."""

    cap: Cap | None = None
    issue_cap: Cap | None = None


class NamedRoute(Part):
    """A route of the user's, by name, for issues of this repository."""

    name: Text = Field(description="A route that the user's own settings name.")
    match: RouteMatch = Field(default_factory=RouteMatch, description="When it holds here.")
    cap: Cap | None = Field(None, description="The most that such a run may cost; only ever lowers.")


class RepositoryFile(Part):
    """Everything that a repository's own file may say."""

    setup: Text = ""
    check: Text = ""
    hosts: Hosts = ()
    services: Texts = ()
    include: InnerPaths = ()
    instructions: Text = ""
    cap: Cap | None = None
    issue_cap: Cap | None = None
    defaults: LoweredDefaults = Field(default_factory=LoweredDefaults, description="The same two amounts.")
    routes: tuple[NamedRoute, ...] = Field((), description="Your routes, chosen by name for issues here.")


def merge(settings: Settings, repo: str, data: bytes, *, where: str) -> Settings:
    """The settings for runs in one repository, its own file merged under the user's.

    `where` names the file in messages and origins: `.crewcap.toml of acme/shop (main)`.
    """
    document = parse(data, name=where)
    _refuse_what_is_not_theirs(document)
    file = validate(RepositoryFile, document)
    try:
        return _merged(settings, repo, file, document)
    except Misplaced as error:
        raise document.wrong(error.path, error.message, error.help) from None


def _refuse_what_is_not_theirs(document: Document) -> None:
    """A key that exists, but not for strangers, is refused by name before anything else is looked at."""
    users = SettingsFile.model_fields
    for key in document.values:
        if key in users and key not in RepositoryFile.model_fields:
            raise _not_theirs(document, (key,))
    defaults = document.values.get("defaults")
    for key in defaults if isinstance(defaults, dict) else ():
        known = {field.alias or name for name, field in Defaults.model_fields.items()}
        allowed = {field.alias or name for name, field in LoweredDefaults.model_fields.items()}
        if key in known - allowed:
            raise _not_theirs(document, ("defaults", key))
    routes = document.values.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        for key in route if isinstance(route, dict) else ():
            if key in _UNTRUSTED_RULE:
                raise _not_theirs(document, ("routes", index, key))
    for key in (field.alias or name for name, field in RepoSettings.model_fields.items()):
        if key in document.values and key not in RepositoryFile.model_fields:
            raise _not_theirs(document, (key,))


def _not_theirs(document: Document, path: Path) -> Exception:
    return document.wrong(
        path, f"a repository's own file may not set this; it may set {MAY}", "move it to your settings"
    )


def _merged(settings: Settings, repo: str, file: RepositoryFile, document: Document) -> Settings:
    ours = settings.repos.get(repo, RepoSettings())
    lowered = _lowered(settings.defaults, file)
    spoken = {name: getattr(file, name) for name in RepoSettings.model_fields if name in file.model_fields_set}
    theirs = RepoSettings().model_copy(update={**spoken, **lowered})
    check_repo(theirs, settings.providers, here=())
    said = {name: getattr(ours, name) for name in ours.model_fields_set if not _is_lower(name, ours, lowered)}
    rules = tuple(_rule(settings, route, index) for index, route in enumerate(file.routes))
    return replace(
        settings,
        repos={**settings.repos, repo: theirs.model_copy(update=said)},
        routes=(*settings.routes, *rules),
        origins=_origins(settings, repo, document, {name for name in lowered if name not in said}),
    )


def _is_lower(name: str, ours: RepoSettings, lowered: Mapping[str, Money]) -> bool:
    """Whether the repository's own amount is below what the user said for it."""
    said = getattr(ours, name)
    return name in lowered and said is not None and lowered[name] < said


def _lowered(defaults: Defaults, file: RepositoryFile) -> Mapping[str, Money]:
    """What the file lowers; raising is refused, with the user's own amount."""
    lowered: dict[str, Money] = {}
    for name in LoweredDefaults.model_fields:
        ours = getattr(defaults, name)
        for path, wanted in ((("defaults", name), getattr(file.defaults, name)), ((name,), getattr(file, name))):
            if wanted is None:
                continue
            if wanted > ours:
                raise Misplaced(path, f"a repository may only lower this; here it is {ours}", RAISE)
            lowered[name] = min(wanted, lowered.get(name, wanted))
    return lowered


def _rule(settings: Settings, route: NamedRoute, index: int) -> Rule:
    """The user's route of that name, under the repository's own conditions."""
    names = {
        rule.name: written for rule, written in zip(settings.routes, settings.written_routes, strict=False) if rule.name
    }
    if route.name not in names:
        near = nearest(route.name, names)
        known = f"the named routes are {', '.join(names)}" if names else "your settings name no route"
        raise Misplaced(
            ("routes", index, "name"),
            f"there is no route {quoted(route.name)}",
            f'did you mean "{near}"?' if near else known,
        )
    written = names[route.name]
    allowed = written.cap or settings.defaults.cap
    if route.cap is not None and route.cap > allowed:
        raise Misplaced(("routes", index, "cap"), f"a repository may only lower this; here it is {allowed}", RAISE)
    return rule_of(written.model_copy(update={"match": route.match, "cap": route.cap or written.cap}))


def _origins(settings: Settings, repo: str, document: Document, lowered: Collection[str]) -> dict[str, str]:
    """The user's own word stands above the file's, but for amounts that the file lowers."""
    theirs = [path for path in document.places if path[0] in RepoSettings.model_fields]
    amounts = {name: (name,) if (name,) in document.places else ("defaults", name) for name in lowered}
    return {
        **{dotted(("repos", repo, *path)): document.origin(path) for path in theirs},
        **settings.origins,
        **{dotted(("repos", repo, name)): document.origin(path) for name, path in amounts.items()},
    }
