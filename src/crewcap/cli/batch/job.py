"""A batch from the command line: hand what is asked to the gateway, wait, write its results."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crewcap.cli.batch.asked import Wishes, asked
from crewcap.cli.batch.view import folder_of, progress, summary
from crewcap.cli.context import Call
from crewcap.cli.runs.room import require_room
from crewcap.cli.screen.figures import Screen, fit
from crewcap.errors import CrewcapError, InternalError, UnsafeEnvironment, UsageError
from crewcap.gateway.batch.folder import Folder, Job
from crewcap.runner.batch_results import REFUSED, ItemView, JobView, view, write
from crewcap.trackers.files import Files

if TYPE_CHECKING:
    from crewcap.gateway.client import GatewayHandle

LINE_S = 30  # between two lines of progress, where nobody looks at a terminal
FIRST_LOOK_S, MOST_LOOK_S = 0.1, 1.0
INTERRUPTED = 130


def begin(call: Call, wishes: Wishes) -> int:
    """A new batch; its exit status."""
    held = _be_safe(call)
    job, key, prompts = asked(call, wishes)
    call.app.ledger.add_key(key, cap=job.cap)
    try:
        folder = Folder.make(call.home.batches / job.name, job, prompts)
    except BaseException:
        call.app.ledger.revoke_key(key.id)
        raise
    call.note(f"crewcap: batch {job.name}, {len(prompts):,} prompts, may spend {job.cap.show()} (key {key.id})")
    return _worked(call, folder, held, waits=wishes.waits, reports=wishes.reports)


def go_on(call: Call, name: str, *, out: str | None, waits: bool, reports: bool) -> int:
    """Go on with one; its exit status."""
    folder = folder_of(call, name)
    if folder.state().is_over:
        return _told(call, folder, out=out, reports=reports)
    return _worked(call, folder, _be_safe(call), waits=waits, reports=reports, out=out)


def stop(call: Call, name: str, *, abandon: bool, out: str | None, reports: bool) -> int:
    """Cancel one, and wait for the provider's word."""
    folder = folder_of(call, name)
    if folder.state().is_over:
        raise UsageError(f"batch {name} is over", help=f"crewcap batch show {name}")

    async def ask(gateway: GatewayHandle) -> None:
        await gateway.cancel_batch(name, abandon=abandon)

    return _worked(call, folder, _be_safe(call), waits=True, reports=reports, out=out, ask=ask)


# --- before


def _be_safe(call: Call) -> Mapping[str, str]:
    """As every command that may start a gateway: no key stays readable; what was taken out of the environment."""
    from crewcap.gateway import process  # noqa: PLC0415  (only here)
    from crewcap.gateway.assemble import key_variables  # noqa: PLC0415  (heavy)
    from crewcap.settings.price_lists import check_price_lists  # noqa: PLC0415  (heavy)

    process.make_unreadable()
    check_price_lists(call.app.settings, lambda: call.app.book.lists)
    held = process.forget(key_variables(call.app.settings))
    require_room(call.home)
    call.refuse_doubtful_clock()
    return held


# --- while the gateway works on it

Ask = Callable[["GatewayHandle"], Awaitable[object]]


def _worked(
    call: Call,
    folder: Folder,
    held: Mapping[str, str],
    *,
    waits: bool,
    reports: bool,
    out: str | None = None,
    ask: Ask | None = None,
) -> int:
    """Have the gateway work on it; then its results."""
    name = folder.path.name
    try:
        asyncio.run(_watch(call, folder, {**call.environ, **held}, waits=waits, ask=ask))
    except KeyboardInterrupt:
        call.note(f"crewcap: batch {name} is kept; what was sent goes on. To go on: crewcap batch resume {name}")
        return INTERRUPTED
    if folder.state().is_over:
        return _told(call, folder, out=out, reports=reports)
    one = view(folder, call.app.ledger)
    _say(call, one)
    call.note(f"crewcap: it is sent. For its results: crewcap batch resume {name}")
    return 0


