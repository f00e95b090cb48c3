"""`crewcap serve` whose worker has other times: `python -m tests.runner.worker.fleet_serve HOME CONFIG TIMES VERSION`.

The real supervisor, gateway and worker; TIMES is `fencing.Times` as JSON. It says that it is ready as `serve --json`
does. With `--worker`, as its first word, it is that worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from crewcap import logs
from crewcap.cli.complaints import complaint
from crewcap.cli.context import Call, make_call
from crewcap.cli.night.work import work
from crewcap.errors import CrewcapError
from crewcap.gateway import process
from crewcap.runner.ownership import myself
from crewcap.runner.worker.fencing import Times
from crewcap.runner.worker.presence import Presence
from crewcap.serve import claim, crew, fellow, keys, reading
from crewcap.serve.supervisor import Plan, Started, Supervisor


def tell(started: Started) -> None:
    said = {"pid": os.getpid(), "gateway_pid": started.gateway_pid, "worker_pid": started.worker_pid}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def supervise(call: Call, times: str, version: str) -> None:
    process.make_unreadable()
    terms = reading.read(call.config_path, call.environ)
    _log_into(call.home.serve_log)
    with claim.claim(call.home) as claimed:
        programs = crew.Crew(
            home=call.home.root,
            config=call.config_path,
            environ=crew.without(call.environ, terms.key_variables),
            names=frozenset(name for name, value in call.environ.items() if value),
            keys=keys.SealedKeys(process.forget(terms.key_variables)),
            log_format="text",
            log_file=(str(call.home.serve_log), terms.log_bytes, terms.logs_kept),
            slots=None,
            verbose=True,
            worker_command=(sys.executable, "-m", __spec__.name, "--worker", times, version),
        )
        pid, started = myself()
        plan = Plan(
            gateway=programs.gateway,
            worker=programs.worker(),
            listen="127.0.0.1:0",
            drain_s=terms.drain_s,
            myself=Presence(pid=pid, started=started),
            before=claimed.before,
            note=claimed.say,
            tell=tell,
        )
        asyncio.run(Supervisor(plan).run())


def be_the_worker(times: str, version: str, *options: str) -> int:
    """`crewcap serve --worker` with these times; the options are the command's own."""
    said = dict(pairwise(options))
    call = make_call({"home": said["--home"], "config": said["--config"]})
    _log_into(call.home.serve_log)
    signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        call.environ = fellow.environ_from_stdin(call.environ)
        return work(call, slots=None, times=as_times(times), version=version)
    except CrewcapError as error:
        fellow.say_error(error)
        return error.exit_status


def _log_into(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stream = path.open("a", encoding="utf-8")  # for the process's life
    logs.set_up("text", "info", secrets=logs.Secrets(), stream=stream)


def as_times(text: str) -> Times:
    given = json.loads(text)
    return Times(**{field.name: float(given[field.name]) for field in fields(Times) if field.name in given})


def main() -> int:
    if sys.argv[1] == "--worker":
        return be_the_worker(*sys.argv[2:])
    home, config, times, version = sys.argv[1:]
    try:
        supervise(make_call({"home": home, "config": config}), times, version)
    except CrewcapError as error:
        found = complaint(error)
        found.say(as_json=False)
        return found.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
