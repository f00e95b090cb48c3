"""The one client to providers: metered requests over lines of our own, all other calls with aiohttp's client.

Fixed addresses from the settings, no redirects, no proxies from the environment, no cookies, plain http to
loopback only. The provider's key is read here, kept here, and stands in no text: not in a repr, a log or an error.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from crewcap.errors import CrewcapError, SettingsError
from crewcap.gateway.provider.echoes import Echoes
from crewcap.gateway.provider.line import Answer, request_head
from crewcap.gateway.provider.lines import Lines
from crewcap.wire import Dialect, Malformed

CONNECT_S = 30
PROBE_S = 30
KEEP_ALIVE_S = 15  # shorter than any provider's, so that a request is not written into a connection that is closing
ERROR_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One configured provider."""

    name: str
    base_url: str
    prices: str  # its name in the price book
    read_key: Callable[[], str] = field(repr=False)
    key_header: Callable[[str], Mapping[str, str]] = field(repr=False)
    is_plan: bool = False  # a subscription pays: money is notional as far as answers tell so (see plan.py)
    share: int = 100  # per cent of its rate limits that may be used up
    probe: str = "/v1/models?limit=1000"  # path and query of a free call that lists the models of its key

    def url(self, path: str, *, query: Mapping[str, str] | None = None) -> URL:
        """An address below the provider's base; nothing of it comes from a client."""
        url = URL(self.base_url.rstrip("/") + path)  # the library remembers those that it has read
        return url.with_query(query) if query else url


def anthropic_key(key: str) -> Mapping[str, str]:
    """How Anthropic wants to see its key."""
    return {"x-api-key": key}


def openai_key(key: str) -> Mapping[str, str]:
    """How OpenAI wants to see its key."""
    return {"authorization": f"Bearer {key}"}


def gemini_key(key: str) -> Mapping[str, str]:
    """How Google wants to see its key."""
    return {"x-goog-api-key": key}


KEY_HEADERS: Mapping[str, Callable[[str], Mapping[str, str]]] = {
    "anthropic": anthropic_key,
    "openai": openai_key,
    "gemini": gemini_key,
}
PROBES: Mapping[str, str] = {
    "anthropic": "/v1/models?limit=1000",
    "openai": "/v1/models",
    "gemini": "/v1beta/models?pageSize=1000",
}


class Unsent(Exception):
    """No byte of the request was written."""


def check_address(provider: Provider) -> None:
    """Accept https anywhere, and http to loopback only."""
    url = URL(provider.base_url)
    if url.scheme == "https" and url.host:
        return
    if url.scheme == "http" and url.host and is_loopback(url.host):
        return
    raise SettingsError(
        f"the base_url of provider {provider.name} is not https, and plain http is for this machine alone",
        help="write it as https://...",
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Upstream:
    """A connection pool and the providers' keys."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._lines: Lines | None = None
        self._keys: dict[str, str] = {}
        self._echoes = Echoes()

    def __repr__(self) -> str:
        return "Upstream(...)"

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        self._lines = Lines(connector, connect_s=CONNECT_S, kept_s=KEEP_ALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._session is not None:
            await self._session.close()

    async def read_key(self, provider: Provider) -> bool:
        """Read a provider's key from its source (a command may take its time); whether it is another one now."""
        key = await asyncio.to_thread(provider.read_key)
        changed = self._keys.get(provider.name) != key
        self._keys[provider.name] = key
        self._echoes.learn(provider.name, key)
        return changed

    def key_headers(self, provider: Provider) -> Mapping[str, str]:
        """The headers that carry the provider's key."""
        key = self._keys.get(provider.name)
        return provider.key_header(key) if key else {}

    def hide_key(self, provider: Provider, body: bytes) -> bytes:
        """A whole body of the provider's as others may see it: without its key, should it have said that back."""
        return self._echoes.without(provider.name, body)

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str], *, limit: asyncio.Timeout) -> Answer:
        """Send, and return at the answer's head. `Unsent`: no byte was written; else some may have been."""
        lines = self._lines
        if lines is None:
            raise Unsent("the gateway is not running")
        try:
            head = request_head(url.raw_path_qs, url.host_port_subcomponent or "", headers, len(body))
            async with limit:
                line = await lines.get(url)
                answer = await line.ask(head, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Unsent(_why(error)) from error
        except ValueError as error:
            raise Unsent("the client sent a header that cannot be passed on") from error
        return answer.then(lambda line: lines.put(url, line))

    async def ask(
        self, provider: Provider, method: str, path: str, *, body: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Any other call of our own, with the provider's key; `path` may end in a query. `Unsent` as in `post`."""
        if self._session is None:
            raise Unsent("the gateway is not running")
        url = URL(provider.base_url.rstrip("/") + path, encoded=True)
        data = io.BytesIO(body) if body is not None else None
        sent = {**headers, **self.key_headers(provider)}
        try:
            return await self._session.request(method, url, data=data, headers=sent, allow_redirects=False)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Unsent(_why(error)) from error

    async def count(
        self, provider: Provider, dialect: Dialect, path: str, body: bytes, headers: Mapping[str, str]
    ) -> int | None:
        """The free count call; None when the provider does not say."""
        url = provider.url(path)
        try:
            answer = await self.post(url, body, headers, limit=asyncio.timeout(PROBE_S))
            async with answer:
                return dialect.read_count(await answer.read()) if answer.status == 200 else None
        except (Unsent, Malformed, aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def is_well(self, provider: Provider, *, model: str = "") -> bool:
        """Whether the provider takes our key (for this model), by a call that is free."""
        try:
            await self.read_key(provider)
            if self._session is None:
                return False
            headers = {**self.key_headers(provider), "anthropic-version": "2023-06-01"}
            url = URL(provider.base_url.rstrip("/") + provider.probe)
            async with (
                asyncio.timeout(PROBE_S),
                self._session.get(url, headers=headers, allow_redirects=False) as answer,
            ):
                body = await answer.read()
                named = (f'"{model}"'.encode(), f'"models/{model}"'.encode())
                return answer.status == 200 and (not model or any(name in body for name in named))
        except (CrewcapError, aiohttp.ClientError, OSError, TimeoutError):
            return False


def _why(error: Exception) -> str:
    """What hindered a connection, without the machine's own addresses."""
    cause = getattr(error, "os_error", None)
    return (getattr(cause, "strerror", None) or type(error).__name__) if cause else type(error).__name__
