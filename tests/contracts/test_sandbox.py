"""What every rung of the ladder promises, tried with real sandboxes; and what only the rungs with a wall promise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.contracts.sandboxes import DRIVER, PYTHON, ZOO, Family, Ground, family, ground, missing, within

from crewcap.errors import CommandNotExecutable, CommandNotFound, UnsafeEnvironment
from crewcap.workspaces import LADDER, Limits, Outlet, Rung
from crewcap.workspaces.sandbox.uids import is_root

pytestmark = pytest.mark.sandbox
CANARY = "sk-ant-fake-canary-5d41"


@pytest.fixture(params=LADDER)
def any_rung(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Each rung that this machine has."""
    yield from _on(request.param)


@pytest.fixture(params=["bubblewrap", "landlock"])
def wall(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """The rungs that keep things apart."""
    yield from _on(request.param)


@pytest.fixture(params=["landlock", "unconfined"])
def without_loopback(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """The rungs that share the machine's network."""
    yield from _on(request.param)


@pytest.fixture
def bubblewrap() -> Iterator[Ground]:
    """The strongest rung."""
    yield from _on("bubblewrap")


def _on(rung: Rung) -> Iterator[Ground]:
    if reason := missing(rung):
        pytest.skip(f"{rung}: {reason}")
    with ground(rung) as made:
        yield made


@pytest.fixture
def kin() -> Iterator[Family]:
    """Everything that these tests start."""
    with family() as members:
        yield members


class TestACommand:
    """On every rung."""

    def test_it_sees_the_given_variables_and_none_of_ours(self, any_rung: Ground) -> None:
        seen = any_rung.probe("import json, os; print(json.dumps(dict(os.environ)))", environ={"A": "b"})
        usual = {"PATH", "HOME", "LANG", "TMPDIR", "TERM", "CI", "A", "USER", "LOGNAME", "LC_CTYPE"}
        assert seen["A"] == "b"
        assert (seen["HOME"], seen["LANG"], seen["CI"]) == (any_rung.layout.home, "C.UTF-8", "1")
        assert set(seen) <= usual | {"GIT_CONFIG_NOSYSTEM"}

    def test_it_works_in_its_workspace_and_what_it_writes_stays(self, any_rung: Ground) -> None:
        done = any_rung.plain("sh", "-c", "pwd && echo hello > made")
        assert done.stdout.strip() == any_rung.layout.workspace
        assert (any_rung.workspace / "made").read_text() == "hello\n"

    def test_its_streams_are_passed_through_byte_for_byte(self, any_rung: Ground) -> None:
        done = any_rung.perform(any_rung.command("sh", "-c", "cat; echo bad >&2"), stdin=b"a\nb" * 50_000)
        assert (done.stdout, done.stderr) == ("a\nb" * 50_000, "bad\n")

    @pytest.mark.parametrize(
        ("last", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", -15), ("kill -9 $$", -9)]
    )
    def test_its_end_is_told(self, any_rung: Ground, last: str, status: int) -> None:
        assert any_rung.plain("sh", "-c", last).status == status

    def test_files_are_made_before_it_starts(self, any_rung: Ground) -> None:
        path = f"{any_rung.layout.home}/.config/deep/settings.json"
        content = bytes(range(256)) * 1_000
        done = any_rung.plain("sha256sum", path, files={path: content})
        assert (any_rung.home / ".config/deep/settings.json").read_bytes() == content
        assert done.status == 0

    def test_a_file_that_another_command_reads_is_never_half_made(self, any_rung: Ground) -> None:
        """Commands of one phase start at the same time, and are given the same file."""
        path = f"{any_rung.layout.home}/.config/trusted.pem"
        any_rung.plain("true", files={path: b"first"})
        made = any_rung.home / ".config" / "trusted.pem"
        with made.open("rb") as reader:
            any_rung.plain("true", files={path: b"second"})
            assert (reader.read(), made.read_bytes()) == (b"first", b"second")
        assert list(made.parent.iterdir()) == [made]

    def test_it_has_a_place_for_temporary_files(self, any_rung: Ground) -> None:
        done = any_rung.plain("sh", "-c", 'f=$(mktemp) && echo x > "$f" && cat "$f"')
        assert done.stdout == "x\n"

    def test_it_knows_who_it_is_and_where_home_is(self, any_rung: Ground) -> None:
        """Programs ask for the owner of their own process, and fail in odd ways without an answer."""
        program = "import os, json; print(json.dumps([os.getuid(), os.path.isdir(os.path.expanduser('~'))]))"
        uid, has_home = any_rung.probe(program)
        assert has_home
        if is_root():
            assert uid == any_rung.uid

    def test_git_and_an_interpreter_work(self, any_rung: Ground) -> None:
        done = any_rung.plain("sh", "-c", "git init -q x && git -C x status --short && python3 -c 'import ssl, ctypes'")
        assert (done.status, done.stderr) == (0, "")

    def test_no_argument_and_no_variable_of_it_stands_in_a_command_line(self, any_rung: Ground) -> None:
        """Command lines are readable to everyone on the machine."""

        async def look() -> list[str]:
            child = await any_rung.start(any_rung.command("cat", environ={"KEY": CANARY}))
            lines = _command_lines()
            await child.stop(ask_s=0, term_s=0)
            return [line for line in lines if CANARY in line]

        assert within(look) == []

    def test_what_cannot_be_started_is_said(self, any_rung: Ground) -> None:
        with pytest.raises(CommandNotFound, match=r"^no-such-agent: not found in the sandbox$"):
            any_rung.plain("no-such-agent")
        with pytest.raises(CommandNotExecutable, match=r"^/etc/passwd: cannot be started in the sandbox: Permission"):
            any_rung.plain("/etc/passwd")

    def test_a_folder_that_is_not_there_is_said(self, any_rung: Ground) -> None:
        command = any_rung.command("true")
        with pytest.raises(UnsafeEnvironment, match="cannot work in /nowhere"):
            any_rung.perform(type(command)(argv=("true",), environ={}, cwd="/nowhere", mounts=command.mounts))

    def test_its_usual_signals_are_as_a_program_expects_them(self, any_rung: Ground) -> None:
        """Python ignores SIGPIPE and SIGXFSZ for itself, in the background SIGINT and SIGQUIT; what it starts must not.

        Signals 32 and 33 are the C library's own: no program can set them, so they may be inherited.
        """
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
        try:
            done = any_rung.plain("sh", "-c", "grep -E 'SigIgn|SigBlk' /proc/self/status")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        usual = ~(1 << 31 | 1 << 32)
        assert {int(line.split()[1], 16) & usual for line in done.stdout.splitlines()} == {0}

    def test_no_descriptor_of_ours_is_open_in_it(self, any_rung: Ground) -> None:
        program = "import os, json; print(json.dumps([f for f in os.listdir('/proc/self/fd')]))"
        assert set(any_rung.probe(program)) <= {"0", "1", "2", "3"}  # 3 = the listing itself

    def test_it_cannot_gain_rights(self, any_rung: Ground) -> None:
        status = any_rung.plain("cat", "/proc/self/status").stdout
        assert "NoNewPrivs:\t1" in status
        if is_root():
            assert {line.split()[1] for line in status.splitlines() if line.startswith("Cap")} == {"0" * 16}


class TestStopping:
    """Ask, then insist, then end everything."""

    @pytest.mark.parametrize(
        ("ignored", "status"),
        [((), 40), (("SIGINT",), 41), (("SIGINT", "SIGTERM"), -9)],
        ids=["asked", "told", "killed"],
    )
    def test_it_is_asked_first_and_killed_last(self, any_rung: Ground, ignored: tuple[str, ...], status: int) -> None:
        program = (
            "import signal, sys, time\n"
            "signal.signal(signal.SIGINT, lambda *_: sys.exit(40))\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(41))\n"
            f"for name in {ignored!r}: signal.signal(getattr(signal, name), signal.SIG_IGN)\n"
            "print('ready', flush=True)\n"
            "while True: time.sleep(60)\n"
        )

        async def stop() -> int:
            child = await any_rung.start(any_rung.python(program))
            await child.stdout.readline()
            return await child.stop(ask_s=0.3 if ignored else 10, term_s=0.3 if len(ignored) > 1 else 10)

        assert within(stop) == status

    def test_nothing_is_alive_after_it_was_stopped(self, any_rung: Ground, kin: Family) -> None:
        async def stop() -> list[str]:
            child = await any_rung.start(any_rung.python(ZOO, "stay"))
            assert await child.stdout.readline() == b"ready\n"
            assert len(kin.alive()) > 8
            await child.stop(ask_s=0.05, term_s=0.05)
            return kin.alive()

        assert within(stop) == []

    def test_nothing_is_alive_after_it_ended_by_itself(self, any_rung: Ground, kin: Family) -> None:
        async def leave() -> list[str]:
            child = await any_rung.start(any_rung.python(ZOO, "leave"))
            assert await child.wait() == 0
            return kin.alive()

        assert within(leave) == []

    @pytest.mark.parametrize("after_ms", [None, 0, 1, 3, 10, 50])
    def test_nothing_is_alive_after_we_were_killed(self, any_rung: Ground, kin: Family, after_ms: int | None) -> None:
        """At any moment of the start, and (None) when everything runs."""
        driver = _driver(any_rung, CANARY)
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"starting\n"
        if after_ms is None:
            assert driver.stdout.readline() == b"ready\n"
            assert len(kin.alive()) > 8
        else:
            time.sleep(after_ms / 1_000)
        driver.kill()
        driver.wait()
        driver.stdout.close()
        assert kin.alive_after(5) == []

    def test_two_may_wait_for_its_end(self, any_rung: Ground) -> None:
        async def wait() -> tuple[int, int]:
            child = await any_rung.start(any_rung.command("sh", "-c", "exit 7"))
            first, second = await asyncio.gather(child.wait(), child.wait())
            return first, second

        assert within(wait) == (7, 7)

    def test_a_start_that_is_given_up_leaves_nothing(self, any_rung: Ground, kin: Family) -> None:
        async def give_up() -> list[str]:
            task = asyncio.create_task(any_rung.start(any_rung.python(ZOO, "stay")))
            await asyncio.sleep(0.005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).stop(ask_s=0, term_s=0)
            return kin.alive_after(5)

        assert within(give_up) == []


class TestLimits:
    """What is named as enforced holds."""

    def test_output_ends_it(self, any_rung: Ground) -> None:
        done = any_rung.plain("sh", "-c", "yes", limits=Limits(output_bytes=100_000))
        assert (len(done.stdout), done.limit_hit) == (100_000, "output")
        assert "output" in done.enforced

    def test_both_streams_count(self, any_rung: Ground) -> None:
        done = any_rung.plain("sh", "-c", "yes >&2 & yes", limits=Limits(output_bytes=100_000))
        assert len(done.stdout) + len(done.stderr) == 100_000

    def test_a_file_has_a_largest_size(self, any_rung: Ground) -> None:
        done = any_rung.plain("sh", "-c", "head -c 2000000 /dev/zero > big", limits=Limits(file_bytes=1_000_000))
        assert "file size" in done.enforced
        assert done.status != 0
        assert (any_rung.workspace / "big").stat().st_size == 1_000_000

    def test_a_fork_bomb_stays_small(self, any_rung: Ground, kin: Family) -> None:
        program = (
            "import os, time\n"
            "n = 0\n"
            "while n < 400:\n"
            "    try: pid = os.fork()\n"
            "    except OSError: break\n"
            "    if pid == 0: time.sleep(60); os._exit(0)\n"
            "    n += 1\n"
            "print(n, flush=True); time.sleep(60)\n"
        )

        async def bomb() -> tuple[int, tuple[str, ...], list[str]]:
            child = await any_rung.start(any_rung.python(program, limits=Limits(processes=50)))
            born = int(await child.stdout.readline())
            await child.stop(ask_s=0, term_s=0)
            return born, child.enforced, kin.alive()

        born, enforced, left = within(bomb)
        if "processes" not in enforced:
            pytest.skip("this machine offers no limit of processes")
        is_alone = is_root() or any_rung.sandbox.rung == "bubblewrap"  # else other processes of ours come and go
        assert 10 < born < (50 if is_alone else 250)
        assert left == []

    def test_memory_ends_it(self, any_rung: Ground) -> None:
        done = any_rung.perform(
            any_rung.python("x = bytearray(400 << 20); print('had it')", limits=Limits(memory_bytes=100 << 20))
        )
        if "memory" not in done.enforced:
            pytest.skip("this machine offers no limit of memory")
        assert (done.status, done.stdout, done.limit_hit) == (-9, "", "memory")

    def test_a_child_that_ran_out_of_memory_is_the_commands_own_affair(self, any_rung: Ground) -> None:
        """A test that eats too much is killed; the agent sees that, and goes on."""
        program = "import subprocess, sys; eat = 'bytearray(400 << 20)'; subprocess.run([sys.executable, '-c', eat])"
        done = any_rung.perform(any_rung.python(program, limits=Limits(memory_bytes=100 << 20)))
        assert (done.status, done.limit_hit) == (0, "")


PROBE = """
import ctypes, errno, json, os, socket, sys
asked = json.load(open("asked"))
def outcome(act, *args):
    try: act(*args)
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
    return "allowed"
def connect(family, kind, address):
    with socket.socket(family, kind) as s:
        s.settimeout(2); s.connect(address); s.send(b"leak")
def write(path):
    with open(path, "a") as f: f.write("x")
def mount(*flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/", None, ctypes.c_ulong(flags[0]), None) != 0: raise OSError(ctypes.get_errno(), "")
found = {"read": {}, "write": {}, "environ": []}
for path in asked["paths"]:
    found["read"][path] = outcome(lambda: os.listdir(path) if os.path.isdir(path) else open(path).read())
    found["write"][path] = outcome(write, path if not os.path.isdir(path) else path + "/x")
for pid in os.listdir("/proc"):
    if pid.isdigit():
        for name in ("environ", "cmdline", "mem", "fd", "root", "cwd"):
            try:
                p = f"/proc/{pid}/{name}"
                content = open(p, "rb").read() if name in ("environ", "cmdline") else b""
                if asked["canary"].encode() in content: found["environ"].append(p)
            except OSError: pass
found["tcp"] = {str(a): outcome(connect, socket.AF_INET, socket.SOCK_STREAM, tuple(a)) for a in asked["tcp"]}
found["udp"] = {str(a): outcome(connect, socket.AF_INET, socket.SOCK_DGRAM, tuple(a)) for a in asked["udp"]}
found["udp6"] = outcome(connect, socket.AF_INET6, socket.SOCK_DGRAM, ("2001:db8::1", 53))
found["abstract"] = outcome(connect, socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + asked["abstract"])
found["raw"] = outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
found["packet"] = outcome(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close())
found["remount"] = outcome(mount, 32 | 4096)
found["signal"] = outcome(os.kill, asked["pid"], 0)
found["chroot"] = outcome(os.chroot, "/")
found["setuid"] = outcome(os.setuid, 0)
print(json.dumps(found))
"""


class TestAWall:
    """The rungs that keep a run apart: an obedient agent tries everything that it is told to."""

    def test_an_obedient_agent_gets_nowhere(self, wall: Ground) -> None:
        """No secret of ours, no file of others, no way out, no way up."""
        state = wall.root.parent.parent
        (state / "ledger.db").write_text("money")
        (state / "runs" / "two" / "workspace").mkdir(parents=True)
        (state / "runs" / "two" / "workspace" / "secret").write_text("theirs")
        outside = Path(tempfile.mkdtemp(prefix="crewcap-outside-"))
        paths = [str(state), str(state / "ledger.db"), str(state / "runs/two/workspace/secret"), str(outside)]
        paths += ["/etc/shadow", "/etc/gitconfig", "/var/log", "/run/dbus", "/var/lib", str(Path(__file__))]
        with _listeners() as (tcp, udp, abstract), _neighbour(wall) as neighbour:
            asked = {
                "paths": paths,
                "canary": CANARY,
                "tcp": [["127.0.0.1", tcp.getsockname()[1]], ["192.0.2.1", 80], ["169.254.169.254", 80]],
                "udp": [["127.0.0.1", udp.getsockname()[1]], ["192.0.2.1", 53]],
                "abstract": abstract,
                "pid": neighbour,
            }
            found = wall.probe(PROBE, files={f"{wall.layout.workspace}/asked": json.dumps(asked).encode()})
            assert _received(udp) == b""
        assert found["environ"] == []
        assert "allowed" not in found["read"].values(), found
        outward = [result for address, result in found["udp"].items() if "127.0.0.1" not in address]
        assert "allowed" not in {*found["tcp"].values(), *outward}, found
        names = ("udp6", "abstract", "raw", "packet", "remount", "signal", "chroot")
        assert {name: found[name] for name in names if found[name] == "allowed"} == {}
        assert found["setuid"] != "allowed"
        assert (state / "ledger.db").read_text() == "money"
        assert (state / "runs/two/workspace/secret").read_text() == "theirs"
        assert list(outside.iterdir()) == []
        outside.rmdir()

    def test_the_environment_of_whoever_started_it_is_not_there(self, wall: Ground) -> None:
        """A provider's key in crewcap's own environment must not be found by looking at every process."""
        look = (
            "import os, sys, time\n"
            "seen = []\n"
            "for pid in os.listdir('/proc'):\n"
            "    if pid.isdigit():\n"
            "        try: seen.append(open(f'/proc/{pid}/environ', 'rb').read())\n"
            "        except OSError: pass\n"
            f"print(any({CANARY.encode()!r} in s for s in seen), len(seen) > 0, flush=True)\n"
        )
        driver = _driver(wall, CANARY, program=look)
        out, _ = driver.communicate(timeout=30)
        assert out.decode().split() == ["starting", "False", "True"]

    def test_mounted_folders_are_as_writable_as_they_were_given(self, wall: Ground) -> None:
        (wall.objects / "pack").write_text("base")
        inside = wall.layout.objects
        done = wall.plain("sh", "-c", f"cat {inside}/pack; echo x > {inside}/pack; echo x > {inside}/new")
        assert done.stdout == "base"
        assert done.stderr.count("cannot create") == 2
        assert (wall.objects / "pack").read_text() == "base"

    def test_the_system_cannot_be_written(self, wall: Ground) -> None:
        targets = "/usr/x /etc/x /etc/passwd /proc/sys/kernel/core_pattern /bin/x /x"
        done = wall.plain("sh", "-c", f"for f in {targets}; do (echo x >> $f) 2>/dev/null && echo $f; done; true")
        assert done.stdout == ""

    def test_a_namespace_in_the_sandbox_opens_nothing(self, wall: Ground) -> None:
        """Where the kernel lets users make namespaces, being root in one must not undo a read-only mount."""
        tries = "mount -o remount,bind,rw /usr; mount -t tmpfs x /usr; echo x > /usr/x; umount -l /usr; ip link"
        wall.plain("sh", "-c", f"unshare -Urmn sh -c '{tries}' 2>&1; test ! -e /usr/x")
        assert not Path("/usr/x").exists()


class TestTheWayToTheGateway:
    """One way out, and only that."""

    def test_a_listener_inside_is_served_from_outside(self, bubblewrap: Ground) -> None:
        program = (
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8787/hello', timeout=5).read().decode())"
        )
        with _gateway(bubblewrap.root) as door:
            done = bubblewrap.perform(bubblewrap.python(program, outlets=(Outlet(socket=door.path, port=8787),)))
        assert (done.stdout, done.stderr) == ("you asked for /hello\n", "")

    def test_the_runs_socket_does_not_exist_inside(self, bubblewrap: Ground) -> None:
        program = (
            "import json, os, stat\n"
            "found = []\n"
            "for folder, below, files in os.walk('/'):\n"
            "    below[:] = [name for name in below if name not in ('proc', 'usr')]\n"
            "    paths = [os.path.join(folder, name) for name in files]\n"
            "    found += [path for path in paths if stat.S_ISSOCK(os.lstat(path).st_mode)]\n"
            "print(json.dumps(found))\n"
        )
        with _gateway(bubblewrap.root) as door:
            assert bubblewrap.probe(program, outlets=(Outlet(socket=door.path, port=8787),)) == []

    def test_without_a_socket_there_is_no_way_out_and_it_starts_all_the_same(self, bubblewrap: Ground) -> None:
        program = "import socket; s = socket.socket(); s.settimeout(2); print(s.connect_ex(('127.0.0.1', 8787)))"
        assert bubblewrap.perform(bubblewrap.python(program)).stdout.strip() == "111"

    def test_its_own_loopback_works_for_tests_that_listen(self, bubblewrap: Ground) -> None:
        program = (
            "import socket, json; a = socket.create_server(('127.0.0.1', 0)); b = socket.create_server(('::1', 0),"
            " family=socket.AF_INET6); socket.create_connection(a.getsockname()); print(json.dumps("
            "sorted({x[4][0] for x in socket.getaddrinfo('localhost', 1)})))"
        )
        assert bubblewrap.probe(program) == ["127.0.0.1", "::1"]

    def test_a_gateway_that_refuses_the_listener_stops_the_start(self, bubblewrap: Ground, kin: Family) -> None:
        with (
            _gateway(bubblewrap.root, answer=b"") as door,
            pytest.raises(UnsafeEnvironment, match="door for port 8787 was closed"),
        ):
            bubblewrap.plain("true", outlets=(Outlet(socket=door.path, port=8787),))
        assert kin.alive_after(5) == []

    def test_a_door_that_nobody_opened_stops_the_start(self, bubblewrap: Ground) -> None:
        with pytest.raises(UnsafeEnvironment, match="nobody answers at this run's door"):
            bubblewrap.plain("true", outlets=(Outlet(socket=bubblewrap.root / "no.sock", port=8787),))

    def test_a_socket_with_a_long_path_will_do(self, bubblewrap: Ground) -> None:
        """State directories may lie deep; an address of a socket may have 107 bytes."""
        deep = bubblewrap.root / ("d" * 100) / ("e" * 100)
        deep.mkdir(parents=True)
        program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8787/', timeout=5).status)"
        with _gateway(deep) as door:
            assert (
                bubblewrap.perform(bubblewrap.python(program, outlets=(Outlet(socket=door.path, port=8787),))).stdout
                == "200\n"
            )

    def test_where_there_is_no_loopback_the_socket_itself_can_be_reached(self, without_loopback: Ground) -> None:
        run = without_loopback
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]);"
            " print(s.recv(5).decode())"
        )
        path = run.root / "gw.sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            if is_root():
                os.chown(path, run.uid, run.uid)
            path.chmod(0o600)
            thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"), daemon=True)
            thread.start()
            done = run.perform(run.python(program, str(path), outlets=(Outlet(socket=path, port=8787),)))
        assert (done.stdout, done.stderr) == ("hello\n", "")


