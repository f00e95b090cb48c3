"""Floor 4: the command line, one file a topic.

`COMMANDS` is the table of everything a user can type. A command's module is imported only when that command is
called, so `crewcap --help` reads this table and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import cast

import click

from crewcap import __version__
from crewcap.cli.context import common, remember, without_colour


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and the line that `--help` shows for it."""

    target: str  # "module:attribute"
    line: str
    section: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry("crewcap.cli.demo:demo", "See it work: real agent, real git, no key, nothing billed.", "Start"),
    "init": Entry("crewcap.cli.init:init", "Write a commented settings file.", "Start"),
    "doctor": Entry("crewcap.cli.doctor:doctor", "Say whether this machine is fit, and how to make it so.", "Start"),
    "run": Entry("crewcap.cli.run:run", "Turn an issue or a prompt into a branch, under a cap.", "Work"),
    "exec": Entry("crewcap.cli.exec:exec_", "Run any agent or SDK program under a cap.", "Work"),
    "batch": Entry("crewcap.cli.batch:batch", "Many prompts at the price of a batch, under one cap.", "Work"),
    "status": Entry("crewcap.cli.status:status", "What needs you, what is live, what it cost.", "Runs"),
    "runs": Entry("crewcap.cli.runs:runs", "List runs.", "Runs"),
    "show": Entry("crewcap.cli.show:show", "Everything about one run.", "Runs"),
    "logs": Entry("crewcap.cli.logs:logs", "A run's story.", "Runs"),
    "diff": Entry("crewcap.cli.diff:diff", "What a run changed.", "Runs"),
    "shell": Entry("crewcap.cli.shell:shell", "A shell in a run's own sandbox, without a key.", "Runs"),
    "checkout": Entry("crewcap.cli.checkout:checkout", "A run's branch as a git worktree of your own.", "Runs"),
    "workspace": Entry("crewcap.cli.workspace:workspace", "What runs left on the disk; house-keeping by hand.", "Runs"),
    "resume": Entry("crewcap.cli.resume:resume", "Go on with a run that waits.", "Runs"),
    "watch": Entry("crewcap.cli.watch:watch", "Signs of a runaway: the rules, and a replay over past runs.", "Runs"),
    "stop": Entry("crewcap.cli.stop:stop", "Stop a run and keep its work.", "Runs"),
    "cost": Entry("crewcap.cli.cost:cost", "One number, explained.", "Money"),
    "report": Entry("crewcap.cli.report:report", "Spend by day, model, run, issue, team...", "Money"),
    "stats": Entry("crewcap.cli.stats:stats", "Habits, beside the published averages.", "Money"),
    "audit": Entry("crewcap.cli.audit:audit", "From the provider's usage to the cost, line by line.", "Money"),
    "export": Entry("crewcap.cli.export:export", "FOCUS, CSV and JSON for other tools; a dashboard.", "Money"),
    "forecast": Entry("crewcap.cli.forecast:forecast", "What this month will cost.", "Money"),
    "estimate": Entry("crewcap.cli.estimate:estimate_", "What a run will probably cost.", "Money"),
    "cap": Entry("crewcap.cli.cap:cap", "Caps that the runs so far speak for.", "Money"),
    "whatif": Entry("crewcap.cli.whatif:whatif_", "The same work on another model, in batches, under a plan.", "Money"),
    "usage": Entry("crewcap.cli.usage_commands:usage", "Past usage, from agents' own transcripts.", "Money"),
    "budget": Entry("crewcap.cli.budget:budget", "Set, unset and list budgets.", "Money"),
    "key": Entry("crewcap.cli.key:key", "Make, list and revoke virtual keys.", "Money"),
    "price": Entry("crewcap.cli.price:price", "The price book: list, check, diff, reprice.", "Money"),
    "ledger": Entry("crewcap.cli.ledger:ledger", "Verify, reconcile and back up the books.", "Money"),
    "serve": Entry("crewcap.cli.serve:serve", "Gateway and worker, supervised: runs without you.", "Serve"),
    "gateway": Entry("crewcap.cli.gateway:gateway", "The metering gateway alone.", "Serve"),
    "simulator": Entry("crewcap.cli.simulator:simulator", "A scripted provider on loopback.", "Serve"),
    "notify": Entry("crewcap.cli.notify:notify", "Who is told of runs and budgets; try it.", "Settings"),
    "config": Entry("crewcap.cli.config:config", "Show and check the settings.", "Settings"),
    "completion": Entry("crewcap.cli.completion:completion", "Shell completion.", "Settings"),
}
PLURALS = {
    "batches": "batch",
    "keys": "key",
    "budgets": "budget",
    "prices": "price",
    "ledgers": "ledger",
    "costs": "cost",
    "reports": "report",
    "exports": "export",
    "audits": "audit",
    "stat": "stats",
    "configs": "config",
    "workspaces": "workspace",
}


class Commands(click.Group):
    """A group that knows its commands' names and lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that is asked for."""
        del ctx
        entry = COMMANDS.get(PLURALS.get(cmd_name, cmd_name))
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command for one that is not known."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib  # noqa: PLC0415  (as slow to import as all of this)

            near = difflib.get_close_matches(name, [*COMMANDS, *PLURALS], n=1)
            hint = f"; did you mean `crewcap {PLURALS.get(near[0], near[0])}`?" if near else ""
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table by section."""
        del ctx
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items() if entry.section == section])


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: crewcap run -p 'fix the failing test' --cap 2",
)
@click.version_option(__version__, prog_name="crewcap", message="%(prog)s %(version)s")
@common
@click.pass_context
def root(ctx: click.Context, /, **options: object) -> None:
    """Background coding agents on your own keys, with a spending cap that holds."""
    remember(ctx, options)
    ctx.color = without_colour()
    if ctx.invoked_subcommand is None:
        from crewcap.cli.welcome import welcome  # noqa: PLC0415  (only a bare `crewcap` needs it)

        welcome(ctx)
