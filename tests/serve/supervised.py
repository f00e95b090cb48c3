"""A supervisor with stand-ins for both of its children: `supervised.py FOLDER [name=value...]`, of its patience."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from crewcap.cli.complaints import complaint
from crewcap.errors import CrewcapError
from crewcap.home import Home
from crewcap.runner.ownership import myself
from crewcap.runner.worker.presence import Presence
from crewcap.serve import fellow
from crewcap.serve.children import Program
from crewcap.serve.claim import claim
from crewcap.serve.keeping import Patience
from crewcap.serve.keys import SealedKeys
from crewcap.serve.supervisor import Plan, Started, Supervisor

logging.basicConfig(level="INFO", format="%(message)s")
HERE = Path(__file__).parent
folder, said = Path(sys.argv[1]), dict(word.split("=") for word in sys.argv[2:])
drain_s = float(said.pop("drain_s", 30))
diaries = {name: folder / name for name in ("gateway.diary", "worker.diary")}
keys = SealedKeys({"ANTHROPIC_API_KEY": "sk-ant-fake-canary"})


def gateway(listen: str, *, first: bool) -> Program:
    command = [sys.executable, str(HERE / "tiny_gateway.py"), str(folder / "gateway.diary"), listen]
    command += ["--first"] if first else []
    return Program(name="gateway", command=command, environ={}, hand_over=keys.hand_over)


worker = Program(
    name="worker",
    command=[sys.executable, str(HERE / "standin.py"), str(folder / "worker.diary")],
    environ={"PLAIN_KEY": "plain"},
    hand_over=lambda pipe: fellow.hand_over(["ANTHROPIC_API_KEY"], pipe),
)


def tell(started: Started) -> None:
    ours = {"url": started.url, "gateway_pid": started.gateway_pid, "worker_pid": started.worker_pid}
    sys.stdout.write(json.dumps({**ours, "worker": started.worker}) + "\n")
    sys.stdout.flush()


try:
    with claim(Home(folder / "home")) as claimed:
        pid, born = myself()
        plan = Plan(
            gateway=gateway,
            worker=worker,
            listen="127.0.0.1:0",
            drain_s=drain_s,
            myself=Presence(pid=pid, started=born),
            before=claimed.before,
            note=claimed.say,
            tell=tell,
        )
        times = {name: float(value) for name, value in said.items() if name.endswith("_s")}
        patience = Patience(most_deaths=int(said.get("most_deaths", 5)), **times)
        asyncio.run(Supervisor(plan, patience=patience).run())
except CrewcapError as error:
    found = complaint(error)
    found.say(as_json=False)
    sys.exit(found.status)
