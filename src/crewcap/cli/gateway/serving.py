"""A gateway at work, from the moment its settings are known until somebody tells it to end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from crewcap import logs
from crewcap.cli.context import Call
from crewcap.cli.gateway.handover import Handover, read
from crewcap.cli.night.alerting import keep_telling
from crewcap.errors import CrewcapError
from crewcap.gateway.assemble import assemble, basis
from crewcap.gateway.reload import Files, Loaded, Reloader
from crewcap.gateway.watching import telemetry

if TYPE_CHECKING:
    from crewcap.gateway.server import Gateway
    from crewcap.gateway.watching.telemetry import Telemetry

log = logging.getLogger(__name__)


async def serve(
    call: Call,
    handover: Handover,
    environ: Mapping[str, str],
    address: tuple[str, int],
    secrets: logs.Secrets,
    *,
    child: bool,
    is_plain: bool,
) -> None:
    """Open the books while the prices are still compiled elsewhere, and serve."""
    app = call.app
    ledger = app.ledger
    gc.collect()  # of what the imports left, while the prices are still compiled
    app.book = handover.book()
    async with assemble(
        home=call.home,
        settings=app.served,
        ledger=ledger,
        book=app.book,
        environ=environ,
        clock=call.clock,
        listen=address,
        told=secrets.know,
    ) as running:
        running.watch_caches(app.cache_turns)
        running.watch_prompts(app.reports)
        running.watch_prices(app.price_notes)
        _watch_settings(call, running, environ, secrets)
        telemetry = _begin_telemetry(call, running, secrets)
        telling = asyncio.create_task(keep_telling(call)) if not child else None
        gc.freeze()  # prices and code stay for ever; looking through them again and again would cost each request
        gc.set_threshold(20_000, 20, 50)  # an answer makes thousands of small values and no cycles
        gc.enable()
        _say(call, running, child=child, is_plain=is_plain)
        await _until_told(running, child=child)
        if telling is not None:
            telling.cancel()
        if telemetry is not None:
            await telemetry.stop()


def _begin_telemetry(call: Call, running: Gateway, secrets: logs.Secrets) -> Telemetry | None:
    """Spans and metrics for a receiver, where the environment names one."""
    secrets.know(telemetry.secrets(call.environ))
    begun = telemetry.begin(call.environ)
    if begun is not None:
        running.service.watchers.append(begun)
    return begun


def _watch_settings(call: Call, running: Gateway, environ: Mapping[str, str], secrets: logs.Secrets) -> None:
    """Go by other settings and prices as soon as their files say so."""
    app, files = call.app, Files(config_path=call.config_path, environ=environ, read=read)

    async def renew(loaded: Loaded) -> None:
        settings = loaded.settings
        await running.renew(
            basis(settings, loaded.book, environ, told=secrets.know), sync=lambda: settings.bring_limits(app.ledger)
        )
        app.served = settings

    now = Loaded(settings=app.served, book=app.book)
    running.watch(Reloader(now=now, files=files.of, load=files.load, renew=renew))


def _say(call: Call, running: Gateway, *, child: bool, is_plain: bool) -> None:
    if child or call.as_json:
        status = running.status()
        call.emit({name: status[name] for name in ("url", "control", "pid", "boot")})
        return
    call.out(f"gateway listens on {running.url}")
    if is_plain:  # a log that programs read has no lines for people
        call.note(f"make a key: crewcap key create --cap 1.00 --shell   (state in {call.home.root})")


async def _until_told(running: Gateway, *, child: bool) -> None:
    """Serve until a signal; a child also until its starter is gone and nobody is attached."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    tasks = set[asyncio.Task[None]]()

    def on_signal() -> None:
        if stop.is_set():
            running.hurry(0)
        stop.set()

    def on_hangup() -> None:
        task = asyncio.create_task(_read_again(running))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    if child:
        gone = asyncio.create_task(_stdin_closed(running))
        gone.add_done_callback(lambda _: stop.set())
    await stop.wait()
    log.info("ending: what is under way may end")
    await running.stop()
    log.info("ended")


async def _read_again(running: Gateway) -> None:
    """At SIGHUP; what is wrong was logged."""
    with suppress(CrewcapError):
        await running.read_again()


async def _stdin_closed(running: Gateway) -> None:
    """Wait for the end of our starter, then until nobody else needs us."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def on_readable() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin)
            closed.set()

    loop.add_reader(sys.stdin, on_readable)
    await closed.wait()
    await running.control.unattached()
