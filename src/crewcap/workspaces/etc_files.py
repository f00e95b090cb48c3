"""The small /etc of a sandbox: what programs and tests expect to find, and nothing of the host's secrets.

A bare sandbox breaks `getpwuid`, time zones, certificates and `localhost` in ways that look like bugs of the project.
There is no resolv.conf: there is no resolver to reach.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

USER = "agent"
HOSTNAME = "crewcap"

# Public parts of the host's /etc, seen read-only where they exist; /etc/ssl/private is not among them.
SHARED = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
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
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
        "/etc/shells": "/bin/sh\n/bin/bash\n",
    }
    zone = b""
    with contextlib.suppress(OSError):
        zone = Path("/etc/localtime").read_bytes()
    return {path: text.encode() for path, text in files.items()} | ({"/etc/localtime": zone} if zone else {})


def shared() -> tuple[str, ...]:
    """Those of `SHARED` that this host has."""
    return tuple(path for path in SHARED if Path(path).exists())
