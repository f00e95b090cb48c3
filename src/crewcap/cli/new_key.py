"""What a key may be made for, as `key create` and `exec` read it from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crewcap.cli.amounts import read_scope
from crewcap.cli.context import Call
from crewcap.core.budget import KeyId, Scope, lineage
from crewcap.core.pricing import UnknownPrice
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.settings.models import Settings


def given_scope(text: str) -> Scope:
    """A scope that a person names for a key."""
    scope = read_scope(text, "--scope")
    if scope.startswith("key:"):
        raise UsageError(f"--scope {scope}: a key is in its own scope alone", help="leave it out")
    return scope


def scopes_of_key(settings: Settings, id_: KeyId, named: Sequence[Scope], user: str = "") -> tuple[Scope, ...]:
    """What was named, the user, and the teams behind users and repositories."""
    given = [*named, *([read_scope(f"user:{user}", "--user")] if user else [])]
    users = [scope.removeprefix("user:") for scope in given if scope.startswith("user:")]
    repos = [scope.removeprefix("repo:") for scope in given if scope.startswith("repo:")]
    of_users = [team for name in users for team in settings.team_of(name)]
    of_repos = [settings.repos[name].team for name in repos if name in settings.repos and settings.repos[name].team]
    return lineage(id_, given, teams=(*of_users, *of_repos))


def full_model(call: Call, name: str) -> str:
    """The full id of a model; any provider of the settings may have it."""
    for provider in call.app.settings.providers.values():
        try:
            return call.app.book.resolve(provider.prices, name, at=call.clock())
        except UnknownPrice:
            continue
    raise UsageError(f"--model: no price is known for {name[:60]!r}", help="crewcap price list shows every model")
