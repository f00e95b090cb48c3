"""`crewcap serve`: runs that go on without anybody at the keyboard. What keeps it alive is in `serve/`."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import click

from crewcap import __version__, logs
from crewcap.cli.context import Call, common, with_call
from crewcap.cli.gateway.alone import LOG_FILE, address_of, log_file_of
from crewcap.errors import CrewcapError

if TYPE_CHECKING:
    from crewcap.serve.claim import Claim
    from crewcap.serve.crew import Crew
    from crewcap.serve.reading import Terms
    from crewcap.serve.supervisor import Started

NEXT_SHOWN = 5
KINDS = ("auto", "user", "system")


@click.command(epilog="Example: crewcap serve --slots 4")
@click.option("--listen", metavar="HOST:PORT", help="Of the gateway; loopback only, port 0 takes a free one.")
@click.option("--slots", type=click.IntRange(1, 1_000), metavar="N", help="Runs at once, instead of slots.all.")
@click.option(
    "--print-unit", "unit", is_flag=False, flag_value="auto", type=click.Choice(KINDS), help="Print a systemd unit."
)
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", help="How the log is written.")
@click.option("--log-file", type=LOG_FILE, hidden=True, help="Of the worker: path, bytes, kept.")
@click.option("--worker", is_flag=True, hidden=True, help="Be the worker: names of variables on stdin.")
@common
@with_call
def serve(
    call: Call,
    /,
    *,
    listen: str | None,
    slots: int | None,
    unit: str | None,
    log_format: logs.Format,
    log_file: tuple[str, int, int] | None,
    worker: bool,
) -> None:
    """Run issues and schedules unattended: a gateway and a worker, watched and started again.

    One for each state directory. `crewcap run` hands its work over to it; `crewcap status` shows it. Ctrl-C lets what
    is under way end for as long as `serve.drain` says and leaves the rest to be gone on with; a second one hurries.
    Settings are read again when their files change, and at SIGHUP.
    """
    if unit is not None:
        _print_unit(call, unit, listen=listen, slots=slots)
    elif worker:
        click.get_current_context().exit(_work(call, slots=slots, log_format=log_format, log_file=log_file))
    else:
        _supervise(call, listen=listen, slots=slots, log_format=log_format)


def _supervise(call: Call, *, listen: str | None, slots: int | None, log_format: logs.Format) -> None:
    """Be the one `crewcap serve` of this home until somebody ends it."""
    from crewcap.cli.runs.room import require_room  # noqa: PLC0415  (this and the next: not for --help)
    from crewcap.gateway import process  # noqa: PLC0415
    from crewcap.serve import claim, crew, keys, reading  # noqa: PLC0415

    process.make_unreadable()
    level: logs.Level = "info" if call.verbose else "warning"
    require_room(call.home)
    with claim.claim(call.home) as claimed:
        terms = reading.read(call.config_path, call.environ)
        listen = listen or terms.listen
        address_of(listen)
        log_file = (str(call.home.serve_log), terms.log_bytes, terms.logs_kept)
        logs.set_up(log_format, level, secrets=logs.Secrets(), also=log_file_of(log_file))
        programs = crew.Crew(
            home=call.home.root,
            config=call.config_path,
            environ=crew.without(call.environ, terms.key_variables),
            names=frozenset(name for name, value in call.environ.items() if value),
            keys=keys.SealedKeys(process.forget(terms.key_variables)),
            log_format=log_format,
            log_file=log_file,
            slots=slots,
            verbose=call.verbose,
        )
        call.environ = programs.environ
        asyncio.run(_keep(call, programs, claimed, terms, listen=listen))


async def _keep(call: Call, programs: Crew, claimed: Claim, terms: Terms, *, listen: str) -> None:
    from crewcap.runner.ownership import myself  # noqa: PLC0415  (this and the next: only here)
    from crewcap.runner.worker.presence import Presence  # noqa: PLC0415
    from crewcap.serve.supervisor import Plan, Supervisor  # noqa: PLC0415

    pid, started = myself()
    since = call.clock().isoformat(timespec="seconds")
    presence = Presence(pid=pid, started=started, since=since, version=__version__)
    claimed.say(presence)
    plan = Plan(
        gateway=programs.gateway,
        worker=programs.worker(),
        listen=listen,
        drain_s=terms.drain_s,
        myself=presence,
        before=claimed.before,
        note=claimed.say,
        tell=lambda found: _tell(call, found, terms),
    )
    await Supervisor(plan).run()


def _tell(call: Call, started: Started, terms: Terms) -> None:
    """Where it is, what it does, and what comes next."""
    slots, schedules = started.worker.get("slots", terms.slots), started.worker.get("schedules", [])
    if call.as_json:
        said = {"url": started.url, "pid": os.getpid(), "gateway_pid": started.gateway_pid}
        said |= {"worker_pid": started.worker_pid, "slots": slots, "schedules": schedules}
        call.emit({**said, "log": str(call.home.serve_log), "drain_s": terms.drain_s})
        return
    call.out(f"gateway  {started.url}")
    call.out(f"runs     {f'{slots} at once' if slots else 'as many at once as there are'}")
    for each in schedules[:NEXT_SHOWN]:
        call.out(f"next     {each['at']}  {each['name']}")
    call.out(f"log      {call.home.serve_log}")
    call.note(f"Ctrl-C ends it: what is under way has {terms.drain_s:.0f} s to end, the rest is kept")


def _work(call: Call, *, slots: int | None, log_format: logs.Format, log_file: tuple[str, int, int] | None) -> int:
    """Be the worker; what keeps it from starting is told to the supervisor."""
    from crewcap.cli.night.work import work  # noqa: PLC0415  (heavy, and only here)
    from crewcap.serve import fellow  # noqa: PLC0415

    level: logs.Level = "info" if call.verbose else "warning"
    logs.set_up(log_format, level, secrets=logs.Secrets(), stream=log_file_of(log_file))
    signal.signal(signal.SIGHUP, lambda *_: None)  # a word about settings; it must end nobody who does not listen
    try:
        call.environ = fellow.environ_from_stdin(call.environ)
        return work(call, slots=slots)
    except CrewcapError as error:
        fellow.say_error(error)
        return error.exit_status


def _print_unit(call: Call, kind: str, *, listen: str | None, slots: int | None) -> None:
    """A unit for the user that asks, or for the machine; root means the machine."""
    from crewcap.serve import reading, unit  # noqa: PLC0415  (only here)

    terms = reading.read(call.config_path, call.environ)
    is_given = bool((click.get_current_context().obj or {}).get("home") or call.environ.get("CREWCAP_HOME"))
    found = unit.Installation.find(
        kind="system" if kind == "system" or (kind == "auto" and os.geteuid() == 0) else "user",
        home=call.home.root if is_given else None,
        usual_home=call.home.root,
        config=call.config_path or (terms.source or None),
        listen=listen,
        slots=slots,
        path=call.environ.get("PATH", ""),
        drain_s=terms.drain_s,
        repositories=terms.repositories,
    )
    text = unit.unit(found)
    if call.as_json:
        call.emit({"kind": found.kind, "path": found.target, "unit": text})
        return
    call.out(text, end="")
    call.note(f"write it to {found.target}, then: {found.activation}")
