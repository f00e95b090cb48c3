"""The named lists of package hosts, and the hosts that no sandbox may ever reach."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files

from crewcap.settings.values import Wrong, nearest, quoted, read_host, read_texts


@functools.cache
def _table() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    data = tomllib.loads(files("crewcap.settings").joinpath("hosts.toml").read_text("utf-8"))
    return {part: {name: tuple(hosts) for name, hosts in lists.items()} for part, lists in data.items()}


def named_lists() -> Mapping[str, tuple[str, ...]]:
    """`python` -> the hosts that its packages come from."""
    return _table()["lists"]


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Host names for a mix of named lists and host names, each once, in order."""
    lists = named_lists()
    return tuple(dict.fromkeys(host for name in names for host in lists.get(name, (name,))))


def read_hosts(value: object) -> tuple[str, ...]:
    """Named lists and host names as written; refuses what is neither, and every provider's host."""
    return tuple(_read_one(text) for text in read_texts(value))


def refuse_providers(hosts: Iterable[str], *, more: Iterable[str] = ()) -> None:
    """`Wrong` if a host (or a wildcard) covers the host of a model provider."""
    never = {*_table()["never"]["providers"], *more}
    for host in expand(hosts):
        if any(_covers(host, provider) for provider in never):
            raise Wrong(
                f"{quoted(host)} is, or covers, the host of a model provider",
                "agents reach models through the gateway alone; take it off the list",
            )


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


def _covers(pattern: str, host: str) -> bool:
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))
