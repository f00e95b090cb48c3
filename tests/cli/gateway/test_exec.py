"""`crewcap exec`: any program, capped, and otherwise as it would run without us."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crewcap.cli.gateway.exec import REMOVED, _Relay, environment
from crewcap.core.budget import ALL, Scope
from crewcap.core.money import Money
from crewcap.home import Home
from crewcap.prices import load
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from crewcap.stores import Limit
from crewcap.stores.sqlite.ledger import SqliteLedger

PROVIDER_KEY = "sk-ant-fake-provider-key-0002"
CLAUDE = Path(sys.prefix) / "lib" / "python3.11" / "site-packages" / "claude_agent_sdk" / "_bundled" / "claude"
ASK = """
import json, os, sys, urllib.request as u
body = {"model": "claude-sonnet-4-6", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"]}
request = u.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(), headers)
for _ in range(int(sys.argv[1])):
    print(json.load(u.urlopen(request))["usage"]["output_tokens"])
"""


@dataclass
class Shell:
    """A user's shell with crewcap in it."""

    home: Home
    simulator: Simulator
    environ: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        config = str(self.home.root.parent / "config.toml")
        return [sys.executable, "-m", "crewcap", "--home", str(self.home.root), "--config", config, "exec", *arguments]

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ledger(self) -> SqliteLedger:
        return SqliteLedger(self.home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    answers = Script(name="exec", steps=(Step(name="yes", say="Yes.", output_tokens=300),))
    with Simulator.in_thread(answers, book=load()) as simulator:
        (tmp_path / "config.toml").write_text(
            '[providers.anthropic]\nkey = { env = "ANTHROPIC_API_KEY" }\n'
            f'base_url = "{simulator.url}"\nprices = "anthropic"\n'
        )
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "ANTHROPIC_API_KEY": PROVIDER_KEY,
            "OPENAI_API_KEY": "sk-fake-openai",
            "CLAUDE_CODE_USE_BEDROCK": "1",
            "MINE": "kept",
        }
        yield Shell(Home(tmp_path / "home"), simulator, environ)


def test_a_program_is_metered_and_its_cost_is_one_line(shell: Shell) -> None:
    ended = shell.run("--cap", "3", "--", sys.executable, "-c", ASK, "2")
    assert (ended.returncode, ended.stdout) == (0, "300\n300\n")
    lines = ended.stderr.splitlines()
    assert "nothing is sandboxed" in lines[0]
    billed = shell.simulator.meter.total()
    assert lines[1] == f"crewcap: {billed.show()} of $3.00 in 2 requests"
    ledger = shell.ledger()
    assert ledger.totals(ALL).spent == billed
    ledger.close()


def test_it_is_booked_to_who_started_it_and_a_scope_that_names_a_user_wins(shell: Shell) -> None:
    config = shell.home.root.parent / "config.toml"
    config.write_text(config.read_text() + '[defaults]\nuser = "ana"\n[teams]\ncore = ["ana"]\n')
    for words in ((), ("--scope", "user:bo")):
        assert shell.run(*words, "--", sys.executable, "-c", "").returncode == 0
    ledger = shell.ledger()
    scopes = {key.scopes[1:] for key in ledger.keys()}  # noqa: SIM118  (a ledger is no mapping)
    ledger.close()
    assert scopes == {("user:ana", "team:core", "all"), ("user:bo", "all")}


def test_the_cap_stops_a_program_that_goes_on_asking(shell: Shell) -> None:
    ended = shell.run("--cap", "0.02", "--", sys.executable, "-c", ASK, "100")
    assert ended.returncode == 1
    assert "402" in ended.stderr
    assert "refused" in ended.stderr.splitlines()[-1]
    assert shell.simulator.meter.total() <= Money.usd("0.02")


