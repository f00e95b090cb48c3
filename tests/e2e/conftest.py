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
def missing_agent() -> str:
    """Why no agent can be started here."""
    try:
        find(ClaudeCode(), path=os.environ.get("PATH", ""))
    except UnsafeEnvironment as error:
        return f"{error.message}; {error.help}"
    return ""


def skip_where_something_is_missing(node: Any) -> None:
    """By what the test, or its module, is marked with."""
    if node.get_closest_marker("agent") and (reason := missing_agent()):
        pytest.skip(reason)
    if node.get_closest_marker("sandbox") and (reason := SANDBOXES["bubblewrap"]().missing()):
        pytest.skip(f"bubblewrap: {reason}")


@pytest.fixture(scope="module")
def shared_bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """Benches that live as long as their module, for a run that several tests look at."""
    skip_where_something_is_missing(request.node)
    with ExitStack() as stack:
        yield lambda script, **options: _bench(stack, tmp_path_factory.mktemp("machine"), script, **options)


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setting]:
    """`bench(script)`: a machine whose provider plays that script."""
    skip_where_something_is_missing(request.node)
    with ExitStack() as stack:
        yield lambda script, **options: _bench(stack, tmp_path, script, **options)


def _bench(stack: ExitStack, root: Path, script: Any, **options: Any) -> Bench:
    simulator = stack.enter_context(Simulator.in_thread(script, **options))
    made = Bench(root=root, simulator=simulator)
    stack.callback(made.clean_up)
    made.set_up()
    return made
