"""A control group by asking systemd, which owns the tree on most machines: a transient scope for one run.

It is asked over its bus by its own `busctl`: the user's manager for a plain user, the system's for root. The scope is
made around the run's first process while that waits for our word, and goes when its last one has ended. What it was
asked for and what the group then has may differ (a user's manager may not hand out every controller), so the group's
own files are read before anything is called enforced.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.workspaces.sandbox.cgroups import CONTROLLERS, Cage, holds, new_name, read, this_machine

_BUS_S = 10.0
_MOVED_S = 2.0
_LOOK_S = 0.002
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_SIGNATURE = "ssa(sv)a(sa(sv))"
_CPU_US = 1_000_000


@dataclass(kw_only=True)
class Scope(Cage):
    """A cage that systemd makes when its first process is put in."""

    wanted: Mapping[str, int]
    busctl: str
    unit: str
    otherwise: Cage | None  # what holds less and can be had without asking

    @classmethod
    def asked(cls, wanted: Mapping[str, int], *, busctl: str, otherwise: Cage | None = None) -> Scope:
        """One with these limits."""
        return cls(
            folders=(),
            enforced=tuple(CONTROLLERS[name] for name in wanted),
            way="control group v2, a scope of systemd",
            wanted=wanted,
            busctl=busctl,
            unit=f"{new_name()}.scope",
            otherwise=otherwise,
        )

    def add(self, pid: int) -> bool:
        """Have the scope made around this process; whether it is in it, or elsewhere, and something is limited."""
        if self.folders:
            return super().add(pid)
        group = self._group_of(pid) if self._is_granted(pid) else None
        if group is None:
            return self._make_do(pid)
        self.folders = (group,)
        self.enforced = tuple(CONTROLLERS[name] for name, most in self.wanted.items() if holds(group, name, most))
        return bool(self.enforced)

    def _is_granted(self, pid: int) -> bool:
        """Whether systemd says yes."""
        try:
            asked = subprocess.run(  # noqa: S603  (our words)
                self.words(pid),
                env={"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_BUS_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return asked.returncode == 0

    def _make_do(self, pid: int) -> bool:
        """Take what could be had without asking."""
        if self.otherwise is None:
            return False
        self.folders, self.enforced, self.way = self.otherwise.folders, self.otherwise.enforced, self.otherwise.way
        self.otherwise = None
        return super().add(pid)

    def words(self, pid: int) -> list[str]:
        """The call that makes the scope."""
        whose = "--system" if os.geteuid() == 0 else "--user"
        chosen: list[list[str]] = [["PIDs", "au", "1", str(pid)], ["Delegate", "b", "true"]]
        for controller, amount in self.wanted.items():
            chosen += _properties(controller, amount)
        flat = [word for each in chosen for word in each]
        call = [self.busctl, whose, "call", *_MANAGER, "StartTransientUnit", _SIGNATURE]
        return [*call, self.unit, "fail", str(len(chosen)), *flat, "0"]

    def remove(self) -> None:
        """The scope goes by itself, once it is empty."""
        if self.otherwise is not None:
            self.otherwise.remove()
        super().remove()

    def _group_of(self, pid: int) -> Path | None:
        """The scope's folder, once the process was moved there."""
        end = time.monotonic() + _MOVED_S
        while time.monotonic() < end:
            group = next((line[3:] for line in read(Path(f"/proc/{pid}/cgroup")).splitlines() if line[:3] == "0::"), "")
            if group.endswith(self.unit):
                places = (mount / group.lstrip("/") for mount, _ in this_machine().places("cgroup2"))
                return next((place for place in places if place.is_dir()), None)
            time.sleep(_LOOK_S)
        return None


def _properties(controller: str, amount: int) -> list[list[str]]:
    if controller == "memory":
        return [["MemoryMax", "t", str(amount)], ["MemorySwapMax", "t", "0"]]
    if controller == "cpu":
        return [["CPUQuotaPerSecUSec", "t", str(amount * _CPU_US)]]
    return [["TasksMax", "t", str(amount)]]
