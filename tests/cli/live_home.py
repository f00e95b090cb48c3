"""A home whose runs really run: a repository, settings for a scripted provider, and an agent that follows a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.run_home import RunHome
from tests.contracts.sandboxes import PYTHON
from tests.workspaces.repos import make_repository

CHECK = "grep -q 'a + b' adder.py && echo '1 passed' || { echo '1 failed'; exit 1; }"
ISSUE = "---\ntitle: Fix the sum\n---\n2 + 2 should be 4.\n"
GOES_ON_ASKING = "    status = ask(said)\n", "    while (status := ask(said)) == 200:\n        pass\n"
KEY = "sk-ant-fake-provider-key-0001"


def furnish(home: RunHome, provider: str, monkeypatch: pytest.MonkeyPatch, *, agent: str = "", more: str = "") -> None:
    """Everything that `crewcap run issues/fix-sum.md` needs; `agent` is its program's text, `more` more settings."""
    program = home.folder / "claude"
    program.write_text(f"#!/usr/bin/env -S {PYTHON} -I -S\n{agent or agent_program()}")
    program.chmod(0o755)
    make_repository(home.user)
    (home.user / "issues").mkdir()
    (home.user / "issues" / "fix-sum.md").write_text(ISSUE)
    home.config.write_text(f"""
[providers.anthropic]
key = {{ env = "ANTHROPIC_API_KEY" }}
base_url = "{provider}"
prices = "anthropic"
[defaults]
sandbox = "unconfined"
agent_path = {{ claude = "{program}" }}
[repos."acme/shop"]
url = "{home.user}"
check = {json.dumps(CHECK)}
{more}""")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.chdir(home.user)


def agent_program() -> str:
    """The agent that asks once, mends the sum and says so."""
    return Path(__file__).with_name("fake_claude.py").read_text()


def asking_program() -> str:
    """The same, and it goes on asking for as long as it gets an answer."""
    once, again = GOES_ON_ASKING
    assert once in agent_program()
    return agent_program().replace(once, again)


def command(home: RunHome, *words: str) -> list[str]:
    """A command for a process of its own."""
    return [sys.executable, "-m", "crewcap", "--home", str(home.home.root), "--config", str(home.config), *words]


def crewcap(home: RunHome, *words: str) -> subprocess.CompletedProcess[str]:
    """It makes itself unreadable and forgets the key, so it is a process of its own."""
    return subprocess.run(
        command(home, *words), check=False, capture_output=True, text=True, env=dict(os.environ), timeout=120
    )