class TestOnlyBubblewrap:
    """What the strongest rung gives on top."""

    def test_only_its_own_processes_exist(self, bubblewrap: Ground) -> None:
        pids = bubblewrap.probe("import os, json; print(json.dumps([p for p in os.listdir('/proc') if p.isdigit()]))")
        assert len(pids) == 2

    def test_everything_works_below_a_closed_folder(self, bubblewrap: Ground) -> None:
        """A state directory in root's home, and pytest's own folders, are 0700."""
        assert bubblewrap.root.parent.parent.stat().st_mode & 0o777 == 0o700
        assert bubblewrap.plain("sh", "-c", "echo x > f && cat f").stdout == "x\n"

    def test_the_made_etc_answers_what_tests_ask(self, bubblewrap: Ground) -> None:
        program = (
            "import getpass, grp, json, os, pwd, socket, time; me = pwd.getpwuid(os.getuid());"
            " print(json.dumps([me.pw_name, me.pw_dir, grp.getgrgid(os.getgid()).gr_name, getpass.getuser(),"
            " socket.gethostname(), os.path.exists('/etc/resolv.conf'), os.path.exists('/etc/shadow')]))"
        )
        home = bubblewrap.layout.home
        assert bubblewrap.probe(program) == ["agent", home, "agent", "agent", "crewcap", True, False]

    def test_shared_memory_and_temporary_files_are_its_own(self, bubblewrap: Ground) -> None:
        program = (
            "import os, json, multiprocessing as m; m.Lock(); open('/dev/shm/x', 'w').write('y');"
            " print(json.dumps([oct(os.stat(p).st_mode & 0o7777) for p in ('/tmp', '/var/tmp', '/dev/shm')]))"
        )
        assert bubblewrap.probe(program) == ["0o1777"] * 3
        assert not Path("/dev/shm/x").exists()

    def test_what_another_run_left_in_tmp_is_not_there(self, bubblewrap: Ground) -> None:
        bubblewrap.plain("sh", "-c", "echo x > /tmp/left")
        assert bubblewrap.plain("ls", "-A", "/tmp").stdout == ""


