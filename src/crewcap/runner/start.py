"""From a run that is written down to a run on its way: its tools are put together, and it is driven.

    order = Order(...)                             what to run with
    async with opened(order, plan, run, ...) as w  its one driver, with everything at hand; `w.step()` takes it on
    await carry_out(order, plan, run, ...)         the same in one go, by a command: from wherever the run is to its end

A run whose process died is carried out again by the same call: see `workflow`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from crewcap.agents import AGENTS, AgentAdapter
from crewcap.agents.find import Found, find
from crewcap.core.budget import Scope
from crewcap.core.runs import Run, RunEvent, RunState, Verdict, move
from crewcap.errors import CrewcapError, UnsafeEnvironment, UsageError
from crewcap.gateway.assemble import key_variables
from crewcap.gateway.client import GatewayHandle, attached
from crewcap.home import Home
from crewcap.runner.doors import Doors
from crewcap.runner.fitting import PASSABLE, Fitted, Grounds, Plot, fit_out
from crewcap.runner.moments import Moment
from crewcap.runner.ownership import driving
from crewcap.runner.plan import Plan
from crewcap.runner.record import Tools
from crewcap.runner.tree import Tree
from crewcap.runner.worker.orphans import end_orphans_of
from crewcap.runner.workflow import Workflow
from crewcap.settings.models import Settings
from crewcap.stores import Ledger, RunStore, Totals
from crewcap.workspaces import Sandbox
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base, Repository
from crewcap.workspaces.sandbox.environs import readable_keys
from crewcap.workspaces.sandbox.uids import have_own, lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What runs are carried out with."""

    home: Home
    config_path: Path | None
    settings: Settings
    environ: Mapping[str, str] = field(repr=False)  # with the providers' keys: the gateway alone is handed them
    ledger: Ledger
    runs: RunStore
    clock: Callable[[], datetime]
    sandbox: Sandbox
    mirrors: Mirrors
    repository: Repository
    base: Base  # where a new run starts
    trust: str = ""  # what whoever wrote the issue may do in the repository (`core/trust`)
    tell: Callable[[Moment], None]
    report: Callable[[Run, Totals], None]

    @property
    def grounds(self) -> Grounds:
        """What its site stands on."""
        return Grounds(
            home=self.home,
            settings=self.settings,
            environ=self.environ,
            sandbox=self.sandbox,
            mirrors=self.mirrors,
            clock=self.clock,
        )


def adapter_of(plan: Plan) -> AgentAdapter:
    """The plan's agent; `UsageError` names the agents there are."""
    make = AGENTS.get(plan.route.agent)
    if make is None:
        raise UsageError(f"there is no agent {plan.route.agent!r}", help=f"agents: {', '.join(AGENTS)}")
    return make()


def find_agent(settings: Settings, adapter: AgentAdapter, environ: Mapping[str, str]) -> Found:
    """The agent's program: by setting, PATH, or the wheel that carries it; of use only with a provider to ask."""
    spoken = adapter.capabilities().dialect
    if not any(provider.dialect == spoken for provider in settings.providers.values()):
        raise UnsafeEnvironment(
            f"{adapter.title} asks a provider that speaks {spoken}, and there is none: {_known(settings)}",
            help=f"export {spoken.upper()}_API_KEY=..., or add [providers.{spoken}] to the settings",
        )
    return find(adapter, setting=settings.defaults.agent_path.get(adapter.name, ""), path=environ.get("PATH", ""))


def _known(settings: Settings) -> str:
    return f"only {', '.join(settings.providers)}" if settings.providers else "no provider is set up"


def guard_keys(settings: Settings, sandbox: Sandbox, *, is_spoken: bool) -> None:
    """Below bubblewrap a key in another process of the agent's user could be read (MONEY 8).

    Where runs have users of their own, Landlock starts nothing as ours, and a leased user has no other process.
    """
    if sandbox.rung == "bubblewrap" or is_spoken or (sandbox.rung == "landlock" and have_own()):
        return
    if pids := readable_keys(key_variables(settings)):
        raise UnsafeEnvironment(
            f"with {sandbox.rung} the agent could read the provider's key in process {pids[0]}'s environment",
            help="start crewcap from a shell without the key (key = { file = ... }), or say --sandbox unconfined",
        )


