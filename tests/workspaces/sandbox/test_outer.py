"""The outer process of a sandbox, and what it has started before it is a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from tests.contracts.sandboxes import PYTHON, Family, family, within

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Confined
from crewcap.workspaces.sandbox.child import Plan, begin
from crewcap.workspaces.sandbox.outer import Allowance, Outer

# Like bubblewrap between its clone and its own set-up: the child waits for a word of its parent, and for nothing else.
WAITING = """
import os, signal, time
hear, say = os.pipe()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    os.read(hear, 1)
print("begun", flush=True)
time.sleep(600)
"""
COMMAND = Confined(argv=("true",), environ={}, cwd="/", mounts=())


@pytest.fixture
def kin() -> Iterator[Family]:
    with family() as members:
        yield members


@pytest.mark.parametrize("has_namespace", [True, False])
def test_a_start_that_is_given_up_half_way_leaves_no_child_of_it(kin: Family, *, has_namespace: bool) -> None:
    """Killing the parent alone would leave a child that waits for its word for ever: it did, one time in six."""
    plan = Plan(
        rung="bubblewrap",
        program=lambda _: (PYTHON, "-I", "-c", WAITING),
        environ={},
        has_namespace=has_namespace,
        counted="never",
    )

    async def give_up() -> list[str]:
        task = asyncio.create_task(begin(COMMAND, plan))
        await asyncio.to_thread(kin.wait_until, 2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return kin.alive_after(5)

    assert within(give_up) == []


def test_an_outer_process_is_ended_with_its_children(kin: Family) -> None:
    async def end() -> list[str]:
        outer = await Outer.start((PYTHON, "-I", "-c", WAITING), passed=(), allowance=Allowance(100))
        assert await outer.stdout.readline() == b"begun\n"
        assert len(kin.alive()) == 2
        outer.end_with_children()
        assert await outer.ended() == -9
        outer.end_with_children()  # once more: there is nobody left to end
        return kin.alive_after(5)

    assert within(end) == []


def test_one_that_ends_before_it_is_a_sandbox_is_said_with_its_last_words(kin: Family) -> None:
    plan = Plan(
        rung="bubblewrap",
        program=lambda _: (PYTHON, "-I", "-c", "import sys; sys.exit('no namespaces here')"),
        environ={},
        has_namespace=True,
        counted="never",
    )
    with pytest.raises(UnsafeEnvironment, match=r"ended before it could start the command.*no namespaces here"):
        within(lambda: begin(COMMAND, plan))
    assert kin.alive_after(5) == []
