"""`crewcap diff`: what a run changed, read from the trusted mirror."""

from __future__ import annotations

import click

from crewcap.cli.context import Call, common, is_terminal, with_call
from crewcap.cli.run_view import find_one
from crewcap.errors import UsageError


@click.command(epilog="Example: crewcap diff fix-login.1 | less -R")
@click.argument("run", default="")
@click.option("--stat", is_flag=True, help="Files and line counts only.")
@common
@with_call
def diff(call: Call, *, run: str, stat: bool) -> None:
    """Show what a run changed; RUN is a name, a unique prefix, or nothing for the latest."""
    found = find_one(call, run)
    if not found.commits:
        raise UsageError(
            f"{found.name} changed nothing that was kept ({found.reason or found.state})",
            help=f"crewcap logs {found.name} tells why",
        )
    repository = call.app.mirrors.repository(found.repo_path)
    patch = call.app.mirrors.diff(repository, base=found.base, tip=found.commit, stat=stat).decode("utf-8", "replace")
    if call.as_json:
        call.emit({"run": found.name, "base": found.base, "commit": found.commit, "diff": patch})
    elif is_terminal():
        call.out("".join(char for char in patch if char in "\n\t" or char.isprintable()).rstrip())
    else:
        call.out(patch, end="")
