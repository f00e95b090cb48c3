"""`crewcap usage`: what agents' own transcripts tell of past usage, a second opinion beside the ledger."""

from __future__ import annotations

from importlib import import_module

import click

from crewcap.cli.context import common, remember


class Usage(click.Group):
    """A group that knows its commands' names; each is imported when it is called, because an import is to be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the alphabet."""
        del ctx
        return ["check", "import", "show"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command's module adds it to the group."""
        if cmd_name in self.list_commands(ctx):
            import_module(f"crewcap.cli.usage.{cmd_name.replace('import', 'importing')}")
        return super().get_command(ctx, cmd_name)


@click.group(cls=Usage, invoke_without_command=True, epilog="Example: crewcap usage import")
@common
@click.pass_context
def usage(ctx: click.Context, /, **options: object) -> None:
    """Past usage, as agents' own transcripts on this machine tell it: import it, show it, compare it with the ledger.

    It is a second opinion and a lower bound: agents do not write down requests that were cut, retried or made on the
    side. Costs are at list prices; what a subscription paid for looks the same. The ledger and its budgets are not
    touched. Without a word more, show it by month.
    """
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        from crewcap.cli.usage.show import show  # noqa: PLC0415  (a command of its own)

        ctx.invoke(show)
