"""A gateway that runs by itself has people told of budgets, by a process that is given no provider's key."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable

import pytest
from tests.cli.run_home import RunHome

from crewcap.cli.context import Call
from crewcap.cli.night.alerting import keep_telling

LIMIT_S = 60
SECRET = "sk-ant-fake-canary-of-alerts"
PROVIDER = '[providers.anthropic]\nkey = { env = "ANTHROPIC_API_KEY" }\n'


def tell(home: RunHome, until: Callable[[], object]) -> None:
    """Let it look again and again, until something is so."""
    environ = {"HOME": str(home.folder), "PATH": "/usr/bin:/bin", "ANTHROPIC_API_KEY": SECRET}
    call = Call(home=home.home, config_path=home.config, environ=environ)

    async def main() -> None:
        task = asyncio.create_task(keep_telling(call, every_s=0.01))
        async with asyncio.timeout(LIMIT_S):
            while not until():  # noqa: ASYNC110  (another process does it; no event of ours tells)
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    call.close()


def use_most_of_a_budget(home: RunHome) -> None:
    home.spend(home.add("fix"), "0.90")
    home.out("budget", "set", "all", "month", "1.00")


def test_a_budget_that_is_used_is_told_once(home: RunHome) -> None:
    log = home.folder / "notices.log"
    home.config.write_text(f'{PROVIDER}[[notify]]\non = ["budget 80%", "budget 50%"]\nlog = "{log}"\n')
    use_most_of_a_budget(home)
    tell(home, lambda: log.exists() and log.read_text().endswith("\n"))
    tell(home, lambda: json.loads(home.out("notify", "list", "--json")))
    (said,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert said["text"].startswith("all has used 80 % of its budget a month of $1.00")


@pytest.mark.skipif(sys.platform != "linux", reason="environments of processes are read below /proc")
def test_the_process_that_tells_is_given_no_providers_key(home: RunHome) -> None:
    out, script = home.folder / "environ", home.folder / "tell"
    script.write_text(f"#!/bin/sh\ntr '\\0' '\\n' < /proc/$PPID/environ > {out}.part && mv {out}.part {out}\n")
    script.chmod(0o700)
    home.config.write_text(f'{PROVIDER}[[notify]]\non = "budget 80%"\ncommand = ["{script}"]\n')
    use_most_of_a_budget(home)
    tell(home, out.exists)
    assert "PATH=/usr/bin:/bin" in out.read_text()
    assert SECRET not in out.read_text()


def test_whoever_cannot_be_reached_is_logged_once(home: RunHome, caplog: pytest.LogCaptureFixture) -> None:
    tries, script = home.folder / "tries", home.folder / "address"
    script.write_text(f"#!/bin/sh\necho tried >> {tries}\nexit 1\n")
    script.chmod(0o700)
    home.config.write_text(f'{PROVIDER}[[notify]]\non = "budget 80%"\nwebhook = {{ command = ["{script}"] }}\n')
    use_most_of_a_budget(home)
    with caplog.at_level(logging.WARNING):
        tell(home, lambda: tries.exists() and len(tries.read_text().splitlines()) >= 3)
    (said,) = [line for line in caplog.messages if "told of budgets" in line]
    assert said.startswith("people could not be told of budgets: not sent  webhook ")
