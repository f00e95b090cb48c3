"""From settings to a gateway that can be started."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from yarl import URL

from crewcap.errors import UnsafeEnvironment
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.money.admission import Prices
from crewcap.gateway.money.plan import plan_key
from crewcap.gateway.parts import Basis
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.upstream import KEY_HEADERS, PROBES, Provider
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.stores import Ledger
from crewcap.wire import ENDPOINTS

if TYPE_CHECKING:
    from crewcap.settings.served import ProviderSettings, Served

_REGIONAL = re.compile(r"([a-z]{2})\.api\.openai\.com")


Told = Callable[[Iterable[str]], None]


def nobody(secrets: Iterable[str]) -> None:
    """Where nobody writes a log, nobody need hear of secrets."""
    del secrets


def assemble(
    *,
    home: Home,
    settings: Served,
    ledger: Ledger,
    book: Prices,
    environ: Mapping[str, str],
    clock: Callable[[], datetime],
    listen: tuple[str, int],
    told: Told = nobody,
) -> Gateway:
    """The gateway that these settings describe; `environ` is where key sources of kind `env` are looked up.

    `told` hears every secret that is read, so that no log shows it.
    """
    found = basis(settings, book, environ, told=told)
    return Gateway(
        home=home,
        ledger=ledger,
        book=found.book,
        endpoints=found.endpoints,
        policy=found.policy,
        clock=clock,
        listen=listen,
        terms=found.terms,
    )


def basis(settings: Served, book: Prices, environ: Mapping[str, str], *, told: Told = nobody) -> Basis:
    """What a gateway goes by when these settings hold."""
    return Basis(
        endpoints=tuple(each for one in _served(settings) for each in _endpoints(one, settings, environ, told)),
        book=book,
        policy=_policy(settings),
        terms=terms(settings),
    )


def terms(settings: Served) -> str:
    """Short hashes of what decides where money goes and what may be bought: one for each seller, one for the rest.

    A gateway is for everybody whose `terms_needed` are among its own; it may have more sellers.
    """
    return " ".join(_terms(settings))


def terms_needed(settings: Served) -> frozenset[str]:
    """Of these terms, those that another gateway must have to be ours as well.

    Where no settings name the providers, they are whatever this shell has keys for, and only the first must be there.
    """
    rules, *sellers = _terms(settings)
    is_said = any(place.startswith("providers") for place in settings.origins)
    return frozenset({rules, *(sellers if is_said else sellers[:1])})


def _terms(settings: Served) -> tuple[str, ...]:
    gateway = settings.gateway
    sellers = [(one.name, one.dialect, one.base_url, one.prices, one.key, one.billing) for one in _served(settings)]
    rules = (sorted(gateway.allow), gateway.geo, gateway.strict_betas)
    return tuple(hashlib.blake2b(repr(said).encode(), digest_size=6).hexdigest() for said in (rules, *sellers))


def key_variables(settings: Served) -> tuple[str, ...]:
    """Names of the environment variables that hold providers' keys."""
    return settings.key_variables


def _served(settings: Served) -> list[ProviderSettings]:
    """The providers that the gateway speaks for."""
    return [one for one in settings.providers.values() if one.dialect in ENDPOINTS and one.dialect in KEY_HEADERS]


def _endpoints(one: ProviderSettings, settings: Served, environ: Mapping[str, str], told: Told) -> list[Endpoint]:
    """Every path of a provider, each with its dialect."""
    provider, options = _provider(one, environ, told), _options(one, settings)
    return [
        Endpoint(provider=provider, dialect=speak(**options), template=template)
        for template, speak in ENDPOINTS[one.dialect].items()
    ]


def _options(one: ProviderSettings, settings: Served) -> Mapping[str, Any]:
    """What a dialect has to know of the settings."""
    gateway = settings.gateway
    match one.dialect:
        case "anthropic":
            return {"reserve_geo": gateway.geo, "strict_betas": gateway.strict_betas}
        case "openai":
            return {"geo": region(one.base_url), "is_vendors": one.prices == "openai"}
        case _:
            return {}


def region(base_url: str) -> str:
    """Which of OpenAI's regions an address stands for: the answers do not tell, and some cost more."""
    found = _REGIONAL.fullmatch(URL(base_url).host or "")
    return found[1] if found else "global"


def _provider(one: ProviderSettings, environ: Mapping[str, str], told: Told) -> Provider:
    def read_key() -> str:
        if one.key is None:
            raise UnsafeEnvironment(
                f"provider {one.name} has no key",
                help=f'say where it is: [providers.{one.name}] key = {{ env = "..." }}',
            )
        key = one.key.read(environ)
        told((key,))
        return key

    is_plan = one.billing == "subscription"
    return Provider(
        name=one.name,
        base_url=one.base_url,
        prices=one.prices,
        read_key=read_key,
        key_header=plan_key(KEY_HEADERS[one.dialect]) if is_plan else KEY_HEADERS[one.dialect],
        is_plan=is_plan,
        share=one.share,
        probe=PROBES[one.dialect],
    )


def _policy(settings: Served) -> Policy:
    gateway = settings.gateway
    return Policy(
        allow=gateway.allow,
        wait_s=gateway.wait_s,
        drain_s=gateway.drain_s,
        idle_s=gateway.idle_s,
        attempts=1 + gateway.retries,
        retry_s=gateway.retry_s,
        batch_share=gateway.batch_share,
        batch_poll_s=gateway.batch_poll_s,
    )
