"""Finding or starting a gateway, and talking to its control socket.

    async with attached(home, settings, config_path, environ) as gateway:
        gateway.url ... await gateway.open_door(...)

A running gateway of this home is used when there is one; else one is started as a child of ours. A child gets the
providers' keys over its standard input, never by its environment or its arguments, and lives for as long as that
input is open or anybody is attached: so two commands that share a gateway do not take it from each other.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import aiohttp

from crewcap.config import Settings
from crewcap.core.routing import FanOut
from crewcap.errors import CrewcapError, InternalError, UnsafeEnvironment, error_of
from crewcap.gateway.assemble import key_variables, terms_needed
from crewcap.gateway.front.fanout import Seen
from crewcap.home import Home

START_S = 60
ANSWER_S = 30
END_S = 5
LOCK_POLL_S = 0.05
COMMAND = (sys.executable, "-P", "-m", "crewcap")  # -P: no folder `crewcap` where we stand is taken for it


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHandle:
    """A living gateway."""

    url: str
    control: Path
    pid: int
    drain_s: float = 120
    terms: str = ""  # which settings it goes by
    book: str = ""  # hash of its prices
    token: str = field(default="", repr=False)  # from the gateway's note, which this user alone can read

    async def open_door(
        self,
        run: str,
        *,
        key_id: str,
        socket: Path,
        mode: Literal["handout", "http"],
        uid: int | None = None,
        fan_out: FanOut | None = None,
    ) -> None:
        """Make a run's unix socket; through it only this key works, and this key only through it."""
        limits = {} if fan_out is None else {f"max_{name}": most for name, most in asdict(fan_out).items()}
        wish = {"run": run, "key_id": key_id, "socket": str(socket), "mode": mode, "uid": uid, **limits}
        await self._ask("POST", "/runs", wish, limit_s=ANSWER_S)

    async def fan_out(self, run: str) -> Seen:
        """What the agents of a run did so far; to be asked before its door is closed."""
        return Seen(**await self._ask("GET", f"/runs/{run}", limit_s=ANSWER_S))

    async def slice_opened(self, run: str, *, wait: bool) -> bool:
        """Whether the run's final slice is opened; waits for it until the run's door is closed."""
        path, limit_s = (f"/runs/{run}/slice", None) if wait else (f"/runs/{run}/slice?now=1", ANSWER_S)
        return bool((await self._ask("GET", path, limit_s=limit_s))["opened"])

    async def close_door(self, run: str) -> int:
        """Close it and wait for the run's requests under way; how many holds are open after that."""
        answer = await self._ask("DELETE", f"/runs/{run}", limit_s=self.drain_s + ANSWER_S)
        return int(answer["open_holds"])

    async def revoke(self, key_id: str) -> int:
        """End a key and wait for its requests under way; how many holds are open after that."""
        answer = await self._ask("POST", "/revoke", {"key_id": key_id}, limit_s=self.drain_s + ANSWER_S)
        return int(answer["open_holds"])

    async def thaw(self, provider: str) -> bool:
        """Somebody has looked at an incident of this provider's."""
        return bool((await self._ask("POST", "/thaw", {"provider": provider}, limit_s=ANSWER_S))["thawed"])

    async def start_batch(self, name: str) -> dict[str, Any]:
        """Begin a batch job whose folder is there, or go on with it; what it does."""
        return await self._ask("POST", f"/batches/{quote(name, safe='')}", limit_s=ANSWER_S)

    async def batch(self, name: str) -> dict[str, Any]:
        """What a batch job does at this moment."""
        return await self._ask("GET", f"/batches/{quote(name, safe='')}", limit_s=ANSWER_S)

    async def cancel_batch(self, name: str, *, abandon: bool = False) -> dict[str, Any]:
        """Stop a batch job; `abandon`: wait for nothing more, what it holds becomes uncertain."""
        path = f"/batches/{quote(name, safe='')}/cancel" + ("?abandon=1" if abandon else "")
        return await self._ask("POST", path, limit_s=ANSWER_S)

    async def read_again(self) -> str:
        """Have the settings read again; the hash of the prices that hold now. `SettingsError` says why they do not."""
        return str((await self._ask("POST", "/reload", limit_s=ANSWER_S))["book"])

    async def status(self) -> dict[str, Any]:
        """Everything that the gateway tells of itself."""
        return await self._ask("GET", "/status", limit_s=ANSWER_S)

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, limit_s: float | None
    ) -> dict[str, Any]:
        """One call of the control interface; its errors are raised again here."""
        try:
            async with (
                _session(self, limit_s=limit_s) as session,
                session.request(method, f"http://gateway{path}", json=body) as http,
            ):
                answer: dict[str, Any] = await http.json()
        except (aiohttp.ClientError, OSError) as error:
            raise UnsafeEnvironment(
                f"the gateway at {self.control} is gone: it ended before it was told to",
                help="start the same command again, a run goes on where it was; logs/gateway.log may say why it ended",
            ) from error
        if "error" in answer:
            raise error_of(answer["error"])
        return answer


async def find(home: Home, *, drain_s: float = 120) -> GatewayHandle | None:
    """The running gateway of a home, if it answers."""
    try:
        note = json.loads(home.gateway_note.read_text())
        handle = GatewayHandle(
            url="", control=Path(note["control"]), pid=0, drain_s=drain_s, token=str(note.get("token", ""))
        )
        status = await handle.status()
        return replace(
            handle, url=status["url"], pid=status["pid"], terms=status.get("terms", ""), book=status.get("book", "")
        )
    except (OSError, ValueError, KeyError, TypeError, aiohttp.ClientError, CrewcapError):
        return None


