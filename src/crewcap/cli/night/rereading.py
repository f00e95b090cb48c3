"""A worker goes by settings and prices as they are now: read again when their files change, and at SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from crewcap import config, prices
from crewcap.app import App
from crewcap.errors import CrewcapError
from crewcap.gateway.money.admission import Prices
from crewcap.gateway.reload import Files, Loaded, Reloader
from crewcap.settings.models import Settings
from crewcap.settings.price_lists import check_price_lists

log = logging.getLogger(__name__)

LOOK_S = 2.0


async def keep_reading(app: App, *, at_once: int) -> None:
    """Until we are cancelled. What is wrong is logged, and changes nothing; `at_once` runs are carried out, 0 = all."""
    files = Files(config_path=app.config_path, environ=app.environ, read=_read)

    at_start = app.settings

    async def renew(loaded: Loaded) -> None:
        assert isinstance(loaded.settings, Settings)  # noqa: S101  (`_read` made them)
        before = set(waits_for_a_start(at_start, app.settings, at_once=at_once))
        for line in waits_for_a_start(at_start, loaded.settings, at_once=at_once):
            if line not in before:
                log.warning("%s", line)
        await asyncio.to_thread(app.go_by, loaded.settings)
        app.book = loaded.book  # type: ignore[assignment]  # `_read` made it

    now = Loaded(settings=app.settings, book=app.book)
    reloader = Reloader(now=now, files=files.of, load=files.load, renew=renew)
    hung_up = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(hung_up.wait(), LOOK_S)
        with suppress(CrewcapError):
            await (reloader.read_again() if hung_up.is_set() else reloader.look())
        hung_up.clear()


def waits_for_a_start(running: Settings, written: Settings, *, at_once: int) -> Iterator[str]:
    """What is written otherwise than it runs, and is not changed while it does; fewer slots hold at once."""
    next_ = "takes effect at the next start of crewcap serve"
    if running.serve.listen != written.serve.listen:
        yield f"[serve] listen = {written.serve.listen} {next_}; until then it is {running.serve.listen}"
    wanted = written.slots.all
    if wanted != running.slots.all and at_once and (not wanted or wanted > at_once):
        yield f"[slots] all = {wanted} {next_}; until then {at_once} runs at once are the most"


def _read(path: Path | None, environ: Mapping[str, str]) -> tuple[Settings, Prices]:
    settings = config.load(path, environ)
    book = prices.load(settings.price_overrides or None)
    check_price_lists(settings, lambda: book.lists)
    return settings, book
