"""`crewcap gateway`: the metering gateway alone, for SDKs and agents of any kind."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import click
import uvloop

from crewcap import logs
from crewcap.cli.context import Call, common, with_call
from crewcap.cli.handover import Handover, read
from crewcap.cli.room import require_room
from crewcap.errors import CrewcapError, UsageError

if TYPE_CHECKING:
    from crewcap.gateway.reload import Loaded
    from crewcap.gateway.server import Gateway
    from crewcap.gateway.telemetry import Telemetry

log = logging.getLogger(__name__)


@click.command(epilog="Example: crewcap gateway & crewcap key create --cap 1.00 --shell")
@click.option("--listen", default="127.0.0.1:8787", metavar="HOST:PORT", help="Loopback only; port 0 takes a free one.")
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", help="How the log on stderr is written.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), help="What is logged; by default warnings, with -v info.")
@click.option("--child", is_flag=True, hidden=True, help="Keys on stdin as one line of JSON; ends with it.")
@common
@with_call
def gateway(call: Call, /, *, listen: str, log_format: logs.Format, log_level: logs.Level | None, child: bool) -> None:
    """Serve model requests on this machine, each held against its budgets before it is sent.

    Clients use a key of `crewcap key create`; providers' keys stay in this process. Ctrl-C lets requests that are
    under way end, settles them, and stops. Settings and prices are read again when their files change, and at SIGHUP.
    """
    gc.disable()  # until the start is done: what it makes is there to stay, and looking through it takes a tenth of it
    from crewcap.gateway import process  # noqa: PLC0415  (only here)

    process.make_unreadable()
    secrets = logs.Secrets()
    logs.set_up(log_format, log_level or ("info" if call.verbose else "warning"), secrets=secrets)
    try:
        keys = _keys_from_stdin() if child else {}
        call.environ = {**call.environ, **keys}  # which providers there are may rest on which keys there are
        require_room(call.home)
        handover = Handover(call.config_path, call.environ)
        from crewcap.gateway.assemble import key_variables  # noqa: PLC0415  (heavy; while the other process reads)

        call.app.take(*handover.read())
        keys |= process.forget(key_variables(call.app.served))
        secrets.know(keys.values())
        address = ("127.0.0.1", 0) if child else _address(listen)
        uvloop.run(_serve(call, {**call.environ, **keys}, address, secrets, child=child, is_plain=log_format == "text"))
    except CrewcapError as error:
        if not child:
            raise
        print(json.dumps({"error": {"code": error.code, "message": error.message, "help": error.help}}), flush=True)  # noqa: T201  (the starter reads it)
        click.get_current_context().exit(error.exit_status)


async def _serve(
    call: Call,
    environ: Mapping[str, str],
    address: tuple[str, int],
    secrets: logs.Secrets,
    *,
    child: bool,
    is_plain: bool,
) -> None:
    from crewcap.gateway.assemble import assemble  # noqa: PLC0415

    app = call.app
    async with assemble(
        home=call.home,
        settings=app.served,
        ledger=app.ledger,
        book=app.book,
        environ=environ,
        clock=call.clock,
        listen=address,
        told=secrets.know,
    ) as running:
        running.watch_caches(app.cache_turns)
        _watch_settings(call, running, environ, secrets)
        telemetry = _begin_telemetry(call, running, secrets)
        gc.collect()
        gc.freeze()  # prices and code stay for ever; looking through them again and again would cost each request
        gc.set_threshold(20_000, 20, 50)  # an answer makes thousands of small values and no cycles
        gc.enable()
        _say(call, running, child=child, is_plain=is_plain)
        await _until_told(running, child=child)
        if telemetry is not None:
            await telemetry.stop()


def _begin_telemetry(call: Call, running: Gateway, secrets: logs.Secrets) -> Telemetry | None:
    """Spans and metrics for a receiver, where the environment names one."""
    from crewcap.gateway import telemetry  # noqa: PLC0415  (not for --help)

    secrets.know(telemetry.secrets(call.environ))
    begun = telemetry.begin(call.environ)
    if begun is not None:
        running.service.watchers.append(begun)
    return begun


def _watch_settings(call: Call, running: Gateway, environ: Mapping[str, str], secrets: logs.Secrets) -> None:
    """Go by other settings and prices as soon as their files say so."""
    from crewcap.gateway.assemble import basis  # noqa: PLC0415
    from crewcap.gateway.reload import Files, Loaded, Reloader  # noqa: PLC0415

    app, files = call.app, Files(config_path=call.config_path, environ=environ, read=read)

    async def renew(loaded: Loaded) -> None:
        settings = loaded.settings
        await running.renew(
            basis(settings, loaded.book, environ, told=secrets.know), sync=lambda: settings.bring_limits(app.ledger)
        )

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


def _keys_from_stdin() -> dict[str, str]:
    """The one line that the starter sends; read without a buffer, so that the end of the input stays to be seen."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 1)
        if not piece:
            raise UsageError("--child is for crewcap itself", help="use: crewcap gateway")
        line += piece
    found = json.loads(line)["environ"]
    return {str(name): str(value) for name, value in found.items()}


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"--listen {text!r} is not HOST:PORT", help="for example 127.0.0.1:8787")
    return host.strip("[]"), int(port)
