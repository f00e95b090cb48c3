"""The gateways that are measured: how each is installed, configured and started, and what it could not be given here.

    python -m benchmarks.peers [--cache DIR]        installs the rivals and prints their versions

Each rival lives in an environment of its own under the cache folder, made on demand by `pip` and `npm`; nothing of
them touches this project's environment. Versions are pinned, so that a table can be made again.

- **LiteLLM proxy.** Keys and budgets are kept in Postgres through Prisma, whose engine is a binary that an offline
  machine cannot download. So keys come from its `custom_auth` hook with common checks on, its own cost tracking is
  registered by hand, and counters live in the memory of its one process: kinder than its Redis or database would be,
  to its speed and to its cap. It runs as its production page says (`LITELLM_MODE=PRODUCTION`, errors only).
- **Portkey gateway.** The open-source gateway has no budgets at all; only its speed is measured. This version, fresh
  from npm on Node 20, answers every stream with 500 (`TypeError: immutable`), of both dialects, whatever the provider;
  its streams are therefore not run.
- **Post-hoc checker.** Ours; the common design in its best form (`posthoc.py`).
- **Bare pass-through.** Ours; what any gateway on aiohttp costs at the least (`passthrough.py`).
- **Byte forwarder.** Ours, and no gateway: what copying bytes costs on this machine, reading nothing of them
  (`forwarder.py`). No ratio to a rival can be had that this one has not.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import aiohttp
from benchmarks.processes import NotRunning, Process, free_port

from crewcap.core.money import Money
from crewcap.core.pricing import Rates
from crewcap.prices import load

LITELLM = "1.106.2"
PORTKEY = "1.15.2"
MODEL = "claude-sonnet-4-6"
PROVIDER_KEY = "sk-ant-fake-bench"
ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "crewcap-bench"


class Peer(Protocol):
    """A gateway with its own state, started on one port as often as need be."""

    name: str
    version: str
    process: Process
    health: str

    def key(self, cap: Money) -> str:
        """A new key with a cap of its own."""
        ...

    def headers(self, key: str) -> dict[str, str]:
        """How a client shows the key."""
        ...


class Capped(Peer, Protocol):
    """A gateway that keeps books of what a key has cost."""

    async def books(self, session: aiohttp.ClientSession, key: str) -> Money:
        """What the gateway itself believes the key has cost."""
        ...


@dataclass(kw_only=True)
class Place:
    """Where a peer works: its folder, its upstream, and the cache with the rivals' programs."""

    folder: Path
    upstream: str
    cache: Path = CACHE

    def make(self, name: str) -> Path:
        """A fresh folder below this one."""
        folder = self.folder / f"{name}-{secrets.token_hex(3)}"
        folder.mkdir(parents=True)
        return folder


class Crewcap:
    """The real command with a real, durable ledger; a key has six scopes above it."""

    name, health = "crewcap", "/healthz"

    def __init__(self, place: Place, *, levels: bool = False) -> None:
        folder = place.make("crewcap")
        config, self._home = folder / "config.toml", folder / "home"
        config.write_text(
            f'[providers.anthropic]\nkey = {{ env = "ANTHROPIC_API_KEY" }}\nbase_url = "{place.upstream}"\n'
            'prices = "anthropic"\n[budgets]\nall = { day = 900000 }\n'
        )
        self._levels = ("issue:files/bench", "repo:acme/bench", "user:bench", "team:bench") if levels else ()
        self._options = ["--home", str(self._home), "--config", str(config)]
        self._ids: dict[str, str] = {}
        self.version = _output([sys.executable, "-m", "crewcap", "--version"]).rpartition(" ")[2]
        port = free_port()
        command = [sys.executable, "-m", "crewcap", "gateway", "--listen", f"127.0.0.1:{port}", *self._options]
        self.process = Process(command, port=port, environ=environ(), log=folder / "log")
        for scope in self._levels:
            self._say("budget", "set", scope, "day", "900000")

    def key(self, cap: Money) -> str:
        """A new key, by the command."""
        scopes = [word for scope in self._levels for word in ("--scope", scope)]
        made = json.loads(self._say("key", "create", "--cap", cap.exact(), *scopes, "--json"))
        self._ids[made["key"]] = made["id"]
        return str(made["key"])

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """As Anthropic's clients send it."""
        return _anthropic(key)

    async def books(self, session: aiohttp.ClientSession, key: str) -> Money:
        """Spent, uncertain and still held, of the ledger."""
        del session
        listed = json.loads(self._say("key", "list", "--all", "--json"))
        row = next(each for each in listed if each["id"] == self._ids[key])
        return Money.usd(row["spent_usd"]) + Money.usd(row["uncertain_usd"]) + Money.usd(row["held_usd"])

    def verify(self) -> str:
        """What `ledger verify` says."""
        return self._say("ledger", "verify").strip()

    def _say(self, *words: str) -> str:
        return _output([sys.executable, "-m", "crewcap", *words, *self._options], environ=environ())


