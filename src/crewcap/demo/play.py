"""The two acts of the demo and the books after them.

Act 1: an issue becomes a branch. Act 2: the same runaway twice, alone and through crewcap. The provider's meter and
our ledger are two programs that count the same requests; at the end they stand side by side, equal to the last unit.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.agents import AGENTS
from crewcap.agents.find import Found, find
from crewcap.cli.context import Call
from crewcap.cli.live.opening import Opening
from crewcap.cli.live.view import LiveView
from crewcap.cli.runs.job import make_order, prepare
from crewcap.cli.runs.view import cost_of, totals_of
from crewcap.cli.screen.figures import Screen, bar, duration, many, percent
from crewcap.core.money import Money
from crewcap.core.runs import Run
from crewcap.demo.bare import run_alone
from crewcap.demo.stage import MODEL, Stage
from crewcap.runner import entry, start
from crewcap.runner.jobs import Job
from crewcap.runner.plan import Asked
from crewcap.simulator.server import Simulator
from crewcap.stores import Totals
from crewcap.trackers.files import Files
from crewcap.workspaces.sandbox.ladder import strongest

_COLUMNS = 80
_CAP = Money.usd("0.10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One run of the demo."""

    run: Run
    totals: Totals
    billed: Money  # by the provider's own meter
    patch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the two programs counted."""

    meter: Money
    ledger: Money

    @property
    def is_equal(self) -> bool:
        """To the last unit."""
        return self.meter == self.ledger


def play(call: Call, stage: Stage) -> Books:
    """Both acts, with their text."""
    began = time.monotonic()
    sandbox = strongest(state=stage.home.root)
    _head(call, stage, sandbox.rung, sandbox.loses)
    first = _act_1(call, stage, sandbox.rung)
    second = _act_2(call, stage, sandbox.rung)
    books = Books(meter=first.billed + second.billed, ledger=cost_of(first.totals) + cost_of(second.totals))
    _show_books(call, books, time.monotonic() - began)
    return books


def _head(call: Call, stage: Stage, rung: str, loses: tuple[str, ...]) -> None:
    found = _agent(call)
    call.tell(f"Real agent (Claude Code {found.version}), real git, real gateway; scripted provider.")
    call.tell("No key, no network, nothing billed.")
    call.tell(f"Sandbox: {rung}." + "".join(f"\n  gives up: {loss}" for loss in loses))
    call.tell(f"Kept in {_shown(stage.folder)}")


def _act_1(call: Call, stage: Stage, rung: str) -> Played:
    """An issue becomes a branch."""
    with Simulator.in_thread("fix-login", book=call.app.book) as simulator:
        job_call, job = _job(call, stage, "fix-login", simulator.url, rung)
        call.tell(f"\n{_beside('Act 1  An issue becomes a branch', f'cap {job.plan.cap.show()}')}")
        call.tell(f'  issues/fix-login.md   "{job.plan.issue.title}"')
        played = _carry_out(job_call, job, simulator, tells=True)
    hit = percent(played.totals.usage.cache_read, played.totals.usage.prompt)
    cost, cap = cost_of(played.totals), played.run.cap
    turns = many(played.totals.requests, "turn")
    call.tell(f"  {played.run.state}  ${cost.exact()[:8]} of {cap.show()} {bar(cost, cap)}  {turns}, cache hit {hit}")
    for line in played.patch.splitlines():
        if line[:1] in "+-" and not line.startswith(("+++", "---")):
            call.tell(f"        {line}")
    return played


def _act_2(call: Call, stage: Stage, rung: str) -> Played:
    """The same runaway twice."""
    call.tell(f"\n{_beside('Act 2  A runaway: 8 subagents, $0.50 a turn', f'cap {_CAP.show()}')}")
    call.tell(_beside("", "billed"))
    alone = _alone(call, stage)
    times = alone.nano * 10 // _CAP.nano
    call.tell(_beside("  Claude Code alone, --max-budget-usd 0.10", f"{alone.show()}  {times // 10}x the cap"))
    with Simulator.in_thread("runaway", book=call.app.book) as simulator:
        job_call, job = _job(call, stage, "runaway", simulator.url, rung)
        played = _carry_out(job_call, job, simulator, tells=False)
    used = f"{played.billed.nano * 1000 // _CAP.nano / 10:.1f} % used"
    call.tell(_beside("  the same, through crewcap, cap 0.10", f"{played.billed.show()}  {used}"))
    totals = played.totals
    asked = totals.requests + totals.refused
    call.tell(
        f"  why: {asked} requests asked, {totals.requests} fitted, {totals.refused} refused before they could cost"
    )
    kept = f"its work so far, on branch {played.run.branch}" if played.run.commits else "the session and the workspace"
    call.tell(f"  {played.run.state}, not killed; kept: {kept}")
    return played


def _alone(call: Call, stage: Stage) -> Money:
    """What the provider billed the agent alone, under the agent's own cap."""
    found = _agent(call)
    issue = Files(stage.project).read("issues/runaway.md")
    with Simulator.in_thread("runaway", book=call.app.book) as simulator:
        run_alone(binary=found.path, url=simulator.url, project=stage.project, prompt=issue.body, model=MODEL, cap=_CAP)
        simulator.idle_in_thread()
        return simulator.meter.total()


