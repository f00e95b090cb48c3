"""What a run is lent that is not in its repository: the project's secrets, and files of the user's own.

The agent can read both, and so can everything that its issue makes it run. So they are lent only where whoever wrote
the issue may write to the repository anyway, and the run says when they are not. Secrets are variables of the check,
the agent and a person's shell: setup does not get them, because it talks to package hosts and because what it makes is
kept for the runs of others. They are read here, live in the sandbox's environment, and stand in no file, no command
line and no log of ours: what is lent is known to a `Scrubber`, through which every text that we write goes. So are the
credentials of private registries, which are added outside: a registry's answer may repeat what it was sent.

The branch itself cannot be filtered. `spilled` finds what stands in it, and such a branch is not published.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crewcap.core.scrub import SHORTEST, Scrubber
from crewcap.core.trust import may_write
from crewcap.errors import CrewcapError, UnsafeEnvironment
from crewcap.settings.models import RepoSettings
from crewcap.workspaces import Fittings
from crewcap.workspaces.egress.rules import Allowed, Registry
from crewcap.workspaces.project.include import Included, copy_included, values_in

LENT_IN = frozenset({"check", "agent", "shell"})  # the phases in which secrets are there
_NOTES = "included.json"  # in the run's folder: names alone, never a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What one run was lent."""

    fittings: Fittings = field(default_factory=Fittings)  # for the phases of `LENT_IN`
    names: tuple[str, ...] = ()  # files that must not come home
    scrubber: Scrubber = field(default_factory=Scrubber)
    said: tuple[str, ...] = ()


def given_secrets(project: RepoSettings, *, trust: str, environ: Mapping[str, str]) -> tuple[Fittings, Scrubber]:
    """The project's secrets as variables, and the filter that knows them; `UnsafeEnvironment` where one is missing."""
    if not project.secrets:
        return Fittings(), Scrubber()
    names = ", ".join(project.secrets)
    if not may_write(trust):
        return Fittings(said=(f"secrets: {names}: not given, {_because(trust)}",)), Scrubber()
    values = {name: _read(project, name, environ) for name in project.secrets}
    return Fittings(environ=values, said=(f"secrets: {names}: the agent can read {_these(values)}",)), Scrubber(values)


def known_to(registries: Iterable[Registry]) -> Scrubber:
    """The filter that knows the registries' credentials: the run never has them, but an answer may repeat them."""
    return Scrubber(
        {
            f"registries.{registry.host}" + (f" ({number})" if number else ""): value
            for registry in registries
            for number, value in enumerate(registry.secrets)
        }
    )


def secrets_of(
    project: RepoSettings, allowed: Allowed, *, trust: str, environ: Mapping[str, str]
) -> tuple[Fittings, Scrubber]:
    """The project's secrets as variables, and the filter that knows these and its registries' credentials."""
    fittings, scrubber = given_secrets(project, trust=trust, environ=environ)
    return fittings, scrubber + known_to(allowed.registries)


def lend_files(
    project: RepoSettings, *, trust: str, source: Path | None, workspace: Path, folder: Path, uid: int | None
) -> Included:
    """Copy what `include` names into a new workspace; `folder` of the run remembers the names."""
    if project.include and not may_write(trust):
        return Included(said=(f"include: {', '.join(project.include[:5])}: not copied, {_because(trust)}",))
    included = copy_included(project.include, source=source, workspace=workspace, uid=uid)
    (folder / _NOTES).write_text(json.dumps(included.names), encoding="utf-8")
    return included


def lent_files(folder: Path, *, source: Path | None) -> Included:
    """What an earlier start of the run copied, with what the user's own files hold by now."""
    try:
        names = tuple(str(name) for name in json.loads((folder / _NOTES).read_text("utf-8")))
    except (OSError, ValueError):
        return Included()
    return Included(names=names, values=values_in(names, source=source) if source is not None else {})


def lent(secrets: tuple[Fittings, Scrubber], included: Included) -> Lent:
    """Both, with one filter for all of it."""
    fittings, scrubber = secrets
    return Lent(
        fittings=fittings,
        names=included.names,
        scrubber=scrubber + Scrubber(included.values),
        said=(*fittings.said, *included.said),
    )


def spilled(lent: Lent, *, diff: bytes, paths: Sequence[str]) -> str:
    """Why a branch must not be published: a secret stands in its changes, or a lent file is among them; empty = it may.

    `diff` is everything that its commits changed and say (`git log -p --text`), `paths` the names of changed files.
    """
    names = lent.scrubber.found(diff)
    if names:
        what = "the value of a secret" if len(names) == 1 else f"the values of {len(names)} secrets"
        return f"its commits hold {what} ({', '.join(names[:5])}); the branch stays in crewcap's own mirror"
    files = sorted(set(lent.names) & set(paths))
    if files:
        return (
            f"its commits hold what was lent to it ({', '.join(files[:5])}); the branch stays in crewcap's own mirror"
        )
    return ""


def _read(project: RepoSettings, name: str, environ: Mapping[str, str]) -> str:
    """One value; a message says which secret it is about."""
    try:
        value = project.secrets[name].read(environ)
    except CrewcapError as error:
        raise UnsafeEnvironment(f"secrets: {name}: {error.message}", help=error.help) from None
    if len(value) < SHORTEST:
        raise UnsafeEnvironment(
            f"secrets: {name}: its value has fewer than {SHORTEST} letters, so it cannot be kept out of texts",
            help="use a longer one; what is no secret can stand in the project's own files",
        )
    return value


def _because(trust: str) -> str:
    return f"because who wrote this issue may not write to the repository ({trust or 'unknown'})"


def _these(values: Mapping[str, str]) -> str:
    return "this" if len(values) == 1 else "these"
