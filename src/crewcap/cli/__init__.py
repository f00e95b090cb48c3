"""Floor 4: the command line, one room a trade and one file a topic.

    start/    the demo, settings, fitness           ledger/   the books themselves
    runs/     verbs on runs                         prices/   what a token costs
    live/     screens of runs at work               usage/    what was spent without crewcap
    night/    what goes on unattended               batch/    prompts by the hundred
    money/    spent, forecast, allowed              gateway/  ways to it without a run
    screen/   how things look, whatever they are    context.py, complaints.py: what every command shares

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

    target: str  # "room.module:attribute", below this package
    line: str
    section: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry("start.demo:demo", "See it work: real agent, real git, no key, nothing billed.", "Start"),
    "init": Entry("start.init:init", "Write a commented settings file.", "Start"),
    "doctor": Entry("start.doctor:doctor", "Say whether this machine is fit, and how to make it so.", "Start"),
    "run": Entry("runs.run:run", "Turn an issue or a prompt into a branch, under a cap.", "Work"),
    "exec": Entry("gateway.exec:exec_", "Run any agent or SDK program under a cap.", "Work"),
    "batch": Entry("batch.commands:batch", "Many prompts at the price of a batch, under one cap.", "Work"),
    "status": Entry("night.status:status", "What needs you, what is live, what it cost.", "Runs"),
    "runs": Entry("runs.listing:runs", "List runs.", "Runs"),
    "show": Entry("runs.show:show", "Everything about one run.", "Runs"),
    "logs": Entry("runs.logs:logs", "A run's story.", "Runs"),
    "diff": Entry("runs.diff:diff", "What a run changed.", "Runs"),
    "shell": Entry("runs.shell:shell", "A shell in a run's own sandbox, without a key.", "Runs"),
    "checkout": Entry("runs.checkout:checkout", "A run's branch as a git worktree of your own.", "Runs"),
    "workspace": Entry("night.workspace:workspace", "What runs left on the disk; house-keeping by hand.", "Runs"),
    "resume": Entry("runs.resume:resume", "Go on with a run that waits.", "Runs"),
    "watch": Entry("runs.watch:watch", "Signs of a runaway: the rules, and a replay over past runs.", "Runs"),
    "stop": Entry("runs.stop:stop", "Stop a run and keep its work.", "Runs"),
    "cost": Entry("money.cost:cost", "One number, explained.", "Money"),
    "report": Entry("money.report:report", "Spend by day, model, run, issue, team...", "Money"),
    "stats": Entry("money.stats:stats", "Habits, beside the published averages.", "Money"),
    "audit": Entry("money.audit:audit", "From the provider's usage to the cost, line by line.", "Money"),
    "export": Entry("money.export:export", "FOCUS, CSV and JSON for other tools; a dashboard.", "Money"),
    "forecast": Entry("money.forecast:forecast", "What this month will cost.", "Money"),
    "estimate": Entry("money.estimate:estimate_", "What a run will probably cost.", "Money"),
    "cap": Entry("money.cap:cap", "Caps that the runs so far speak for.", "Money"),
    "whatif": Entry("money.whatif:whatif_", "The same work on another model, in batches, under a plan.", "Money"),
    "usage": Entry("usage.commands:usage", "Past usage, from agents' own transcripts.", "Money"),
    "budget": Entry("money.budget:budget", "Set, unset and list budgets.", "Money"),
    "key": Entry("gateway.key:key", "Make, list and revoke virtual keys.", "Money"),
    "price": Entry("prices.commands:price", "The price book: list, check, diff, reprice.", "Money"),
    "ledger": Entry("ledger.commands:ledger", "Verify, reconcile and back up the books.", "Money"),
    "serve": Entry("night.serve:serve", "Gateway and worker, supervised: runs without you.", "Serve"),
    "gateway": Entry("gateway.alone:gateway", "The metering gateway alone.", "Serve"),
    "simulator": Entry("gateway.simulator:simulator", "A scripted provider on loopback.", "Serve"),
    "notify": Entry("night.notify:notify", "Who is told of runs and budgets; try it.", "Settings"),
    "config": Entry("start.config:config", "Show and check the settings.", "Settings"),
    "completion": Entry("start.completion:completion", "Shell completion.", "Settings"),
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
        return cast("click.Command", getattr(import_module(f"{__name__}.{module}"), attribute))

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
        from crewcap.cli.start.welcome import welcome  # noqa: PLC0415  (only a bare `crewcap` needs it)

        welcome(ctx)
