"""A fresh machine for each test; skipped, with the reason, where the real agent or a real sandbox is missing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.bench import Bench

from crewcap.agents.claude_code import ClaudeCode
from crewcap.agents.find import find
from crewcap.errors import UnsafeEnvironment
from crewcap.simulator.server import Simulator
from crewcap.workspaces import SANDBOXES

Setting = Callable[..., Bench]


@functools.cache
def missing() -> str:
    """Why no run can be tried here."""
    try:
        find(ClaudeCode(), path=os.environ.get("PATH", ""))
    except UnsafeEnvironment as error:
        return f"{error.message}; {error.help}"
    reason = SANDBOXES["bubblewrap"]().missing()
    return f"bubblewrap: {reason}" if reason else ""


@pytest.fixture(scope="session", autouse=True)
def everything_is_there() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """Benches that live as long as their module, for a run that several tests look at."""
    with ExitStack() as stack:
        yield lambda script, **options: _bench(stack, tmp_path_factory.mktemp("machine"), script, **options)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Setting]:
    """`bench(script)`: a machine whose provider plays that script."""
    with ExitStack() as stack:
        yield lambda script, **options: _bench(stack, tmp_path, script, **options)


def _bench(stack: ExitStack, root: Path, script: Any, **options: Any) -> Bench:
    simulator = stack.enter_context(Simulator.in_thread(script, **options))
    made = Bench(root=root, simulator=simulator)
    stack.callback(made.clean_up)
    made.set_up()
    return made
