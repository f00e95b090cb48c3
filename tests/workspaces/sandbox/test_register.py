"""Who lives in a sandbox stands in the run's folder from before its first step until after its last."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import ground, missing, within

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import LADDER, Rung
from crewcap.workspaces.sandbox.register import MARK, entries, start_time

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize("rung", LADDER)
def test_a_command_is_written_down_while_it_lives(rung: Rung, tmp_path: Path) -> None:
    """Below bubblewrap its mark is in its environment; inside a namespace of its own it needs none."""
    if reason := missing(rung):
        pytest.skip(f"{rung}: {reason}")
    with ground(rung) as run:
        command = replace(run.command("sh", "-c", f"echo ${MARK}; read line"), register=tmp_path / "processes")

        async def look() -> tuple[str, str, int]:
            child = await run.start(command)
            (entry,) = entries(tmp_path / "processes")
            assert entry.is_owned
            assert entry.is_of_this_machine
            assert (entry.owner, entry.command) == (os.getpid(), child.pid)
            assert entry.command_started == start_time(child.pid)
            said = (await child.stdout.readline()).decode().strip()
            assert child.stdin is not None
            child.stdin.close()
            return said, entry.mark, await child.wait()

        said, mark, status = within(look)
    assert (said, status) == ("" if rung == "bubblewrap" else mark, 1)
    assert list(entries(tmp_path / "processes")) == []


def test_what_cannot_be_written_down_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "processes").write_text("no folder")
    with ground("unconfined") as run:
        command = replace(run.command("touch", "begun"), register=tmp_path / "processes")
        with pytest.raises(UnsafeEnvironment, match="did not start"):
            within(lambda: run.start(command))
        assert not (run.workspace / "begun").exists()
