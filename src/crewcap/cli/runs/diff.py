"""`crewcap diff`: what a run changed, read from the trusted mirror."""

from __future__ import annotations

import click

from crewcap.cli.context import Call, common, is_terminal, with_call
from crewcap.cli.runs.view import find_one
from crewcap.core.runs import Run
from crewcap.core.scrub import Scrubber
from crewcap.errors import CrewcapError, UsageError


@click.command(epilog="Example: crewcap diff fix-login.1 | less -R")
@click.argument("run", default="")
@click.option("--stat", is_flag=True, help="Files and line counts only.")
@click.option("--with-secrets", is_flag=True, help="The values of secrets too, where its commits hold any.")
@common
@with_call
def diff(call: Call, *, run: str, stat: bool, with_secrets: bool) -> None:
    """Show what a run changed; RUN is a name, a unique prefix, or nothing for the latest.

    Where its commits hold what was lent to the run, those values are taken out.
    """
    found = find_one(call, run)
    if not found.commits:
        raise UsageError(
            f"{found.name} changed nothing that was kept ({found.reason or found.state})",
            help=f"crewcap logs {found.name} tells why",
        )
    repository = call.app.mirrors.repository(found.repo_path)
    patch = call.app.mirrors.diff(repository, base=found.base, tip=found.commit, stat=stat).decode("utf-8", "replace")
    if found.withheld and not with_secrets:
        patch = _filter(call, found).text(patch)
        call.note(f"{found.name}: {found.withheld}; known values are taken out here")
    if call.as_json:
        call.emit({"run": found.name, "base": found.base, "commit": found.commit, "diff": patch})
    elif is_terminal():
        call.out("".join(char for char in patch if char in "\n\t" or char.isprintable()).rstrip())
    else:
        call.out(patch, end="")


def _filter(call: Call, run: Run) -> Scrubber:
    """Knows the values that stand in the run's commits; refused where they are not the ones that can be read now."""
    from crewcap.runner.fitting import OWNER  # noqa: PLC0415
    from crewcap.runner.grounds import repository_of  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.runner.lending import lent, lent_files, secrets_of, spilled  # noqa: PLC0415
    from crewcap.workspaces.egress.allowed import allowed_of  # noqa: PLC0415

    try:
        found = repository_of(call.app, run)
        allowed = allowed_of(found.settings, found.name, found.project.hosts, environ=call.environ)
        secrets = secrets_of(found.project, allowed, trust=OWNER, environ=call.environ)
        known = lent(secrets, lent_files(call.home.run(run.id), source=found.repository.local))
        patch, paths = call.app.mirrors.changes(found.repository, base=run.base, tip=run.commit)
        is_known = spilled(known, diff=patch, paths=paths) == run.withheld
    except CrewcapError:
        is_known = False
    if not is_known:
        raise UsageError(
            f"{run.name} is not shown: {run.withheld}, and what was lent cannot be read again as it was",
            help=f"crewcap diff {run.name} --with-secrets shows it with the values",
        )
    return known.scrubber
