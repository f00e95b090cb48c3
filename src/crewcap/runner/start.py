"""From a plan to a run on its way: the run is written down, its tools are put together, and it is driven.

    order = Order(...)                   what to run with, once for a command
    run = write_down(order, plan)        a new run, or AlreadyOpen with the one that is there
    await carry_out(order, plan, run)    from wherever the run is to its end

A run whose process died is carried out again by the same call: see `workflow`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from crewcap.agents import AGENTS, AgentAdapter
from crewcap.agents.find import Found, find
from crewcap.core.budget import Scope
from crewcap.core.limits import used_up
from crewcap.core.runs import Run, RunEvent, RunId, RunState, Verdict, move
from crewcap.errors import CrewcapError, MoneyRefused, UnsafeEnvironment, UsageError
from crewcap.gateway.assemble import key_variables
from crewcap.gateway.client import GatewayHandle, attached
from crewcap.home import Home
from crewcap.runner.access import scopes_of
from crewcap.runner.doors import Doors
from crewcap.runner.fitting import PASSABLE, Grounds, Plot, fit_out
from crewcap.runner.moments import Moment
from crewcap.runner.ownership import driving, myself
from crewcap.runner.plan import Plan
from crewcap.runner.record import Tools
from crewcap.runner.tree import Tree
from crewcap.runner.workflow import Workflow
from crewcap.settings.models import Settings
from crewcap.stores import Ledger, RunStore, Totals
from crewcap.trackers.issue_text import slug
from crewcap.workspaces import Sandbox
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base, Repository
from crewcap.workspaces.sandbox.environs import readable_keys
from crewcap.workspaces.sandbox.uids import lease


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
    """Below bubblewrap a key in another process of our user could be read (MONEY 8)."""
    if sandbox.rung == "bubblewrap" or is_spoken:
        return
    if pids := readable_keys(key_variables(settings)):
        raise UnsafeEnvironment(
            f"with {sandbox.rung} the agent could read the provider's key in process {pids[0]}'s environment",
            help="start crewcap from a shell without the key (key = { file = ... }), or say --sandbox unconfined",
        )


def write_down(order: Order, plan: Plan, found: Found) -> Run:
    """Store a new run of this plan, ours from its first moment; `AlreadyOpen` carries the one that the issue has.

    `MoneyRefused` where a limit of runs or hours lets no new one begin; its key, made later, is what counts.
    """
    if full := _full(order, plan):
        raise MoneyRefused(f"nothing was started: {full[0]}", help=full[1])
    pid, started = myself()
    return order.runs.create(
        Run(
            id=RunId(_sortable_id(order.clock())),
            name=slug(plan.issue.key, otherwise="run"),
            issue=plan.issue,
            state=RunState.QUEUED,
            repo=plan.repo,
            repo_path=plan.repo_path,
            base=order.base.commit,
            base_branch=order.base.branch,
            agent=plan.route.agent,
            agent_version=found.version,
            model=plan.route.model,
            because=plan.route.because,
            cap=plan.cap,
            cap_because=plan.cap_because,
            max_turns=plan.route.max_turns,
            timeout_s=plan.route.timeout_s,
            sandbox=order.sandbox.rung,
            session=str(uuid.uuid4()),
            effort=plan.route.effort,
            created_at=order.clock(),
            owner_pid=pid,
            owner_started=started,
        )
    )


def _full(order: Order, plan: Plan) -> tuple[str, str] | None:
    """Which count of runs or hours is used up, in words; none for an issue that has an open run to be gone on with."""
    scopes = scopes_of(plan.issue, run="", repo=plan.repo, user=plan.user, teams=plan.teams)
    full = [count for count in order.ledger.counts(scopes) if count.kind != "tokens" and not count.left]
    issue = (plan.issue.tracker, plan.issue.key)
    if not full or any(
        (run.issue.tracker, run.issue.key) == issue for run in order.runs.list(limit=1_000, open_only=True)
    ):
        return None
    message, _, help_ = used_up(full[0]).rpartition("; ")
    return message, help_


def gateway_of(order: Order, *, book: Callable[[], str] | None = None) -> AbstractAsyncContextManager[GatewayHandle]:
    """The home's gateway, found or started: asked for first, so that a missing key is said before a run is made.

    `book` is the hash of the prices that the run was planned with; a gateway that is found must go by the same.
    """
    return attached(order.home, order.settings, order.config_path, order.environ, book=book)


async def carry_out(order: Order, plan: Plan, run: Run, found: Found, *, gateway: GatewayHandle, say: str = "") -> Run:
    """Drive a run to its end, or to where it waits; SIGINT and SIGTERM pause it, the second one stops it."""
    folder = order.home.run(run.id)
    folder.mkdir(mode=PASSABLE, parents=True, exist_ok=True)
    with driving(run, folder):
        stored = order.runs.get(run.id)
        if stored is not None and stored.state != run.state:
            raise UsageError(f"{run.name} went on meanwhile: it is {stored.state}", help=f"crewcap show {run.name}")
        return await _carry_out(order, plan, run, found, folder=folder, gateway=gateway, say=say)


async def _carry_out(
    order: Order, plan: Plan, run: Run, found: Found, *, folder: Path, gateway: GatewayHandle, say: str
) -> Run:
    """The same, by the one process that drives the run."""
    leased = lease(order.home.root / "uids")
    try:
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
        fitted = await asyncio.to_thread(fit_out, order.grounds, plot)
        tools = Tools(
            runs=order.runs,
            ledger=order.ledger,
            doors=Doors(gateway),
            adapter=adapter_of(plan),
            fitted=fitted,
            tree=Tree(mirrors=order.mirrors, repository=order.repository, supply=fitted.supply),
            folder=folder,
            clock=order.clock,
            tell=order.tell,
            report=order.report,
            silent_s=order.settings.defaults.no_progress_s,
            fix_attempts=order.settings.defaults.fix_attempts,
            watch=order.settings.watch_rules,
        )
        return await _drive(Workflow(tools=tools, plan=plan, run=run, say=say))
    except CrewcapError as error:
        _give_up(order, run, error)
        raise
    finally:
        leased.release()


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


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_LETTERS, _RANDOM_LETTERS = 10, 10


def _sortable_id(now: datetime) -> str:
    """Milliseconds and chance in letters that nobody confuses: ids sort by time."""
    milliseconds = int(now.timestamp() * 1_000)
    when = "".join(_ALPHABET[(milliseconds >> (5 * place)) & 31] for place in reversed(range(_TIME_LETTERS)))
    return when + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LETTERS))
