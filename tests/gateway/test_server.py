"""How a gateway starts, drains, ends, and what is found when it was killed. Real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.gateway.conftest import MODEL, PROVIDER_KEY, Key, RigMaker, add_key

from crewcap.core.money import ZERO
from crewcap.gateway.client import find
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from crewcap.simulator.troubles import TROUBLES
from crewcap.stores.sqlite.ledger import SqliteLedger

SLOW = Script(name="slow", steps=(Step(name="slow", say="Yes.", output_tokens=400, events=20, pace_ms=20),))
QUICK = Script(name="quick", steps=(Step(name="quick", say="Yes.", output_tokens=400, events=3, pace_ms=5),))
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
        until(lambda: bool(self.simulator.meter.bills))


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def gateway(
    tmp_path: Path,
    simulator: Simulator,
    *,
    drain: str = "120s",
    environ: dict[str, str] | None = None,
    config: str = "",
    options: tuple[str, ...] = (),
) -> Iterator[Running]:
    home = Home(tmp_path / "home")
    file = tmp_path / "config.toml"
    file.write_text(
        f'[providers.anthropic]\nkey = {{ env = "ANTHROPIC_API_KEY" }}\nbase_url = "{simulator.url}"\n'
        f'prices = "anthropic"\n[gateway]\ndrain = "{drain}"\n{config}'
    )
    command = [sys.executable, "-m", "crewcap", "gateway", "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(
        [*command, *options, "--home", str(home.root), "--config", str(file)],
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


def test_a_kill_between_two_attempts_leaks_nothing(tmp_path: Path, slow: Simulator) -> None:
    """The first attempt is closed in the books before the second one is waited for; no hold is open meanwhile."""
    slow.trouble = TROUBLES["overloaded"]
    with gateway(tmp_path, slow) as running:
        ledger = running.ledger()
        key = add_key(ledger, "1.00")
        client = running.ask(key, stream=True)
        deadline = time.monotonic() + 10
        while not ledger.entries():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        running.process.kill()
        running.process.wait(timeout=10)
        client.kill()
        client.communicate()
    slow.trouble = None
    with gateway(tmp_path, slow) as again:
        balance = ledger.balances(key.row.id)[0]
        assert (balance.spent, balance.uncertain, balance.held) == (ZERO, ZERO, ZERO)
        assert [entry.kind for entry in ledger.entries()] == ["released"]
        assert b'"usage"' in again.ask(key).communicate(timeout=20)[0]
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


def test_gateways_of_one_home_share_its_budgets_and_none_is_overshot(tmp_path: Path, book: Book) -> None:
    """Each has a boot of its own; what one holds, the other sees."""
    with (
        Simulator.in_thread(QUICK, book=book) as simulator,
        gateway(tmp_path, simulator) as one,
        gateway(tmp_path, simulator) as other,
    ):
        ledger = one.ledger()
        key = add_key(ledger, "0.10")
        answers = asyncio.run(ask_all([one.url, other.url] * 12, key, max_tokens=1_000))
        balance = ledger.balances(key.row.id)[0]
        assert {status for status, _ in answers} == {200, 402}
        assert simulator.meter.total() <= balance.limit
        assert (balance.spent, balance.held, balance.uncertain) == (simulator.meter.total(), ZERO, ZERO)
        assert ledger.verify().problems == ()
        ledger.close()


def test_a_gateway_that_is_killed_leaves_the_other_at_work_and_its_holds_charged(
    tmp_path: Path, slow: Simulator
) -> None:
    """The next start of any gateway finds the holds of the dead one."""
    with gateway(tmp_path, slow) as one, gateway(tmp_path, slow) as other:
        ledger = one.ledger()
        key = add_key(ledger, "1.00")
        client = one.ask(key, stream=True)
        one.until_billed()
        one.process.kill()
        one.process.wait(timeout=10)
        client.kill()
        client.communicate()
        assert b'"usage"' in other.ask(key).communicate(timeout=20)[0]
        until(lambda: len(ledger.open_holds()) == 1)  # what was just answered is settled a moment later
        held = ledger.balances(key.row.id)[0].held
        assert held > ZERO
        with gateway(tmp_path, slow):
            balance = ledger.balances(key.row.id)[0]
            assert (balance.held, balance.uncertain) == (ZERO, held)
            assert "died" in ledger.uncertain_holds()[0].reason
            assert b'"usage"' in other.ask(key).communicate(timeout=20)[0]
        assert ledger.balances(key.row.id)[0].spent + held >= slow.meter.total()
        assert ledger.verify().problems == ()
        ledger.close()


def test_the_last_gateway_of_a_home_is_the_one_that_clients_find(tmp_path: Path, slow: Simulator) -> None:
    """One that stops takes away its own note and socket alone."""

    def found() -> str:
        handle = asyncio.run(find(Home(tmp_path / "home")))
        return handle.url if handle else ""

    with gateway(tmp_path, slow) as one:
        with gateway(tmp_path, slow) as other:
            assert found() == other.url
            one.process.terminate()
            assert one.process.wait(timeout=20) == 0
            assert found() == other.url
        assert found() == ""
        assert list((tmp_path / "home").glob("control-*.sock")) == []


def test_a_gateway_that_nobody_tells_of_says_again_where_it_is(rig: RigMaker) -> None:
    """The note of the last one went with it; the one before still serves."""

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(timeout=20)

    async def main() -> None:
        async with rig(beat_s=0.01) as r:
            r.home.gateway_note.unlink()
            await r.until(r.home.gateway_note.exists)
            assert json.loads(r.home.gateway_note.read_text())["url"] == r.gateway.url
            r.home.gateway_note.write_text(json.dumps({"pid": dead.pid, "boot": "boot-of-the-dead"}))
            await r.until(lambda: r.gateway.url in r.home.gateway_note.read_text())
            alive = json.dumps({"pid": os.getpid(), "boot": "boot-of-another"})
            r.home.gateway_note.write_text(alive)
            await asyncio.sleep(0.05)
            assert r.home.gateway_note.read_text() == alive

    asyncio.run(main())


def test_what_a_killed_gateway_left_lying_is_swept_up(tmp_path: Path, slow: Simulator) -> None:
    """Only a socket that nobody listens at, and that is not just being made."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    listening = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for each, name in zip(listening, ("old", "young", "alive"), strict=True):
        each.bind(str(home / f"control-{name}.sock"))
    listening[2].listen()
    listening[0].close()
    for name in ("old", "alive"):
        os.utime(home / f"control-{name}.sock", (0, 0))
    with gateway(tmp_path, slow):
        left = {path.name for path in home.glob("control-*.sock")}
        assert "control-old.sock" not in left
        assert {"control-young.sock", "control-alive.sock"} < left
    for each in listening:
        each.close()


