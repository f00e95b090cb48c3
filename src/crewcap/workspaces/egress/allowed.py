"""What the settings allow a repository's runs to reach; credentials of its registries are read here, on our side."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from crewcap.core.hostnames import covered
from crewcap.errors import UnsafeEnvironment
from crewcap.settings.hosts import expand, never_hosts, plain_hosts
from crewcap.settings.models import RegistryFile, Settings
from crewcap.workspaces.egress.rules import Allowed, Registry

_LARGEST_BUNDLE = 4 << 20


def allowed_of(settings: Settings, repo: str, hosts: tuple[str, ...], *, environ: Mapping[str, str]) -> Allowed:
    """Where the runs of this repository may go, `hosts` being its own list; it blocks, and may run a key's command.

    `UnsafeEnvironment` says which credential or authority cannot be read.
    """
    names = expand(hosts)
    providers = (urlsplit(provider.base_url).hostname or "" for provider in settings.providers.values())
    return Allowed(
        hosts=names,
        plain=tuple(host for host in plain_hosts() if covered(host, names)),
        never=(*never_hosts(), *(host for host in providers if host)),
        registries=tuple(_registries(settings.registries, repo, names, environ)),
        written=hosts,
    )


def _registries(
    written: Mapping[str, RegistryFile], repo: str, names: tuple[str, ...], environ: Mapping[str, str]
) -> Iterator[Registry]:
    """Those that the list covers and that this repository may use."""
    for host, registry in written.items():
        if covered(host, names) and (not registry.repos or repo in registry.repos):
            yield Registry(
                host=host,
                authorization=_authorization(registry, environ),
                address=registry.address or "",
                authority=_authority(host, registry.ca, environ) if registry.ca else b"",
            )


def _authorization(registry: RegistryFile, environ: Mapping[str, str]) -> str:
    if registry.token is not None:
        return f"Bearer {registry.token.read(environ)}"
    if registry.password is not None:
        pair = f"{registry.user}:{registry.password.read(environ)}"
        return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
    return ""


def _authority(host: str, path: str, environ: Mapping[str, str]) -> bytes:
    """The certificates in a registry's own file."""
    home = environ.get("HOME")
    file = Path(home + path[1:]) if home and path.startswith("~/") else Path(path).expanduser()
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_BUNDLE)
        ssl.create_default_context(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise _unusable(host, file, "it holds no certificates") from None
    except OSError as error:
        raise _unusable(host, file, error.strerror or "it cannot be read") from None
    return content


def _unusable(host: str, file: Path, why: str) -> UnsafeEnvironment:
    return UnsafeEnvironment(
        f'the ca of registries."{host}", {file}, cannot be used: {why}', help="name a PEM file of certificates"
    )
