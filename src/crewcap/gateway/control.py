"""What the runner and the command line may ask of a running gateway, over a unix socket that its user alone opens.

Every call carries the token of HOME/gateway.json: being able to reach the socket does not prove who asks.

POST   /runs          {"run","key_id","socket","mode":"handout"|"http","uid","max_agents","max_depth","max_concurrent"}
                      open a run's door, in an old one's place
GET    /runs/{run}    what its agents did so far: {"agents","depth","refused","words"}
GET    /runs/{run}/slice   {"opened": bool}: held open until the final slice of its cap is opened or its door closed;
                      answered at once where it is asked with ?now
DELETE /runs/{run}    close it, wait for its requests under way, {"open_holds": n}
POST   /revoke        {"key_id"}: end a key, wait for its requests under way, {"revoked","open_holds"}
POST   /thaw          {"provider"}: somebody has looked at an incident, {"thawed": bool}
POST   /reload        read settings, keys and prices again, {"book","terms"}
POST   /batches/{name}           begin a batch job whose folder is there, or go on with it
GET    /batches/{name}           what it does at this moment
POST   /batches/{name}/cancel    stop it; with ?abandon wait for nothing more
GET    /status        address, process, boot, doors, requests under way, what is frozen
GET    /attach        held open for as long as somebody needs this gateway: one started by a command ends when
its starter is gone and nobody is attached
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from aiohttp import web

from crewcap.core.budget import KeyId
from crewcap.core.routing import FanOut
from crewcap.errors import CrewcapError, UsageError
from crewcap.gateway.front.answers import as_json

if TYPE_CHECKING:
    from crewcap.gateway.server import Gateway


class OpenDoor(msgspec.Struct, forbid_unknown_fields=True):
    """A door that a run wants."""

    run: str
    key_id: str
    socket: str
    mode: Literal["handout", "http"] = "http"
    uid: int | None = None
    max_agents: int | None = None
    max_depth: int | None = None
    max_concurrent: int | None = None


class Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """A key that is to end."""

    key_id: str


class Thaw(msgspec.Struct, forbid_unknown_fields=True):
    """A provider that may be used again."""

    provider: str


class Control:
    """The control interface of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._runner: web.AppRunner | None = None
        self._path: Path | None = None
        self.token = secrets.token_urlsafe(32)  # in HOME/gateway.json, so that a path to the socket is not enough
        self._is_free = asyncio.Event()
        self._is_free.set()
        self.attached = 0

    async def listen(self, path: Path) -> None:
        """Make the socket, for this user alone."""
        app = web.Application(middlewares=[self._known_callers_only])
        app.router.add_post("/runs", _explained(self._open))
        app.router.add_get("/runs/{run}", _explained(self._seen))
        app.router.add_get("/runs/{run}/slice", _explained(self._slice))
        app.router.add_delete("/runs/{run}", _explained(self._close))
        app.router.add_post("/revoke", _explained(self._revoke))
        app.router.add_post("/thaw", _explained(self._thaw))
        app.router.add_post("/reload", _explained(self._reload))
        app.router.add_post("/batches/{name}", _explained(self._start_batch))
        app.router.add_get("/batches/{name}", _explained(self._batch))
        app.router.add_post("/batches/{name}/cancel", _explained(self._cancel_batch))
        app.router.add_get("/status", _explained(self._status))
        app.router.add_get("/attach", self._attach)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  (one name in a local folder)
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, path).start()
        finally:
            os.umask(before)
        self._path = path

    async def stop(self) -> None:
        """Close the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def unattached(self) -> None:
        """Wait until nobody needs this gateway."""
        await self._is_free.wait()

    @web.middleware
    async def _known_callers_only(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Landlock lets an agent connect to any socket of its user's; it does not let it read our note."""
        said = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(said.encode(), self.token.encode()):
            return _error(UsageError("this is not the token of HOME/gateway.json"), status=401)
        return await handler(request)

    async def _open(self, http: web.Request) -> web.StreamResponse:
        wish = msgspec.json.decode(await http.read(), type=OpenDoor)
        fan_out = FanOut(agents=wish.max_agents, depth=wish.max_depth, concurrent=wish.max_concurrent)
        await self._gateway.open_run(
            wish.run, key=KeyId(wish.key_id), path=Path(wish.socket), mode=wish.mode, uid=wish.uid, fan_out=fan_out
        )
        return as_json({"run": wish.run, "socket": wish.socket}, status=201)

    async def _seen(self, http: web.Request) -> web.StreamResponse:
        return as_json(self._gateway.fan_out(http.match_info["run"]))

    async def _slice(self, http: web.Request) -> web.StreamResponse:
        return as_json({"opened": await self._gateway.slice_opened(http.match_info["run"], wait=not http.query)})

    async def _close(self, http: web.Request) -> web.StreamResponse:
        return as_json({"open_holds": await self._gateway.close_run(http.match_info["run"])})

    async def _revoke(self, http: web.Request) -> web.StreamResponse:
        wish = msgspec.json.decode(await http.read(), type=Revoke)
        revoked, left = await self._gateway.revoke(KeyId(wish.key_id))
        return as_json({"revoked": revoked, "open_holds": left})

    async def _thaw(self, http: web.Request) -> web.StreamResponse:
        wish = msgspec.json.decode(await http.read(), type=Thaw)
        return as_json({"thawed": await self._gateway.thaw(wish.provider)})

    async def _reload(self, http: web.Request) -> web.StreamResponse:
        del http
        await self._gateway.read_again()
        status = self._gateway.status()
        return as_json({name: status[name] for name in ("book", "terms")})

    async def _start_batch(self, http: web.Request) -> web.StreamResponse:
        return as_json(self._gateway.batches.start(http.match_info["name"]), status=201)

    async def _batch(self, http: web.Request) -> web.StreamResponse:
        return as_json(self._gateway.batches.status(http.match_info["name"]))

    async def _cancel_batch(self, http: web.Request) -> web.StreamResponse:
        name, batches = http.match_info["name"], self._gateway.batches
        return as_json(await (batches.abandon(name) if "abandon" in http.query else batches.cancel(name)))

    async def _status(self, http: web.Request) -> web.StreamResponse:
        del http
        return as_json(self._gateway.status())

    async def _attach(self, http: web.Request) -> web.StreamResponse:
        """Hold on until the client goes; that is when this handler is cancelled."""
        if self._gateway.is_ending:
            return as_json({"error": {"code": "ending", "message": "this gateway is ending", "help": ""}}, status=503)
        self.attached += 1
        self._is_free.clear()
        try:
            response = web.StreamResponse()
            await response.prepare(http)
            await response.write(msgspec.json.encode(self._gateway.status()) + b"\n")
            await asyncio.Event().wait()
        finally:
            self.attached -= 1
            if not self.attached:
                self._is_free.set()
        return response


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _explained(handler: Handler) -> Handler:
    """An error as every other face of crewcap tells it."""

    async def wrapper(http: web.Request) -> web.StreamResponse:
        try:
            return await handler(http)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return _error(UsageError(f"the gateway does not understand this: {error}"))
        except CrewcapError as error:
            return _error(error)

    return wrapper


def _error(error: CrewcapError, *, status: int = 0) -> web.Response:
    said = {"code": error.code, "message": error.message, "help": error.help}
    return as_json({"error": said}, status=status or error.http_status)
