"""How a gateway starts, drains, ends, and what is found when it was killed. Real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.gateway.conftest import MODEL, PROVIDER_KEY, Key, RigMaker, add_key

from crewcap.core.money import ZERO
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from crewcap.stores.sqlite import SqliteLedger

SLOW = Script(name="slow", steps=(Step(name="slow", say="Yes.", output_tokens=400, events=20, pace_ms=20),))
SILENT = Script(name="silent", steps=(Step(name="silent", say="Yes.", output_tokens=400, hang=3),))


@dataclass
class Running:
    """A gateway in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    home: Home
    simulator: Simulator

    def ledger(self) -> SqliteLedger:
        return SqliteLedger(self.home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)

    def ask(self, key: Key, **fields: Any) -> subprocess.Popen[bytes]:
        """A client in a process of its own, so that it goes on while we look elsewhere."""
        body = {"model": MODEL, "max_tokens": 1_000, "messages": [{"role": "user", "content": "hi"}], **fields}
        code = (
            "import sys, urllib.request as u\n"
            "request = u.Request(sys.argv[1], sys.argv[3].encode(), {'x-api-key': sys.argv[2]})\n"
            "sys.stdout.write(u.urlopen(request).read().decode())"
        )
        arguments = [sys.executable, "-c", code, f"{self.url}/v1/messages", key.secret, json.dumps(body)]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def until_billed(self) -> None:
        """Wait until the provider has begun to answer."""
        deadline = time.monotonic() + 10
        while not self.simulator.meter.bills:
            assert time.monotonic() < deadline
            time.sleep(0.005)


@contextmanager
def gateway(
    tmp_path: Path, simulator: Simulator, *, drain: str = "120s", environ: dict[str, str] | None = None
) -> Iterator[Running]:
    home = Home(tmp_path / "home")
    config = tmp_path / "config.toml"
    config.write_text(
        f'[providers.anthropic]\nkey = {{ env = "ANTHROPIC_API_KEY" }}\nbase_url = "{simulator.url}"\n'
        f'prices = "anthropic"\n[gateway]\ndrain = "{drain}"\n'
    )
    command = [sys.executable, "-m", "crewcap", "gateway", "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(
        [*command, "--home", str(home.root), "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": PROVIDER_KEY, **(environ or {})},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        yield Running(process, json.loads(line)["url"], home, simulator)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def slow(book: Book) -> Iterator[Simulator]:
    with Simulator.in_thread(SLOW, book=book) as simulator:
        yield simulator


def test_a_kill_in_the_middle_leaves_the_hold_charged_at_the_next_start(tmp_path: Path, slow: Simulator) -> None:
    """Kill -9: nobody knows what the answer cost, so it stays charged; the ledger is never below the bill."""
    with gateway(tmp_path, slow) as running:
        ledger = running.ledger()
        key = add_key(ledger, "1.00")
        client = running.ask(key, stream=True)
        running.until_billed()
        running.process.kill()
        running.process.wait(timeout=10)
        client.kill()
        client.communicate()
    assert running.home.gateway_note.exists()
    with gateway(tmp_path, slow) as again:
        balance = ledger.balances(key.row.id)[0]
        assert balance.held == ZERO
        assert balance.uncertain >= slow.meter.total() > ZERO
        assert "died" in ledger.uncertain_holds()[0].reason
        answered = again.ask(key)
        assert b'"usage"' in answered.communicate(timeout=20)[0]
    assert ledger.verify().problems == ()
    ledger.close()


def test_a_terminated_gateway_lets_answers_end_and_settles_them(tmp_path: Path, slow: Simulator) -> None:
    with gateway(tmp_path, slow) as running:
        ledger = running.ledger()
        key = add_key(ledger, "1.00")
        client = running.ask(key, stream=True)
        running.until_billed()
        running.process.terminate()
        assert b"message_stop" in client.communicate(timeout=20)[0]
        assert running.process.wait(timeout=20) == 0
        balance = ledger.balances(key.row.id)[0]
        assert (balance.spent, balance.uncertain, balance.held) == (slow.meter.total(), ZERO, ZERO)
        assert not running.home.gateway_note.exists()
        ledger.close()


def test_a_gateway_that_must_end_now_keeps_the_rest_charged(tmp_path: Path, book: Book) -> None:
    """The second signal waits for nobody."""
    with Simulator.in_thread(SILENT, book=book) as simulator, gateway(tmp_path, simulator) as running:
        ledger = running.ledger()
        key = add_key(ledger, "1.00")
        client = running.ask(key, stream=True)
        running.until_billed()
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)  # two signals at once would be one
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=20) == 0
        client.kill()
        client.communicate()
        balance = ledger.balances(key.row.id)[0]
        assert balance.held == ZERO
        assert balance.spent + balance.uncertain >= simulator.meter.total() > ZERO
        ledger.close()