class LiteLLM:
    """The rival's proxy; how it is run stands at the head of this file."""

    version, health = LITELLM, "/health/liveliness"

    def __init__(self, place: Place, *, rates: Rates, fail_closed: bool = False) -> None:
        self.name = "LiteLLM, fail-closed" if fail_closed else "LiteLLM"
        folder = place.make("litellm")
        shutil.copy(ROOT / "benchmarks" / "litellm_hooks.py", folder)
        (folder / "config.yaml").write_text(json.dumps(_litellm_settings(place, rates, fail_closed=fail_closed)))
        port = free_port()
        program = install_litellm(place.cache)
        command = [str(program), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
        mode = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        self.process = Process(command, port=port, environ={**mode, "PYTHONPATH": ""}, log=folder / "log")

    @staticmethod
    def key(cap: Money) -> str:
        """A name that the hook understands."""
        return f"sk-bench-{cap.exact().lstrip('$')}-{secrets.token_hex(6)}"

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """As Anthropic's clients send it."""
        return _anthropic(key)

    async def books(self, session: aiohttp.ClientSession, key: str) -> Money:
        """The counter that its budget check compares with the cap."""
        headers = self.headers(f"books:{key}")
        async with session.post(f"{self.process.url}/v1/messages", json={"model": MODEL}, headers=headers) as answer:
            told = re.search(r"counted (\S+) dollars", await answer.text())
        if told is None:
            raise NotRunning("its counter could not be read")
        return Money(round(float(told[1]) * 1e9))


class Portkey:
    """The open-source gateway: no keys, no budgets."""

    name, version, health = "Portkey", PORTKEY, "/"

    def __init__(self, place: Place) -> None:
        folder = place.make("portkey")
        port = free_port()
        server = install_portkey(place.cache)
        command = ["node", str(server), f"--port={port}", "--headless"]
        self._upstream = place.upstream
        self.process = Process(command, port=port, environ={}, log=folder / "log")

    @staticmethod
    def key(cap: Money) -> str:
        """It knows no keys."""
        del cap
        return PROVIDER_KEY

    def headers(self, key: str) -> dict[str, str]:
        """Where it shall send the request."""
        target = {"x-portkey-provider": "anthropic", "x-portkey-custom-host": f"{self._upstream}/v1"}
        return {**_anthropic(key), **target}


class PostHoc:
    """The checker of the common design."""

    name, version, health = "post-hoc checker", "ours", "/healthz"

    def __init__(self, place: Place, *, rates: Rates, cap: Money) -> None:
        folder = place.make("posthoc")
        kinds = ("input", "cache_read", "write_5m", "write_1h", "output")
        told = json.dumps({kind: getattr(rates, kind) for kind in kinds})
        port = free_port()
        options = ["--upstream", place.upstream, "--books", str(folder / "books.db"), "--cap-nano", str(cap.nano)]
        command = [*ours("posthoc"), "--port", str(port), *options, "--rates", told]
        self.process = Process(command, port=port, environ=environ(), log=folder / "log")

    @staticmethod
    def key(cap: Money) -> str:
        """Every key has the cap that it was started with."""
        del cap
        return secrets.token_hex(8)

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """As Anthropic's clients send it."""
        return _anthropic(key)

    async def books(self, session: aiohttp.ClientSession, key: str) -> Money:
        """What it has booked."""
        async with session.get(f"{self.process.url}/spent/{key}") as answer:
            return Money(int((await answer.json())["nano"]))


@dataclass(kw_only=True)
class Bare:
    """A process of ours that asks for no key: the provider itself, or the pass-through."""

    name: str
    process: Process
    version: str = "ours"
    health: str = "/"
    extra: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def key(cap: Money) -> str:
        """Any will do."""
        del cap
        return PROVIDER_KEY

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """As Anthropic's clients send it."""
        return _anthropic(key)


def bare_provider(folder: Path) -> Bare:
    """The fake provider of the speed bench."""
    port = free_port()
    process = Process([*ours("provider"), "--port", str(port)], port=port, environ=environ(), log=folder / "provider")
    return Bare(name="bare upstream", process=process)


def bare_pass_through(place: Place) -> Bare:
    """What any gateway on aiohttp costs at the least."""
    port = free_port()
    command = [*ours("passthrough"), "--port", str(port), "--upstream", place.upstream]
    process = Process(command, port=port, environ=environ(), log=place.folder / "passthrough")
    return Bare(name="bare pass-through", process=process)


def byte_forwarder(place: Place) -> Bare:
    """What copying bytes costs at the least, for whoever reads nothing of them."""
    port = free_port()
    command = [*ours("forwarder"), "--port", str(port), "--upstream", place.upstream]
    process = Process(command, port=port, environ=environ(), log=place.folder / "forwarder")
    return Bare(name="byte forwarder", process=process)


def ours(module: str) -> list[str]:
    """The command of one of these modules."""
    return [sys.executable, "-m", f"benchmarks.{module}"]


def rates() -> Rates:
    """The prices that every gateway is given: our price book's of MODEL."""
    return load().card("anthropic", MODEL, at=datetime.now(UTC)).rates


# --- the rivals' programs


def install_litellm(cache: Path) -> Path:
    """The proxy's command, in an environment of its own."""
    home = cache / f"litellm-{LITELLM}"
    program = home / "bin" / "litellm"
    if not program.exists():
        print(f"installing litellm[proxy]=={LITELLM} in {home} ...", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        _install([str(home / "bin" / "pip"), "install", "--quiet", f"litellm[proxy]=={LITELLM}"])
    return program


def install_portkey(cache: Path) -> Path:
    """The gateway's server, in a folder of its own."""
    home = cache / f"portkey-{PORTKEY}"
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not server.exists():
        print(f"installing @portkey-ai/gateway@{PORTKEY} in {home} ...", file=sys.stderr)
        home.mkdir(parents=True, exist_ok=True)
        _install(["npm", "install", "--silent", "--no-fund", "--prefix", str(home), f"@portkey-ai/gateway@{PORTKEY}"])
    return server


def _install(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotRunning(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if "rror" in line] or ["it could not be installed"]
        raise NotRunning(lines[-1][:200])


def _litellm_settings(place: Place, rates: Rates, *, fail_closed: bool) -> dict[str, object]:
    """Its settings, as JSON, which is YAML; prices in dollars a token, as it wants them."""
    prices = {
        "input_cost_per_token": rates.input,
        "output_cost_per_token": rates.output,
        "cache_read_input_token_cost": rates.cache_read,
        "cache_creation_input_token_cost": rates.write_5m,
        "cache_creation_input_token_cost_above_1hr": rates.write_1h,
    }
    info = {name: pico / 1e12 for name, pico in prices.items()}
    params = {"model": f"anthropic/{MODEL}", "api_base": place.upstream, "api_key": PROVIDER_KEY}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": params, "model_info": info}],
        "general_settings": {
            "master_key": "sk-master-fake",
            "custom_auth": "litellm_hooks.user_api_key_auth",
            "custom_auth_run_common_checks": True,
            "fail_closed_budget_enforcement": fail_closed,
        },
        "litellm_settings": {"callbacks": ["litellm_hooks.tracker"], "num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0},
    }


def _anthropic(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}


def environ() -> dict[str, str]:
    """This project's modules for a process that starts elsewhere, and a provider's key that opens nothing."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(ROOT)]))
    return {"PYTHONPATH": path, "ANTHROPIC_API_KEY": PROVIDER_KEY}


def _output(command: Sequence[str], *, environ: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(environ or {})})
    if done.returncode:
        raise NotRunning(f"{' '.join(command[2:5])}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def main() -> None:
    """Install the rivals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the rivals are installed")
    cache = parser.parse_args().cache
    for name, version, install in (("LiteLLM", LITELLM, install_litellm), ("Portkey", PORTKEY, install_portkey)):
        try:
            print(f"{name} {version}: {install(cache)}")
        except NotRunning as error:
            print(f"{name} {version}: not run: {error}")


if __name__ == "__main__":
    main()
