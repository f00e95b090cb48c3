"""Where a request for a way out leads, or why it leads nowhere: names, ports and addresses. No I/O.

A host is a name and nothing else: whatever could be an address in some notation is refused by its shape, before
anything is looked up. A name is looked up by us only once it is covered by the list, so that no question to a name
server carries anything out; and of its addresses each must be one of the public internet, so that a name never
leads into the operator's own network.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal

from crewcap.core.hostnames import covered, is_name

HTTPS, HTTP = 443, 80
NOT_LISTED = "not in hosts"
Scheme = Literal["https", "http"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A host that the operator said more about: who we are there, where it is, who vouches for it."""

    host: str
    authorization: str = field(default="", repr=False)  # the header's whole value; empty = none is added
    address: str = ""  # "10.0.0.7:8443", "[fd00::7]:443" or "nexus.internal:8443"; empty = as names are resolved
    authority: bytes = field(default=b"", repr=False)  # PEM, beside those that this machine trusts

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the header must stand in no text: the token, or the password and the pair that it is sent in."""
        scheme, _, sent = self.authorization.partition(" ")
        if scheme != "Basic":
            return (sent,) if sent else ()
        pair = base64.b64decode(sent).decode()
        return sent, pair, pair.partition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Where a run may go."""

    hosts: tuple[str, ...]  # names and `*.names`: https on port 443
    plain: tuple[str, ...] = ()  # of these also by plain http on port 80
    never: tuple[str, ...] = ()  # whatever else is said
    registries: tuple[Registry, ...] = ()
    written: tuple[str, ...] = ()  # as the settings have it: ("python", "files.example.org")

    def registry(self, host: str) -> Registry | None:
        """What is said about this host."""
        return next((registry for registry in self.registries if registry.host == host), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request may go."""

    host: str
    port: int  # as the client wrote it
    scheme: Scheme
    registry: Registry | None = None

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where that is: the name itself, or what the operator put in its place."""
        if self.registry is None or not self.registry.address:
            return self.host, self.port
        host, _, port = self.registry.address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def is_placed(self) -> bool:
        """Whether the operator said where it is; a private address is then meant."""
        return self.registry is not None and bool(self.registry.address)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, in one line of words."""

    reason: str


def judge(host: str, port: int, scheme: Scheme, allowed: Allowed) -> Target | Refusal:
    """Whether a run may go there by name."""
    name = host.lower()
    if reason := _not_a_name(name):
        return Refusal(reason)
    if covered(name, allowed.never):
        return Refusal("the host of a model provider: agents reach models through the gateway alone")
    if not covered(name, allowed.hosts):
        return Refusal(NOT_LISTED)
    registry = allowed.registry(name)
    target = Target(host=name, port=port, scheme=scheme, registry=registry)
    if scheme == "http" and not (covered(name, allowed.plain) and registry is None):
        return Refusal("plain http is served for the hosts of Debian's packages alone: use https")
    ports = {HTTP} if scheme == "http" else {HTTPS, target.endpoint[1]} if target.is_placed else {HTTPS}
    if port not in ports:
        return Refusal(f"port {port} is closed, {min(ports)} is open")
    return target


# IANA's special-purpose registries, written down: what `is_global` says of them differs from Python to Python.
_INSIDE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip
_OUTSIDE_6 = ipaddress.IPv6Network("2000::/3")  # all that was ever given out
_INSIDE_6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")
)
_NAT64, _SIX_TO_FOUR = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("2002::/16")
_ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))  # before the IPv4 address, whatever the prefix


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet; one that carries an IPv4 address is judged by that, too."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _INSIDE)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(str(address.ipv4_mapped))
    if carried := _carried(address):
        return is_public(carried)
    return address.is_global and address in _OUTSIDE_6 and not any(address in network for network in _INSIDE_6)


def _carried(address: ipaddress.IPv6Address) -> str:
    """The IPv4 address that a translator or a tunnel on the way would go on to; empty = none."""
    packed = address.packed
    if address in _NAT64 or packed[8:12] in _ISATAP:
        return str(ipaddress.IPv4Address(packed[12:]))
    return str(ipaddress.IPv4Address(packed[2:6])) if address in _SIX_TO_FOUR else ""


_NUMBER = re.compile(r"(?:0x[0-9a-f]*|\d+)", re.ASCII)


def _not_a_name(name: str) -> str:
    """Why this is no host's name; empty = it is one."""
    if is_name(name):
        return ""
    if ":" in name or name.startswith("[") or all(_NUMBER.fullmatch(part) for part in name.rstrip(".").split(".")):
        return "an address is no host's name, and names alone are in hosts"
    return "not a host's name, as hosts has them: lower-case ASCII letters, digits, '-' and dots"
