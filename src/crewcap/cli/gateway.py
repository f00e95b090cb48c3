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
from typing import TYPE_CHECKING

import click
import uvloop

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.room import require_room
from crewcap.errors import CrewcapError, UsageError

if TYPE_CHECKING:
    from crewcap.gateway.server import Gateway


@click.command(epilog="Example: crewcap gateway & crewcap key create --cap 1.00 --shell")
@click.option("--listen", default="127.0.0.1:8787", metavar="HOST:PORT", help="Loopback only; port 0 takes a free one.")
@click.option("--child", is_flag=True, hidden=True, help="Keys on stdin as one line of JSON; ends with it.")
@common
@with_call
def gateway(call: Call, /, *, listen: str, child: bool) -> None:
    """Serve model requests on this machine, each held against its budgets before it is sent.

    Clients use a key of `crewcap key create`; providers' keys stay in this process. Ctrl-C lets requests that are
    under way end, settles them, and stops.
    """
    from crewcap.gateway import process  # noqa: PLC0415  (only here)
    from crewcap.gateway.assemble import key_variables  # noqa: PLC0415  (heavy; not for --help)

    process.make_unreadable()
    logging.basicConfig(level=logging.INFO if call.verbose else logging.WARNING, format="%(asctime)s %(message)s")
    try:
        secrets = _secrets_from_stdin() if child else {}
        require_room(call.home)
        secrets |= process.forget(key_variables(call.app.settings))
        address = ("127.0.0.1", 0) if child else _address(listen)
        uvloop.run(_serve(call, {**call.environ, **secrets}, address, child=child))
    except CrewcapError as error:
        if not child:
            raise
        print(json.dumps({"error": {"code": error.code, "message": error.message, "help": error.help}}), flush=True)  # noqa: T201  (the starter reads it)
        click.get_current_context().exit(error.exit_status)


async def _serve(call: Call, environ: Mapping[str, str], address: tuple[str, int], *, child: bool) -> None:
    from crewcap.gateway.assemble import assemble  # noqa: PLC0415
    from crewcap.gateway.client import find  # noqa: PLC0415

    other = await find(call.home)
    if other is not None:
        raise UsageError(
            f"a gateway of this home runs already: {other.url} (process {other.pid})",
            help="use it, or name another state directory with --home",
        )
    app = call.app
    async with assemble(
        home=call.home,
        settings=app.settings,
        ledger=app.ledger,
        book=app.book,
        environ=environ,
        clock=call.clock,
        listen=address,
    ) as running:
        gc.collect()
        gc.freeze()  # prices and code stay for ever; looking through them again and again would cost each request
        gc.set_threshold(20_000, 20, 50)  # an answer makes thousands of small values and no cycles
        _say(call, running, child=child)
        await _until_told(running, child=child)


def _say(call: Call, running: Gateway, *, child: bool) -> None:
    if child or call.as_json:
        status = running.status()
        call.emit({name: status[name] for name in ("url", "control", "pid", "boot")})
        return
    call.out(f"gateway listens on {running.url}")
    call.note(f"make a key: crewcap key create --cap 1.00 --shell   (state in {call.home.root})")


async def _until_told(running: Gateway, *, child: bool) -> None:
    """Serve until a signal; a child also until its starter is gone and nobody is attached."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            running.hurry(0)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if child:
        gone = asyncio.create_task(_stdin_closed(running))
        gone.add_done_callback(lambda _: stop.set())
    await stop.wait()
    await running.stop()


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


def _secrets_from_stdin() -> dict[str, str]:
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
