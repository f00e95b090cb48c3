"""`crewcap exec`: any agent or SDK program, capped.

CMD runs as it would without us: its terminal, its signals, its exit status. Only its provider is another one: base
URL and key of every provider family point at the gateway, with a key that is worth the cap and dies with CMD. The
real keys are taken out of its environment, and so is what would lead around the gateway.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.gateway.new_key import full_model, scopes_of_key
from crewcap.cli.runs.room import require_room
from crewcap.cli.screen.amounts import read_amount
from crewcap.core.budget import KeyId, room
from crewcap.core.keys import PREFIX, VirtualKey, hash_key
from crewcap.core.money import Money
from crewcap.errors import MoneyRefused, UsageError

if TYPE_CHECKING:
    from crewcap.gateway.client import GatewayHandle

NOT_FOUND = 127
NOT_RUNNABLE = 126
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
OF_A_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # which sends them to CMD as well

REMOVED = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_BEDROCK_BASE_URL",
        "ANTHROPIC_CUSTOM_HEADERS",
        "ANTHROPIC_FOUNDRY_API_KEY",
        "ANTHROPIC_UNIX_SOCKET",
        "ANTHROPIC_VERTEX_BASE_URL",
        "ANTHROPIC_VERTEX_PROJECT_ID",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AZURE_OPENAI_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_VERTEX",
        "CODEX_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_GENAI_USE_VERTEXAI",
        "OPENAI_API_BASE",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    }
)
"""Real keys, and ways around the gateway, as the agents' and SDKs' own documents name them."""


@click.command(
    epilog='Example: crewcap exec --cap 3 -- claude -p "fix the failing test"',
    context_settings={"allow_interspersed_args": False},
)
@click.option("--cap", metavar="USD", help="The most that CMD may cost; by default the settings' cap.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="Also count against this, such as repo:NAME.")
@click.option("--model", "models", multiple=True, metavar="MODEL", help="Allow only this model; may be repeated.")
@common
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
@with_call
def exec_(
    call: Call, /, *, cap: str | None, scopes: tuple[str, ...], models: tuple[str, ...], command: tuple[str, ...]
) -> None:
    """Run CMD with a key that is worth the cap, and say what it cost.

    This caps money. It is no sandbox: CMD can do whatever you can do.
    """
    from crewcap.cli.night.telling import tell_of  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.gateway import process  # noqa: PLC0415  (only here)
    from crewcap.gateway.assemble import key_variables  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.settings.price_lists import check_price_lists  # noqa: PLC0415  (as above)

    process.make_unreadable()
    check_price_lists(call.app.settings, lambda: call.app.book.lists)
    held = process.forget(key_variables(call.app.settings))
    require_room(call.home)
    call.refuse_doubtful_clock()
    amount = _amount(cap) if cap is not None else call.app.settings.defaults.cap
    key, secret = _make_key(call, scopes, models)
    call.app.ledger.add_key(key, cap=amount)
    try:
        _refuse_without_money(call, key)
        status = asyncio.run(_run(call, {**call.environ, **held}, key=key, secret=secret, cap=amount, command=command))
    finally:
        call.app.ledger.revoke_key(key.id)  # also where CMD was never started
    tell_of(call)
    click.get_current_context().exit(status)


async def _run(
    call: Call, environ: Mapping[str, str], *, key: VirtualKey, secret: str, cap: Money, command: tuple[str, ...]
) -> int:
    from crewcap.gateway.assemble import key_variables  # noqa: PLC0415
    from crewcap.gateway.client import attached  # noqa: PLC0415

    found = attached(call.home, call.app.settings, call.config_path, environ, book=lambda: call.app.book.hash)
    async with found as gateway:
        name = command[0].rpartition("/")[2]
        call.note(f"crewcap: {name} may spend {cap.show()} (key {key.id}); money is capped, nothing is sandboxed")
        try:
            keys = key_variables(call.app.settings)
            own = {name: value for name, value in environ.items() if name not in keys}
            return await _watch(command, environment(own, gateway.url, secret))
        finally:
            await _say_cost(call, gateway, key, cap)


def environment(environ: Mapping[str, str], url: str, secret: str) -> dict[str, str]:
    """CMD's environment: the user's own, with the gateway in the place of every provider."""
    unproxied = environ.get("NO_PROXY", environ.get("no_proxy", "")).split(",")
    local = ",".join(dict.fromkeys((*unproxied, "127.0.0.1")))
    return {
        **{name: value for name, value in environ.items() if name not in REMOVED},
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": secret,
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",  # else a repository's settings can lead it elsewhere
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": secret,
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_KEY": secret,
        "NO_PROXY": local.strip(","),
        "no_proxy": local.strip(","),
    }


@dataclass(slots=True)
class _Relay:
    """Signals for CMD: one that comes while it starts is given to it as soon as it is there.

    One handler for the whole time: a handler that is replaced may still be called for a signal that came before.
    """

    child: asyncio.subprocess.Process | None = None
    early: list[signal.Signals] = field(default_factory=list)

    def take(self, number: signal.Signals) -> None:
        """Pass it on, or keep it."""
        if self.child is None:
            self.early.append(number)
        elif self.child.returncode is None:
            self.child.send_signal(number)

    def connect(self, child: asyncio.subprocess.Process) -> None:
        """CMD is there."""
        self.child = child
        for number in self.early:
            self.take(number)


async def _watch(command: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """CMD from its start to its end; its exit status as a shell would tell it."""
    loop, relay = asyncio.get_running_loop(), _Relay()
    for number in OF_A_TERMINAL:  # a terminal sends these to CMD as well
        loop.add_signal_handler(number, *((lambda: None,) if sys.stdin.isatty() else (relay.take, number)))
    for number in PASSED_ON:
        loop.add_signal_handler(number, relay.take, number)
    try:
        relay.connect(child := await asyncio.create_subprocess_exec(*command, env=environ))
    except FileNotFoundError:
        click.echo(f"error: {command[0]}: command not found", err=True)
        return NOT_FOUND
    except OSError as error:
        click.echo(f"error: {command[0]}: {error.strerror}", err=True)
        return NOT_RUNNABLE
    status = await child.wait()
    return 128 - status if status < 0 else status


async def _say_cost(call: Call, gateway: GatewayHandle, key: VirtualKey, cap: Money) -> None:
    """End the key, wait for what is under way, and say what it came to: one line."""
    left = await gateway.revoke(key.id)
    totals = call.app.ledger.totals(key.scopes[0])
    uncertain = f", {totals.uncertain.show()} of it uncertain" if totals.uncertain else ""
    still = f", {left} requests still open" if left else ""
    refused = f", {totals.refused} refused" if totals.refused else ""
    spent = totals.spent + totals.uncertain
    plural = "" if totals.requests == 1 else "s"
    call.note(
        f"crewcap: {spent.show()} of {cap.show()} in {totals.requests} request{plural}{uncertain}{refused}{still}"
    )


def _make_key(call: Call, scopes: tuple[str, ...], models: tuple[str, ...]) -> tuple[VirtualKey, str]:
    from crewcap.runner.person import login_here, person_here  # noqa: PLC0415  (heavy; not for --help)

    secret = PREFIX + secrets.token_urlsafe(32)
    id_ = KeyId(secrets.token_hex(6))
    key = VirtualKey(
        id=id_,
        hash=hash_key(secret),
        scopes=scopes_of_key(
            call, id_, scopes, otherwise=person_here(call.app.settings, call.app.ledger, login_here())
        ),
        created_at=call.clock(),
        models=tuple(full_model(call, name) for name in models),
        label="exec",
    )
    return key, secret


def _refuse_without_money(call: Call, key: VirtualKey) -> None:
    """Nothing is started that could not send a single request."""
    balances = call.app.ledger.balances(key.id)
    left = room(balances)
    if left is not None and not left:
        binding = min(balances, key=lambda balance: balance.left)
        raise MoneyRefused(
            f"{binding.scope} has nothing left of {binding.limit.show()} ({binding.window})",
            help=f"raise it with: crewcap budget set {binding.scope} {binding.window} AMOUNT",
        )


def _amount(text: str) -> Money:
    amount = read_amount(text, "--cap")
    if not amount:
        raise UsageError("--cap 0 allows nothing", help="give an amount of dollars, such as --cap 3")
    return amount