# --- what stands around a sandbox in these tests -----------------------------------------------------------------


def _driver(run: Ground, canary: str, *, program: str = ZOO) -> subprocess.Popen[bytes]:
    """A process like crewcap: it has a key in its environment and starts one sandbox."""
    words = [run.sandbox.rung, str(run.uid), PYTHON, str(run.workspace), str(run.home), run.layout.workspace, program]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *words],
        env={**os.environ, "ANTHROPIC_API_KEY": canary},
        stdout=subprocess.PIPE,
    )


@contextlib.contextmanager
def _neighbour(run: Ground) -> Iterator[int]:
    """Another process of the run's own user, with a secret in its environment."""
    user = {"user": run.uid, "group": run.uid, "extra_groups": []} if is_root() else {}
    with subprocess.Popen(["sleep", "60"], env={"KEY": CANARY}, **user) as process:  # type: ignore[call-overload]  # dict
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def _listeners() -> Iterator[tuple[socket.socket, socket.socket, str]]:
    """Services of this machine that a run must not reach."""
    abstract = f"crewcap-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        with socket.socket(socket.AF_UNIX) as local:
            local.bind(f"\0{abstract}")
            local.listen()
            yield tcp, udp, abstract


def _received(udp: socket.socket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return udp.recv(100)
    return b""


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = f"you asked for {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


class _Door:
    """The gateway's side of one run: takes a listener over a unix socket and serves on it."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.path = path
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        folder = os.open(path.parent, os.O_PATH)
        self._socket.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        self._socket.listen()
        self._server: HTTPServer | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError), self._socket.accept()[0] as peer:
            word, descriptors, _, _ = socket.recv_fds(peer, 1, 1)
            assert word == b"L"
            listener = socket.socket(fileno=descriptors[0])
            if not self._answer:
                return
            self._server = HTTPServer(("127.0.0.1", 0), _Answer, bind_and_activate=False)
            self._server.socket.close()
            self._server.socket = listener
            peer.sendall(self._answer)
            self._server.serve_forever(poll_interval=0.01)

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._socket.close()


@contextlib.contextmanager
def _gateway(folder: Path, *, answer: bytes = b"K") -> Iterator[_Door]:
    door = _Door(folder / "gw.sock", answer)
    try:
        yield door
    finally:
        door.close()


def _command_lines() -> list[str]:
    """Of every process of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().decode("utf-8", "replace"))
    return lines
