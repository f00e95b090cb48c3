"""A gateway that nobody else looks after has people told of budgets, by a process of its own.

Commands tell when they end, and the worker of `crewcap serve` every few minutes. Beside a gateway alone there is
neither, and its users may be programs that run for days. So it starts `crewcap notify check` now and then, where the
settings name somebody for it: whom to tell and how is read there and gone with that process, which is given no
provider's key, and no request ever waits for a webhook.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress

from crewcap.cli.context import Call
from crewcap.gateway.assemble import key_variables

log = logging.getLogger(__name__)

EVERY_S = 300.0
_LONGEST_S = 120.0


async def keep_telling(call: Call, *, every_s: float = EVERY_S) -> None:
    """Until we are cancelled. What did not arrive is said when it is news; it is tried again each time."""
    said = ""
    while True:
        await asyncio.sleep(every_s)
        if not call.app.served.tells_of_money:
            continue
        failed = await _check(call)
        if failed and failed != said:
            log.warning("people could not be told of budgets: %s", failed)
        said = failed


async def _check(call: Call) -> str:
    """Have it looked at now; why somebody was not told, empty where all were."""
    keys = key_variables(call.app.served)
    config = ("--config", str(call.config_path)) if call.config_path is not None else ()
    words = ("notify", "check", "--home", str(call.home.root), *config)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "crewcap", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in call.environ.items() if name not in keys},
        )
    except OSError as error:
        return str(error)
    try:
        async with asyncio.timeout(_LONGEST_S):
            out, err = await process.communicate()
    except TimeoutError:
        return f"it took longer than {_LONGEST_S:.0f} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    unsent = [line for line in out.decode(errors="replace").splitlines() if line.startswith("not sent")]
    return "; ".join(unsent or err.decode(errors="replace").splitlines()[:1]) if process.returncode else ""