def _job(call: Call, stage: Stage, name: str, url: str, rung: str) -> tuple[Call, Job]:
    """A run of one of the project's issues, in the demo's own home and with its own settings."""
    settings = stage.settings(name, url)
    of_demo = replace(call, home=stage.home, config_path=settings, environ=_environ(call), as_json=False, _app=None)
    tracker = Files(stage.project)
    issue = tracker.read(f"issues/{name}.md")
    return of_demo, prepare(of_demo, issue, tracker, Asked(sandbox=rung), repo="shop")


def _carry_out(call: Call, job: Job, simulator: Simulator, *, tells: bool) -> Played:
    """One run to its end, its story on stdout where it is to be told."""
    ended = asyncio.run(_drive(call, job, tells=tells))
    simulator.idle_in_thread()
    patch = b""
    if ended.commits:
        patch = call.app.mirrors.diff(job.repository, base=ended.base, tip=ended.commit)
    played = Played(run=ended, totals=totals_of(call, ended), billed=simulator.meter.total(), patch=patch.decode())
    call.close()
    return played


async def _drive(call: Call, job: Job, *, tells: bool) -> Run:
    order = make_order(call, job, _say_nothing)
    async with start.gateway_of(order) as gateway:
        run = entry.write_down(order, job.plan, job.found)
        if tells:
            order = replace(order, tell=_story(call, run).feed)
        return await start.carry_out(order, job.plan, run, job.found, gateway=gateway)


def _agent(call: Call) -> Found:
    """The real agent, wherever this machine has it; the user's settings are not asked."""
    return find(AGENTS["claude"](), path=call.environ.get("PATH", ""))


def _environ(call: Call) -> dict[str, str]:
    """What the demo's processes are told of the user's environment: no key can be among it."""
    return {name: call.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TERM") if name in call.environ}


def _story(call: Call, run: Run) -> LiveView:
    """The run's story without its head and its end, which the act tells in its own way."""
    view = LiveView(
        screen=Screen(columns=_COLUMNS),
        write=_say_nothing,
        monotonic=time.monotonic,
        opening=Opening(run=run, agent=""),
    )
    view.begin()
    view.write = lambda text: call.tell(text.rstrip("\n"))
    return view


def _say_nothing(what: object) -> None:
    """For what is not shown."""


def _show_books(call: Call, books: Books, seconds: float) -> None:
    """Both programs' sums, to the last unit."""
    call.tell(f"\n{'The books':<12} {'provider' + chr(39) + 's meter':<18} {'our ledger':<16} difference")
    difference = Money(abs(books.meter.nano - books.ledger.nano))
    said = difference.exact() if difference else "0"
    row = f"{'  both acts':<12} ${books.meter.exact():<17} ${books.ledger.exact():<15} {said}"
    call.tell(_beside(row, f"({duration(seconds)})"))
    call.tell('Next: export ANTHROPIC_API_KEY=...; crewcap run -p "fix the failing test"')


def _beside(left: str, right: str) -> str:
    """Two texts at the two ends of a line."""
    return f"{left}{right:>{max(0, _COLUMNS - len(left))}}" if right else left


def _shown(folder: Path) -> str:
    """A folder as people say it from here."""
    return f"./{folder.relative_to(Path.cwd())}" if folder.is_relative_to(Path.cwd()) else str(folder)
