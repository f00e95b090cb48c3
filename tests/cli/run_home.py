"""A home with runs, for the tests of the commands that show and move them: real stores, real git, real books.

Nothing here was run; each run stands as `crewcap run` leaves it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.ledger_machine import order
from tests.workspaces.repos import make_repository, set_out

from crewcap.__main__ import call
from crewcap.core.budget import ALL, Granted, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.core.runs import Check, Issue, Run, RunId, RunState, Verdict
from crewcap.home import Home
from crewcap.runner.ownership import myself
from crewcap.stores import Settlement
from crewcap.stores.sqlite.ledger import SqliteLedger
from crewcap.stores.sqlite.runs import SqliteRuns
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import Returned

MODEL = "claude-sonnet-5"
NOBODY = (2**22 + 1, "1")  # no process has this number
USAGE = Usage(input=100, write_5m=9_000, cache_read=900, output=400, thinking=50)


def utc_now() -> datetime:
    return datetime.now(UTC)


class RunHome:
    """One home, one repository, and crewcap as a user calls it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        self.folder, self.capsys = folder, capsys
        self.home = Home(folder / "state")
        self.config = folder / "config.toml"
        self.config.touch()
        self.user = folder / "shop"

    # what the home holds

    @cached_property
    def ledger(self) -> SqliteLedger:
        self.home.make()
        return SqliteLedger(self.home, clock=utc_now, monotonic=time.monotonic)

    @cached_property
    def runs(self) -> SqliteRuns:
        _ = self.ledger
        return SqliteRuns(self.home, clock=utc_now)

    @cached_property
    def _boot(self) -> Any:
        return self.ledger.start_boot()

    def add(self, key: str = "fix-login", state: RunState = RunState.DONE, **fields: Any) -> Run:
        """A run as it is stored in that state."""
        number = len(self.runs.list(limit=1_000))
        run = Run(
            id=RunId(f"01run{number:015d}"),
            name=key,
            issue=Issue(tracker="files", key=key, title=fields.pop("title", f"About {key}"), body="..."),
            state=RunState.QUEUED,
            repo="shop",
            repo_path=str(self.user),
            agent="claude",
            agent_version="2.1.330",
            model=MODEL,
            because="default; no route matched",
            cap=Money.usd(3),
            cap_because="your default",
            sandbox="bubblewrap",
            session="5e551011-0000-4000-8000-000000000001",
            created_at=utc_now() - timedelta(minutes=3),
            started_at=utc_now() - timedelta(minutes=2),
        )
        run = self.runs.create(replace(run, **fields))
        for step in _WAY[state]:
            self.runs.save(replace(run, state=step))
        ended: dict[str, Any] = {"ended_at": utc_now()} if state in _OVER and "ended_at" not in fields else {}
        run = replace(run, state=state, **ended)
        self.runs.save(run)
        return run

    def finished(self, **fields: Any) -> Run:
        """A run whose work is on a branch, in the mirror and in the user's own repository."""
        make_repository(self.user)
        mirrors = Mirrors(self.home.mirrors, environ=os.environ)
        self.home.make()
        trip = set_out(mirrors, self.user, self.folder / "workspace")
        (trip.folder / "adder.py").write_text("def add(a, b):\n    return a + b\n")
        came = trip.come_home()
        assert isinstance(came, Returned)
        assert mirrors.publish(trip.repository, trip.branch).reason == ""
        return self.add(
            base=trip.base.commit,
            base_branch="main",
            branch=trip.branch,
            commit=came.commit,
            commits=1,
            files_changed=1,
            lines_added=1,
            lines_removed=1,
            verdict=Verdict.FINISHED,
            reason="the check is green",
            check_before=Check(result="failed", summary="1 failed"),
            check_after=Check(result="passed", summary="1 passed", seconds=1.5),
            **fields,
        )

    def spend(
        self, run: Run, amount: str, *, uncertain: str = "0", notional: str = "0", usage: Usage = USAGE, **scopes: str
    ) -> None:
        """A request of the run that was settled at this."""
        hold = self.hold(run, "1.50", **scopes)
        end = Settlement(
            hold=hold,
            kind="settled",
            spent=Money.usd(amount),
            uncertain=Money.usd(uncertain),
            notional=Money.usd(notional),
            usage=usage,
            model=MODEL,
        )
        assert self.ledger.settle(end)

    def hold(self, run: Run, amount: str, *, repo: str = "shop", **_: str) -> HoldId:
        """A request of the run that is under way."""
        number = len(self.ledger.keys())
        key, hold = KeyId(f"k{number}"), HoldId(f"h{number}")
        scopes = (f"key:{key}", f"run:{run.id}", f"issue:{run.issue.scope_name}", f"repo:{repo}", ALL)
        row = VirtualKey(
            id=key, hash=key, scopes=tuple(Scope(scope) for scope in scopes), created_at=utc_now(), run=run.id
        )
        self.ledger.add_key(row, cap=None)
        made = order(hold, boot=self._boot, key=key, amount=Money.usd(amount))
        assert isinstance(self.ledger.reserve(replace(made, model=MODEL, provider="anthropic")), Granted)
        return hold

    def program(self, amount: str, *, key: str, requests: int = 1) -> None:
        """What a program does on a key of its own: requests that were settled at this, and no run."""
        scopes = (Scope(f"key:{key}"), ALL)
        self.ledger.add_key(VirtualKey(id=KeyId(key), hash=key, scopes=scopes, created_at=utc_now()), cap=None)
        for number in range(requests):
            hold = HoldId(f"{key}-{number}")
            made = order(hold, boot=self._boot, key=KeyId(key), amount=Money.usd("1.50"))
            assert isinstance(self.ledger.reserve(replace(made, model=MODEL, provider="anthropic")), Granted)
            end = Settlement(
                hold=hold, kind="settled", spent=Money.usd(amount), uncertain=Money(0), usage=USAGE, model=MODEL
            )
            assert self.ledger.settle(end)

    def close(self) -> None:
        for name in ("runs", "ledger"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    # crewcap, as a user calls it

    def call(self, *words: str) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a command in this process."""
        assert self.capsys is not None
        self.capsys.readouterr()
        status = call(["--home", str(self.home.root), "--config", str(self.config), *words])
        said = self.capsys.readouterr()
        return status, said.out, said.err

    def out(self, *words: str) -> str:
        """What a command that went well says."""
        status, out, err = self.call(*words)
        assert status == 0, err
        return out

    def json(self, *words: str) -> Any:
        """What it answers to a machine."""
        return json.loads(self.out(*words, "--json"))

    def refused(self, *words: str) -> tuple[int, str]:
        """Exit status and the line that says why not."""
        status, out, err = self.call(*words)
        assert status != 0
        assert out == ""
        return status, err.splitlines()[0].removeprefix("error: ")


_S = RunState
_WAY = {
    _S.QUEUED: (),
    _S.PREPARING: (_S.PREPARING,),
    _S.RUNNING: (_S.PREPARING, _S.RUNNING),
    _S.FINISHING: (_S.PREPARING, _S.RUNNING, _S.FINISHING),
    _S.WAITING: (_S.PREPARING, _S.RUNNING, _S.FINISHING),
    _S.DONE: (_S.PREPARING, _S.RUNNING, _S.FINISHING),
    _S.FAILED: (_S.PREPARING, _S.RUNNING, _S.FINISHING),
    _S.STOPPED: (_S.PREPARING, _S.RUNNING, _S.FINISHING),
}
_OVER = {_S.DONE, _S.FAILED, _S.STOPPED}


def driven() -> dict[str, Any]:
    """Fields of a run whose driver is alive: this process."""
    pid, started = myself()
    return {"owner_pid": pid, "owner_started": started}


def cut_short() -> dict[str, Any]:
    """Fields of a run whose driver is dead."""
    return {"owner_pid": NOBODY[0], "owner_started": NOBODY[1]}