def test_the_providers_key_can_be_read_nowhere_but_in_memory(tmp_path: Path, slow: Simulator) -> None:
    """Not in the environment that the kernel shows, not in a file of the home, not in what is printed."""
    with gateway(tmp_path, slow) as running:
        ledger = running.ledger()
        assert running.ask(add_key(ledger, "1.00")).communicate(timeout=20)[0]
        ledger.close()
        try:
            shown = Path(f"/proc/{running.process.pid}/environ").read_bytes()
        except PermissionError:
            shown = b""  # not root: not dumpable means not readable at all
        assert PROVIDER_KEY.encode() not in shown
        assert PROVIDER_KEY.encode() not in Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
        note = running.home.gateway_note
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        for file in running.home.root.rglob("*"):
            assert not file.is_file() or PROVIDER_KEY.encode() not in file.read_bytes()
        running.process.terminate()
        out, err = running.process.communicate(timeout=20)
        assert PROVIDER_KEY not in out + err


def test_a_home_has_one_gateway(tmp_path: Path, slow: Simulator) -> None:
    with gateway(tmp_path, slow) as running:
        command = [
            sys.executable,
            "-m",
            "crewcap",
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--home",
            str(running.home.root),
        ]
        environ = {"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": PROVIDER_KEY}
        second = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 2
        assert second.stderr.startswith(f"error: a gateway of this home runs already: {running.url}")


@pytest.mark.parametrize(
    ("arguments", "environ", "status", "message"),
    [
        (["--listen", "0.0.0.0:8787"], {"ANTHROPIC_API_KEY": PROVIDER_KEY}, 2, "does not listen on 0.0.0.0"),
        (["--listen", "8787"], {"ANTHROPIC_API_KEY": PROVIDER_KEY}, 2, "is not HOST:PORT"),
        (["--listen", "127.0.0.1:0"], {}, 4, "ANTHROPIC_API_KEY"),
        (["--child"], {"ANTHROPIC_API_KEY": PROVIDER_KEY}, 2, "for crewcap itself"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], status: int, message: str
) -> None:
    command = [sys.executable, "-m", "crewcap", "gateway", *arguments, "--home", str(tmp_path / "home")]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environ}
    ended = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
    )
    said = ended.stderr + ended.stdout
    assert message in said
    assert "Traceback" not in said
    assert PROVIDER_KEY not in said
    assert ended.returncode == status


def test_a_gateway_that_ends_answers_those_who_wait_in_line(rig: RigMaker) -> None:
    """Nobody is kept waiting by something that is not there any more, and nothing is held for them."""

    async def main() -> None:
        async with rig(SILENT, cap="0.03", drain_s=0.1) as r:
            body = r.request(stream=True, max_tokens=1_000)
            first = asyncio.create_task(r.post(body))
            await r.until(lambda: bool(r.simulator.meter.bills))
            second = asyncio.create_task(r.post(body))
            await r.until(lambda: r.gateway.service.purse.waiting == 1)
            await r.gateway.stop()
            assert (await second)[0] == 503
            with pytest.raises(aiohttp.ClientError):
                await first
            assert r.balance().held == ZERO
            assert r.charged() >= r.simulator.meter.total()

    asyncio.run(main())
