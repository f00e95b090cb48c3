"""Commands of a run in a real sandbox: their ends, their time, and lines of any length."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.sandboxes import PYTHON, ground

from crewcap.runner.ownership import start_time
from crewcap.runner.process import TIMED_OUT, Site, last_words, lines
from crewcap.workspaces import Child, Limits


@pytest.fixture
def site() -> Iterator[Site]:
    """A run's folders, with a user of its own where we are root."""
    with ground("unconfined") as made:
        yield Site(
            sandbox=made.sandbox,
            layout=made.layout,
            uid=made.uid,
            workspace=made.workspace,
            home=made.home,
            objects=made.objects,
            binary=Path(sys.executable).resolve(),
        )


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def start(site: Site, program: str) -> Child:
    return await site.sandbox.start(site.command((PYTHON, "-I", "-c", program)), uid=site.uid)


def test_a_command_ends_with_its_status_and_everything_it_said(site: Site) -> None:
    done = run(site.perform(("/bin/sh", "-c", "pwd; echo bad >&2; exit 7"), timeout_s=20))
    assert (done.status, done.stderr) == (7, b"bad\n")
    assert done.both == done.stdout + done.stderr
    assert done.stdout.decode().strip() == site.layout.workspace
    assert done.seconds < 20


def test_a_command_gets_no_input_and_the_variables_it_was_given(site: Site) -> None:
    """Whoever reads finds the end at once and does not wait for ever."""
    argv = ("/bin/sh", "-c", 'cat; echo "$WORD $ANTHROPIC_API_KEY."')
    done = run(site.perform(argv, timeout_s=20, environ={"WORD": "yes"}))
    assert done.stdout == b"yes .\n"


def test_a_command_whose_time_is_up_is_ended_with_what_it_said_until_then(site: Site) -> None:
    """The last lines are what somebody needs to see why it hangs."""
    done = run(site.perform(("/bin/sh", "-c", "echo one; echo two >&2; exec sleep 60"), timeout_s=0.3))
    assert (done.status, done.stdout, done.stderr) == (TIMED_OUT, b"one\n", b"two\n")
    assert done.seconds < 20


def test_a_command_that_is_given_up_is_ended(site: Site) -> None:
    async def main() -> None:
        mark = site.workspace / "mark"
        going = asyncio.create_task(site.perform(("/bin/sh", "-c", "echo $$ > mark; exec sleep 60"), timeout_s=60))
        async with asyncio.timeout(20):
            while not (mark.exists() and mark.read_text()):  # noqa: ASYNC110  (another process writes it)
                await asyncio.sleep(0.01)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert start_time(int(mark.read_text())) == ""

    run(main())


def test_a_command_that_says_too_much_is_ended(site: Site) -> None:
    flooded = replace(site, limits=Limits(output_bytes=10_000))
    done = run(flooded.perform(("/bin/sh", "-c", "yes | head -c 100000; sleep 60"), timeout_s=60))
    assert done.status not in {0, TIMED_OUT}
    assert len(done.both) <= 10_000


@pytest.mark.sandbox
def test_a_command_one_of_whose_processes_was_ended_for_memory_says_so(site: Site) -> None:
    """The command itself goes on and fails in its own way: nothing but the kernel's count tells why."""
    small = replace(site, limits=Limits(memory_bytes=100 << 20))
    eats = f"{PYTHON} -I -c 'x = bytearray(400 << 20)'; exit 3"
    child = run(start(small, "pass"))
    if "memory" not in child.enforced:
        pytest.skip("no control group counts memory here")
    done = run(small.perform(("/bin/sh", "-c", eats), timeout_s=20))
    assert (done.limit_hit, done.limits_met) == ("", ("memory",))
    assert done.failed == "exit 3; it met its limit on memory"


@pytest.mark.sandbox
def test_a_file_that_grew_to_its_limit_is_named(site: Site) -> None:
    """By the signal, and by the words of a program that ignores it."""
    small = replace(site, limits=Limits(disk_bytes=1 << 20))
    by_signal = run(small.perform(("/bin/sh", "-c", "head -c 2M /dev/zero > big; exit $?"), timeout_s=20))
    assert (by_signal.failed, by_signal.limits_met) == (
        "exit 153; it met its limit on file size (disk, 1 MiB)",
        ("file size",),
    )
    ignores = "open('big', 'wb').write(bytes(2 << 20))"
    by_words = run(small.perform((PYTHON, "-I", "-c", ignores), timeout_s=20))
    assert by_words.failed == "exit 1; it says that a file reached its limit on file size (disk, 1 MiB)"


@pytest.mark.sandbox
def test_a_fork_bomb_names_its_limit_on_processes(site: Site) -> None:
    """By the kernel's count where a control group has one, else by the words of the shell."""
    small = replace(site, limits=Limits(processes=20))
    done = run(small.perform(("/bin/sh", "-c", "for i in $(seq 60); do sleep 5 & done; exit 3"), timeout_s=20))
    assert "its limit on processes" in done.failed


def test_lines_come_whole_however_long_and_the_last_one_without_an_end(site: Site) -> None:
    async def main() -> list[int]:
        program = "print('a'); print('b' * 3_000_000); print(); print('c', end='')"
        child = await start(site, program)
        found = [line async for line in lines(child)]
        assert await child.wait() == 0
        assert found[0] == b"a"
        assert set(found[1]) == set(b"b")
        return [len(line) for line in found]

    assert run(main()) == [1, 3_000_000, 0, 1]


def test_a_line_that_would_fill_the_memory_is_cut_and_the_next_one_is_whole(site: Site) -> None:
    async def main() -> None:
        child = await start(
            site, "import sys\nfor _ in range(40): sys.stdout.write('x' * 2**20)\nprint(); print('after')"
        )
        found = [line async for line in lines(child)]
        assert found[-1] == b"after"
        assert all(len(line) < 33 << 20 for line in found)
        assert len(found) == 2

    run(main())


def test_the_end_of_a_childs_complaints_is_kept(site: Site) -> None:
    async def main() -> bytes:
        child = await start(site, "import sys; sys.stderr.write('x' * 100_000 + 'last'); print('done')")
        kept = await last_words(child)
        await child.wait()
        return kept

    kept = run(main())
    assert len(kept) == 8_192
    assert kept.endswith(b"last")
