"""`crewcap gateway`: the metering gateway alone, for SDKs and agents of any kind."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import click

from crewcap import logs
from crewcap.cli.context import Call, common, with_call
from crewcap.cli.gateway.handover import Handover
from crewcap.cli.runs.room import require_room
from crewcap.errors import CrewcapError, UsageError

LOG_FILE = (str, int, int)


@click.command(epilog="Example: crewcap gateway & crewcap key create --cap 1.00 --shell")
@click.option("--listen", default="127.0.0.1:8787", metavar="HOST:PORT", help="Loopback only; port 0 takes a free one.")
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", help="How the log on stderr is written.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), help="What is logged; by default warnings, with -v info.")
@click.option("--child", is_flag=True, hidden=True, help="Keys on stdin as one line of JSON; ends with it.")
@click.option("--first", is_flag=True, hidden=True, help="Somebody reads what is refused: a clock in doubt is.")
@click.option("--log-file", type=LOG_FILE, hidden=True, help="Logs there, not on stderr: path, bytes, kept.")
@common
@with_call
def gateway(
    call: Call,
    /,
    *,
    listen: str,
    log_format: logs.Format,
    log_level: logs.Level | None,
    child: bool,
    first: bool,
    log_file: tuple[str, int, int] | None,
) -> None:
    """Serve model requests on this machine, each held against its budgets before it is sent.

    Clients use a key of `crewcap key create`; providers' keys stay in this process. Ctrl-C lets requests that are
    under way end, settles them, and stops. Settings and prices are read again when their files change, and at SIGHUP.
    """
    gc.disable()  # until the start is done: what it makes is there to stay, and looking through it takes a tenth of it
    from crewcap.gateway import process  # noqa: PLC0415  (only here)

    process.make_unreadable()
    secrets = logs.Secrets()
    level = log_level or ("info" if call.verbose else "warning")
    logs.set_up(log_format, level, secrets=secrets, stream=log_file_of(log_file))
    try:
        keys = _keys_from_stdin() if child else {}
        call.environ = {**call.environ, **keys}  # which providers there are may rest on which keys there are
        require_room(call.home)
        handover = Handover(call.config_path, call.environ)
        import uvloop  # noqa: PLC0415  (this and the next are heavy: while the other process reads)

        from crewcap.cli.gateway.serving import serve  # noqa: PLC0415
        from crewcap.gateway.assemble import key_variables  # noqa: PLC0415

        call.app.served = handover.settings()
        keys |= process.forget(key_variables(call.app.served))
        secrets.know(keys.values())
        if first:
            call.refuse_doubtful_clock()
        address = address_of(listen)
        environ, is_plain = {**call.environ, **keys}, log_format == "text"
        uvloop.run(serve(call, handover, environ, address, secrets, child=child, is_plain=is_plain))
    except CrewcapError as error:
        if not child:
            raise
        print(json.dumps({"error": {"code": error.code, "message": error.message, "help": error.help}}), flush=True)  # noqa: T201  (the starter reads it)
        click.get_current_context().exit(error.exit_status)


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


def address_of(text: str) -> tuple[str, int]:
    """`HOST:PORT`, as it was written."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"--listen {text!r} is not HOST:PORT", help="for example 127.0.0.1:8787")
    return host.strip("[]"), int(port)


def log_file_of(said: tuple[str, int, int] | None) -> logs.LogFile | None:
    """The log that several processes share: its path, how large it may become, how many old ones are kept."""
    return logs.LogFile(Path(said[0]), most_bytes=said[1], kept=said[2]) if said else None
