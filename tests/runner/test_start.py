"""From a plan to a run on its way: written down once, put together, driven under our signals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.runner.rig import NOW, Shop, stepped, utc_now

from crewcap import config
from crewcap.agents.claude_code import ClaudeCode
from crewcap.agents.find import Found
from crewcap.core.budget import Scope
from crewcap.core.limits import CountLimit
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.errors import MoneyRefused, UnsafeEnvironment, UsageError
from crewcap.gateway.client import GatewayHandle
from crewcap.runner.entry import write_down
from crewcap.runner.moments import Moment
from crewcap.runner.start import Order, adapter_of, carry_out, find_agent, guard_keys
from crewcap.settings.models import Settings
from crewcap.stores.run_rows import AlreadyOpen
from crewcap.workspaces.sandbox.bubblewrap import Bubblewrap
from crewcap.workspaces.sandbox.landlock import Landlock
from crewcap.workspaces.sandbox.uids import FIRST, have_own
from crewcap.workspaces.sandbox.unconfined import Unconfined

FOUND = Found(path=sys.executable, version="2.1.330", origin="setting")
NOBODY = GatewayHandle(url="", control=Path("/nonexistent/control.sock"), pid=0)


def settings(text: str, folder: Path) -> Settings:
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return config.load(folder / "config.toml", {})


def order(shop: Shop, **changes: Any) -> Order:
    plain: dict[str, Any] = {
        "home": shop.home,
        "config_path": None,
        "settings": settings("", shop.folder),
        "environ": {},
        "ledger": shop.ledger,
        "runs": shop.runs,
        "clock": utc_now,
        "sandbox": Unconfined(),
        "mirrors": shop.mirrors,
        "repository": shop.repository,
        "base": shop.mirrors.update(shop.repository),
        "tell": lambda _: None,
        "report": lambda _run, _totals: None,
    }
    return Order(**{**plain, **changes})


def test_a_run_is_written_down_with_everything_that_was_decided(shop: Shop) -> None:
    plan = shop.plan(agent="claude", effort="high", because="route 1: label hard", max_turns=7, timeout_s=60)
    run = write_down(order(shop, clock=lambda: NOW), plan, FOUND)
    assert run == shop.runs.get(run.id)
    assert (run.name, run.state, run.repo, run.repo_path) == ("fix-sum.1", RunState.QUEUED, "shop", str(shop.user))
    assert (run.base, run.base_branch) == (shop.git("rev-parse", "main"), "main")
    assert (run.agent, run.agent_version, run.model, run.effort) == ("claude", "2.1.330", plan.route.model, "high")
    assert (run.because, run.cap, run.cap_because) == ("route 1: label hard", plan.cap, "your default")
    assert (run.max_turns, run.timeout_s, run.sandbox, run.created_at) == (7, 60, "unconfined", NOW)
    assert len(run.session) == 36


def test_an_issue_has_one_open_run_and_the_next_one_has_the_next_number(shop: Shop) -> None:
    made = order(shop)
    first = write_down(made, shop.plan(), FOUND)
    with pytest.raises(AlreadyOpen) as refused:
        write_down(made, shop.plan(), FOUND)
    assert refused.value.run == first
    shop.runs.save(replace(first, state=RunState.STOPPED))
    assert write_down(made, shop.plan(), FOUND).name == "fix-sum.2"


def test_ids_sort_by_time(shop: Shop) -> None:
    ids = []
    for minutes in (0, 1, 60, 60 * 24 * 400):
        at = NOW + timedelta(minutes=minutes)
        run = write_down(order(shop, clock=lambda at=at: at), shop.plan(), FOUND)
        shop.runs.save(replace(run, state=RunState.STOPPED))
        ids.append(run.id)
    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {20}


def test_an_agent_that_does_not_exist_is_refused_with_those_there_are(shop: Shop) -> None:
    with pytest.raises(UsageError, match="there is no agent 'fake'") as refused:
        adapter_of(shop.plan())
    assert refused.value.help == "agents: claude"
    assert isinstance(adapter_of(shop.plan(agent="claude")), ClaudeCode)


def test_the_agent_that_settings_name_is_used_or_refused(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho '2.1.400 (Claude Code)'\n")
    program.chmod(0o755)
    named = settings(f'[defaults]\nagent_path = {{ claude = "{program}" }}\n', tmp_path)
    assert find_agent(named, ClaudeCode(), {}) == Found(path=str(program), version="2.1.400", origin="setting")
    program.write_text("#!/bin/sh\necho something else\n")
    with pytest.raises(UnsafeEnvironment, match="is not Claude Code"):
        find_agent(named, ClaudeCode(), {})


@contextmanager
def somebody_with_a_key() -> Iterator[int]:
    """Another process of ours, as a shell with an exported key is one."""
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program],
        env={"CREWCAP_TEST_KEY": "sk-ant-fake-1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield other.pid


def test_below_bubblewrap_a_key_that_the_agent_could_read_is_refused_unless_it_is_spoken(tmp_path: Path) -> None:
    named = settings('[providers.anthropic]\nkey = { env = "CREWCAP_TEST_KEY" }\n', tmp_path)
    guard_keys(named, Landlock(), is_spoken=False)
    with somebody_with_a_key() as pid:
        for rung in (Unconfined(), *(() if have_own() else (Landlock(),))):  # which may run it as our own user
            with pytest.raises(UnsafeEnvironment, match=f"the provider's key in process {pid}'s environment"):
                guard_keys(named, rung, is_spoken=False)
        guard_keys(named, Unconfined(), is_spoken=True)
        guard_keys(named, Bubblewrap(), is_spoken=False)


@pytest.mark.skipif(not have_own(), reason="needs root: only then does a run have a user of its own")
def test_a_key_of_another_user_than_the_agents_is_no_reason_to_refuse(tmp_path: Path) -> None:
    named = settings('[providers.anthropic]\nkey = { env = "CREWCAP_TEST_KEY" }\n', tmp_path)
    with somebody_with_a_key() as pid:
        guard_keys(named, Landlock(), is_spoken=False)
        words = ["cat", f"/proc/{pid}/environ"]
        seen = subprocess.run(words, user=FIRST, group=FIRST, extra_groups=[], capture_output=True, check=False)
    assert b"Permission denied" in seen.stderr


def carried_out(shop: Shop, tell: Callable[[Moment], None], **plan: Any) -> Run:
    """A run of the plan, in this process, without a gateway: it must end before it needs one."""
    decided = shop.plan(agent="claude", **plan)
    made = order(shop, tell=tell)
    run = write_down(made, decided, FOUND)
    return asyncio.run(carry_out(made, decided, run, FOUND, gateway=NOBODY))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_our_signals_are_the_runs_while_it_is_driven_and_ours_again_afterwards(
    shop: Shop, number: signal.Signals
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def tell(moment: Moment) -> None:
        if stepped("workspace")(moment):
            os.kill(os.getpid(), number)

    run = carried_out(shop, tell, setup="sleep 60")
    assert (run.state, run.verdict) == (RunState.STOPPED, Verdict.CANCELLED)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_run_that_cannot_be_prepared_is_over_and_says_why(shop: Shop) -> None:
    """Else its issue would be blocked by a run that can never begin."""
    told: list[Run] = []
    decided, made = shop.plan(agent="claude"), order(shop, report=lambda run, _: told.append(run))
    run = write_down(made, decided, FOUND)
    (shop.user / ".git" / "HEAD").unlink()
    with pytest.raises(UnsafeEnvironment) as refused:
        asyncio.run(carry_out(made, decided, run, FOUND, gateway=NOBODY))
    stored = shop.runs.get(run.id)
    assert stored is not None
    assert (stored.state, stored.verdict, stored.reason) == (
        RunState.FAILED,
        Verdict.SETUP_FAILED,
        refused.value.message,
    )
    assert stored.ended_at is not None
    assert told[-1] == stored  # its issue is told as well
    assert shop.runs.story(run.id)[-1].text == f"failed: {refused.value.message}"


def test_a_run_whose_agent_could_not_be_started_stays_open(shop: Shop) -> None:
    """Its gateway is gone: the next start of the same command goes on with it."""
    decided, made = shop.plan(agent="claude"), order(shop)
    run = write_down(made, decided, FOUND)
    with pytest.raises(UnsafeEnvironment, match="is gone"):
        asyncio.run(carry_out(made, decided, run, FOUND, gateway=NOBODY))
    stored = shop.runs.get(run.id)
    assert stored is not None
    assert stored.state == RunState.RUNNING


def test_a_limit_of_runs_lets_no_new_run_begin_and_holds_back_none_that_is_open(shop: Shop) -> None:
    made, plan = order(shop), shop.plan()
    first = write_down(made, plan, FOUND)
    shop.ledger.set_count(CountLimit(scope=Scope("team:core"), kind="runs", window="week", value=0, source="command"))
    with pytest.raises(AlreadyOpen):  # it was counted, or will be
        write_down(made, plan, FOUND)
    shop.runs.save(replace(first, state=RunState.STOPPED))
    with pytest.raises(MoneyRefused, match="nothing was started: team:core has used 0 of its 0 runs this week") as no:
        write_down(made, plan, FOUND)
    assert no.value.help == "raise it with: crewcap budget set team:core runs/week NUMBER"
    assert len(shop.runs.list()) == 1
