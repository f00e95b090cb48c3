"""What a key may be made for, as `key create` and `exec` read it from the command line."""

from __future__ import annotations

from collections.abc import Sequence

from crewcap.cli.context import Call
from crewcap.cli.screen.amounts import read_scope
from crewcap.core.budget import KeyId, Scope, lineage
from crewcap.core.pricing import UnknownPrice
from crewcap.errors import UsageError


def known_scope(call: Call, text: str, what: str) -> Scope:
    """A scope as it is in the books: a run may be named as people say it."""
    scope = read_scope(text, what)
    if not scope.startswith("run:"):
        return scope
    name = scope.removeprefix("run:")
    runs = [run for run in call.app.runs.find(name) if name in {run.name, run.id}]
    return Scope(f"run:{runs[0].id}") if len(runs) == 1 else scope


def scopes_of_key(
    call: Call, id_: KeyId, texts: Sequence[str], user: str = "", *, otherwise: str = ""
) -> tuple[Scope, ...]:
    """What was named, what that belongs to, the user, and the teams behind users and repositories.

    `otherwise` is the user where nothing that was named tells of one.
    """
    settings = call.app.settings
    named = [_given(call, text) for text in texts]
    given = [*named, *([read_scope(f"user:{user}", "--user")] if user else [])]
    given += [above for scope in named for above in _ancestors(call, scope, has_user=bool(user))]
    if otherwise and not any(scope.startswith("user:") for scope in given):
        given.append(Scope(f"user:{otherwise}"))
    users = [scope.removeprefix("user:") for scope in given if scope.startswith("user:")]
    repos = [scope.removeprefix("repo:") for scope in given if scope.startswith("repo:")]
    of_users = [team for name in users for team in settings.team_of(name)]
    of_repos = [settings.repos[name].team for name in repos if name in settings.repos and settings.repos[name].team]
    return lineage(id_, given, teams=(*of_users, *of_repos))


def _given(call: Call, text: str) -> Scope:
    """A scope that a person names for a key."""
    scope = known_scope(call, text, "--scope")
    if scope.startswith("key:"):
        raise UsageError(f"--scope {scope}: a key is in its own scope alone", help="leave it out")
    return scope


def _ancestors(call: Call, scope: Scope, *, has_user: bool) -> tuple[Scope, ...]:
    """What a run or an issue belongs to, as its newest key has it: a run to its issue, both to their repository.

    Only a run tells its user, and only where the key is not made for another one.
    """
    kind = scope.partition(":")[0]
    kinds = {"run": ("issue", "workflow", "repo", "user", "team"), "issue": ("repo", "team")}.get(kind, ())
    if not kinds:
        return ()
    newest = next((key for key in call.app.ledger.keys() if scope in key.scopes and key.run), None)  # noqa: SIM118  (a ledger is no mapping)
    above = newest.scopes if newest else ()
    wanted = [each for each in kinds if each != "user" or not has_user]
    return tuple(each for each in above if each.partition(":")[0] in wanted)


def full_model(call: Call, name: str) -> str:
    """The full id of a model; any provider of the settings may have it."""
    for provider in call.app.settings.providers.values():
        try:
            return call.app.book.resolve(provider.prices, name, at=call.clock())
        except UnknownPrice:
            continue
    raise UsageError(f"--model: no price is known for {name[:60]!r}", help="crewcap price list shows every model")
