"""The process zoo: whatever an agent lets loose, its run ends with the right verdict and nothing outlives it.

The runs are real ones, on the real rungs; only the agent is a program that starts beasts (`zoo_agent`). Every beast is
known by a word in its command line, wherever it went. Whether the host stays answerable is reported, not asserted: how
many small programs it starts a second while a beast is loose.

The long form takes every beast on every rung by itself: `python -m torture --only zoo`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.e2e.bench import PROVIDER_KEY, Bench, Going, processes, until
from tests.e2e.pulse import Pulse
from tests.e2e.zoo_agent import LEFT

from crewcap.core.runs import Run, RunState, Verdict
from crewcap.runner.worker.orphans import find_orphans
from crewcap.simulator.server import Simulator
from crewcap.workspaces import LADDER, SANDBOXES, Rung
from crewcap.workspaces.sandbox.register import FOLDER, entries

pytestmark = pytest.mark.sandbox

AGENT = Path(__file__).with_name("zoo_agent.py")
OUTLIVES_S = 10
LONG = "CREWCAP_LONG_ZOO" in os.environ
in_full = pytest.mark.skipif(not LONG, reason="the long form: CREWCAP_LONG_ZOO=1")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator.in_thread("fix-login") as running:
        yield running


@pytest.fixture
def machine(simulator: Simulator) -> Iterator[Bench]:
    """A user's machine below a folder that other users may pass through, as Landlock wants it for root."""
    root = Path(tempfile.mkdtemp(prefix="zoo-"))
    made = Bench(root=root, simulator=simulator)
    made.home.mirrors.mkdir(parents=True)
    for folder in (root, made.home.root, made.home.mirrors):
        folder.chmod(0o711)
    try:
        made.set_up()
        shutil.copyfile(AGENT, root / "claude")
        (root / "claude").chmod(0o755)
        configure(made)
        yield made
    finally:
        made.clean_up()
        shutil.rmtree(root, ignore_errors=True)


def configure(machine: Bench, more: str = "") -> None:
    machine.configure(
        repo='check = "true"', defaults=f'fix_attempts = 0\n{more}\nagent_path = {{ claude = "{machine.root}/claude" }}'
    )
    key = machine.root / "key"  # in a file: below bubblewrap no process may have it in its environment
    key.touch(mode=0o600)
    key.write_text(PROVIDER_KEY)
    settings = machine.config.read_text().replace('{ env = "ANTHROPIC_API_KEY" }', f'{{ file = "{key}" }}')
    machine.config.write_text(settings)


def skip_without(rung: Rung) -> None:
    if reason := SANDBOXES[rung]().missing():
        pytest.skip(f"{rung}: {reason}")


def new_mark() -> str:
    return f"zoo-{secrets.token_hex(8)}"


def loose(mark: str) -> list[bytes]:
    """Command lines of the beasts that live."""
    return [b" ".join(one.words)[-60:] for one in processes() if mark.encode() in one.words]


def words_of(kind: str, mark: str, rung: Rung, *more: str) -> tuple[str, ...]:
    return ("run", "-p", f"zoo:{kind} {mark}", "--sandbox", rung, *more)


class SeeOut(Protocol):
    """A run's end, after which none of its beasts is left, and the books are right."""

    def __call__(self, going: Going, mark: str, *, limit_s: float = 110) -> Run:
        """The run as it ended."""
        ...


@pytest.fixture
def see_out(machine: Bench, record_property: Callable[[str, object], None]) -> SeeOut:
    """What was seen is kept for the page that `python -m torture --only zoo` writes."""

    def see(going: Going, mark: str, *, limit_s: float = 110) -> Run:
        with Pulse() as pulse:
            done = going.end(limit_s)
        ended = time.monotonic()
        until(lambda: loose(mark) == [], "nothing outlives it", limit_s=OUTLIVES_S)
        gone_s = time.monotonic() - ended
        assert list(find_orphans(machine.home)) == []
        assert machine.verify() == ()
        assert "error:" not in done.err, done.err
        run = machine.run()
        told = {"verdict": run.verdict, "gone_s": gone_s, "rate": pulse.rate, "seconds": pulse.seconds}
        for name, value in told.items():
            record_property(name, value if isinstance(value, (int, float)) else str(value))
        return run

    return see


@pytest.mark.parametrize("rung", LADDER if LONG else LADDER[:1])
def test_what_an_agent_leaves_behind_ends_with_it(machine: Bench, see_out: SeeOut, rung: Rung) -> None:
    """Eight kinds at once, and the work is brought home all the same."""
    skip_without(rung)
    mark = new_mark()
    run = see_out(machine.start(*words_of("all", mark, rung)), mark)
    assert (run.state, run.verdict) == (RunState.DONE, Verdict.FINISHED), run.reason
    assert machine.git("show", f"{run.branch}:done.txt") != ""