def gateway_of(order: Order, *, book: Callable[[], str] | None = None) -> AbstractAsyncContextManager[GatewayHandle]:
    """The home's gateway, found or started: asked for first, so that a missing key is said before a run is made.

    `book` is the hash of the prices that the run was planned with; a gateway that is found must go by the same.
    """
    return attached(order.home, order.settings, order.config_path, order.environ, book=book)


@asynccontextmanager
async def opened(
    order: Order, plan: Plan, run: Run, found: Found, *, doors: Doors, say: str = ""
) -> AsyncIterator[Workflow]:
    """Be the one that drives a run, with everything at hand; what is borrowed for it is given back at the end."""
    folder = order.home.run(run.id)
    folder.mkdir(mode=PASSABLE, parents=True, exist_ok=True)
    with driving(run, folder), contextlib.ExitStack() as borrowed:
        stored = order.runs.get(run.id)
        if stored is not None and stored.state != run.state:
            raise UsageError(f"{run.name} went on meanwhile: it is {stored.state}", help=f"crewcap show {run.name}")
        await asyncio.to_thread(end_orphans_of, folder, order.runs)
        leased = lease(order.home.root / "uids")
        borrowed.callback(leased.release)
        plot = Plot(
            repo=plan.repo,
            repository=order.repository,
            base=Base(commit=run.base, branch=run.base_branch) if run.base else order.base,
            project=plan.project,
            folder=folder,
            uid=leased.uid,
            trust=order.trust,
            binary=Path(found.path),
        )
        try:
            fitted = await asyncio.to_thread(fit_out, order.grounds, plot)
            async with Workflow(tools=_tools(order, plan, fitted, doors), plan=plan, run=run, say=say) as workflow:
                yield workflow
        except CrewcapError as error:
            _give_up(order, run, error)
            raise


async def carry_out(order: Order, plan: Plan, run: Run, found: Found, *, gateway: GatewayHandle, say: str = "") -> Run:
    """Drive a run to its end, or to where it waits; SIGINT and SIGTERM pause it, the second one stops it."""
    async with opened(order, plan, run, found, doors=Doors(gateway), say=say) as workflow:
        return await _drive(workflow)


def _tools(order: Order, plan: Plan, fitted: Fitted, doors: Doors) -> Tools:
    return Tools(
        runs=order.runs,
        ledger=order.ledger,
        doors=doors,
        adapter=adapter_of(plan),
        fitted=fitted,
        tree=Tree(mirrors=order.mirrors, repository=order.repository, supply=fitted.supply),
        folder=fitted.plot.folder,
        clock=order.clock,
        tell=order.tell,
        report=order.report,
        silent_s=order.settings.defaults.no_progress_s,
        fix_attempts=order.settings.defaults.fix_attempts,
        watch=order.settings.watch_rules,
        waiting_expires_s=order.settings.defaults.waiting_expires_s,
        offers=order.settings.defaults.questions,
    )


def _give_up(order: Order, run: Run, error: CrewcapError) -> None:
    """A run that could not even be prepared is over; one whose agent has worked stays open, to be gone on with."""
    stored = order.runs.get(run.id)
    if stored is None or stored.state not in {RunState.QUEUED, RunState.PREPARING}:
        return
    state = move(stored.state, RunEvent.FAIL)
    ended = replace(stored, state=state, verdict=Verdict.SETUP_FAILED, reason=error.message, ended_at=order.clock())
    order.runs.save(ended)
    order.runs.log(run.id, "state", f"failed: {error.message}")
    with contextlib.suppress(CrewcapError, OSError):  # the reason that is raised says more
        order.report(ended, order.ledger.totals(Scope(f"run:{run.id}")))


async def _drive(workflow: Workflow) -> Run:
    """Drive with our signals on, and give them back."""
    loop = asyncio.get_running_loop()
    wanted = (signal.SIGINT, signal.SIGTERM)
    for number in wanted:
        loop.add_signal_handler(number, workflow.interrupt, number)
    try:
        return await workflow.drive()
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