@asynccontextmanager
async def attached(
    home: Home,
    settings: Settings,
    config_path: Path | None,
    environ: Mapping[str, str],
    *,
    book: Callable[[], str] | None = None,
) -> AsyncIterator[GatewayHandle]:
    """A gateway of this home, found or started, that stays for as long as this is open.

    One that is found must go by our settings and, where `book` is given, by our prices.
    """
    home.make()
    child: subprocess.Popen[bytes] | None = None
    async with _starting(home):
        held = await hold_on(await find(home, drain_s=settings.gateway.drain_s))
        if held is not None and _differs(held[0], settings, book):
            held = await _told_to_read(held[0]), held[1]
        if held is not None and (other := _differs(held[0], settings, book)):
            await held[1].close()
            raise UnsafeEnvironment(
                f"a gateway of this home runs already (process {held[0].pid}), with other {other}",
                help="let what uses it end and stop it, or name another state directory with --home",
            )
        if held is None:
            child = _spawn(home, settings, config_path, environ)
            try:
                await _ready(child)
                held = await hold_on(await find(home, drain_s=settings.gateway.drain_s))
            except BaseException:
                child.kill()
                child.wait()
                raise
    if held is None:
        raise InternalError("the gateway that was just started cannot be reached")
    handle, lease = held
    try:
        yield handle
    finally:
        await lease.close()
        if child is not None:
            await _leave(child, handle)


async def _told_to_read(handle: GatewayHandle) -> GatewayHandle:
    """A gateway with other settings may only not have seen yet that their file has changed."""
    with suppress(CrewcapError):
        await handle.read_again()
        status = await handle.status()
        return replace(handle, terms=status["terms"], book=status["book"])
    return handle


def _differs(found: GatewayHandle, settings: Settings, book: Callable[[], str] | None) -> str:
    """What a gateway that runs already has otherwise than we have; '' for nothing.

    Its providers would be sent our requests, and its prices would hold for them: last month's, if it is that old.
    """
    if not terms_needed(settings) <= set(found.terms.split()):
        return "settings for its providers"
    return "prices" if book is not None and found.book != book() else ""


class Lease:
    """The open connection that says: somebody needs this gateway."""

    def __init__(self, session: aiohttp.ClientSession, answer: aiohttp.ClientResponse) -> None:
        self._session, self._answer = session, answer

    async def lost(self) -> None:
        """Wait until the gateway is gone."""
        with suppress(aiohttp.ClientError, OSError):
            while await self._answer.content.readany():
                pass

    async def close(self) -> None:
        """Need it no longer."""
        self._answer.close()
        await self._session.close()


async def hold_on(handle: GatewayHandle | None) -> tuple[GatewayHandle, Lease] | None:
    """Attach; None where there is no gateway, or one that is ending."""
    if handle is None:
        return None
    session = _session(handle, limit_s=None)
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await session.get("http://gateway/attach")
            if answer.status == 200:
                return handle, Lease(session, answer)
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass
    await session.close()
    return None


@asynccontextmanager
async def _starting(home: Home) -> AsyncIterator[None]:
    """Two commands that start at once start one gateway."""
    lock = os.open(home.root / "gateway.start", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(START_S):
            while not _locked(lock):  # noqa: ASYNC110  (another process holds it; no event of ours tells)
                await asyncio.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _spawn(
    home: Home, settings: Settings, config_path: Path | None, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a gateway in a session of its own, with nothing secret in its environment or arguments."""
    secret = key_variables(settings)
    config = ("--config", str(config_path)) if config_path is not None else ()
    home.logs.mkdir(mode=0o700, exist_ok=True)
    path = home.logs / "gateway.log"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as log:
        child = subprocess.Popen(  # noqa: S603  (our own command, in this interpreter)
            [*COMMAND, "gateway", "--child", "--listen", "127.0.0.1:0", "--home", str(home.root), *config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={name: value for name, value in environ.items() if name not in secret},
            start_new_session=True,
        )
    assert child.stdin is not None  # noqa: S101  (it is a pipe)
    keys = {name: environ[name] for name in secret if name in environ}
    child.stdin.write(json.dumps({"environ": keys}).encode() + b"\n")
    child.stdin.flush()
    return child


async def _ready(child: subprocess.Popen[bytes]) -> None:
    """Wait for its one line: where it listens, or why not."""
    assert child.stdout is not None  # noqa: S101  (it is a pipe)
    try:
        async with asyncio.timeout(START_S):
            line = await asyncio.to_thread(child.stdout.readline)
    except TimeoutError:
        raise InternalError(f"the gateway did not start within {START_S} s") from None
    try:
        said = json.loads(line)
    except ValueError:
        raise InternalError("the gateway ended while it started", help="see logs/gateway.log in the home") from None
    if "error" in said:
        raise error_of(said["error"])


async def _leave(child: subprocess.Popen[bytes], handle: GatewayHandle) -> None:
    """Tell our child that we are done; it ends by itself, at once or when the last one is gone."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    try:
        if not (await handle.status())["attached"]:
            await asyncio.to_thread(child.wait, END_S)
            return
    except subprocess.TimeoutExpired:
        pass
    except UnsafeEnvironment:  # it was quicker than our question
        await asyncio.to_thread(child.wait)
        return
    child.returncode = 0  # others need it: it is theirs now, and no object of ours may complain of it


def _session(gateway: GatewayHandle, *, limit_s: float | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path=str(gateway.control)),
        headers={"authorization": f"Bearer {gateway.token}"},
        timeout=aiohttp.ClientTimeout(total=limit_s),
        trust_env=False,
    )