@pytest.mark.parametrize(
    ("kind", "setting", "limit"), [("fork-bomb", "processes = 60", "processes"), ("fills-up", 'disk = "64M"', "disk")]
)
def test_a_bomb_ends_its_run_with_the_name_of_its_limit(
    machine: Bench, see_out: SeeOut, kind: str, setting: str, limit: str
) -> None:
    configure(machine, setting)
    mark = new_mark()
    run = see_out(machine.start(*words_of(kind, mark, "bubblewrap")), mark)
    assert (run.state, run.verdict) == (RunState.FAILED, Verdict.AGENT_ERROR), run.reason
    assert f"its limit on {limit}" in run.reason


def test_who_sleeps_for_ever_runs_out_of_time(machine: Bench, see_out: SeeOut) -> None:
    mark = new_mark()
    run = see_out(machine.start(*words_of("all-and-stay", mark, "bubblewrap", "--timeout", "3s")), mark)
    assert run.verdict == Verdict.TIMED_OUT, run.reason


@pytest.mark.parametrize("rung", LADDER if LONG else LADDER[-1:])
def test_after_kill_9_of_the_driver_the_next_start_is_alone(
    machine: Bench, see_out: SeeOut, record_property: Callable[[str, object], None], rung: Rung
) -> None:
    """Also where its supervisor is killed at the same moment, and what it watched over lives on."""
    skip_without(rung)
    mark = new_mark()
    going = machine.start(*words_of("all-and-stay", mark, rung))
    until(lambda: len(loose(mark)) > len(LEFT), "the beasts are loose")
    (entry,) = entries(machine.home.run(_started(machine).id) / FOLDER)
    os.kill(entry.outer, signal.SIGSTOP)  # it cannot see to anything when its owner dies
    going.signal(signal.SIGKILL)
    going.end()
    os.kill(entry.outer, signal.SIGKILL)
    if rung != "bubblewrap" and os.geteuid() != 0 and not entry.groups:
        record_property("found_by_nobody", end_the_unmarked(mark))
    run = see_out(machine.start("resume", _started(machine).name), mark)
    assert (run.state, run.verdict) == (RunState.DONE, Verdict.FINISHED), run.reason
    assert machine.git("show", f"{run.branch}:done.txt") == "alone"


def end_the_unmarked(mark: str) -> str:
    """Who is left of a run is known by its user, its control group or its mark; who has none of them, by nobody."""
    for one in processes():
        if mark.encode() in one.words and _has_no_environment(one.pid):
            os.kill(one.pid, signal.SIGKILL)
    return "what cleared its environment (ended by the test)"


def _has_no_environment(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes() == b""
    except OSError:
        return False


def _started(machine: Bench) -> Run:
    return machine.run()


@in_full
@pytest.mark.parametrize("rung", LADDER)
@pytest.mark.parametrize("kind", [*LEFT, "deaf", "log-flood", "fork-bomb", "fills-up"])
def test_each_beast_by_itself(machine: Bench, see_out: SeeOut, kind: str, rung: Rung) -> None:
    skip_without(rung)
    configure(machine, 'processes = 60\ndisk = "64M"\ntimeout = "20s"')
    mark = new_mark()
    run = see_out(machine.start(*words_of(kind, mark, rung)), mark)
    wanted = {"deaf": {Verdict.TIMED_OUT}, "fills-up": {Verdict.AGENT_ERROR}}
    wanted["log-flood"] = {Verdict.AGENT_ERROR, Verdict.TIMED_OUT}  # whichever comes first on a busy machine
    wanted["fork-bomb"] = {Verdict.AGENT_ERROR, Verdict.TIMED_OUT}  # where nobody counts its processes
    assert run.verdict in wanted.get(kind, {Verdict.FINISHED}), run.reason
    transcript = machine.home.run(run.id) / "agent.jsonl"
    assert transcript.stat().st_size <= 257 << 20


@pytest.fixture
def small_disk(machine: Bench) -> Iterator[Bench]:
    """The same machine, whose state lies on a disk of its own that is nearly full from the start."""
    state = machine.home.root
    shutil.rmtree(state)
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m,mode=0711", "crewcap-zoo", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a disk of one's own takes root, and a container that may mount")
    try:
        yield machine
    finally:
        machine.clean_up()
        subprocess.run(["umount", "--lazy", str(state)], check=False)


def test_a_disk_that_fills_ends_the_run_by_its_limit_and_nothing_is_lost(small_disk: Bench, see_out: SeeOut) -> None:
    """What is left free is enough to fetch the work and to keep the books; with room again the run goes on."""
    configure(small_disk, 'disk_floor = "64M"')
    mark = new_mark()
    run = see_out(small_disk.start(*words_of("fills-up", mark, "bubblewrap")), mark)
    assert "its limit on free disk space" in run.reason
    filling = small_disk.home.root / "somebody-elses"
    filling.write_bytes(bytes(1 << 20))
    workspace = small_disk.home.run(run.id) / "workspace"
    for path in workspace.glob("fill-*"):
        path.unlink()
    again = see_out(small_disk.start("resume", run.name), mark)
    assert (again.state, again.verdict) == (RunState.DONE, Verdict.FINISHED), again.reason
    assert small_disk.git("show", f"{again.branch}:done.txt") == "alone"
