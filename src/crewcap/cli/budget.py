"""`crewcap budget`: money for a scope and a window. What is said here outranks the settings file until it is unset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast, get_args
from zoneinfo import ZoneInfo

import click

from crewcap.cli.amounts import read_amount, read_scope, table
from crewcap.cli.context import Call, common, remember, with_call
from crewcap.core.budget import Balance, Scope, Window
from crewcap.core.presets import Preset, preset
from crewcap.errors import UsageError
from crewcap.stores import Limit

_MANY = ("key:", "run:", "issue:")  # kinds of scope of which a home collects thousands
_HEAD = ("scope", "window", "limit", "spent", "uncertain", "held", "left", "resets", "source")

_scope = click.argument("scope")
_window = click.argument("window", type=click.Choice(get_args(Window)), metavar="total|day|week|month")


@click.group(invoke_without_command=True, epilog="Example: crewcap budget set all day 25.00")
@common
@click.pass_context
def budget(ctx: click.Context, /, **options: object) -> None:
    """Set, unset and list budgets: money for a scope (all, team:NAME, user:NAME, repo:NAME, ...) and a window.

    Without a word more, list them.
    """
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@budget.command("set", epilog="Example: crewcap budget set repo:acme/shop day 25.00")
@_scope
@_window
@click.argument("amount")
@common
@with_call
def set_(call: Call, *, scope: str, window: str, amount: str) -> None:
    """Set a budget, in force from the next request on. It outranks the settings file until `budget unset`."""
    about, money = (_resolve(call, scope), cast("Window", window)), read_amount(amount, "AMOUNT")
    call.app.ledger.set_limit(Limit(scope=about[0], window=about[1], amount=money, source="command"))
    _tell(call, *about)


@budget.command(epilog="Example: crewcap budget unset repo:acme/shop day")
@_scope
@_window
@common
@with_call
def unset(call: Call, *, scope: str, window: str) -> None:
    """Take back what `budget set` said; the settings file's own budget, if any, is in force again."""
    about = (_resolve(call, scope), cast("Window", window))
    if not call.app.ledger.unset_limit(*about, source="command"):
        found = _in_force(call, *about)
        where = f"; the one in force is from: {found[0].source}" if found else ""
        raise UsageError(
            f"no budget of {scope} ({window}) was set by command{where}", help="crewcap budget list shows them all"
        )
    _tell(call, *about)


@budget.command("list", epilog="Example: crewcap budget list --json")
@click.option("--all", "everything", is_flag=True, help="With those of single keys, runs and issues.")
@common
@with_call
def list_(call: Call, *, everything: bool) -> None:
    """Every budget in force, what has become of it, and who said it."""
    found = sorted(call.app.ledger.all_balances(), key=lambda one: (one.scope.startswith(_MANY), one.scope, one.label))
    if call.as_json:
        call.emit([_object(one) for one in found])
        return
    shown = [one for one in found if everything or not one.scope.startswith(_MANY) or one.source == "command"]
    _print(call, shown)
    if len(shown) < len(found):
        call.note(f"and {len(found) - len(shown)} of single keys, runs and issues: crewcap budget list --all")


@budget.command(epilog="Example: crewcap budget suggest --team-size 12")
@click.option("--team-size", required=True, type=click.IntRange(1, 1_000_000), help="How many people.")
@common
@with_call
def suggest(call: Call, *, team_size: int) -> None:
    """Budgets and rates for a team of this size, as lines for the settings file."""
    found = preset(team_size)
    if call.as_json:
        call.emit(_preset_object(found))
        return
    call.out("\n".join(_preset_lines(found)))


def _resolve(call: Call, text: str) -> Scope:
    """A scope as it is in the books: a run may be named as people say it."""
    scope = read_scope(text, "SCOPE")
    if not scope.startswith("run:"):
        return scope
    name = scope.removeprefix("run:")
    runs = [run for run in call.app.runs.find(name) if name in {run.name, run.id}]
    return Scope(f"run:{runs[0].id}") if len(runs) == 1 else scope


def _in_force(call: Call, scope: Scope, window: Window) -> list[Balance]:
    return [one for one in call.app.ledger.all_balances() if (one.scope, one.window) == (scope, window)]


def _tell(call: Call, scope: Scope, window: Window) -> None:
    """What is in force now; in the days after a change of zone that may be two."""
    found = _in_force(call, scope, window)
    if call.as_json:
        call.emit(_object(found[-1]) if found else {"scope": scope, "window": window, "limit_usd": None})
        return
    if not found:
        call.out(f"{scope} ({window}) has no budget of its own now")
        return
    _print(call, found)
    if not found[-1].left:
        call.note(f"nothing is left of it: requests of {scope} are refused")


def _print(call: Call, balances: Sequence[Balance]) -> None:
    zone = ZoneInfo(call.app.settings.timezone)
    rows = [
        (
            one.scope,
            one.window,
            one.limit.show(),
            one.spent.show(),
            one.uncertain.show(),
            one.held.show(),
            one.left.show(),
            _when(one.resets_at, zone),
            one.source,
        )
        for one in balances
    ]
    for line in table([_HEAD, *rows], right=frozenset(range(2, 7))):
        call.out(line)


def _when(at: datetime | None, zone: ZoneInfo) -> str:
    return "never" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def _object(one: Balance) -> dict[str, str | None]:
    return {
        "scope": one.scope,
        "window": one.window,
        "limit_usd": one.limit.exact(),
        "spent_usd": one.spent.exact(),
        "uncertain_usd": one.uncertain.exact(),
        "held_usd": one.held.exact(),
        "left_usd": one.left.exact(),
        "resets_at": one.resets_at.isoformat() if one.resets_at else None,
        "source": one.source,
        "label": one.label,
    }


def _preset_lines(found: Preset) -> list[str]:
    lower, upper = found.band
    month = _toml(found.team_month.nano)
    people = "1 person" if found.users == 1 else f"{found.users:,} people"
    return [
        f"# {people}: Anthropic publishes {lower:,} to {upper:,} tokens a minute for each in a team of this size",
        "[budgets]",
        f'"team:TEAM" = {{ month = {month}, tpm = {found.team_tpm:_}, rpm = {found.team_rpm:_} }}',
        f'"user:NAME" = {{ day = {_toml(found.user_day.nano)}, tpm = {found.user_tpm:_} }}  # one such line each',
    ]


def _preset_object(found: Preset) -> dict[str, object]:
    return {
        "team_size": found.users,
        "team": {"month_usd": found.team_month.exact(), "tpm": found.team_tpm, "rpm": found.team_rpm},
        "user": {"day_usd": found.user_day.exact(), "tpm": found.user_tpm},
    }


def _toml(nano: int) -> str:
    return f"{nano // 10**9}.{nano % 10**9 // 10**7:02d}"
