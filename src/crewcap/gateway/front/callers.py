"""Who asks, and what: headers, key and body of a request, refused in that order."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from crewcap.core.budget import KeyId
from crewcap.core.keys import VirtualKey, hash_key
from crewcap.core.quick import quickly_made
from crewcap.gateway.front import headers, paths
from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.front.doors import Door, Doors
from crewcap.gateway.parts import Parts

log = logging.getLogger(__name__)

UPGRADES = frozenset({"tcp", "websocket"})  # after which the parser takes what follows for no body
KEY_KEPT_S = 2.0  # a key's own row; whether it may pay is asked of the ledger each time


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as it came in."""

    door: Door
    headers: dict[str, str]
    key: VirtualKey
    body: bytes
    read_at: float  # monotonic seconds: when its last byte was here


@dataclass(slots=True)
class _Kept:
    key: VirtualKey
    until: float


class Callers:
    """The keys that are known here, and the doors that they open."""

    def __init__(self, parts: Parts, doors: Doors) -> None:
        self._parts = parts
        self._doors = doors
        self._keys: dict[str, _Kept] = {}

    def renew(self, parts: Parts) -> None:
        """Go by another policy, from the next request on."""
        self._parts = parts

    async def read(self, door: Door, http: web.BaseRequest) -> Call:
        """Headers, key and body."""
        found, key = await self.known(door, http)
        if found.get("content-encoding", "identity").lower() != "identity":
            raise Refusal("malformed", "the body is encoded (content-encoding); send it plain")
        if found.get("transfer-encoding", "chunked").lower() != "chunked":
            raise Refusal("malformed", "the body is encoded (transfer-encoding); send it plain or in chunks")
        if "upgrade" in found.get("connection", "").lower() and found.get("upgrade", "").lower() in UPGRADES:
            raise Refusal("malformed", "a request with a body cannot become another protocol; leave out `upgrade`")
        body = await self._body(http)
        return Call(door=door, headers=found, key=key, body=body, read_at=time.monotonic())

    async def known(self, door: Door, http: web.BaseRequest) -> tuple[dict[str, str], VirtualKey]:
        """Headers and key of a request whose body does not matter."""
        try:
            found = headers.read(http.headers.items())
            return found, await self._key(door, headers.key_shown(found, paths.keys_queried(http)))
        except headers.HeaderError as error:
            raise Refusal("malformed", str(error)) from error

    def forget(self, key_id: KeyId) -> None:
        """A key changed: its row is read again."""
        self._keys = {digest: kept for digest, kept in self._keys.items() if kept.key.id != key_id}

    async def _key(self, door: Door, secret: str) -> VirtualKey:
        """The key's row, if it is known, alive and at the right door."""
        if not secret:
            raise Refusal(
                "key", "send a crewcap key, as x-api-key or as a bearer token; `crewcap key create` makes one"
            )
        if not secret.isascii():
            raise Refusal("key", "this key is not known to this gateway")
        digest, now = hash_key(secret), time.monotonic()
        kept = self._keys.get(digest)
        if kept is None or kept.until < now:
            row = await self._parts.purse.do(self._parts.ledger.find_key, digest)
            if row is None:
                raise Refusal("key", "this key is not known to this gateway")
            kept = self._keys[digest] = _Kept(row, now + KEY_KEPT_S)
        key, at = kept.key, self._parts.clock()
        if key.revoked_at is not None:
            raise Refusal("key", f"key {key.id} was revoked")
        if key.expires_at is not None and at >= key.expires_at:
            raise Refusal("key", f"key {key.id} expired at {key.expires_at:%Y-%m-%d %H:%M} UTC")
        if not self._doors.lets_in(door, key.id):
            log.warning("key %s was shown at the door %s, where it does not belong", key.id, door.name)
            raise Refusal("key", f"key {key.id} does not open this door")
        return key

    async def _body(self, http: web.BaseRequest) -> bytes:
        """The whole body, if it is not too large."""
        limit = self._parts.policy.body_bytes
        if (http.content_length or 0) > limit:
            raise _too_large(limit)
        if http.headers.get("expect", "").lower() == "100-continue":
            await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = http.content
        try:  # most have come whole with their head
            body = content.read_nowait() if content.is_eof() else await self._arriving(content, limit)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Refusal("malformed", "the body ended too early") from error
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _arriving(self, content: aiohttp.StreamReader, limit: int) -> bytes:
        """A body that is still on its way, as far as it may be read."""
        body = bytearray()
        async with asyncio.timeout(self._parts.policy.idle_s):
            while len(body) <= limit and (chunk := await content.readany()):
                body += chunk
        return bytes(body)


def _too_large(limit: int) -> Refusal:
    return Refusal("too_large", f"the body is larger than {limit // 2**20} MB")
