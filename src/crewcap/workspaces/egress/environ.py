"""What package tools must be told to take our way out: where the proxy is, and whom to trust.

Most of them read the usual variables; some want words of their own. A project's own settings file (`.npmrc`,
`pip.conf`) may name another proxy or another bundle: their own variables are set as well, because they win over files.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

_HERE = "localhost,127.0.0.1,::1"
_QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "npm_config_update_notifier": "false"}  # their own questions outside
_BUNDLES = (  # where systems keep what they trust, and where a sandbox sees it too
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def proxy_environ(proxy: str) -> Mapping[str, str]:
    """The variables that lead every tool to the proxy, and loopback past it."""
    usual = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
    own = dict.fromkeys(("npm_config_proxy", "npm_config_https_proxy", "CARGO_HTTP_PROXY", "PIP_PROXY"), proxy)
    yarn = dict.fromkeys(("YARN_HTTP_PROXY", "YARN_HTTPS_PROXY"), proxy)
    past = {"NO_PROXY": _HERE, "no_proxy": _HERE, "npm_config_noproxy": _HERE}
    return {**usual, **own, **yarn, **past, **_QUIET, "NODE_USE_ENV_PROXY": "1"}


def trust_environ(bundle: str) -> Mapping[str, str]:
    """The variables that make every tool trust what is in this bundle: all of it for most, beside its own for Node."""
    names = (
        "SSL_CERT_FILE",  # OpenSSL, Go, uv, rustup, Ruby
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "PIP_CERT",
        "NODE_EXTRA_CA_CERTS",
        "npm_config_cafile",
        "CARGO_HTTP_CAINFO",
        "GIT_SSL_CAINFO",
        "DENO_CERT",
    )
    return dict.fromkeys(names, bundle)


def system_bundle() -> Path | None:
    """The file of certificates that this machine trusts, where a sandbox sees the same one."""
    return next((path for path in map(Path, _BUNDLES) if path.is_file()), None)


def trusted_here() -> bytes:
    """What this machine trusts, in one piece, for a bundle of ours."""
    found = system_bundle() or Path(ssl.get_default_verify_paths().cafile or "/dev/null")
    try:
        return found.read_bytes()
    except OSError:
        return b""
