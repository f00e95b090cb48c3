"""The engine: every attempt once, no finished step twice, and nothing lost when a process ends."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.runner.worker.bench import Floor, after, over, rows, states, worker, working
from tests.stores.postgres_server import Server, serving, shared

from crewcap.core.runs import RunId
from crewcap.errors import InternalError, UnsafeEnvironment
from crewcap.runner.worker.engine import MOST_STEPS, STEPS, VERSION, Engine, Unfinished, migrate

RUN = RunId("run-1")
OTHER = RunId("run-2")


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store that was started once: an engine takes a second to find queues that are new."""
    path = tmp_path_factory.mktemp("engine") / "engine.db"

    async def start() -> None:
        async with working(str(path), Floor()):
            pass

    asyncio.run(start())
    return path.read_bytes()


@pytest.fixture
def store(tmp_path: Path, new_store: bytes) -> str:
    path = tmp_path / "engine.db"
    path.write_bytes(new_store)
    return str(path)


@pytest.fixture(scope="session")
def postgres() -> Server:
    return shared()


@pytest.fixture
def database(postgres: Server) -> str:
    """The URL of a database with the engine's tables."""
    url = postgres.empty()
    migrate(url)
    return url


def _engine(store: str) -> Engine:
    floor = Floor()
    return Engine(store=store, executor="local", perform=floor.perform, job=floor.job, runs_at_once=1)


# one attempt


def test_the_steps_of_an_attempt_follow_one_another(store: str) -> None:
    """What `perform` answers is what is performed next; an empty answer is the end."""

    async def scene() -> None:
        floor = Floor()
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await floor.until(lambda: len(floor.seen) == len(STEPS))
            await over(engine)
        assert floor.seen == [(RUN, 1, step) for step in STEPS]
        assert rows(store, "SELECT workflow_uuid, status FROM workflow_status") == [("run:run-1:1", "SUCCESS")]

    asyncio.run(scene())


def test_perform_runs_on_the_loop_that_called_start(store: str) -> None:
    """What it uses belongs to that loop."""

    async def scene() -> None:
        floor = Floor()
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await engine.enqueue_job("wake", "1")
            await floor.until(lambda: len(floor.seen) == len(STEPS) and len(floor.jobs) == 1)
        assert floor.threads == {threading.get_ident()}

    asyncio.run(scene())


def test_our_loop_keeps_its_threads(store: str) -> None:
    """DBOS's own asynchronous calls would give the loop an executor that is gone after the end."""

    async def scene() -> str:
        floor = Floor()
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await floor.until(lambda: len(floor.seen) == len(STEPS))
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    assert "dbos" not in asyncio.run(scene())


def test_an_attempt_that_is_asked_for_four_times_is_performed_once(store: str) -> None:
    """Before, during and after: whoever is in doubt asks again."""

    async def scene() -> None:
        floor = Floor()
        async with working(store, floor) as engine:
            await asyncio.gather(engine.enqueue(RUN, 1), engine.enqueue(RUN, 1))
            await floor.until(lambda: bool(floor.seen))
            await engine.enqueue(RUN, 1)
            await over(engine)
            await engine.enqueue(RUN, 1)
            assert await engine.unfinished() == ()
        assert floor.steps(RUN) == list(STEPS)

    asyncio.run(scene())


def test_a_red_check_sends_the_agent_back_to_work(store: str) -> None:
    """A step may be followed by an earlier one."""

    async def scene() -> None:
        floor = Floor()
        floor.instead = lambda run, attempt, step: (
            "agent" if step == "publish" and floor.steps(run, attempt).count("publish") < 3 else after(step)
        )
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await floor.until(lambda: "release" in floor.steps(RUN))
        assert floor.steps(RUN) == [*STEPS[:3], *("agent", "publish") * 3, "report", "release"]

    asyncio.run(scene())


def test_a_circle_of_steps_ends(store: str) -> None:
    """An attempt has a bounded number of steps, whatever `perform` answers."""

    async def scene() -> None:
        floor = Floor()
        floor.instead = lambda _run, _attempt, _step: "agent"
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await floor.until(lambda: len(floor.seen) == MOST_STEPS)
            await over(engine)
            assert len(floor.seen) == MOST_STEPS
        assert rows(store, "SELECT status FROM workflow_status") == [("ERROR",)]

    asyncio.run(scene())