async def _watch(
    call: Call,
    folder: Folder,
    environ: Mapping[str, str],
    *,
    waits: bool,
    ask: Ask | None,
) -> None:
    from crewcap.gateway.client import attached  # noqa: PLC0415  (heavy)

    name = folder.path.name
    found = attached(call.home, call.app.settings, call.config_path, environ, book=lambda: call.app.book.hash)
    try:
        async with found as gateway:
            if ask is not None:
                await ask(gateway)
            if not folder.state().is_over:
                await gateway.start_batch(name)
            await _until_done(call, folder, gateway, waits=waits)
    except UnsafeEnvironment as error:
        raise UnsafeEnvironment(error.message, help=f"go on with: crewcap batch resume {name}") from error


async def _until_done(call: Call, folder: Folder, gateway: GatewayHandle, *, waits: bool) -> None:
    """Look until it is over, or sent where that is enough."""
    name, look_s, teller = folder.path.name, FIRST_LOOK_S, _Teller(call)
    while True:
        status = await gateway.batch(name)
        state = folder.state()
        if state.is_over:
            teller.end()
            return
        if not status["is_going"]:
            teller.end()
            raise _stopped(name, str(status["said"]))
        parts = state.parts.values()
        if not waits and parts and all(part.batch or part.refused for part in parts):
            teller.end()
            return
        teller.tell(lambda: progress(view(folder, call.app.ledger), str(status["said"])))  # noqa: B023  (it is called at once)
        await asyncio.sleep(look_s)
        look_s = min(MOST_LOOK_S, look_s * 1.5)


def _stopped(name: str, said: str) -> CrewcapError:
    why = said or "nobody works on it"
    return InternalError(f"batch {name} does not go on: {why}", help=f"crewcap batch resume {name}")


class _Teller:
    """Progress on stderr: redrawn on a terminal, else a line now and then."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._screen = Screen.of(sys.stderr, call.environ)
        self._told_at = -float(LINE_S)
        self._is_drawn = False

    def tell(self, line: Callable[[], str]) -> None:
        """Say how far it is, if it is time to."""
        now = time.monotonic()
        if self._call.quiet or now - self._told_at < (1 if self._screen.is_terminal else LINE_S):
            return
        self._told_at = now
        text = f"crewcap: {line()}"
        if self._screen.is_terminal:
            sys.stderr.write("\r\x1b[K" + fit(text, self._screen.columns - 1))
            sys.stderr.flush()
            self._is_drawn = True
        else:
            self._call.note(text)

    def end(self) -> None:
        """What is said next stands on a line of its own."""
        if self._is_drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


# --- after


def _told(call: Call, folder: Folder, *, out: str | None, reports: bool) -> int:
    """Write the results, say what it came to, and answer with the exit status."""
    one = view(folder, call.app.ledger)
    place = Path(out).absolute() if out else Path(one.job.out)
    count = write(one, place, _reporter(call, one.job) if reports else _no_report)
    _say(call, one)
    if count:
        call.note(f"crewcap: {count:,} answers are in {place}")
    if one.count("refused"):
        again = "" if not one.job.context else " (with the same --context)"
        call.note(f"crewcap: what was not sent may be tried again: crewcap batch run {place / REFUSED}{again}")
        return 3
    return 0 if one.count("succeeded") == len(one.items) else 1


def _say(call: Call, one: JobView) -> None:
    if call.as_json:
        call.emit(one.as_json())
        return
    for line in Screen.of(sys.stdout, call.environ).lines(summary(one)):
        call.out(line)


def _reporter(call: Call, job: Job) -> Callable[[ItemView, str], None]:
    """Into the issue files that prompts came from; one that is gone is said, and harms no other."""
    files = Files(Path())

    def report(item: ItemView, text: str) -> None:
        try:
            files.report(files.read(item.prompt.source), run=f"batch-{job.name}", text=text)
        except CrewcapError as error:
            call.note(f"warning: {error.message}")

    return report


def _no_report(item: ItemView, text: str) -> None:
    del item, text
