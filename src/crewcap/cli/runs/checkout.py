"""`crewcap checkout`: a run's branch as a git worktree, made by us for people after the agent has ended."""

from __future__ import annotations

from pathlib import Path

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.runs.view import find_one
from crewcap.errors import UsageError


@click.command(epilog="Example: crewcap checkout fix-login.1 ../look")
@click.argument("run", default="")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--with-secrets", is_flag=True, help="Also a branch that holds a secret or a lent file.")
@common
@with_call
def checkout(call: Call, *, run: str, folder: Path | None, with_secrets: bool) -> None:
    """Put a run's branch into FOLDER (by default ./RUN) as a linked git worktree of your repository."""
    found = find_one(call, run)
    if not found.commits:
        raise UsageError(
            f"{found.name} has no work to check out ({found.reason or found.state})",
            help=f"crewcap logs {found.name} tells why",
        )
    if found.withheld and not with_secrets:
        raise UsageError(
            f"{found.name} is not put into your repository: {found.withheld}",
            help=f"crewcap diff {found.name} shows it without them; crewcap checkout {found.name} --with-secrets",
        )
    where = (folder or Path(found.name.replace(".", "-"))).absolute()
    made = call.app.mirrors.checkout(call.app.mirrors.repository(found.repo_path), found.branch, where)
    if call.as_json:
        call.emit({"run": found.name, "branch": made.branch, "folder": str(made.folder)})
        return
    call.out(f"{made.branch} is in {made.folder}")
    if made.branch != found.branch:
        call.note(f"{made.branch} is the run's own work: {made.reason}, and that one stays as it is")
    call.note(f"when you are done: git worktree remove {made.folder}")
