"""Control pages of a running simulator, for those who hold only its address: statistics, log, reset, trouble."""

from __future__ import annotations

import json
from typing import Protocol

from aiohttp import web

from crewcap.simulator.log import RequestLog
from crewcap.simulator.meter import Meter
from crewcap.simulator.troubles import TROUBLES, Trouble


class Controlled(Protocol):
    """What the control pages look at and change."""

    meter: Meter
    log: RequestLog
    trouble: Trouble | None
    in_flight: int

    def reset(self) -> None:
        """Back to the start."""
        ...


def add_routes(app: web.Application, simulator: Controlled) -> None:
    """Put the control pages under /_control/."""

    async def stats(request: web.Request) -> web.Response:
        del request
        counts = {"requests": len(simulator.log.records), "in_flight": simulator.in_flight}
        return web.json_response(simulator.meter.as_json() | counts)

    async def log(request: web.Request) -> web.Response:
        del request
        lines = [json.dumps(record.as_json(), ensure_ascii=False) + "\n" for record in simulator.log.records]
        return web.Response(text="".join(lines), content_type="application/x-ndjson")

    async def reset(request: web.Request) -> web.Response:
        del request
        simulator.reset()
        return web.json_response({"ok": True})

    async def trouble(request: web.Request) -> web.Response:
        name = _name(await request.read())
        if name and name not in TROUBLES:
            return web.json_response({"error": f"no trouble is named {name!r}", "known": list(TROUBLES)}, status=400)
        simulator.trouble = TROUBLES[name] if name else None
        return web.json_response({"trouble": name or None})

    app.router.add_get("/_control/stats", stats)
    app.router.add_get("/_control/log", log)
    app.router.add_post("/_control/reset", reset)
    app.router.add_post("/_control/trouble", trouble)


def _name(body: bytes) -> str:
    """The trouble that is asked for: `{"name": "overloaded"}`; `{}` ends it."""
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return "(not JSON)"
    return str(data.get("name") or "") if isinstance(data, dict) else "(not an object)"