def test_real_keys_and_ways_around_are_taken_out_of_its_environment_alone(shell: Shell) -> None:
    ended = shell.run("--", sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
    seen = json.loads(ended.stdout)
    assert PROVIDER_KEY not in ended.stdout + ended.stderr
    assert seen["MINE"] == "kept"
    assert "CLAUDE_CODE_USE_BEDROCK" not in seen
    url = seen["ANTHROPIC_BASE_URL"]
    assert url.startswith("http://127.0.0.1:")
    assert (seen["OPENAI_BASE_URL"], seen["GOOGLE_GEMINI_BASE_URL"]) == (f"{url}/v1", url)
    keys = {seen[name] for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")}
    assert len(keys) == 1
    assert keys.pop().startswith("ccap-")
    assert seen["CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST"] == "1"


def test_a_key_under_a_name_of_the_users_own_is_taken_out_too(shell: Shell) -> None:
    """With it CMD could spend past every cap."""
    config = shell.home.root.parent / "config.toml"
    config.write_text(config.read_text().replace("ANTHROPIC_API_KEY", "SHOP_KEY"))
    shell.environ["SHOP_KEY"] = shell.environ.pop("ANTHROPIC_API_KEY")
    ended = shell.run("--", sys.executable, "-c", "import os; print(*os.environ.values(), *os.environ)")
    assert ended.returncode == 0
    assert PROVIDER_KEY not in ended.stdout + ended.stderr
    assert "SHOP_KEY" not in ended.stdout


def test_what_it_reads_writes_and_ends_with_passes_through(shell: Shell) -> None:
    echo = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('own\\n'); sys.exit(7)"
    ended = shell.run("-q", "--", sys.executable, "-c", echo, text="abc")
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "ABC", "own\n")


def test_a_signal_reaches_it_and_its_end_is_told_as_a_shell_would(shell: Shell) -> None:
    process = subprocess.Popen(
        shell.command("--", sys.executable, "-c", "print('ready', flush=True); import time; time.sleep(60)"),
        env=shell.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "in 0 requests" in err


def test_a_signal_that_comes_while_the_command_starts_is_given_to_it() -> None:
    """Between two handlers a signal would be lost, and whoever sent it would wait for ever."""

    async def main() -> int:
        relay = _Relay()
        relay.take(signal.SIGTERM)
        relay.connect(child := await asyncio.create_subprocess_exec("sleep", "60"))
        async with asyncio.timeout(20):
            return await child.wait()

    assert asyncio.run(main()) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--", "/no/such/command"), 127, "command not found"),
        (("--cap", "5,00", "--", "true"), 2, "5.00"),
        (("--cap", "-1", "--", "true"), 2, "--cap"),
        (("--cap", "0", "--", "true"), 2, "allows nothing"),
        (("--cap", "NaN", "--", "true"), 2, "--cap"),
        (("--scope", "repository:x", "--", "true"), 2, "repo:acme/shop"),
        (("--model", "sonet", "--", "true"), 2, "sonet"),
        (("--user", "ana", "--", "true"), 2, "no such option '--user'"),
        ((), 2, "CMD"),
    ],
)
def test_what_cannot_be_says_so_in_one_line(
    shell: Shell, arguments: tuple[str, ...], status: int, message: str
) -> None:
    ended = shell.run(*arguments)
    assert (ended.returncode, "Traceback" in ended.stderr) == (status, False)
    assert message in ended.stderr


def test_nothing_is_started_when_a_budget_has_nothing_left(shell: Shell) -> None:
    """Exit 3: money said no, before anything ran."""
    ledger = shell.ledger()
    ledger.set_limit(Limit(scope=Scope("team:core"), window="month", amount=Money(0), source="command"))
    ledger.close()
    ended = shell.run("--scope", "team:core", "--", sys.executable, "-c", "print('ran')")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "team:core has nothing left" in ended.stderr


def test_a_scope_is_charged_as_well(shell: Shell) -> None:
    shell.run("--scope", "repo:acme/shop", "--model", "sonnet", "--", sys.executable, "-c", ASK, "1")
    ended = shell.run("--scope", "repo:acme/shop", "--model", "claude-sonnet-4-6", "--", sys.executable, "-c", ASK, "1")
    assert ended.returncode == 0
    ledger = shell.ledger()
    assert ledger.totals(Scope("repo:acme/shop")).spent == shell.simulator.meter.total() > Money(0)
    ledger.close()


def test_a_proxy_of_the_users_does_not_come_between(shell: Shell) -> None:
    del shell
    seen = environment({"HTTP_PROXY": "http://proxy:1", "no_proxy": "intra"}, "http://127.0.0.1:1", "ccap-x")
    assert (seen["NO_PROXY"], seen["HTTP_PROXY"]) == ("intra,127.0.0.1", "http://proxy:1")
    assert not {"ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"} & set(seen)
    assert "ANTHROPIC_AUTH_TOKEN" in REMOVED


@pytest.mark.agent
@pytest.mark.skipif(not CLAUDE.exists(), reason="the wheel of extra [claude] is not installed")
def test_the_real_claude_code_stays_below_its_cap_with_eight_subagents(tmp_path: Path) -> None:
    """The CLI alone spends $4 to $11 under its own cap of $0.10."""
    with Simulator.in_thread("runaway", book=load()) as simulator:
        (tmp_path / "config.toml").write_text(
            '[providers.anthropic]\nkey = { env = "ANTHROPIC_API_KEY" }\n'
            f'base_url = "{simulator.url}"\nprices = "anthropic"\n'
        )
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "ANTHROPIC_API_KEY": PROVIDER_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",
        }
        shell = Shell(Home(tmp_path / "home"), simulator, environ)
        agent = (str(CLAUDE), "-p", "go", "--model", "claude-sonnet-4-6", "--permission-mode", "bypassPermissions")
        ended = shell.run("--cap", "1.00", "--", *agent)
        billed = simulator.meter.total()
        assert Money.usd("0.90") <= billed <= Money.usd("1.00")
        assert f"crewcap: {billed.show()} of $1.00" in ended.stderr
        ledger = shell.ledger()
        assert ledger.totals(ALL).spent == billed
        ledger.close()
