"""`crewcap ledger`: are the books right, what is unproven, is the clock right, keep a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.ledger.migrate import migrate
from crewcap.cli.ledger.provider_report import by_report
from crewcap.cli.screen.amounts import folded, read_amount, room
from crewcap.core.money import ZERO, Money, total
from crewcap.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from crewcap.stores import Incident, OpenHold


@click.group(invoke_without_command=True, commands=[migrate], epilog="Example: crewcap ledger verify")
@common
@click.pass_context
def ledger(ctx: click.Context, /, **options: object) -> None:
    """Verify, reconcile and back up the books; without a word more, verify them."""
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(verify)


@ledger.command(epilog="Example: crewcap ledger verify --json")
@common
@with_call
def verify(call: Call) -> None:
    """Recompute every balance from the entries, and check the file; exit 5 where something is wrong."""
    found = call.app.ledger.verify()
    if call.as_json:
        problems = {"problems": list(found.problems)} if found.problems else {}
        call.emit({"entries": found.entries, "ok": not found.problems, **problems})
        click.get_current_context().exit(LedgerError.exit_status if found.problems else 0)
    for problem in found.problems:
        call.out(problem)
    if found.problems:
        raise LedgerError(
            f"the ledger {call.app.ledger_name} is not sound: {len(found.problems)} problems",
            help="stop the gateway and put a backup in its place, then: crewcap ledger reconcile --restored",
        )
    call.out(f"the books are right: {found.entries:,} entries, every balance recomputed")


@ledger.command(epilog="Example: crewcap ledger reconcile HOLD --cost 0.12 --word 'console of 22 Nov'")
@click.argument("holds", nargs=-1, metavar="[HOLD]...")
@click.option("--all", "everything", is_flag=True, help="Every uncertain hold.")
@click.option("--cost", metavar="USD", help="What the provider billed for it.")
@click.option("--charged", is_flag=True, help="Each cost what it is charged.")
@click.option("--unbilled", is_flag=True, help="The provider billed nothing.")
@click.option("--word", default="", metavar="TEXT", help="Who says so, and from where; kept with the entry.")
@click.option("--restored", is_flag=True, help="Accept a ledger that was restored; --cost books what it does not know.")
@click.option("--report", "reports", metavar="FILE", multiple=True, help="Let the provider's usage report say it.")
@click.option("--sole-user", default="", metavar="PROVIDER", help="Nobody but crewcap uses this provider's key.")
@click.option("--api-key", default="", metavar="ID", help="The one of the report's keys that it is.")
@click.option("--apply", is_flag=True, help="Do what the report says; without it, it is only shown.")
@common
@with_call
def reconcile(  # noqa: PLR0913  (one for each option)
    call: Call,
    *,
    holds: tuple[str, ...],
    everything: bool,
    cost: str | None,
    charged: bool,
    unbilled: bool,
    word: str,
    restored: bool,
    reports: tuple[str, ...],
    sole_user: str,
    api_key: str,
    apply: bool,
) -> None:
    """List the holds whose cost nobody proved, or close them. They stay charged until then.

    By your word: --cost, --charged or --unbilled. Or by the provider's usage report, for a key that nobody but this
    crewcap uses: Anthropic's usage_report/messages or OpenAI's usage/completions, by the minute and by model, asked
    for at least ten minutes later. What it has beyond the settled requests of a time is what those holds cost.
    """
    if reports or sole_user or api_key or apply:
        if not reports or holds or everything or cost is not None or charged or unbilled or restored:
            raise UsageError(
                "a report is given with --report FILE, and takes --sole-user, --api-key, --apply and --word besides",
                help="crewcap ledger reconcile --report usage.json --sole-user anthropic",
            )
        by_report(call, reports, sole_user=sole_user, api_key=api_key, apply=apply, word=word)
        return
    amount = None if cost is None else read_amount(cost, "--cost")
    said = word or "by command"
    if restored:
        if holds or everything or charged or unbilled:
            raise UsageError("--restored takes nothing but --cost and --word", help="reconcile single holds after it")
        _accept_restored(call, amount or ZERO, said)
        return
    found = _chosen(call, holds, everything=everything)
    if amount is not None or charged or unbilled:
        _refuse_unclear(holds, amount, everything=everything, charged=charged, unbilled=unbilled)
        for hold in found:
            proved = amount if amount is not None else (hold.uncertain if charged else ZERO)
            call.app.ledger.reconcile(hold.hold, cost=proved, word=said)
            _tell(call, hold, proved)
    elif holds or everything:
        raise UsageError("what did it cost?", help="say --cost USD, --charged or --unbilled")
    else:
        _list(call, found)


def _refuse_unclear(
    holds: tuple[str, ...], amount: Money | None, *, everything: bool, charged: bool, unbilled: bool
) -> None:
    """One answer, for holds that are named."""
    if (amount is not None) + charged + unbilled != 1 or (amount is not None and len(holds) != 1):
        raise UsageError(
            "--cost, --charged and --unbilled are three answers to one question",
            help="--cost USD for one HOLD; --charged or --unbilled for any number",
        )
    if not holds and not everything:
        raise UsageError("which holds?", help="name them, or say --all")


@ledger.command(epilog="Example: crewcap ledger thaw anthropic --word 'the price list was old'")
@click.argument("provider", required=False)
@click.option("--word", default="by command", metavar="TEXT", help="What you found; kept with the incident.")
@common
@with_call
def thaw(call: Call, *, provider: str | None, word: str) -> None:
    """Let requests go to a provider again whose answer broke what holds rest on; without a name, list those."""
    frozen = call.app.ledger.frozen()
    if provider is None:
        _list_frozen(call, frozen)
        return
    if not call.app.ledger.thaw(provider, word=word):
        names = ", ".join(each.provider for each in frozen) or "none"
        raise UsageError(f"provider {provider[:60]!r} has no incident", help=f"those that have one: {names}")
    if call.as_json:
        call.emit({"provider": provider, "thawed": True})
    else:
        call.out(f"provider {provider} takes requests of capped keys again; gateways know within seconds")


@ledger.command("accept-clock", epilog="Example: crewcap ledger accept-clock")
@common
@with_call
def accept_clock(call: Call) -> None:
    """Say that the clock is right although it jumped; paid requests are sent again."""
    call.app.ledger.accept_clock()
    now = call.clock()
    if call.as_json:
        call.emit({"accepted": now.isoformat()})
    else:
        call.out(f"the clock is accepted: {now:%Y-%m-%d %H:%M:%S} UTC")


@ledger.command(epilog="Example: crewcap ledger backup /backups/ledger-2026-11-22.db")
@click.argument("file", type=click.Path(dir_okay=False))
@common
@with_call
def backup(call: Call, *, file: str) -> None:
    """Write a consistent copy to a new file, while the gateway runs."""
    call.app.ledger.backup(file)
    if call.as_json:
        call.emit({"file": file})
    else:
        call.out(file)
    call.note("to restore: stop the gateway, put it in the place of ledger.db, remove ledger.db-wal and ledger.db-shm,")
    call.note("then: crewcap ledger reconcile --restored --cost (what the provider billed since)")


def _list_frozen(call: Call, frozen: Sequence[Incident]) -> None:
    if call.as_json:
        call.emit([{"provider": each.provider, "at": each.at.isoformat(), "reason": each.reason} for each in frozen])
        return
    lines = (f"{each.provider}  {each.at:%Y-%m-%d %H:%M} UTC  {each.reason}" for each in frozen)
    for line in folded(lines, room(call.environ)):
        call.out(line)
    if frozen:
        call.note(f"when you have looked: crewcap ledger thaw {frozen[0].provider}")
    else:
        call.note("no provider is frozen for an incident")


def _accept_restored(call: Call, cost: Money, word: str) -> None:
    call.app.accept_restored(cost=cost, word=word)  # the one command that opens a ledger which nobody else would
    waiting = call.app.ledger.uncertain_holds()
    if call.as_json:
        call.emit({"restored": True, "booked_usd": cost.exact(), "uncertain": len(waiting)})
        return
    call.out(f"the restored ledger is in force; {cost.show()} booked for what it does not know")
    call.note("holds that were open in it become uncertain at the gateway's next start: crewcap ledger reconcile")


def _chosen(call: Call, holds: tuple[str, ...], *, everything: bool) -> Sequence[OpenHold]:
    """The uncertain holds that are meant; one that is not uncertain is an error before anything is changed."""
    waiting = {hold.hold: hold for hold in call.app.ledger.uncertain_holds()}
    if everything or not holds:
        return tuple(waiting.values())
    unknown = [name for name in holds if name not in waiting]
    if unknown:
        raise UsageError(f"hold {unknown[0]} is not uncertain", help="crewcap ledger reconcile lists those that are")
    return [hold for name, hold in waiting.items() if name in holds]


def _list(call: Call, holds: Sequence[OpenHold]) -> None:
    if call.as_json:
        call.emit([_object(hold) for hold in holds])
        return
    lines = (
        f"{hold.hold}  {hold.sent_at:%Y-%m-%d %H:%M} UTC  {hold.uncertain.show():>9}  {hold.model}  {hold.reason}"
        for hold in holds
    )
    for line in folded(lines, room(call.environ)):
        call.out(line.rstrip())
    if holds:
        sum_ = total([hold.uncertain for hold in holds])
        call.note(f"{len(holds)} uncertain, {sum_.show()} charged; close one: crewcap ledger reconcile HOLD --cost USD")
    else:
        call.note("nothing is uncertain")


def _tell(call: Call, hold: OpenHold, cost: Money) -> None:
    if call.as_json:
        call.emit({"hold": hold.hold, "cost_usd": cost.exact(), "was_usd": hold.uncertain.exact()})
    else:
        call.out(f"{hold.hold}  {cost.show()}, was charged {hold.uncertain.show()}")


def _object(hold: OpenHold) -> dict[str, str]:
    return {
        "hold": hold.hold,
        "key": hold.key,
        "run": hold.run,
        "model": hold.model,
        "uncertain_usd": hold.uncertain.exact(),
        "sent_at": hold.sent_at.isoformat(),
        "reason": hold.reason,
    }
