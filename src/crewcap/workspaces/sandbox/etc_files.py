"""The small /etc of a sandbox: what programs and tests expect to find, and nothing of the host's secrets.

A bare sandbox breaks `getpwuid`, time zones, certificates and `localhost` in ways that look like bugs of the project.
There is no resolver: `getaddrinfo` knows the names of /etc/hosts and says at once of every other one that it does not
exist, and programs that ask a name server themselves find none at 127.0.0.1. What has a way out goes through a proxy,
which looks names up on our side.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

USER = "agent"
HOSTNAME = "crewcap"
_ZONES = Path("/usr/share/zoneinfo")

# Public parts of the host, seen read-only where they exist; /etc/ssl/private is not among them.
_CERTIFICATES = (  # Debian and Arch; Fedora; openSUSE; Alpine; Nix and Guix keep links into their stores
    *("/etc/ca-certificates", "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/ct_log_list.cnf"),
    *("/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/java"),
    *("/var/lib/ca-certificates", "/etc/ssl1.1/cert.pem", "/etc/static/ssl/certs", "/etc/static/pki"),
)
_CRYPTOGRAPHY = (
    *("/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/pki/tls/openssl.d", "/etc/crypto-policies"),
    *("/etc/ssl/ca-bundle.pem", "/etc/ssl/openssl.cnf.d", "/etc/ssl1.1/openssl.cnf", "/etc/gnutls"),
)
_LIBRARIES = (
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
    *("/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path"),
)
_NETWORK_NAMES = ("/etc/services", "/etc/protocols", "/etc/rpc", "/etc/ethertypes", "/etc/gai.conf", "/etc/netconfig")
_KINDS_OF_FILES = ("/etc/magic", "/etc/magic.mime", "/etc/mime.types", "/etc/mailcap", "/etc/terminfo")
_FONTS = ("/etc/fonts", "/etc/static/fonts", "/var/cache/fontconfig")
_SYSTEM = (
    *("/etc/os-release", "/etc/lsb-release", "/etc/debian_version", "/etc/redhat-release", "/etc/alpine-release"),
    *("/etc/locale.alias", "/etc/locale.conf", "/etc/timezone"),
)
_LANGUAGES = (
    *("/etc/perl", "/etc/php", "/etc/php.ini", "/etc/php.d", "/etc/python3", "/etc/matplotlibrc"),
    *(f"/etc/java-{version}-openjdk" for version in (8, 11, 17, 21, 25)),
    *("/etc/java", "/etc/ImageMagick-6", "/etc/ImageMagick-7", "/etc/chromium", "/etc/chromium.d"),
)
_MACHINE = ("/sys/devices/system/cpu", "/sys/devices/system/node")  # how many processors there are

SHARED = (
    *(*_CERTIFICATES, *_CRYPTOGRAPHY, *_LIBRARIES, *_NETWORK_NAMES, *_KINDS_OF_FILES, *_FONTS),
    *(*_SYSTEM, *_LANGUAGES, *_MACHINE),
)


def made(*, uid: int, gid: int, home: str) -> Mapping[str, bytes]:
    """Path -> content of the files that are made for a run."""
    user = f"{USER}:x:{uid}:{gid}:{USER}:{home}:/bin/sh\n"
    files = {
        "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\n{user}nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
        "/etc/group": f"root:x:0:\n{USER}:x:{gid}:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "/etc/host.conf": "multi on\n",
        "/etc/hostname": f"{HOSTNAME}\n",
        "/etc/machine-id": f"{hashlib.md5(HOSTNAME.encode(), usedforsecurity=False).hexdigest()}\n",
        "/etc/networks": "loopback\t127.0.0.0\n",
        "/etc/nsswitch.conf": "".join(f"{what}: files\n" for what in _LOOKED_UP),
        "/etc/resolv.conf": "# names are looked up outside, by the proxy\noptions timeout:1 attempts:1\n",
        "/etc/shells": "/bin/sh\n/bin/bash\n",
    }
    zone = b""
    with contextlib.suppress(OSError):
        zone = b"" if _zone() else Path("/etc/localtime").read_bytes()
    return {path: text.encode() for path, text in files.items()} | ({"/etc/localtime": zone} if zone else {})


_LOOKED_UP = ("passwd", "group", "shadow", "hosts", "networks", "services", "protocols", "rpc", "ethers")


def links() -> Mapping[str, str]:
    """Path -> where it leads, of the links that are made: a time zone is known by the name of its file."""
    zone = _zone()
    return {"/etc/mtab": "/proc/self/mounts", **({"/etc/localtime": zone} if zone else {})}


def shared() -> tuple[str, ...]:
    """Those of `SHARED` that this host has."""
    return tuple(path for path in SHARED if Path(path).exists())


def _zone() -> str:
    """The file of the host's time zone, where its /etc/localtime is a link to one; empty = it is none."""
    place = Path("/etc/localtime")
    if not place.is_symlink():
        return ""
    target = Path("/etc", place.readlink())
    within = str(target).replace("/etc/..", "", 1)
    return within if Path(within).is_file() and Path(within).is_relative_to(_ZONES) else ""
