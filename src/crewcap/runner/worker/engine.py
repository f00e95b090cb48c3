"""The engine of unattended runs: a queue, checkpoints and recovery. The one file that knows DBOS.

A run is a chain of steps. The engine calls `perform(run, attempt, step)`, writes down the name of the next step that
comes back, and calls again, until that name is empty. What it promises, and what it does not:

*   Each attempt is one workflow, `run:<id>:<attempt>`: asked for twice, it exists once.
*   A step whose answer was written down is never performed again; one that was interrupted is. So every step looks
    first at the run's row and at the world whether its effect is there.
*   The run's row is the truth, not this. The engine's file may be lost, or a workflow may end in error: the run stays
    open in our books, nothing of `unfinished()` stands for it, and whoever compares the two begins a new attempt.
*   A workflow ends in error only when `perform` failed in a way of its own. A process that ends, in order or not,
    leaves its workflows pending: on SQLite the next start takes them up by itself, on PostgreSQL whoever finds the
    executor dead cancels them and begins new attempts. Two processes with one executor's name do everything twice.
*   `perform` runs on the event loop that called `start`, never on the engine's threads, and once at a time for a run.

The workflow's version is a word of ours, not DBOS's hash of the source: a change of a comment must not strand what is
under way. It rises only when the order of what is written down changes; workflows of other versions are then seen in
`unfinished()` and never taken up.

What must not be done here: progress does not go through steps (each one is a flushed write), limits of time are not
DBOS's (each takes a thread), and nothing but names and numbers is given to it: what it stores is readable JSON without
prompts, paths, errors or keys.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from crewcap.core.runs import RunId
from crewcap.errors import InternalError, UnsafeEnvironment
from crewcap.runner.worker.engine_log import redirect_log
from crewcap.runner.worker.engine_store import database_url, is_postgres, make_ready, unusable
from crewcap.runner.worker.handover import Here, StepFailed

if TYPE_CHECKING:
    from dbos import DBOS, DBOSConfig

T = TypeVar("T")
Perform = Callable[[RunId, int, str], Awaitable[str]]  # (run, attempt, step) -> the next step, "" where it is over
Job = Callable[[str, str], Awaitable[None]]  # (name, key)

STEPS = ("admit", "workspace", "setup", "agent", "publish", "report", "release")
MOST_STEPS = 64  # of one attempt; more is a circle
VERSION = "wf-1"
KEPT = timedelta(days=7)  # how long the engine knows what is over

_SCHEMA = "crewcap_engine"
_RUNS, _JOBS = "runs", "jobs"
_OPEN = ("ENQUEUED", "PENDING", "DELAYED")
_FAILED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_OVER = ("SUCCESS", *_FAILED)
_PIECE = 500  # workflows that are forgotten at once
_CONNECTIONS = 5  # to PostgreSQL: 200 runs at once take no longer with them than with twenty
_LOOK_EVERY_S = 15.0
_LOOKS_TO_FORGET = 240  # an hour
_SETTLE_S = 2.0  # what the engine has for itself, at least, where nobody has time
_ONE = threading.Lock()  # DBOS is one for a process, so is the engine
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """An attempt that the engine holds and that is not over."""

    run: RunId
    attempt: int
    executor: str  # who has it, or asked for it
    version: str  # of the workflow: another than ours is never taken up
    state: Literal["enqueued", "pending"]
    place: str = ""  # whose workers alone take it; empty = everybody's


class Engine:
    """The queue, checkpoints and recovery of runs; the run's own row stays the truth. One for each process."""

    def __init__(
        self,
        *,
        store: str,
        executor: str,
        perform: Perform,
        job: Job,
        runs_at_once: int,
        jobs_at_once: int = 4,
        place: str = "",
        version: str = VERSION,
    ) -> None:
        """`store` is an SQLite file of the engine's own, or the URL of a PostgreSQL database. Nothing is opened yet.

        `place`: where this worker stands; besides everybody's attempts it takes those that belong there.
        """
        self._store = store
        self._executor = executor
        self._perform = perform
        self._job = job
        self._at_once = {_RUNS: runs_at_once, _JOBS: jobs_at_once}
        self._own = _queue_of(place)
        self._at_once[self._own] = runs_at_once
        self._version = version
        self._here = Here()
        self._threads: Executor | None = None
        self._dbos: DBOS | None = None
        self._begun: Counter[str] = Counter()  # workflows that DBOS performs here; changed on its loop
        self._chores: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take work, and what an earlier process of this name left: `perform` may be called before the end."""
        if not _ONE.acquire(blocking=False):
            raise InternalError("a process has one engine, and it was started")
        self._here.open(asyncio.get_running_loop())
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="crewcap-engine")
        try:
            await self._off_loop(self._launch)
        except BaseException:
            self._end_threads()
            raise
        self._chores = asyncio.create_task(self._keep_house())

    async def stop(self, *, within_s: float) -> None:
        """Take nothing new, cancel what is performed and give it this long to clean up; all of it stays resumable."""
        if self._threads is None:
            return
        deadline = asyncio.get_running_loop().time() + within_s
        if self._chores is not None:
            self._chores.cancel()
        if self._dbos is not None:
            for claiming in self._dbos.background_thread_stop_events:
                claiming.set()
        await self._here.close(within_s)
        left_s = deadline - asyncio.get_running_loop().time()
        if not await _in_daemon(_discard, within_s=max(left_s, _SETTLE_S)):
            log.warning("the engine's own threads did not end in time; the process has to")
        self._end_threads()

    async def enqueue(self, run: RunId, attempt: int, *, place: str = "") -> None:
        """Have an attempt performed, by any worker or one at a place; once, however often it is asked for."""
        key, queue = _run_key(run, attempt), _queue_of(place)
        await self._off_loop(partial(_enqueue, "run", queue, key, run, attempt, version=self._version))

    async def enqueue_job(self, name: str, key: str) -> None:
        """Have a short piece of work done, once; only one that ended in error is begun again when asked for again."""
        await self._off_loop(partial(_enqueue_again, _job_key(name, key), name, key, version=self._version))

    async def cancel(self, run: RunId, attempt: int) -> None:
        """End an attempt for good: here at once, elsewhere within about a second. It may be cleaning up after this."""
        await self._off_loop(partial(_cancel, _run_key(run, attempt)))
        self._here.drop(_run_key(run, attempt))

    async def unfinished(self) -> Sequence[Unfinished]:
        """Every attempt that waits or is under way, whatever its version, whoever has it."""
        return await self._off_loop(_unfinished)

    async def take_up_jobs(self, alive: Collection[str]) -> int:
        """Begin the short work of executors that do not live again; how much that was."""
        return await self._off_loop(partial(_take_up_jobs, frozenset(alive), version=self._version))

    async def forget(self, *, finished_before: datetime) -> int:
        """Remove workflows that were over by then; how many. Done by itself every hour, for those older than a week."""
        return await self._off_loop(partial(_forget, finished_before))

    async def migrate(self) -> None:
        """Make or update the engine's tables in PostgreSQL."""
        await asyncio.to_thread(migrate, self._store)

    def _end_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
            _ONE.release()

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """Do what blocks in a thread of ours: DBOS's own asynchronous calls would change this loop's executor."""
        if self._threads is None:
            raise InternalError("the engine is not running")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _keep_house(self) -> None:
        """Look for what got lost, and now and then remove what is over."""
        lost: frozenset[str] = frozenset()
        for look in count():
            try:
                lost = await self._take_up_lost(lost)
                if look % _LOOKS_TO_FORGET == 0:
                    await self.forget(finished_before=datetime.now(UTC) - KEPT)
            except Exception:
                log.exception("the engine's store could not be looked after")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _take_up_lost(self, lost_before: frozenset[str]) -> frozenset[str]:
        """Put back what the store says we perform and nobody does: DBOS drops it when the database fails it just then.

        Only what was lost the last time as well: between being claimed and being begun there is a moment.
        """
        pending = partial(_listed, status=["PENDING"], executor_id=[self._executor], app_version=[self._version])
        found = await self._off_loop(pending)
        lost = frozenset(each.workflow_id for each in found if each.workflow_id not in self._begun)
        for key in lost & lost_before:
            log.warning("%s was claimed and is not performed; it goes back into the queue", key)
            await self._off_loop(partial(self._put_back, key))
        return lost

    # everything below runs on threads of ours or on DBOS's own

    def _launch(self) -> None:
        from dbos import DBOS  # noqa: PLC0415  (half a second, for workers only)

        redirect_log()
        if not is_postgres(self._store):
            make_ready(Path(self._store))
        try:
            self._dbos = DBOS(config=self._config())
            self._register(DBOS)
            DBOS.listen_queues(list(self._at_once))
            DBOS.launch()
            for name, at_once in self._at_once.items():
                DBOS.register_queue(
                    name,
                    worker_concurrency=at_once,
                    polling_interval_sec=1.0 if is_postgres(self._store) else 0.25,
                    on_conflict="always_update",
                )
        except Exception as error:
            _discard()
            raise _trouble(self._store, error) from error

    def _config(self) -> DBOSConfig:
        from dbos import DBOSPortableJSONSerializer  # noqa: PLC0415

        return {
            "name": "crewcap",
            "system_database_url": database_url(self._store)
            if is_postgres(self._store)
            else f"sqlite:///{self._store}",
            "dbos_system_schema": _SCHEMA,
            "sys_db_pool_size": _CONNECTIONS,
            "run_migrations": not is_postgres(self._store),
            "use_listen_notify": False,  # it serves messages between workflows, and there are none
            "notification_listener_polling_interval_sec": 0.25,  # asks nothing, but the end waits for it
            "application_version": self._version,
            "executor_id": self._executor,
            "serializer": DBOSPortableJSONSerializer(),  # the default one would unpickle what a database holds
            "log_level": "WARNING",
            "enable_otlp": False,
            "max_executor_threads": 32,  # without it, one is kept for each run that there ever was at once
            "scheduler_polling_interval_sec": 60.0,  # schedules are ours
        }

    def _register(self, api: type[DBOS]) -> None:
        """Tell DBOS the two workflows, by names that do not depend on where the code stands."""

        @api.workflow(name="run")
        async def attempt_of_a_run(run: str, attempt: int) -> None:
            with self._performing(_run_key(RunId(run), attempt)):
                await self._steps(api, RunId(run), attempt)

        @api.workflow(name="job")
        async def job(name: str, key: str) -> None:
            with self._performing(_job_key(name, key)):
                try:
                    await api.run_step_async({"name": "job", "preemptible": True}, self._do_job, name, key)
                finally:
                    self._here.written(_job_key(name, key))

    @contextmanager
    def _performing(self, key: str) -> Iterator[None]:
        self._begun[key] += 1
        try:
            yield
        finally:
            self._begun[key] -= 1
            if not self._begun[key]:
                del self._begun[key]

    def _put_back(self, key: str) -> None:
        if self._dbos is not None:
            self._dbos._sys_db.reenqueue_for_recovery(key, [self._executor], self._own)  # noqa: SLF001  (a test holds it)

    async def _steps(self, api: type[DBOS], run: RunId, attempt: int) -> None:
        step = STEPS[0]
        for _ in range(MOST_STEPS):
            try:
                step = await api.run_step_async({"name": step, "preemptible": True}, self._do_step, run, attempt, step)
            finally:
                self._here.written(_run_key(run, attempt))
            if not step:
                return
        log.error("run %s, attempt %d: more than %d steps", run, attempt, MOST_STEPS)
        raise StepFailed("too many steps")

    async def _do_step(self, run: RunId, attempt: int, step: str) -> str:
        following = await self._here.do(_run_key(run, attempt), run, step, lambda: self._perform(run, attempt, step))
        if following and following not in STEPS:
            log.error("run %s, attempt %d: %s is followed by no known step, but by %r", run, attempt, step, following)
            raise StepFailed(step)
        return following

    async def _do_job(self, name: str, key: str) -> None:
        await self._here.do(_job_key(name, key), _job_key(name, key), name, lambda: self._job(name, key))


