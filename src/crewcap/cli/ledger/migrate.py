"""`crewcap ledger migrate`: bring the database of the books up to date, when an operator says so."""

from __future__ import annotations

import click

from crewcap.cli.context import Call, common, with_call


@click.command(epilog="Example: crewcap ledger migrate")
@common
@with_call
def migrate(call: Call) -> None:
    """Make the ledger's tables in PostgreSQL, or bring them up to date; stop older gateways first.

    Gateways never do this by themselves, because several of them may share one database. A ledger in a file needs no
    such word.
    """
    run = call.app.migrate()
    if call.as_json:
        call.emit({"ledger": call.app.ledger_name, "run": list(run)})
        return
    for name in run:
        call.out(f"{name}  run")
    call.out(f"the ledger {call.app.ledger_name} is up to date" + ("" if run else "; nothing was to be done"))
