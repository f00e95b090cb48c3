"""Which program an agent is: the one that settings name, else the first on PATH that will do, else the wheel's.

A name on PATH proves nothing, so every candidate is asked for its version. One that is older than the adapter knows
is passed over: its protections were not measured. A program that settings name is never replaced by another one;
it is used or refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crewcap.agents import AgentAdapter
from crewcap.errors import UnsafeEnvironment

VERSION_LIMIT_S = 20.0  # the first start reads a binary of 381 MB

Origin = Literal["setting", "PATH", "wheel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An agent's program that will do."""

    path: str  # absolute, links resolved: it is mounted alone into a sandbox
    version: str
    origin: Origin
    notes: tuple[str, ...] = ()  # who was passed over, and why


class NoAnswer(Exception):
    """A program could not be started, or said nothing in time; the message says which."""


def find(adapter: AgentAdapter, *, setting: str = "", path: str = "", ask: Callable[[str], str] | None = None) -> Found:
    """The program to start, or `UnsafeEnvironment` with every candidate and its fault. `path` is a PATH."""
    faults: list[str] = []
    for candidate, origin in _candidates(adapter, setting=setting, path=path):
        version, fault = _examine(adapter, candidate, origin, ask or ask_version)
        if not fault:
            return Found(path=str(candidate), version=version, origin=origin, notes=tuple(faults))
        faults.append(fault)
    raise UnsafeEnvironment(
        f"no {adapter.title} that can be used: {'; '.join(faults) or 'it is not on PATH'}",
        help=_help(adapter, setting),
    )


def ask_version(program: str, *, limit_s: float = VERSION_LIMIT_S, environ: Mapping[str, str] | None = None) -> str:
    """What `program --version` prints. It gets no environment of ours, and a limit on its time."""
    try:
        done = subprocess.run(  # noqa: S603  (a program that the user named or put on PATH; no shell)
            [program, "--version"],
            # A home that nobody can make: Codex and Gemini would, even for this.
            env=dict(environ or {"PATH": os.defpath, "HOME": os.devnull, "LANG": "C.UTF-8"}),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"gave no version within {limit_s:g} s") from None
    except OSError as error:
        raise NoAnswer(f"cannot be started ({error.strerror})") from None
    return done.stdout[:4_096].decode("utf-8", "replace")


def _candidates(adapter: AgentAdapter, *, setting: str, path: str) -> Iterator[tuple[Path, Origin]]:
    if setting:
        yield Path(setting).expanduser().resolve(), "setting"
        return
    if found := shutil.which(adapter.executable, path=path or os.defpath):
        yield Path(found).resolve(), "PATH"
    if bundled := adapter.bundled():
        yield Path(bundled).resolve(), "wheel"


def _examine(adapter: AgentAdapter, candidate: Path, origin: Origin, ask: Callable[[str], str]) -> tuple[str, str]:
    """Its version, and what is wrong with it if anything is."""
    if not os.access(candidate, os.X_OK) or candidate.is_dir():
        return "", f"{candidate} is not a program"
    if origin == "PATH" and _is_script(candidate):
        return "", f"{candidate} is a script, which would not find its interpreter's files inside a sandbox"
    try:
        version = adapter.parse_version(ask(str(candidate)))
    except NoAnswer as error:
        return "", f"{candidate} {error}"
    if not version:
        return "", f"{candidate} is not {adapter.title}: it does not say so when asked for its version"
    if _numbers(version) < _numbers(adapter.oldest):
        return version, f"{candidate} is {version}, older than {adapter.oldest}"
    return version, ""


def _is_script(candidate: Path) -> bool:
    with candidate.open("rb") as file:
        return file.read(2) == b"#!"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _help(adapter: AgentAdapter, setting: str) -> str:
    if setting:
        return f"correct [defaults] agent_path.{adapter.name}, or leave it out to take the one on PATH"
    return f"install {adapter.title} {adapter.oldest} or newer, or pip install 'crewcap[{adapter.name}]'"