def migrate(store: str) -> None:
    """Make or update the engine's tables in PostgreSQL: by command, with a role that may; a file needs no word."""
    from dbos import DBOS  # noqa: PLC0415

    if not is_postgres(store):
        return
    redirect_log()
    try:
        DBOS.migrate(database_url(store), schema=_SCHEMA)
    except Exception as error:
        raise _trouble(store, error) from error


def _trouble(store: str, error: Exception) -> UnsafeEnvironment:
    """What failed, without DBOS's words: they name a command and a setting that are not ours."""
    from dbos._error import DBOSInitializationError  # noqa: PLC0415

    said = (str(getattr(error, "orig", error)).splitlines() or [type(error).__name__])[0]
    if not is_postgres(store):
        return unusable(Path(store), said)
    if isinstance(error, DBOSInitializationError):
        return UnsafeEnvironment(
            "the database has no tables of the engine, or older ones", help="crewcap ledger migrate"
        )
    return UnsafeEnvironment(
        f"the engine cannot use the database: {said}",
        help=f"see that the server runs, and that its role may read and write the schema {_SCHEMA}",
    )


def _run_key(run: RunId, attempt: int) -> str:
    return f"run:{run}:{attempt}"


def _job_key(name: str, key: str) -> str:
    return f"job:{name}:{key}"


