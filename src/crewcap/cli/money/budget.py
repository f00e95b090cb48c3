"""`crewcap budget`: what a scope may use. What is said here outranks the settings file until it is unset.

Money is for a window (`day`), a rate has none (`tpm`), a count has one of its own (`runs/day`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.gateway.new_key import known_scope
from crewcap.cli.money import limits
from crewcap.cli.money.limits import Measure, MeasureType, OfMoney, OfRate
from crewcap.cli.screen.amounts import fitted, read_amount, read_scope, room
from crewcap.cli.screen.figures import wrap
from crewcap.core.budget import Balance, Scope
from crewcap.core.presets import Preset, preset
from crewcap.errors import UsageError
from crewcap.stores import Limit, LimitSource

_MANY = ("key:", "run:", "issue:")  # kinds of scope of which a home collects thousands
_HEAD = ("scope", "window", "limit", "spent", "uncertain", "held", "left", "resets", "source")

_scope = click.argument("scope")
_window = click.argument("about", type=MeasureType(), metavar="WINDOW")


@click.group(invoke_without_command=True, epilog="Example: crewcap budget set all day 25.00")
@common
@click.pass_context
def budget(ctx: click.Context, /, **options: object) -> None:
    """Set, unset and list budgets and limits of a scope (all, team:NAME, user:NAME, repo:NAME, ...).

    WINDOW is total, day, week or month for money; tpm, rpm or concurrent for a rate; and for a count runs, tokens or
    hours with a window: runs/day. Without a word more, list them.
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
def set_(call: Call, *, scope: str, about: Measure, amount: str) -> None:
    """Set dollars (day), a rate (tpm) or a count (runs/day), in force from the next request on.

    It outranks the settings file until `budget unset`.
    """
    where = known_scope(call, scope, "SCOPE")
    if isinstance(about, OfMoney):
        money = read_amount(amount, "AMOUNT")
        call.app.ledger.set_limit(Limit(scope=where, window=about.window, amount=money, source="command"))
    else:
        limits.set_beside(call, where, about, amount)
    _tell(call, where, about)


@budget.command(epilog="Example: crewcap budget unset repo:acme/shop day")
@_scope
@_window
@common
@with_call
def unset(call: Call, *, scope: str, about: Measure) -> None:
    """Take back what `budget set` said; what the settings file says, if anything, is in force again."""
    where = known_scope(call, scope, "SCOPE")
    if not _unset(call, where, about):
        found = _in_force(call, where, about)
        other = f"; the one in force is from: {found[0].source}" if found else ""
        raise UsageError(
            f"no {_noun(about)} of {scope} ({about}) was set by command{other}",
            help="crewcap budget list shows them all",
        )
    _tell(call, where, about)


@budget.command("list", epilog="Example: crewcap budget list --json")
@click.option("--all", "everything", is_flag=True, help="With those of single keys, runs and issues.")
@click.option("--source", type=click.Choice(get_args(LimitSource)), help="Only those that were said here.")
@common
@with_call
def list_(call: Call, *, everything: bool, source: str | None) -> None:
    """Every budget and limit in force, what has become of it, and who said it."""
    balances = sorted(
        call.app.ledger.all_balances(), key=lambda one: (one.scope.startswith(_MANY), one.scope, one.label)
    )
    money = [one for one in balances if source in {None, one.source}]
    beside = [one for one in limits.in_force(call) if source in {None, one.source}]
    shown = [one for one in money if everything or not one.scope.startswith(_MANY) or one.source == "command"]
    _show(call, money if call.as_json else shown, beside)
    if len(shown) < len(money) and not call.as_json:
        call.note(f"and {len(money) - len(shown)} of single keys, runs and issues: crewcap budget list --all")


@budget.command(epilog="Example: crewcap budget suggest --team-size 12 --apply --team core")
@click.option("--team-size", required=True, type=click.IntRange(1, 1_000_000), help="How many people.")
@click.option("--apply", "is_applied", is_flag=True, help="Set them, as `budget set` does, for --team and its people.")
@click.option("--team", metavar="NAME", help="Whose budgets they are.")
@click.option(
    "--user", "users", multiple=True, metavar="NAME", help="Its people; by default those of the settings file."
)
@common
@with_call
def suggest(call: Call, *, team_size: int, is_applied: bool, team: str | None, users: tuple[str, ...]) -> None:
    """Budgets and rates for a team of this size, as lines for the settings file."""
    found = preset(team_size)
    if is_applied and team is None:
        raise UsageError("--apply needs --team NAME", help="crewcap budget suggest --team-size 12 --apply --team core")
    if is_applied and team is not None:
        _apply(call, found, team, users or call.app.settings.teams.get(team, ()))
        return
    if call.as_json:
        call.emit(_preset_object(found))
        return
    lines = _preset_lines(found, team or "TEAM", users or ("NAME",))
    columns = room(call.environ)
    if any(len(line) > columns for line in lines):
        lines = _narrow_preset(found, team or "TEAM", users or ("NAME",), columns)
    call.out("\n".join(lines))


