"""A plain user for tests that run as root: the same interpreter, or the system's on the same packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

from crewcap.workspaces.sandbox.uids import closed_to

NOBODY = 65_534
ROOT = Path(__file__).resolve().parent.parent.parent
_BECOME = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")


def python() -> str:
    """An interpreter that the plain user may start; skips where there is none."""
    for path in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        if path.exists() and closed_to(NOBODY, path) is None and _version(path) == sys.version_info[:2]:
            return str(path)
    pytest.skip("no interpreter of this version can be started by another user here")


def become(*argv: str) -> tuple[str, ...]:
    """A command as the plain user."""
    if closed := closed_to(NOBODY, ROOT / "src" / "crewcap"):
        pytest.skip(f"another user may not pass through {closed}")
    return (*_BECOME, *argv)


def environ(home: Path) -> dict[str, str]:
    """What it needs to find crewcap, its packages and its tests."""
    packages = (ROOT / "src", ROOT, sysconfig.get_paths()["purelib"])
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": ":".join(map(str, packages)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(argv: Sequence[str], home: Path, *, limit_s: float = 100) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        argv, env=environ(home), cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
    )


def _version(path: Path) -> tuple[int, ...]:
    asked = subprocess.run(
        [path, "-I", "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    return tuple(map(int, asked.stdout.split()))
