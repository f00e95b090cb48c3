"""Whose money it is where a person starts something at this machine's keyboard, and nothing else says who.

The operator's word comes first: `defaults.user`, then who in `[users]` has the login as a name (`local:ana`) or is
called like it. Past that the login is only what the system calls somebody, so it is taken where it can loosen nothing:
not where `user:unknown` has a limit, which it would escape, and not where the settings or the books name people and it
is none of them. There the user is unknown, as MONEY 4 has it.
"""

from __future__ import annotations

import os
import pwd

from crewcap.core.budget import Scope, ScopeError, parse_scope
from crewcap.settings.models import Settings
from crewcap.stores import Ledger

UNKNOWN = "unknown"


def login_here() -> str:
    """Whom the system runs this process for; not what the environment says, which anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def person_here(settings: Settings, ledger: Ledger, login: str) -> str:
    """The user at the keyboard."""
    if settings.defaults.user:
        return settings.defaults.user
    mapped = settings.user_of(f"local:{login}")
    if mapped != UNKNOWN:
        return mapped
    return login if login in settings.users or _may_be_taken(settings, ledger, login) else UNKNOWN


def _may_be_taken(settings: Settings, ledger: Ledger, login: str) -> bool:
    limited = _limited(ledger)
    if UNKNOWN in limited or not _is_name(login):
        return False
    named = {*settings.users, *(member for members in settings.teams.values() for member in members), *limited}
    return not named or login in named


def _is_name(login: str) -> bool:
    """Whether it fits into a scope; an address of e-mail is nobody's name in the books."""
    try:
        return "@" not in login and bool(parse_scope(f"user:{login}"))
    except ScopeError:
        return False


def _limited(ledger: Ledger) -> frozenset[str]:
    """Users that have a limit of any kind, by file or by command."""
    scopes: tuple[Scope, ...] = tuple(
        each.scope for found in (ledger.all_balances(), ledger.rates(), ledger.counts()) for each in found
    )
    return frozenset(scope.removeprefix("user:") for scope in scopes if scope.startswith("user:"))