def _queue_of(place: str) -> str:
    return f"{_RUNS}@{place}" if place else _RUNS


def _enqueue(name: str, queue: str, key: str, *given: str | int, version: str) -> None:
    from dbos import DBOS  # noqa: PLC0415

    DBOS.enqueue_workflow_with_options(
        {"workflow_name": name, "queue_name": queue, "workflow_id": key, "app_version": version}, *given
    )


def _enqueue_again(key: str, *given: str | int, version: str) -> None:
    from dbos import DBOS  # noqa: PLC0415

    if _listed(workflow_ids=[key], status=list(_FAILED)):
        DBOS.delete_workflow(key)
    _enqueue("job", _JOBS, key, *given, version=version)


def _cancel(key: str) -> None:
    from dbos import DBOS  # noqa: PLC0415

    DBOS.cancel_workflow(key)


def _listed(**filters: Any) -> Sequence[Any]:
    from dbos import DBOS  # noqa: PLC0415

    return DBOS.list_workflows(load_input=False, load_output=False, **filters)


def _unfinished() -> Sequence[Unfinished]:
    found = _listed(status=list(_OPEN), workflow_id_prefix="run:")
    return tuple(map(_read, found))


def _read(found: Any) -> Unfinished:
    _, run, attempt = found.workflow_id.split(":")
    return Unfinished(
        run=RunId(run),
        attempt=int(attempt),
        executor=found.executor_id or "",
        version=found.app_version or "",
        state="pending" if found.status == "PENDING" else "enqueued",
        place=(found.queue_name or "").partition("@")[2],
    )


def _take_up_jobs(alive: frozenset[str], *, version: str) -> int:
    lost = [
        each for each in _listed(status=["PENDING"], workflow_id_prefix="job:") if (each.executor_id or "") not in alive
    ]
    for each in lost:
        _cancel(each.workflow_id)
        _, name, key = each.workflow_id.split(":", 2)
        _enqueue_again(each.workflow_id, name, key, version=version)
    return len(lost)


def _forget(finished_before: datetime) -> int:
    from dbos import DBOS  # noqa: PLC0415

    removed = 0
    while found := _listed(status=list(_OVER), completed_before=finished_before.isoformat(), limit=_PIECE):
        DBOS.delete_workflows([each.workflow_id for each in found])
        removed += len(found)
    return removed


def _discard() -> None:
    from dbos import DBOS  # noqa: PLC0415

    DBOS.destroy(destroy_registry=True)


async def _in_daemon(work: Callable[[], None], *, within_s: float) -> bool:
    """Do it in a thread that the end of the process does not wait for; whether it was done in time."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def act() -> None:
        try:
            work()
        finally:
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=act, daemon=True, name="crewcap-engine-end").start()
    try:
        await asyncio.wait_for(done.wait(), within_s)
    except TimeoutError:
        return False
    return True
