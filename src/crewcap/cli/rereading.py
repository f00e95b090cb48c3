"""A worker goes by settings and prices as they are now: read again when their files change, and at SIGHUP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from crewcap import config, prices
from crewcap.app import App
from crewcap.errors import CrewcapError
from crewcap.gateway.money.admission import Prices
from crewcap.gateway.reload import Files, Loaded, Reloader
from crewcap.settings.models import Settings

LOOK_S = 2.0


async def keep_reading(app: App) -> None:
    """Until we are cancelled. What is wrong is logged, and changes nothing."""
    files = Files(config_path=app.config_path, environ=app.environ, read=_read)

    async def renew(loaded: Loaded) -> None:
        assert isinstance(loaded.settings, Settings)  # noqa: S101  (`_read` made them)
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


def _read(path: Path | None, environ: Mapping[str, str]) -> tuple[Settings, Prices]:
    settings = config.load(path, environ)
    return settings, prices.load(settings.price_overrides or None)
