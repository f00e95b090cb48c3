"""`crewcap key`: virtual keys, for whatever speaks to a provider. Each is worth its cap and opens nothing else."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.gateway.new_key import full_model, scopes_of_key
from crewcap.cli.screen.amounts import fitted, read_amount, room, table
from crewcap.core.budget import KeyId, Scope
from crewcap.core.keys import PREFIX, VirtualKey, hash_key
from crewcap.core.money import Money
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.stores import Totals

_DEFAULT_URL = "http://127.0.0.1:8787"
_HEAD = ("id", "state", "cap", "spent", "held", "requests", "refused", "expires", "made for")


@click.group(invoke_without_command=True, epilog='Example: eval "$(crewcap key create --cap 1.00 --shell)"')
@common
@click.pass_context
def key(ctx: click.Context, /, **options: object) -> None:
    """Make, list and revoke virtual keys; without a word more, list them."""
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@key.command(epilog="Example: crewcap key create --cap 1.00 --scope repo:acme/shop --ttl 1h")
@click.option("--cap", metavar="USD", help="The most that it may ever cost.")
@click.option("--no-cap", is_flag=True, help="No cap of its own; the budgets of its scopes still hold.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="Count against this as well; may be repeated.")
@click.option("--user", default="", metavar="NAME", help="Whose it is.")
@click.option("--model", "models", multiple=True, metavar="MODEL", help="Allow only this model; may be repeated.")
@click.option("--ttl", metavar="TIME", help="How long it lives: 45m, 1h, 14d.")
@click.option("--max-output", type=click.IntRange(1), metavar="N", help="Output tokens of one answer.")
@click.option("--shell", is_flag=True, help='Print exports, for eval "$(...)".')
@common
@with_call
def create(
    call: Call,
    *,
    cap: str | None,
    no_cap: bool,
    scopes: tuple[str, ...],
    user: str,
    models: tuple[str, ...],
    ttl: str | None,
    max_output: int | None,
    shell: bool,
) -> None:
    """Make a key. It is shown once: the ledger keeps its hash."""
    amount = _cap(cap, no_cap=no_cap)
    id_, secret = KeyId(secrets.token_hex(6)), PREFIX + secrets.token_urlsafe(32)
    now = call.clock()
    made = VirtualKey(
        id=id_,
        hash=hash_key(secret),
        scopes=scopes_of_key(call, id_, scopes, user),
        created_at=now,
        expires_at=None if ttl is None else now + timedelta(seconds=_seconds(ttl)),
        models=tuple(full_model(call, name) for name in models),
        max_output=max_output,
        capped=amount is not None,
    )
    call.app.ledger.add_key(made, cap=amount)
    _show_new(call, made, secret, amount, shell=shell)


@key.command("list", epilog="Example: crewcap key list --json")
@click.option("--all", "everything", is_flag=True, help="With those that are expired or revoked.")
@common
@with_call
def list_(call: Call, *, everything: bool) -> None:
    """Keys that live, newest first, with what each has cost."""
    now, caps, keys = call.clock(), _caps(call), call.app.ledger.keys()
    found = [one for one in keys if everything or _state(one, now) == "live"]
    with_totals = [(one, call.app.ledger.totals(one.scopes[0])) for one in found]
    if call.as_json:
        call.emit([_object(one, totals, caps.get(one.scopes[0]), now) for one, totals in with_totals])
        return
    rows = [_row(one, totals, caps.get(one.scopes[0]), now) for one, totals in with_totals]
    for line in fitted(_HEAD, rows, room(call.environ), right=frozenset({2, 3, 4, 5, 6})) if rows else ():
        call.out(line)
    if not rows:
        call.note("no key lives; crewcap key create --cap 1.00 makes one")


@key.command(epilog="Example: crewcap key revoke 3f9a0c1d2e4b")
@click.argument("id_", metavar="ID")
@common
@with_call
def revoke(call: Call, *, id_: str) -> None:
    """End a key now: its next request is refused, what is under way settles."""
    keys = call.app.ledger.keys()
    found = next((one for one in keys if one.id == id_), None)
    if found is None:
        raise UsageError(f"there is no key {id_[:40]!r}", help="crewcap key list --all shows them")
    fresh = call.app.ledger.revoke_key(found.id)
    if call.as_json:
        call.emit({"id": found.id, "revoked": True})
    else:
        call.out(f"key {found.id} is revoked" if fresh else f"key {found.id} was revoked before")


def _cap(cap: str | None, *, no_cap: bool) -> Money | None:
    """A cap is said, or its absence is."""
    if (cap is None) is not no_cap:
        raise UsageError(
            "a key needs --cap USD or --no-cap, and not both",
            help="for example: crewcap key create --cap 1.00",
        )
    amount = None if cap is None else read_amount(cap, "--cap")
    if amount is not None and not amount:
        raise UsageError("--cap 0 allows nothing", help="give an amount of dollars, such as --cap 1.00")
    return amount


def _seconds(ttl: str) -> int:
    from crewcap.settings.values import Wrong, read_duration  # noqa: PLC0415  (the settings' own spelling)

    try:
        return read_duration(ttl)
    except Wrong as error:
        raise UsageError(f"--ttl: {error.message}", help=error.help) from error


def _show_new(call: Call, made: VirtualKey, secret: str, cap: Money | None, *, shell: bool) -> None:
    url, runs = _gateway(call)
    if shell:
        call.out("\n".join(_exports(call, url, secret)))
    elif call.as_json:
        call.emit({"id": made.id, "key": secret, "base_url": url, "cap_usd": cap.exact() if cap else None})
    else:
        worth = cap.show() if cap else "none of its own"
        rows = [("id", made.id), ("key", secret), ("base_url", url), ("cap", worth), ("scopes", " ".join(made.scopes))]
        for line in table(rows):
            call.out(line)
    if not runs:
        call.note("no gateway runs here yet: crewcap gateway")


def _gateway(call: Call) -> tuple[str, bool]:
    """Where the gateway of this home answers, or would by default; and whether one says that it does."""
    try:
        return str(json.loads(call.home.gateway_note.read_text())["url"]), True
    except (OSError, ValueError, KeyError, TypeError):
        return _DEFAULT_URL, False


def _exports(call: Call, url: str, secret: str) -> Iterable[str]:
    """What differs between this environment and one that is led to the gateway."""
    from crewcap.cli.gateway.exec import environment  # noqa: PLC0415  (only for --shell)

    made = environment(call.environ, url, secret)
    yield from (f"export {name}={shlex.quote(text)}" for name, text in made.items() if call.environ.get(name) != text)
    yield from (f"unset {name}" for name in sorted(call.environ.keys() - made.keys()))


def _caps(call: Call) -> dict[Scope, Money]:
    return {one.scope: one.limit for one in call.app.ledger.all_balances() if one.window == "total"}


def _state(one: VirtualKey, now: datetime) -> str:
    if one.revoked_at is not None:
        return "revoked"
    return "expired" if one.expires_at is not None and one.expires_at <= now else "live"


def _row(one: VirtualKey, totals: Totals, cap: Money | None, now: datetime) -> tuple[str, ...]:
    return (
        one.id,
        _state(one, now),
        cap.show() if cap is not None else "-",
        (totals.spent + totals.uncertain).show(),
        totals.held.show(),
        str(totals.requests),
        str(totals.refused),
        f"{one.expires_at:%Y-%m-%d %H:%M} UTC" if one.expires_at else "never",
        one.label or " ".join(one.scopes[1:-1]),
    )


def _object(one: VirtualKey, totals: Totals, cap: Money | None, now: datetime) -> dict[str, object]:
    return {
        "id": one.id,
        "state": _state(one, now),
        "cap_usd": cap.exact() if cap is not None else None,
        "spent_usd": totals.spent.exact(),
        "uncertain_usd": totals.uncertain.exact(),
        "held_usd": totals.held.exact(),
        "requests": totals.requests,
        "refused": totals.refused,
        "scopes": list(one.scopes),
        "models": list(one.models),
        "max_output": one.max_output,
        "run": one.run,
        "label": one.label,
        "created_at": one.created_at.isoformat(),
        "expires_at": one.expires_at.isoformat() if one.expires_at else None,
        "revoked_at": one.revoked_at.isoformat() if one.revoked_at else None,
    }