SHAPES = {  # of a 503, as each family's clients know it
    "/v1/messages": {"type": "error", "error": {"type": "overloaded_error"}},
    "/v1/responses": {"error": {"type": "server_error"}},
    "/v1/chat/completions": {"error": {"type": "server_error"}},
    "/v1beta/models/gemini-2.5-pro:generateContent": {"error": {"code": 503, "status": "UNAVAILABLE"}},
}


def test_while_it_ends_a_gateway_refuses_what_is_new_in_each_familys_shape(tmp_path: Path, book: Book) -> None:
    """A client is told to come again, the health check takes it out of the rotation, what is under way ends whole."""
    slow = Script(name="slow", steps=(Step(name="slow", say="Yes.", output_tokens=400, events=20, pace_ms=60),))
    with (
        Simulator.in_thread(slow, book=book) as simulator,
        gateway(tmp_path, simulator, config=other_families(simulator)) as running,
    ):
        ledger = running.ledger()
        key = add_key(ledger, "1.00")
        client = running.ask(key, stream=True)
        running.until_billed()
        running.process.terminate()
        asyncio.run(look_at_one_that_ends(running.url, key))
        assert b"message_stop" in client.communicate(timeout=20)[0]
        assert running.process.wait(timeout=20) == 0
        balance = ledger.balances(key.row.id)[0]
        assert (balance.spent, balance.uncertain, balance.held) == (simulator.meter.total(), ZERO, ZERO)
        ledger.close()


def other_families(simulator: Simulator) -> str:
    where = f'key = {{ env = "ANTHROPIC_API_KEY" }}\nbase_url = "{simulator.url}"'
    lists = {"openai": "openai", "gemini": "google"}
    return "".join(f'[providers.{name}]\n{where}\nprices = "{prices}"\n' for name, prices in lists.items())