@pytest.mark.parametrize("way", ["raises", "cancels itself", "names no step"])
def test_a_step_that_fails_loses_no_run(store: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its attempt is over, which shows in what is unfinished, and another one begins from the first step."""

    def fail(_run: str, attempt: int, step: str) -> str:
        if attempt > 1 or step != "setup":
            return after(step)
        if way == "names no step":
            return "elsewhere"
        raise ValueError("the cellar is flooded") if way == "raises" else asyncio.CancelledError

    async def scene() -> None:
        floor = Floor()
        floor.instead = fail
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await floor.until(lambda: "setup" in floor.steps(RUN))
            await over(engine)
            await engine.enqueue(RUN, 2)
            await floor.until(lambda: "release" in floor.steps(RUN, 2))
            await over(engine)
        assert floor.steps(RUN) == ["admit", "workspace", "setup"]
        assert floor.steps(RUN, 2) == list(STEPS)

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    assert len(caplog.records) == 1
    assert "run-1" in caplog.text
    assert ("the cellar is flooded" in caplog.text) == (way == "raises")


def test_what_went_wrong_is_in_the_log_and_not_in_the_store(store: str) -> None:
    """An error may quote a prompt or a key; the store of the engine holds names and numbers."""

    async def scene() -> None:
        floor = Floor()
        floor.instead = lambda *_: (_ for _ in ()).throw(ValueError("sk-ant-fake-0123"))
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await floor.until(lambda: bool(floor.seen))
            await over(engine)

    asyncio.run(scene())
    assert all(b"sk-ant-fake" not in path.read_bytes() for path in Path(store).parent.iterdir())


# cancelled and stopped


def test_what_is_cancelled_cleans_up_and_is_over(store: str) -> None:
    """It is not begun again at the next start either."""

    async def scene() -> None:
        floor = Floor()
        floor.hold = "agent"
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await asyncio.wait_for(floor.held.wait(), 30)
            await engine.cancel(RUN, 1)
            await over(engine)
            assert floor.cleaned == ["run-1:1"]
        async with working(store, floor) as engine:
            await engine.enqueue(OTHER, 1)
            await floor.until(lambda: "agent" in floor.steps(OTHER))
        assert floor.steps(RUN) == ["admit", "workspace", "setup", "agent"]

    asyncio.run(scene())


def test_what_is_cancelled_before_its_turn_is_never_performed(store: str) -> None:
    """With one place, the second waits; the third comes after it."""

    async def scene() -> None:
        floor = Floor()
        floor.hold = "agent"
        async with working(store, floor, runs=1) as engine:
            await engine.enqueue(RUN, 1)
            await asyncio.wait_for(floor.held.wait(), 30)
            await engine.enqueue(OTHER, 1)
            assert {(each.run, each.state) for each in await engine.unfinished()} == {
                (RUN, "pending"),
                (OTHER, "enqueued"),
            }
            await engine.cancel(OTHER, 1)
            floor.hold = ""
            await engine.enqueue(RunId("run-3"), 1)
            await engine.cancel(RUN, 1)
            await floor.until(lambda: "release" in floor.steps("run-3"))
        assert floor.steps(OTHER) == []

    asyncio.run(scene())


def test_a_new_attempt_waits_until_the_old_one_has_cleaned_up(store: str) -> None:
    """Two agents in one workspace would be worse than a late one."""

    async def scene() -> None:
        told: list[str] = []
        clean, held = asyncio.Event(), asyncio.Event()

        async def perform(_run: RunId, attempt: int, step: str) -> str:
            told.append(f"{attempt} {step}")
            if (attempt, step) == (1, "agent"):
                held.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    await clean.wait()
                    told.append("1 is clean")
            return after(step)

        async with working(store, Floor(), perform=perform) as engine:
            await engine.enqueue(RUN, 1)
            await asyncio.wait_for(held.wait(), 30)
            await engine.cancel(RUN, 1)
            await engine.enqueue(RUN, 2)
            await states(engine, ["pending"])
            clean.set()
            await over(engine)
        assert told[4:6] == ["1 is clean", "2 admit"]

    asyncio.run(scene())


def test_what_is_stopped_goes_on_at_the_next_start(store: str) -> None:
    """Its step cleans up and is performed again; those before it are not, and what waited still waits."""

    async def scene() -> None:
        floor = Floor()
        floor.hold = "agent"
        async with working(store, floor, runs=1) as engine:
            await engine.enqueue(RUN, 1)
            await asyncio.wait_for(floor.held.wait(), 30)
            await engine.enqueue(OTHER, 1)
        assert floor.cleaned == ["run-1:1"]
        floor.hold = ""
        async with working(store, floor) as engine:
            await over(engine)
        assert floor.steps(RUN) == ["admit", "workspace", "setup", "agent", *STEPS[3:]]
        assert floor.steps(OTHER) == list(STEPS)

    asyncio.run(scene())


def test_a_step_that_was_done_while_stopping_is_not_done_again(store: str) -> None:
    """It may answer instead of being cancelled, and the answer counts."""

    async def scene() -> None:
        seen: list[str] = []
        held = asyncio.Event()

        async def perform(_run: RunId, _attempt: int, step: str) -> str:
            seen.append(step)
            if step == "publish":
                held.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    return after(step)
            return after(step)

        async with working(store, Floor(), perform=perform) as engine:
            await engine.enqueue(RUN, 1)
            await asyncio.wait_for(held.wait(), 30)
        async with working(store, Floor(), perform=perform) as engine:
            await over(engine)
        assert seen.count("publish") == 1
        assert seen[-1] == "release"

    asyncio.run(scene())


def test_a_stop_does_not_wait_for_ever(store: str, caplog: pytest.LogCaptureFixture) -> None:
    """A step that will not end is left to the end of the process, and resumed."""

    async def scene() -> None:
        floor, free = Floor(), asyncio.Event()

        async def perform(_run: RunId, _attempt: int, step: str) -> str:
            floor.held.set()
            while not free.is_set():
                try:
                    await free.wait()
                except asyncio.CancelledError:
                    continue
            return after(step)

        engine = Engine(store=store, executor="local", perform=perform, job=floor.job, runs_at_once=1)
        await engine.start()
        await engine.enqueue(RUN, 1)
        await asyncio.wait_for(floor.held.wait(), 30)
        await asyncio.wait_for(engine.stop(within_s=0.05), 10)
        free.set()
        async with working(store, floor) as engine:
            await over(engine)
        assert floor.steps(RUN) == list(STEPS)

    asyncio.run(scene())
    assert "did not end within" in caplog.text


def test_what_was_claimed_and_is_not_performed_goes_back_into_the_queue(store: str) -> None:
    """DBOS leaves it so when the database fails between the claim and the start. What is performed is left alone."""

    async def scene() -> None:
        floor = Floor()
        floor.hold = "agent"
        async with working(store, floor, runs=1) as engine:
            await engine.enqueue(RUN, 1)
            await asyncio.wait_for(floor.held.wait(), 30)
            await engine.enqueue(OTHER, 1)
            rows(store, "UPDATE workflow_status SET status = 'PENDING', executor_id = 'local'")
            lost = await engine._take_up_lost(frozenset())
            assert lost == {"run:run-2:1"}
            await states(engine, ["pending", "pending"])
            await engine._take_up_lost(lost)
            await states(engine, ["enqueued", "pending"])
            floor.hold = ""
            await engine.cancel(RUN, 1)
            await over(engine)
        assert floor.steps(RUN) == list(STEPS[:4])
        assert floor.steps(OTHER) == list(STEPS)

    asyncio.run(scene())


# jobs, and what is over


def test_a_job_is_done_once(store: str) -> None:
    """Asked for again, by the same key, nothing happens; by another key it is another."""

    async def scene() -> None:
        floor = Floor()
        async with working(store, floor) as engine:
            await engine.enqueue_job("answer", "comment:1")
            await engine.enqueue_job("answer", "comment:1")
            await floor.until(lambda: len(floor.jobs) == 1)
            await engine.enqueue_job("answer", "comment:1")
            await engine.enqueue_job("answer", "comment:2")
            await floor.until(lambda: len(floor.jobs) == 2)
            assert await engine.unfinished() == ()
        assert floor.jobs == [("answer", "comment:1"), ("answer", "comment:2")]

    asyncio.run(scene())


def test_a_job_that_failed_may_be_asked_for_again(store: str) -> None:
    """By itself it is not repeated."""

    def fail(_key: str) -> None:
        raise OSError("no answer")

    async def scene() -> None:
        floor = Floor()
        floor.in_job = fail
        async with working(store, floor) as engine:
            await engine.enqueue_job("notify", "1")
            await floor.until(lambda: len(floor.jobs) == 1)
            floor.in_job = lambda _key: None
            async with asyncio.timeout(30):
                while len(floor.jobs) < 2:
                    await engine.enqueue_job("notify", "1")
        assert floor.jobs == [("notify", "1")] * 2

    asyncio.run(scene())


def test_what_was_over_long_ago_is_forgotten(store: str) -> None:
    """The store does not grow for ever; what is under way stays, however old it is."""

    async def scene() -> None:
        floor = Floor()
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await over(engine)
            floor.hold = "agent"
            await engine.enqueue(OTHER, 1)
            await asyncio.wait_for(floor.held.wait(), 30)
            now = datetime.now(UTC)
            assert await engine.forget(finished_before=now - timedelta(hours=1)) == 0
            assert await engine.forget(finished_before=now + timedelta(hours=1)) == 1
            assert [each.run for each in await engine.unfinished()] == [OTHER]
        assert rows(store, "SELECT DISTINCT workflow_uuid FROM operation_outputs") == [("run:run-2:1",)]

    asyncio.run(scene())


def test_the_leftovers_of_another_version_are_seen_and_not_touched(store: str) -> None:
    """After an upgrade, whoever compares them with the runs cancels them and begins new attempts."""

    async def scene() -> None:
        floor = Floor()
        floor.hold = "agent"
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await asyncio.wait_for(floor.held.wait(), 30)
        rows(store, "UPDATE workflow_status SET application_version = 'wf-0'")
        floor.hold, floor.seen = "", []
        async with working(store, floor) as engine:
            await engine.enqueue(OTHER, 1)
            await floor.until(lambda: "release" in floor.steps(OTHER))
            found = {each.run: each for each in await engine.unfinished()}
            assert found[RUN] == Unfinished(run=RUN, attempt=1, executor="local", version="wf-0", state="pending")
            assert floor.steps(RUN) == []
            await engine.cancel(RUN, 1)
            await engine.enqueue(RUN, 2)
            await over(engine)
            assert floor.steps(RUN, 2) == list(STEPS)

    asyncio.run(scene())


# the store


@pytest.mark.parametrize("damage", ["no database", "another's", "torn"])
def test_a_file_that_is_not_the_engines_is_refused(tmp_path: Path, store: str, damage: str) -> None:
    """The message says that it can go: the runs are elsewhere."""
    path = Path(store)
    match damage:
        case "no database":
            path.write_bytes(b"once upon a time" * 300)
        case "another's":
            path = tmp_path / "ledger.db"
            rows(str(path), "CREATE TABLE book (page TEXT)")
        case "torn":
            path.write_bytes(path.read_bytes()[:8192] + b"\xff" * 100_000)
    before = path.read_bytes()
    with pytest.raises(UnsafeEnvironment) as refused:
        asyncio.run(_engine(str(path)).start())
    assert refused.value.message.startswith(f"{path} is not what the engine left")
    assert f"delete {path.name}" in refused.value.help
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path) -> None:
    """Nobody is told to delete what is only out of reach."""
    with pytest.raises(UnsafeEnvironment) as refused:
        asyncio.run(_engine(str(tmp_path / "missing" / "engine.db")).start())
    assert "cannot open" in refused.value.message
    assert "delete" not in refused.value.help


def test_the_file_is_for_its_owner_and_in_wal_mode(tmp_path: Path) -> None:
    """A queue that waits for every reader would take ten times as long."""

    async def scene() -> None:
        async with working(str(tmp_path / "engine.db"), Floor()):
            pass

    asyncio.run(scene())
    assert (tmp_path / "engine.db").stat().st_mode & 0o777 == 0o600
    assert rows(str(tmp_path / "engine.db"), "PRAGMA journal_mode") == [("wal",)]


def test_a_process_has_one_engine(store: str, tmp_path: Path) -> None:
    """A second one would take over the first one's workflows."""

    async def scene() -> None:
        async with working(store, Floor()):
            with pytest.raises(InternalError):
                await _engine(str(tmp_path / "second.db")).start()

    asyncio.run(scene())


def test_an_engine_that_does_not_run_says_so(store: str) -> None:
    """Rather than waiting for it."""
    engine = _engine(store)
    with pytest.raises(InternalError):
        asyncio.run(engine.enqueue(RUN, 1))
    asyncio.run(engine.stop(within_s=1))


def test_a_start_that_failed_can_be_tried_again(store: str) -> None:
    """A refused file is replaced, and the same process goes on."""
    whole = Path(store).read_bytes()
    Path(store).write_bytes(b"once upon a time" * 300)

    async def scene() -> None:
        with pytest.raises(UnsafeEnvironment):
            await _engine(store).start()
        await asyncio.to_thread(Path(store).write_bytes, whole)
        floor = Floor()
        async with working(store, floor) as engine:
            await engine.enqueue(RUN, 1)
            await floor.until(lambda: "release" in floor.steps(RUN))

    asyncio.run(scene())


# processes


def test_a_worker_that_is_killed_in_a_step_does_that_step_again_and_no_other(store: str, tmp_path: Path) -> None:
    """Three runs in the middle of their agents; the next start takes them up by itself."""
    journal = tmp_path / "journal"
    runs = [f"run-{n}" for n in range(3)]
    with worker(store, journal, hold="agent") as first:
        assert first.said() == "started"
        first.ask("enqueue_all", *runs)
        first.until(lambda one: [step for *_, step in one.journal()].count("agent") == len(runs))
        first.kill()
    with worker(store, journal) as second:
        assert second.said() == "started"
        second.until(lambda one: [step for *_, step in one.journal()].count("release") == len(runs))
        assert second.end() == ""
    for run in runs:
        steps = [step for _, of, _, step in second.journal() if of == run]
        assert steps == [*STEPS[:4], *STEPS[3:]]


def test_the_engine_listens_nowhere_and_prints_nothing(store: str, tmp_path: Path) -> None:
    """No administration by HTTP, no banner, no log of its own on the console."""
    with worker(store, tmp_path / "journal") as one:
        assert one.said() == "started"
        one.ask("enqueue", "run-1", 1)
        one.until(lambda each: len(each.journal()) == len(STEPS))
        assert one.ask("listening") == []
        assert one.end() == ""
        assert one.process.returncode == 0


# PostgreSQL


def test_two_workers_share_a_queue_and_start_nothing_twice(database: str, tmp_path: Path) -> None:
    """Forty runs, each asked for on both."""
    journal = tmp_path / "journal"
    runs = [f"run-{n}" for n in range(40)]
    with (
        worker(database, journal, executor="a") as first,
        worker(database, journal, executor="b") as second,
    ):
        assert (first.said(), second.said()) == ("started", "started")
        first.ask("enqueue_all", *runs)
        second.ask("enqueue_all", *runs)
        first.until(lambda one: len(one.journal()) >= len(runs) * len(STEPS) and not one.ask("unfinished"))
        assert (first.end(), second.end()) == ("", "")
    assert sorted((run, step) for _, run, _, step in first.journal()) == sorted((r, s) for r in runs for s in STEPS)
    assert {executor for executor, *_ in first.journal()} == {"a", "b"}


def test_what_a_dead_worker_left_is_seen_by_others_and_begun_anew_by_whoever_cancels_it(
    database: str, tmp_path: Path
) -> None:
    """Nobody takes it up by itself: only our own heartbeats say who is dead."""
    journal = tmp_path / "journal"
    with worker(database, journal, executor="a", hold="agent") as first:
        assert first.said() == "started"
        first.ask("enqueue_all", "run-1", "run-2")
        first.until(lambda one: [step for *_, step in one.journal()].count("agent") == 2)
        first.kill()
    with worker(database, journal, executor="b") as second:
        assert second.said() == "started"
        left = second.ask("unfinished")
        assert {(each["run"], each["executor"], each["state"]) for each in left} == {
            ("run-1", "a", "pending"),
            ("run-2", "a", "pending"),
        }
        second.ask("cancel", "run-1", 1)
        second.ask("enqueue", "run-1", 2)
        second.until(lambda one: [each["run"] for each in one.ask("unfinished")] == ["run-2"])
        assert second.end() == ""
    assert [tuple(rest) for executor, *rest in second.journal() if executor == "b"] == [
        ("run-1", "2", step) for step in STEPS
    ]


def test_a_worker_has_few_connections_however_many_runs_it_performs(database: str) -> None:
    """Three workers and their gateways have to find room on a server as it comes, which has a hundred."""

    async def scene() -> None:
        floor = Floor()
        async with working(database, floor, runs=60) as engine:
            await asyncio.gather(*(engine.enqueue(RunId(f"run-{n}"), 1) for n in range(60)))
            most = 0
            while await engine.unfinished():
                most = max(most, await _connections(database))
            assert len(floor.seen) == 60 * len(STEPS)
        assert 0 < most <= 5

    asyncio.run(scene())


async def _connections(url: str) -> int:
    """Of others to this database."""
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  (it has no types; this test alone asks)

    asking = await asyncpg.connect(url)
    try:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return int(await asking.fetchval(others))
    finally:
        await asking.close()


def test_a_run_is_cancelled_wherever_it_is(database: str, tmp_path: Path) -> None:
    """Another worker says it; the one that performs hears of it within a second or two."""
    journal = tmp_path / "journal"
    with (
        worker(database, journal, executor="a", hold="agent") as first,
        worker(database, journal, executor="b", hold="agent") as second,
    ):
        assert (first.said(), second.said()) == ("started", "started")
        first.ask("enqueue", "run-1", 1)
        first.until(lambda one: any(step == "agent" for *_, step in one.journal()))
        [(there, *_)] = [row for row in first.journal() if row[3] == "agent"]
        (second if there == "a" else first).ask("cancel", "run-1", 1)
        first.until(lambda one: not one.ask("unfinished"))
        assert (first.end(), second.end()) == ("", "")


def test_a_database_without_the_engines_tables_names_the_command(postgres: Server, tmp_path: Path) -> None:
    """A worker never makes tables: its role need not be allowed to."""
    with worker(postgres.empty(), tmp_path / "journal") as one:
        assert one.said() == ("error: the database has no tables of the engine, or older ones; crewcap ledger migrate")
        assert one.end() == ""
        assert one.process.returncode == 4


def test_migrating_twice_changes_nothing(database: str) -> None:
    """It is part of every upgrade."""
    asyncio.run(_engine(database).migrate())


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """And comes soon."""
    with worker(f"postgresql://nobody@/none?host={tmp_path}", tmp_path / "journal") as one:
        assert one.said().startswith("error: the engine cannot use the database: ")
        assert one.end() == ""


def test_a_worker_ends_though_its_database_is_gone(tmp_path: Path) -> None:
    """What it could not write down is resumed when the database is back."""
    with serving() as server:
        url = server.empty()
        migrate(url)
        journal = tmp_path / "journal"
        with worker(url, journal, executor="a", hold="agent") as one:
            assert one.said() == "started"
            one.ask("enqueue", "run-1", 1)
            one.until(lambda each: len(each.journal()) == 4)
            server.kill()
            one.end()
            assert one.process.returncode == 0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The engine sends DBOS's words through our loggers; pytest's own capture is put back."""
    theirs = logging.getLogger("dbos")
    handlers, propagate = list(theirs.handlers), theirs.propagate
    yield
    theirs.handlers[:], theirs.propagate = handlers, propagate


def test_the_version_is_a_word_of_ours() -> None:
    """A change of it strands what is under way until the dispatcher has begun new attempts: never by accident."""
    assert VERSION == "wf-1"
    assert STEPS == ("admit", "workspace", "setup", "agent", "publish", "report", "release")
