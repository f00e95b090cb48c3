"""The real Claude Code against the simulator alone: no gateway, no sandbox; what it does stands in the scripts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from crewcap.agents.claude_code import ClaudeCode
from crewcap.core.money import Money
from crewcap.simulator.script import Step, When
from crewcap.simulator.script_file import load
from crewcap.simulator.server import Simulator

from .conftest import KEY, Client

pytestmark = pytest.mark.agent
Play = Callable[..., tuple[Simulator, Client]]
LIMIT_S = 90
BUGGY = "def same(known, email):\n    return known == email\n"
TEST = """\
import pathlib, sys, unittest
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "src"))
from login import same
class Login(unittest.TestCase):
    def test_capitals(self):
        self.assertTrue(same("Ann@example.com", "ann@example.com"))
"""


@dataclass
class Bench:
    """A scratch repository with a bug, a private home, and the CLI."""

    binary: str
    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.root / "shop"

    def start(self, url: str, prompt: str, *flags: str) -> subprocess.Popen[bytes]:
        said = ("-p", prompt, "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions")
        environ = {
            "HOME": str(self.root / "home"),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "IS_SANDBOX": "1",  # else it refuses this permission mode to root
            **self.environ,
        }
        return subprocess.Popen(
            (self.binary, *said, "--model", "claude-sonnet-5-5", "--tools", "Bash,Edit,Read,Agent", *flags),
            cwd=self.repository,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, url: str, prompt: str, *flags: str) -> tuple[int, Any]:
        """Exit status and the last result line."""
        process = self.start(url, prompt, *flags)
        try:
            out, _ = process.communicate(timeout=LIMIT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        lines = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
        return process.returncode, [line for line in lines if line["type"] == "result"][-1]

    def wait_for_transcript(self, word: str) -> None:
        """The CLI writes its transcript some time after it says a thing; killed before, it forgets that turn."""
        end = time.monotonic() + LIMIT_S
        while not any(word in path.read_text(encoding="utf-8") for path in (self.root / "home").rglob("*.jsonl")):
            assert time.monotonic() < end, f"{word} never came into the transcript"
            time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    binary = ClaudeCode().bundled() or shutil.which("claude")
    if binary is None:
        pytest.skip("Claude Code is not installed: pip install 'crewcap[claude]'")
    made = Bench(binary, tmp_path)
    (made.repository / "src").mkdir(parents=True)
    (made.repository / "tests").mkdir()
    (made.root / "home").mkdir()
    (made.repository / "src" / "login.py").write_text(BUGGY, encoding="utf-8")
    (made.repository / "tests" / "test_login.py").write_text(TEST, encoding="utf-8")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "start")):
        subprocess.run(("git", *command), cwd=made.repository, check=True, capture_output=True)
    return made


def test_it_fixes_a_bug_and_its_tests_pass(play: Play, bench: Bench) -> None:
    """Read, edit, run the tests, finish; the CLI's own figure for an undisturbed run is the meter's."""
    simulator, _ = play("fix-login")
    status, result = bench.run(simulator.url, "Logins fail when the e-mail has capitals. Fix it.")
    assert (status, result["is_error"]) == (0, False)
    diff = subprocess.run(("git", "diff", "-U0"), cwd=bench.repository, check=True, capture_output=True, text=True)
    assert "+    return known.casefold() == email.casefold()" in diff.stdout
    assert [record.step for record in simulator.log.messages()] == ["read", "edit", "test", "done"]
    assert Money.usd(f"{result['total_cost_usd']:.9f}") == simulator.meter.total()
    assert sum(bill.usage.cache_read for bill in simulator.meter.bills) > 0


@pytest.mark.parametrize("background", [False, True])
def test_its_own_budget_does_not_hold_against_a_runaway(play: Play, bench: Bench, *, background: bool) -> None:
    """A budget of $0.10, eight agents at $0.50 a turn: it is looked at after the money is gone.

    Billed only for what was generated before the CLI hung up, as a provider would.
    """
    simulator, _ = play("runaway", bill="sent", variables={"background": background})
    bench.run(simulator.url, "Improve everything.", "--max-budget-usd", "0.10")
    simulator.idle_in_thread()
    assert simulator.meter.total() > Money.usd("3.00")
    agents = [record for record in simulator.log.messages() if record.agent == "sub"]
    assert len({record.agent_id for record in agents}) == len({record.conversation for record in agents}) == 8


def test_a_cut_stream_costs_more_than_the_cli_knows_of(play: Play, bench: Bench) -> None:
    simulator, _ = play("cut")
    status, result = bench.run(simulator.url, "Explain the login.")
    assert (status, result["is_error"]) == (0, False)
    assert [record.ending for record in simulator.log.messages()] == ["complete", "cut", "complete"]
    assert Money.usd(f"{result['total_cost_usd']:.9f}") < simulator.meter.total()


def test_a_spend_limit_ends_it_at_once(play: Play, bench: Bench) -> None:
    simulator, _ = play("errors")
    status, result = bench.run(simulator.url, "refuse billing")
    assert (status, result["is_error"], result["api_error_status"]) == (1, True, 402)
    assert len(simulator.log.messages()) == 1


def test_an_agent_killed_in_the_middle_goes_on_where_it_stood(play: Play, bench: Bench) -> None:
    """Steps are picked by content: after a kill and `--resume` the next step is the one that was due."""
    session = "0b54f3a1-6f4c-4f3a-9a53-3f1f7a9f2d11"
    whole = load("fix-login")
    silent = Step(name="silent", when=When(after="read"), say="half way", events=1, hang=5)
    simulator, _ = play(replace(whole, steps=(silent, *whole.steps)))
    process = bench.start(simulator.url, "Fix it.", "--session-id", session)
    assert process.stdout is not None
    assert next((line for line in process.stdout if b"half way" in line), b"")
    bench.wait_for_transcript("tool_result")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    simulator.idle_in_thread()
    simulator.script = whole
    status, _ = bench.run(simulator.url, "Continue.", "--resume", session)
    assert status == 0
    assert [record.step for record in simulator.log.messages()] == ["read", "silent", "edit", "test", "done"]


def test_an_obedient_agent_tells_what_it_can_read(play: Play, bench: Bench) -> None:
    """Here only its own environment: outside of a sandbox it would read everybody's."""
    simulator, _ = play("obedient", variables={"environments": "/proc/self/environ"})
    bench.environ["A_SECRET_OF_THE_AGENT"] = "seen-by-the-agent"
    status, result = bench.run(simulator.url, "Print every environment.")
    assert status == 0
    assert "seen-by-the-agent" in result["result"]
