"""`crewcap simulator`: the scripted provider, for trying things out at no cost."""

from __future__ import annotations

import asyncio
import signal
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.simulator.server import Simulator

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(
    epilog="Example: crewcap simulator --listen 127.0.0.1:8788 --script fix-login",
)
@click.option("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="Loopback only; port 0 takes a free one.")
@click.option("--script", "script", default="fix-login", metavar="FILE|NAME", help="What it plays.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change a variable of the script.")
@click.option("--lie", default="", metavar="NAME", help="Break one law of providers, to see it noticed.")
@click.option("--bill", type=click.Choice(["all", "sent"]), default="all", help="What a hung-up answer is billed.")
@click.option("--log", "log_file", type=click.Path(dir_okay=False, path_type=Path), help="Requests as JSON lines.")
@common
@with_call
def simulator(call: Call, /, **options: Any) -> None:
    """Serve the providers' APIs on loopback from a script, with an exact meter of its own.

    It speaks Anthropic's Messages, OpenAI's Responses and Chat Completions, and Gemini's API. Point any agent at it
    by its base URL (ANTHROPIC_BASE_URL, GOOGLE_GEMINI_BASE_URL...), with any key; nothing leaves this machine and
    nothing is billed. What things cost is in the price book, with the price files of your settings.
    /_control/stats shows the meter, /_control/log the requests. Ctrl-C ends it and prints what it would have billed.
    """
    from crewcap.simulator.server import Simulator  # noqa: PLC0415  (aiohttp; not for --help)

    host, port = _address(options["listen"])
    try:
        server = Simulator(
            options["script"],
            variables=_variables(options["assignments"]),
            lie=options["lie"],
            bill=options["bill"],
            host=host,
            port=port,
            log_file=options["log_file"],
            book=call.app.book,
        )
    except OSError as error:
        raise UsageError(
            f"--log {options['log_file']}: {error.strerror}", help="name a file that can be written"
        ) from error
    try:
        asyncio.run(_serve(call, server))
    except OSError as error:
        raise UsageError(
            f"cannot listen on {options['listen']}: {error.strerror or error}", help="choose another port, or 0"
        ) from error


async def _serve(call: Call, server: Simulator) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        _say_start(call, server)
        await stop.wait()
    if call.as_json:
        call.emit(server.meter.as_json())
    else:
        answers = len(server.meter.bills)
        call.out(f"billed {server.meter.total()} for {answers} answer{'s' * (answers != 1)} (play money)")


def _say_start(call: Call, server: Simulator) -> None:
    if call.as_json:
        call.emit({"url": server.url, "script": server.script.name, "lie": server.lie or None})
        return
    call.out(f"listening on {server.url}")
    call.note(f"script: {server.script.title or server.script.name}")
    call.note(f"use it: ANTHROPIC_BASE_URL={server.url} ANTHROPIC_API_KEY=sk-ant-fake-key claude -p hello")
    call.note(f"        OPENAI_BASE_URL={server.url}/v1   GOOGLE_GEMINI_BASE_URL={server.url}")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"--listen {text!r} is not HOST:PORT", help="for example 127.0.0.1:8788")
    if host not in LOOPBACK:
        raise UsageError(f"the simulator listens on loopback only, not on {host!r}", help="use 127.0.0.1:PORT")
    return host, int(port)


def _variables(assignments: tuple[str, ...]) -> dict[str, Any]:
    """Read NAME=VALUE; a value that is written as in TOML (`true`, `3`) keeps its type."""
    pairs = [assignment.partition("=") for assignment in assignments]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise UsageError(f"--set {name or '='!r} is not NAME=VALUE", help="for example --set turns=3")
    return {name: _value(text) for name, _, text in pairs}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
