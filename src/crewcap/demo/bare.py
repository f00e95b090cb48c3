"""The other arm of act 2: the same agent and the same script, with nothing but its own `--max-budget-usd`.

It plays outside of a sandbox, because it has no door to the provider inside one; what it does is written in the
script, in full. Its environment is made from nothing, its home is a folder that is thrown away.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crewcap.core.money import Money

_LIMIT_S = 120
_TOOLS = "Agent,Bash,Edit,Read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """One run of the agent alone."""

    exit_status: int
    cap: Money


def run_alone(*, binary: str, url: str, project: Path, prompt: str, model: str, cap: Money) -> Alone:
    """Start the agent on the provider itself, with its own cap, and wait for its end."""
    with tempfile.TemporaryDirectory(prefix="crewcap-demo-") as home:
        environ = {
            "HOME": home,
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "sk-ant-fake-demo-key-of-the-agent-alone",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",  # it refuses to work as root without it
        }
        argv = [binary, "-p", prompt, "--output-format", "stream-json", "--verbose", "--model", model]
        argv += ["--permission-mode", "bypassPermissions", "--tools", _TOOLS, "--max-budget-usd", cap.exact()]
        done = subprocess.run(  # noqa: S603  (our own words)
            argv,
            cwd=project,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            check=False,
        )
    return Alone(exit_status=done.returncode, cap=cap)
