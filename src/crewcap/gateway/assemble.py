"""From settings to a gateway that can be started."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from yarl import URL

from crewcap.config import ProviderSettings, Settings
from crewcap.errors import UnsafeEnvironment
from crewcap.gateway.admission import Prices
from crewcap.gateway.endpoints import Endpoint
from crewcap.gateway.policy import Policy
from crewcap.gateway.server import Gateway
from crewcap.gateway.upstream import KEY_HEADERS, PROBES, Provider
from crewcap.home import Home
from crewcap.stores import Ledger
from crewcap.wire import ENDPOINTS

_REGIONAL = re.compile(r"([a-z]{2})\.api\.openai\.com")


def assemble(
    *,
    home: Home,
    settings: Settings,
    ledger: Ledger,
    book: Prices,
    environ: Mapping[str, str],
    clock: Callable[[], datetime],
    listen: tuple[str, int],
) -> Gateway:
    """The gateway that these settings describe; `environ` is where key sources of kind `env` are looked up."""
    return Gateway(
        home=home,
        ledger=ledger,
        book=book,
        endpoints=[each for one in _served(settings) for each in _endpoints(one, settings, environ)],
        policy=_policy(settings),
        clock=clock,
        listen=listen,
        terms=terms(settings),
    )


def terms(settings: Settings) -> str:
    """Short hash of what decides where money goes and what may be bought; two that differ are not for each other."""
    gateway = settings.gateway
    sellers = [(one.name, one.dialect, one.base_url, one.prices, one.key) for one in _served(settings)]
    said = (sellers, sorted(gateway.allow), gateway.geo, gateway.strict_betas)
    return hashlib.blake2b(repr(said).encode(), digest_size=6).hexdigest()


def key_variables(settings: Settings) -> tuple[str, ...]:
    """Names of the environment variables that hold providers' keys."""
    sources = [one.key for one in settings.providers.values() if one.key is not None]
    return tuple(str(source.value) for source in sources if source.kind == "env")


def _served(settings: Settings) -> list[ProviderSettings]:
    """The providers that the gateway speaks for."""
    return [
        one
        for one in settings.providers.values()
        if one.dialect in ENDPOINTS and one.dialect in KEY_HEADERS
        if one.billing == "metered"  # a plan's money is notional, and is never booked as billed
    ]


def _endpoints(one: ProviderSettings, settings: Settings, environ: Mapping[str, str]) -> list[Endpoint]:
    """Every path of a provider, each with its dialect."""
    provider, options = _provider(one, environ), _options(one, settings)
    return [
        Endpoint(provider=provider, dialect=speak(**options), template=template)
        for template, speak in ENDPOINTS[one.dialect].items()
    ]


def _options(one: ProviderSettings, settings: Settings) -> Mapping[str, Any]:
    """What a dialect has to know of the settings."""
    gateway = settings.gateway
    match one.dialect:
        case "anthropic":
            return {"reserve_geo": gateway.geo, "strict_betas": gateway.strict_betas}
        case "openai":
            return {"geo": region(one.base_url)}
        case _:
            return {}


def region(base_url: str) -> str:
    """Which of OpenAI's regions an address stands for: the answers do not tell, and some cost more."""
    found = _REGIONAL.fullmatch(URL(base_url).host or "")
    return found[1] if found else "global"


def _provider(one: ProviderSettings, environ: Mapping[str, str]) -> Provider:
    def read_key() -> str:
        if one.key is None:
            raise UnsafeEnvironment(
                f"provider {one.name} has no key",
                help=f'say where it is: [providers.{one.name}] key = {{ env = "..." }}',
            )
        return one.key.read(environ)

    return Provider(
        name=one.name,
        base_url=one.base_url,
        prices=one.prices,
        read_key=read_key,
        key_header=KEY_HEADERS[one.dialect],
        share=one.share,
        probe=PROBES[one.dialect],
    )


def _policy(settings: Settings) -> Policy:
    gateway = settings.gateway
    return Policy(allow=gateway.allow, wait_s=gateway.wait_s, drain_s=gateway.drain_s, idle_s=gateway.idle_s)
