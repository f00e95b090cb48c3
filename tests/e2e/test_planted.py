"""An agent that plants all it can for git on the host: the whole way of a run, and what people do after it."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.bench import SCRIPTS, Bench
from tests.e2e.conftest import Setting
from tests.workspaces import planted

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


@pytest.fixture
def rogue() -> Iterator[tuple[str, list[bytes]]]:
    """A listener that writes down whatever reaches it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with caller:
                    caller.settimeout(2)
                    heard.append(caller.recv(65_536))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_nothing_that_was_planted_runs_here_or_calls_anybody(
    bench: Setting, rogue: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    """0 of ours ran, 0 callers at the rogue listener, and the run says what it found."""
    address, heard = rogue
    machine = bench(SCRIPTS / "plant-all.toml")
    marks = tmp_path / "marks"
    marks.mkdir(mode=0o777)
    marks.chmod(0o777)
    machine.configure(defaults="fix_attempts = 0")
    _bring(machine, marks, address)
    done = machine.crewcap("run", "-p", "Plant everything.", "--sandbox", "bubblewrap")
    branch = "crewcap/plant-everything-1"
    assert machine.git("show", f"{branch}:adder.py").endswith("a + b"), done.err
    _look(machine, branch, tmp_path / "for people")
    assert list(marks.iterdir()) == []
    assert heard == []
    told = done.out + done.err
    for sentence in ("its repository names commands, which stayed", "(symlink)", "(odd name)", "(git settings)"):
        assert sentence in told, told
    assert "\x1b[31mred" not in told


def _bring(machine: Bench, marks: Path, address: str) -> None:
    """The program that plants is a file of the repository, as a hostile one would bring it."""
    tools = machine.shop / "tools"
    tools.mkdir()
    shutil.copy(planted.__file__, tools / "planted.py")
    (tools / "where").write_text(f"{marks} {address}\n")
    machine.commit("tools")


def _look(machine: Bench, branch: str, folder: Path) -> None:
    """What people do with a branch: ours, then their own git, which reads no settings of the agent's."""
    run = machine.crewcap("runs", "--json").out.splitlines()[-1]
    name = run.partition('"name": "')[2].partition('"')[0] or "plant-everything.1"
    for words in (["diff", name], ["diff", name, "--stat"], ["show", name], ["checkout", name, str(folder)]):
        machine.crewcap(*words)
    assert (folder / "adder.py").exists()
    for plain in (["log", "--oneline", branch], ["diff", "main", branch], ["status"]):
        machine.git(*plain)
