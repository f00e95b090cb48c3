"""A person inside a run's own sandbox, at a real terminal and without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.bench import ISSUE, PROVIDER_KEY, Bench, Done, until
from tests.e2e.conftest import missing_agent
from tests.e2e.terminal import Terminal

from crewcap.simulator.server import Simulator
from crewcap.workspaces import LADDER, SANDBOXES

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]
CTRL_C, CTRL_Z = "\x03", "\x1a"
on_the_strongest = pytest.mark.parametrize("machine", ["bubblewrap"], indirect=True)


@pytest.fixture(scope="module", params=LADDER)
def machine(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """One run that ended on this rung and is still there; its user may pass everywhere, and the key is in a file."""
    if reason := missing_agent() or SANDBOXES[request.param]().missing():
        pytest.skip(f"{request.param}: {reason}")
    with tempfile.TemporaryDirectory(prefix="crewcap-") as folder, Simulator.in_thread("fix-login") as simulator:
        made = Bench(root=Path(folder), simulator=simulator)
        made.set_up()
        made.configure(defaults=f'sandbox = "{request.param}"')
        key = made.root / "key"
        key.write_text(PROVIDER_KEY)
        key.chmod(0o600)
        made.config.write_text(made.config.read_text().replace('env = "ANTHROPIC_API_KEY"', f'file = "{key}"'))
        for place in (made.root, made.home.root, made.home.mirrors):
            place.mkdir(exist_ok=True)
            place.chmod(0o711)
        try:
            done = made.crewcap("run", ISSUE)
            assert done.status == 0, done.out + done.err
            yield made
        finally:
            made.clean_up()


def words(machine: Bench, *more: str) -> list[str]:
    return [sys.executable, "-m", "crewcap", "--home", str(machine.home.root), "--config", str(machine.config), *more]


def at_a_terminal(machine: Bench, *more: str, rows: int = 24, columns: int = 80) -> Terminal:
    return Terminal.start(
        words(machine, "shell", *more), cwd=machine.shop, environ=machine.environ(), rows=rows, columns=columns
    )


def piped(machine: Bench, *more: str, stdin: str = "") -> Done:
    """The command as a script has it."""
    done = subprocess.run(
        words(machine, "shell", *more),
        cwd=machine.shop,
        env=machine.environ(),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Done(status=done.returncode, out=done.stdout, err=done.stderr, seconds=0)


def test_a_command_sees_the_runs_own_files_and_its_exit_status_is_ours(machine: Bench) -> None:
    """Without a terminal, on every rung."""
    done = piped(machine, "--", "/bin/sh", "-c", "pwd; cat src/login.py; echo aside >&2; exit 7")
    assert done.status == 7
    assert done.out.partition("\n")[0].endswith("/workspace")
    assert "casefold" in done.out  # what the agent wrote
    assert done.err == "aside\n"


def test_without_a_command_and_a_terminal_it_reads_its_commands_from_stdin(machine: Bench) -> None:
    done = piped(machine, "fix-login.1", stdin="echo one; echo two\nfalse\n")
    assert (done.status, done.out) == (1, "one\ntwo\n")


def test_what_a_command_reads_is_ours_to_the_last_byte(machine: Bench) -> None:
    text = "x" * 300_000
    done = piped(machine, "--", "wc", "-c", stdin=text)
    assert done.out.strip() == "300000"


@on_the_strongest
def test_there_is_no_key_no_gateway_and_no_network_in_there(machine: Bench) -> None:
    look = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/net/tcp /proc/net/dev"
    done = piped(machine, "--", "/bin/sh", "-c", look)
    assert done.status == 0
    assert PROVIDER_KEY not in done.out
    assert "ccap-" not in done.out
    assert "ANTHROPIC" not in done.out
    names = {line.partition(":")[0].strip() for line in done.out.splitlines() if ":" in line}
    assert "eth0" not in names
    assert "0100007F:2253" not in done.out  # nobody listens where the gateway was: 8787


@on_the_strongest
def test_the_projects_own_check_runs_in_there_as_it_did_in_the_run(machine: Bench) -> None:
    done = piped(machine, "--", "python3", "-m", "unittest", "discover", "-s", "tests")
    assert (done.status, "Ran 3 tests" in done.err) == (0, True)


@on_the_strongest
def test_a_command_that_is_not_in_there_is_said_in_one_line_and_the_status_is_a_shells(machine: Bench) -> None:
    missing, no_program = piped(machine, "--", "nosuchcmd"), piped(machine, "--", "./src/login.py")
    assert (missing.status, missing.err) == (127, "error: nosuchcmd: not found in the sandbox\n")
    assert (no_program.status, no_program.err.count("\n")) == (126, 1)


def test_at_a_terminal_there_is_a_real_one_inside(machine: Bench) -> None:
    """Job control, Ctrl-C, a name, the size, and the prompt says where one is.

    The job starts nothing: a shell that Ctrl-Z meets while it starts a program (by vfork) waits for that one, which is
    stopped, and never stops itself. It says when it was woken: before, Ctrl-C would be for the shell around it.
    """
    with at_a_terminal(machine, rows=30, columns=100) as terminal:
        terminal.expect("[fix-login.1]")
        assert terminal.is_raw()
        terminal.type("tty; stty size\r")
        terminal.expect("/dev/pts/")
        terminal.expect("30 100")
        terminal.resize(40, 120)
        terminal.type("stty size\r")
        terminal.expect("40 120")
        terminal.type("sh -c \"trap 'echo wo''ken' CONT; echo rea''dy; while :; do read key; done\"\r")
        terminal.expect("ready\n")
        terminal.type(CTRL_Z)
        terminal.expect("Stopped")
        terminal.expect("[fix-login.1]")
        terminal.type("fg\r")
        terminal.expect("woken\n")
        terminal.type(CTRL_C)
        terminal.expect("[fix-login.1]")
        terminal.type("echo ended $?\r")
        terminal.expect("ended 130")
        terminal.type("exit 5\r")
        assert terminal.end() == 5
        assert not terminal.is_raw()


def test_a_closed_terminal_ends_everything_in_there(machine: Bench) -> None:
    long = f"613.{os.getpid()}"  # nobody else's on this machine
    with at_a_terminal(machine, "--", "sleep", long) as terminal:
        until(lambda: _sleeps(long), "it sleeps in there")
        terminal.process.terminate()
        assert terminal.end() > 128
        assert not terminal.is_raw()
    until(lambda: not _sleeps(long), "nothing is left")


def _sleeps(seconds: str) -> bool:
    return subprocess.run(("pgrep", "-fx", f"sleep {seconds}"), capture_output=True, check=False).stdout != b""


@on_the_strongest
def test_while_somebody_is_inside_the_run_does_not_go_on_and_nobody_else_comes_in(machine: Bench) -> None:
    with at_a_terminal(machine) as terminal:
        terminal.expect("[fix-login.1]")
        done = piped(machine, "fix-login.1", "--", "true")
        assert done.status == 2
        assert "one user at a time" in done.err
        terminal.type("exit\r")
        assert terminal.end() == 0


@on_the_strongest
def test_a_run_whose_workspace_is_gone_says_where_its_work_is(machine: Bench) -> None:
    folder = machine.home.run(machine.run().id) / "workspace"
    aside = folder.with_name("aside")
    folder.rename(aside)
    try:
        done = piped(machine, "--", "true")
    finally:
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    assert done.status == 2
    assert "error: fix-login.1's workspace is gone; its work is on the branch crewcap/fix-login-1" in done.err
    assert "help: crewcap checkout fix-login.1" in done.err
