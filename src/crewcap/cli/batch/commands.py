"""`crewcap batch`: one-shot prompts by the hundred, over the providers' batch APIs."""

from __future__ import annotations

from pathlib import Path

import click

from crewcap.cli.context import Call, common, remember, with_call

DEFAULT_OUTPUT = 4_096  # tokens; what is held for an answer

_name = click.argument("name")
_out = click.option("--out", metavar="DIR", help="Where results are written; by default NAME.results here.")
_wait = click.option("--wait/--no-wait", default=True, help="Wait for the results, or leave once it is sent.")
_report = click.option("--report/--no-report", default=True, help="Write answers into the issue files they are for.")


@click.group(invoke_without_command=True, epilog="Example: crewcap batch run audits.jsonl --cap 10")
@common
@click.pass_context
def batch(ctx: click.Context, /, **options: object) -> None:
    """Send many prompts as a batch: answers come within a day, at the provider's batch price.

    For one-shot work: review, triage, audit, documentation. Without a word more, list the batches.
    """
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@batch.command("run", epilog="Example: crewcap batch run audits.jsonl --cap 10 --model haiku --out audits/")
@click.argument("prompts")
@click.option("--cap", metavar="USD", help="The most that all of it may cost; by default the settings' cap.")
@click.option("--model", metavar="MODEL", help="For prompts that name none; by default the settings' model.")
@click.option("--max-output", type=click.IntRange(1), default=DEFAULT_OUTPUT, metavar="N", help="Tokens of an answer.")
@click.option("--name", metavar="NAME", help="What it is called; by default as PROMPTS is.")
@click.option("--context", multiple=True, metavar="FILE", help="Put this file before each prompt; may be repeated.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="Also count against this, such as repo:NAME.")
@click.option("--user", default="", metavar="NAME", help="Whose money it is.")
@click.option("--api", type=click.Choice(["responses", "chat"]), default="responses", help="Which of OpenAI's APIs.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost and send nothing.")
@_out
@_wait
@_report
@common
@with_call
def run(  # noqa: PLR0913  (each is one option of the command)
    call: Call,
    /,
    *,
    prompts: str,
    cap: str | None,
    model: str | None,
    max_output: int,
    name: str | None,
    context: tuple[str, ...],
    scopes: tuple[str, ...],
    user: str,
    api: str,
    dry_run: bool,
    out: str | None,
    wait: bool,
    report: bool,
) -> None:
    """Send PROMPTS: a .jsonl file ({"id", "prompt"} a line), a folder of .md files, or - for stdin.

    A line may also have system, model, max_output and files. Everything is checked before anything is sent. Each
    prompt is held for at its worst case at the batch price; those that do not fit are named and the rest go. With
    --dry-run it says for each model how many prompts that are, the worst case, a likely cost, and the prices of a batch
    beside the usual ones; nothing is sent or held.
    """
    from crewcap.cli.batch.asked import Wishes  # noqa: PLC0415  (this and the next two: heavy; not for --help)
    from crewcap.cli.batch.dry_run import foresee  # noqa: PLC0415
    from crewcap.cli.batch.job import begin  # noqa: PLC0415

    wishes = Wishes(
        prompts=prompts,
        cap=cap,
        model=model,
        max_output=max_output,
        name=name,
        context=tuple(Path(each) for each in context),
        scopes=scopes,
        user=user,
        api=api,
        out=out,
        waits=wait,
        reports=report,
    )
    click.get_current_context().exit(foresee(call, wishes) if dry_run else begin(call, wishes))


@batch.command(epilog="Example: crewcap batch resume audits")
@_name
@_out
@_wait
@_report
@common
@with_call
def resume(call: Call, /, *, name: str, out: str | None, wait: bool, report: bool) -> None:
    """Go on with a batch after whatever ended it, and write its results; nothing is sent twice."""
    from crewcap.cli.batch.job import go_on  # noqa: PLC0415  (heavy; not for --help)

    click.get_current_context().exit(go_on(call, name, out=out, waits=wait, reports=report))


@batch.command(epilog="Example: crewcap batch cancel audits")
@_name
@click.option("--abandon", is_flag=True, help="Wait for nothing more: what it holds becomes uncertain.")
@_out
@_report
@common
@with_call
def cancel(call: Call, /, *, name: str, abandon: bool, out: str | None, report: bool) -> None:
    """Stop a batch. What is answered is kept and paid; what was not run is given back when the provider says so."""
    from crewcap.cli.batch.job import stop  # noqa: PLC0415  (heavy; not for --help)

    click.get_current_context().exit(stop(call, name, abandon=abandon, out=out, reports=report))


@batch.command("list", epilog="Example: crewcap batch list --json")
@common
@with_call
def list_(call: Call, /) -> None:
    """Every batch, with how far it is and what it cost."""
    from crewcap.cli.batch.view import show_all  # noqa: PLC0415  (heavy; not for --help)

    show_all(call)


@batch.command(epilog="Example: crewcap batch show audits --items")
@_name
@click.option("--items", is_flag=True, help="Every prompt, too.")
@common
@with_call
def show(call: Call, /, *, name: str, items: bool) -> None:
    """One batch: how far it is, what it cost, what it holds, and what was not sent."""
    from crewcap.cli.batch.view import show_one  # noqa: PLC0415  (heavy; not for --help)

    show_one(call, name, items=items)
