"""The real Codex and Gemini CLIs, started headless, each in a scratch repository and a clean home."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

INSTALLED = "CREWCAP_NPM_AGENTS"  # the folder that `make test-agents` has installed them into
LIMIT_S = 90
LOCK = Path(__file__).with_name("npm") / "package-lock.json"


@dataclass(frozen=True)
class Done:
    """A CLI that has ended."""

    status: int
    events: list[dict[str, Any]]  # its JSON lines
    err: str


@dataclass
class Machine:
    """A home and a repository of their own, below one folder."""

    root: Path
    url: str  # of the gateway
    done: Done | None = None  # what the last CLI said

    def __post_init__(self) -> None:
        self.home = self.root / "agent-home"
        self.home.mkdir()
        self.repo = self.root / "repo"
        self.repo.mkdir()
        (self.repo / "a.txt").write_text("one\n", encoding="utf-8")
        subprocess.run(["git", "init", "--quiet", self.repo], check=True)

    async def codex(
        self, key: str, words: str, *, model: str = "gpt-5.5", retries: int | None = None, built_in: bool = False
    ) -> Done:
        """`codex exec`, its own sandbox off: what it runs is our script, and no machine here is promised namespaces."""
        tries = "" if retries is None else f",request_max_retries={retries},stream_max_retries={retries}"
        provider = f'{{name="gw",base_url="{self.url}/v1",env_key="GW_KEY",wire_api="responses"{tries}}}'
        ours = ("model_provider=gw", f"model_providers.gw={provider}")
        settings = (*((f'openai_base_url="{self.url}/v1"',) if built_in else ours), 'web_search="disabled"')
        return await self._run(
            [
                executable("codex"),
                *("exec", "--json", "-m", model, "-C", str(self.repo)),
                *("--dangerously-bypass-approvals-and-sandbox", "--ignore-user-config"),
                *("--disable", "unbounded_connection_retries"),
                *(part for setting in settings for part in ("-c", setting)),
                words,
            ],
            {"CODEX_HOME": str(self.home), "CODEX_API_KEY" if built_in else "GW_KEY": key},
        )

    async def gemini(self, key: str, words: str, *, model: str = "gemini-2.5-pro", attempts: int = 1) -> Done:
        """`gemini -p`, every tool allowed."""
        folder = self.home / ".gemini"
        folder.mkdir(exist_ok=True)
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "general": {"maxAttempts": attempts, "retryFetchErrors": False, "disableAutoUpdate": True},
            "privacy": {"usageStatisticsEnabled": False},
            "model": {"maxSessionTurns": 12},
        }
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        environ = {"GEMINI_API_KEY": key, "GOOGLE_GEMINI_BASE_URL": self.url, "GEMINI_CLI_NO_RELAUNCH": "true"}
        command = [executable("gemini"), "-y", "--skip-trust", "-o", "stream-json", "-m", model, "-p", words]
        return await self._run(command, environ)

    async def _run(self, command: list[str], environ: dict[str, str]) -> Done:
        temporary = self.root / "tmp"
        temporary.mkdir(exist_ok=True)
        plain = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "TMPDIR": str(temporary)}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.repo,
            env={**plain, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            limit=2**24,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                out, err = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.done = Done(process.returncode or 0, read_lines(out.decode()), err.decode())
        return self.done


def executable(name: str) -> str:
    """The CLI that was installed for this; the test is skipped where there is none."""
    if reason := missing():
        pytest.skip(reason)
    return str(Path(os.environ[INSTALLED]) / "node_modules/.bin" / name)


def missing() -> str:
    """Why these tests cannot run here."""
    if not os.environ.get(INSTALLED):
        return "the Codex and Gemini CLIs are not installed; `make test-agents` installs them and runs these tests"
    return "" if shutil.which("node") else "there is no node"


def pinned(package: str) -> str:
    """The version that the lock file names."""
    lock = json.loads(LOCK.read_text("utf-8"))
    return str(lock["packages"][f"node_modules/{package}"]["version"])


def read_lines(text: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects; a CLI also says other things."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
