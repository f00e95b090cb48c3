"""The named lists of package hosts, the hosts that no sandbox may ever reach, and where a private registry lies."""

from __future__ import annotations

import functools
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from crewcap.core.hostnames import is_name, meets
from crewcap.settings.values import Wrong, nearest, quoted, read_host, read_texts

_ENDPOINT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9.-]{1,253}))(?::(?P<port>\d{1,5}))?\Z")
_ENDPOINT_HELP = 'write it as "10.0.0.7:8443", "[fd00::7]:443" or "nexus.internal:8443"'
_HIGHEST_PORT = 65_535


@functools.cache
def _table() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    data = tomllib.loads(files("crewcap.settings").joinpath("hosts.toml").read_text("utf-8"))
    return {part: {name: tuple(hosts) for name, hosts in lists.items()} for part, lists in data.items()}


def named_lists() -> Mapping[str, tuple[str, ...]]:
    """`python` -> the hosts that its packages come from."""
    return _table()["lists"]


def plain_hosts() -> tuple[str, ...]:
    """Hosts that are served by plain http too."""
    return _table()["plain"]["hosts"]


def never_hosts() -> tuple[str, ...]:
    """Patterns of every known provider's hosts."""
    return _table()["never"]["providers"]


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Host names for a mix of named lists and host names, each once, in order."""
    lists = named_lists()
    return tuple(dict.fromkeys(host for name in names for host in lists.get(name, (name,))))


def read_hosts(value: object) -> tuple[str, ...]:
    """Named lists and host names as written; refuses what is neither, and every provider's host."""
    return tuple(_read_one(text) for text in read_texts(value))


def refuse_providers(hosts: Iterable[str], *, more: Iterable[str] = ()) -> None:
    """`Wrong` if a host (or a wildcard) covers the host of a model provider."""
    never = (*never_hosts(), *more)
    for host in expand(hosts):
        if any(meets(host, provider) for provider in never):
            raise Wrong(
                f"{quoted(host)} is, or covers, the host of a model provider",
                "agents reach models through the gateway alone; take it off the list",
            )


def read_endpoint(value: Any) -> str:
    """Where a registry lies, with its port: an address or a name, which may be of a network of one's own."""
    match = _ENDPOINT.match(value) if isinstance(value, str) else None
    if match is None or not 0 < int(match["port"] or 443) <= _HIGHEST_PORT:
        raise Wrong(f"{quoted(value)} is not an address", _ENDPOINT_HELP)
    host = (match["six"] or match["host"]).lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if match["six"] or not is_name(host):
            raise Wrong(f"{quoted(value)} is not an address", _ENDPOINT_HELP) from None
        refuse_providers([host])
    else:
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            raise Wrong(f"{quoted(value)} is no address of a registry", _ENDPOINT_HELP)
    return f"{f'[{host}]' if match['six'] else host}:{int(match['port'] or 443)}"


def _read_one(text: str) -> str:
    if text in named_lists():
        return text
    if "." not in text:
        near = nearest(text, named_lists())
        hint = f'did you mean "{near}"?' if near else f"the lists are {', '.join(named_lists())}"
        raise Wrong(f"there is no list of hosts called {quoted(text)}", hint)
    host = read_host(text)
    refuse_providers([host])
    return host
