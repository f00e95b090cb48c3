"""A home for the tests of the money commands: the real command in it, and its ledger behind the command's back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.stores.books import add_key, reserve
from tests.stores.crash import abandon

from crewcap.__main__ import call
from crewcap.core.budget import BootId
from crewcap.home import Home
from crewcap.stores.sqlite.ledger import SqliteLedger


class MoneyHome:
    """One home, one settings file if a test writes one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "state")
        self.config = folder / "config.toml"

    def call(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """`crewcap WORDS...`, as a user types it."""
        known = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "CREWCAP_HOME": str(self.home.root)}
        config = {"CREWCAP_CONFIG": str(self.config)} if self.config.exists() else {}
        return subprocess.run(
            [sys.executable, "-m", "crewcap", *words],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=known | config | environ,
            timeout=60,
        )

    def call_here(self, *words: str) -> int:
        """The same in this process, for the many ways to be wrong; its exit status."""
        if not self.config.exists():
            self.config.touch()
        return call(["--home", str(self.home.root), "--config", str(self.config), *words])

    def json(self, *words: str) -> Any:
        """What a command answers to a machine."""
        done = self.call(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def open(self) -> SqliteLedger:
        return SqliteLedger(self.home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)

    def lose_two_holds(self) -> None:
        """A gateway dies with two requests under way, and another one starts and stops."""
        ledger = self.open()
        boot: BootId = ledger.start_boot()
        add_key(ledger, "k1", cap="1.00", at=datetime.now(UTC))
        for name in ("first", "second"):
            reserve(ledger, boot, name, "0.30")
        abandon(ledger)
        ledger = self.open()
        ledger.start_boot()
        ledger.close()