async def look_at_one_that_ends(url: str, key: Key) -> None:
    """Its health, each family's refusal, its metrics."""
    async with asyncio.timeout(10), aiohttp.ClientSession(url) as http:
        status = 200
        while status == 200:
            async with http.get("/healthz") as health:
                status, said = health.status, await health.json()
        assert (status, said) == (503, {"status": "ending"})
        for path, shape in SHAPES.items():
            async with http.post(path, json={}, headers={"authorization": f"Bearer {key.secret}"}) as answer:
                assert answer.status == 503
                assert int(answer.headers["retry-after"]) > 0
                assert answer.headers["connection"] == "close"
                assert agrees(shape, await answer.json()), await answer.text()
        async with http.get("/metrics") as metrics:
            assert "crewcap_draining 1" in await metrics.text()


def agrees(wanted: Any, found: Any) -> bool:
    """Whether everything that is wanted is found."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(agrees(each, found.get(name)) for name, each in wanted.items())
    return bool(wanted == found)


async def ask_all(urls: list[str], key: Key, **fields: Any) -> list[tuple[int, bytes]]:
    """All at once."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **fields}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def one(url: str) -> tuple[int, bytes]:
            async with http.post(f"{url}/v1/messages", json=body, headers={"x-api-key": key.secret}) as answer:
                return answer.status, await answer.read()

        return await asyncio.gather(*(one(url) for url in urls))


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


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_log_line_holds_a_key_or_a_word_of_a_conversation(tmp_path: Path, book: Book, style: str) -> None:
    """At the level that says most, whatever goes wrong: keys, prompts, answers, bytes that are no request at all."""
    answer = "the-answer-is-nobodys-business"
    talks = Script(name="talks", steps=(Step(name="talks", say=answer, output_tokens=40),))
    with (
        Simulator.in_thread(talks, book=book) as simulator,
        gateway(tmp_path, simulator, options=("--log-format", style, "--log-level", "debug")) as running,
    ):
        ledger = running.ledger()
        key = add_key(ledger, "1.00")
        asyncio.run(plant(running.url, key))
        ledger.close()
        running.process.terminate()
        _, said = running.process.communicate(timeout=20)
    assert said.count("attempt ended") == 2
    assert "declined" in said
    for planted in (PROVIDER_KEY, key.secret, PROMPT, answer, key.row.hash):
        assert planted not in said, said
        assert planted[::-1] not in said
    if style == "json":
        for line in said.splitlines():
            event = json.loads(line)
            assert {"time", "level", "event"} <= set(event)
            assert datetime.fromisoformat(event["time"]).tzinfo is not None
        attempt = next(event for event in map(json.loads, said.splitlines()) if event["event"] == "attempt ended")
        assert (attempt["key"], attempt["end"], attempt["status"]) == (key.row.id, "complete", 200)
        assert attempt["spent_usd"] > "0"


PROMPT = "a-prompt-that-is-nobodys-business"


async def plant(url: str, key: Key) -> None:
    """Everything that goes well and wrong, each with something in it that must not be written down."""
    good = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}
    sent = {"x-api-key": key.secret, "x-note": PROMPT}
    bodies: list[Any] = [json.dumps(good), json.dumps({**good, "model": PROMPT}), f'{{"{PROMPT}": NaN}}', PROMPT * 50]
    async with aiohttp.ClientSession(url) as http:
        for body in (*bodies, json.dumps({**good, "stream": True}), json.dumps({**good, PROMPT: 1})):
            for secret in (key.secret, f"{key.secret}x", PROVIDER_KEY):
                async with http.post("/v1/messages", data=body, headers={**sent, "x-api-key": secret}) as answer:
                    await answer.read()
        async with http.get(f"/{PROMPT}", headers=sent) as answer:
            assert answer.status == 404
    host, _, port = url.removeprefix("http://").partition(":")
    for raw in (
        f"{PROMPT} {key.secret}\r\n\r\n",
        f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {PROMPT}\r\n\r\n",
        f"POST /v1/messages HTTP/1.1\r\n{PROMPT} : {key.secret}\r\n\r\n",
        f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key.secret}\r\ncontent-length: 999\r\n\r\n{PROMPT}",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(raw.encode())
        writer.write_eof()
        await reader.read()
        writer.close()