def _apply(call: Call, found: Preset, team: str, users: Sequence[str]) -> None:
    """What `budget set` would say, for the team and for each of its people."""
    pool = read_scope(f"team:{team}", "--team")
    people = [read_scope(f"user:{user}", "--user") for user in users]
    money = [(pool, OfMoney("month"), found.team_month), *((each, OfMoney("day"), found.user_day) for each in people)]
    for scope, about, amount in money:
        call.app.ledger.set_limit(Limit(scope=scope, window=about.window, amount=amount, source="command"))
    rates = [(pool, OfRate("tpm"), found.team_tpm), (pool, OfRate("rpm"), found.team_rpm)]
    for scope, rate, value in (*rates, *((each, OfRate("tpm"), found.user_tpm) for each in people)):
        limits.set_beside(call, scope, rate, str(value))
    of_command = [
        one for one in call.app.ledger.all_balances() if one.scope in {pool, *people} and one.source == "command"
    ]
    _show(call, of_command, limits.in_force(call, (pool, *people)))
    if not people:
        call.note(f"nobody is known to be in {pool}: name them with --user, or under [teams]")


def _unset(call: Call, scope: Scope, about: Measure) -> bool:
    if isinstance(about, OfMoney):
        return call.app.ledger.unset_limit(scope, about.window, source="command")
    return limits.unset_beside(call, scope, about)


def _in_force(call: Call, scope: Scope, about: Measure) -> Sequence[Balance | limits.Beside]:
    if not isinstance(about, OfMoney):
        return limits.in_force(call, [scope], about)
    return [one for one in call.app.ledger.all_balances() if (one.scope, one.window) == (scope, about.window)]


def _tell(call: Call, scope: Scope, about: Measure) -> None:
    """What is in force now; in the days after a change of zone that may be two."""
    found = _in_force(call, scope, about)
    if call.as_json:
        call.emit(_any_object(found[-1]) if found else {"scope": scope, "window": str(about), "limit_usd": None})
        return
    if not found:
        call.out(f"{scope} ({about}) has no {_noun(about)} of its own now")
        return
    money = [one for one in found if isinstance(one, Balance)]
    _show(call, money, [one for one in found if not isinstance(one, Balance)])
    if money and not money[-1].left:
        call.note(f"nothing is left of it: requests of {scope} are refused")


def _show(call: Call, money: Sequence[Balance], beside: Sequence[limits.Beside]) -> None:
    """Budgets, and below them limits beside money."""
    if call.as_json:
        call.emit([_any_object(one) for one in (*money, *beside)])
        return
    zone = ZoneInfo(call.app.settings.timezone)
    if money or not beside:
        _print(call, money, zone)
    if money and beside:
        call.out("")
    for line in limits.lines(beside, zone, room(call.environ)) if beside else ():
        call.out(line)


def _noun(about: Measure) -> str:
    return "budget" if isinstance(about, OfMoney) else "limit"


def _print(call: Call, balances: Sequence[Balance], zone: ZoneInfo) -> None:
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
    for line in fitted(_HEAD, rows, room(call.environ), right=frozenset(range(2, 7)), named=2):
        call.out(line)


def _when(at: datetime | None, zone: ZoneInfo) -> str:
    return "never" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def _any_object(one: Balance | limits.Beside) -> dict[str, object]:
    return _object(one) if isinstance(one, Balance) else limits.as_object(one)


def _object(one: Balance) -> dict[str, object]:
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
        "kind": "money",
    }


def _preset_lines(found: Preset, team: str, users: Sequence[str]) -> list[str]:
    month = _toml(found.team_month.nano)
    day, tpm = _toml(found.user_day.nano), found.user_tpm
    return [
        f"# {_published(found)}",
        "[budgets]",
        f'"team:{team}" = {{ month = {month}, tpm = {found.team_tpm:_}, rpm = {found.team_rpm:_} }}',
        *(f'"user:{user}" = {{ day = {day}, tpm = {tpm:_} }}  # one such line each' for user in users),
    ]


def _narrow_preset(found: Preset, team: str, users: Sequence[str], columns: int) -> list[str]:
    """The same settings with a line for each value: a table between braces may not be broken."""
    each = (f"day = {_toml(found.user_day.nano)}", f"tpm = {found.user_tpm:_}")
    return [
        *(f"# {line}" for line in wrap(_published(found), columns - 2)),
        f'[budgets."team:{team}"]',
        f"month = {_toml(found.team_month.nano)}",
        f"tpm = {found.team_tpm:_}",
        f"rpm = {found.team_rpm:_}",
        "# one such table each",
        *(line for user in users for line in (f'[budgets."user:{user}"]', *each)),
    ]


def _published(found: Preset) -> str:
    lower, upper = found.band
    people = "1 person" if found.users == 1 else f"{found.users:,} people"
    return f"{people}: Anthropic publishes {lower:,} to {upper:,} tokens a minute for each in a team of this size"


def _preset_object(found: Preset) -> dict[str, object]:
    return {
        "team_size": found.users,
        "team": {"month_usd": found.team_month.exact(), "tpm": found.team_tpm, "rpm": found.team_rpm},
        "user": {"day_usd": found.user_day.exact(), "tpm": found.user_tpm},
    }


def _toml(nano: int) -> str:
    return f"{nano // 10**9}.{nano % 10**9 // 10**7:02d}"
