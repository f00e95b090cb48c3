"""A user's desk without an agent: a shell in a folder, a home of its own, and what a refusal must look like."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

PROVIDER_KEY = "sk-ant-fake-canary-0a1b2c3d4e5f6789"
LIMIT_S = 60


@dataclass(frozen=True, kw_only=True)
class Said:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it answered to a machine."""
        return json.loads(self.out)

    def refuses(self, status: int, says: str, help_: str = "") -> None:
        """One line says what is wrong, one helps, and nothing else is printed; never a traceback, never a secret."""
        everything = self.out + self.err
        assert "Traceback" not in everything
        assert "defect of ours" not in everything
        assert "canary" not in everything
        assert self.out == ""
        lines = self.err.splitlines()
        assert [line.partition(": ")[0] for line in lines] == ["error", "help"], self.err
        assert says in lines[0], self.err
        assert help_ in lines[1], self.err
        assert self.status == status, self.err


@dataclass(kw_only=True)
class Desk:
    """A folder of a user's, whose state directory and settings are new."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def shop(self) -> Path:
        """A repository with a bug and an issue that tells of it."""
        folder = self.root / "shop"
        if not folder.exists():
            project = resources.files("crewcap.demo") / "project"
            shutil.copytree(str(project), folder, ignore=shutil.ignore_patterns("__pycache__"))
            self.git(folder, "init", "--quiet", "-b", "main")
            self.commit(folder)
        return folder

    def environ(self) -> dict[str, str]:
        """What a user's shell has; nothing of the machine's own settings."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "ANTHROPIC_API_KEY": PROVIDER_KEY,
            "CREWCAP_HOME": str(self.state),
            **({"CREWCAP_CONFIG": str(self.config)} if self.config.exists() else {}),
            **self.variables,
        }

    def crewcap(
        self, *words: str | bytes, cwd: Path | None = None, stdin: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> Said:
        """A command, as a user types it."""
        return self.run([*CREWCAP, *words], cwd=cwd, stdin=stdin, environ=environ)

    def run(
        self,
        command: Sequence[str | bytes],
        *,
        cwd: Path | None = None,
        stdin: bytes = b"",
        environ: Mapping[str, str] | None = None,
    ) -> Said:
        """Any command, with the same environment."""
        known = {name: value for name, value in {**self.environ(), **(environ or {})}.items() if value != _UNSET}
        done = subprocess.run(
            command, cwd=cwd or self.root, env=known, input=stdin, capture_output=True, timeout=LIMIT_S, check=False
        )
        return Said(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    def shell(self, line: str, *, environ: Mapping[str, str] | None = None) -> Said:
        """A line in bash, in which `crewcap` is the command."""
        python, *rest = CREWCAP
        return self.run(["bash", "-c", f'crewcap() {{ "{python}" {" ".join(rest)} "$@"; }}; {line}'], environ=environ)

    def write(self, name: str, content: str | bytes) -> Path:
        """A file on the desk."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def git(self, folder: Path, *words: str) -> None:
        """Git as the user runs it."""
        identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.invalid", "-c", "protocol.file.allow=always")
        subprocess.run(
            ("git", *identity, *words), cwd=folder, env=self.environ(), check=True, capture_output=True, text=True
        )

    def commit(self, folder: Path) -> None:
        self.git(folder, "add", "--all")
        self.git(folder, "commit", "--quiet", "--allow-empty", "-m", "work")

    def keys(self) -> list[dict[str, Any]]:
        """Keys that live; what was refused has left none behind."""
        return list(self.crewcap("key", "list", "--json").json)


CREWCAP = (sys.executable, "-m", "crewcap")
_UNSET = "\0"


def without(*names: str) -> dict[str, str]:
    """An environment in which these variables are not set."""
    return dict.fromkeys(names, _UNSET)
