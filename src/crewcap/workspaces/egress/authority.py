"""A certificate authority of one phase of one run, so that a private registry's credential can be added on our side.

Only the certificate ever enters the sandbox. The keys stay in this process's memory: OpenSSL takes them from a file
alone, so they pass through a memory file that is gone at once. The authority may vouch for the registries' own names
and for no others (a critical name constraint), and not for longer than a run may last.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_EARLY = timedelta(hours=1)  # clocks inside and outside are the same; some tools round
_LATEST = timedelta(days=31)  # no run lasts longer


@dataclass(frozen=True, slots=True)
class Authority:
    """It vouches for the names that it was made for."""

    hosts: tuple[str, ...]
    certificate: bytes  # PEM: the only part that a sandbox sees
    _made_at: datetime
    _issuer: x509.Certificate = field(repr=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls, hosts: Sequence[str], *, now: datetime) -> Self:
        """A new one for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named("crewcap, for one run")
        names = x509.NameConstraints([x509.DNSName(host) for host in hosts], None)
        issuer = (
            _certificate(name, name, key, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(names, critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(tuple(hosts), issuer.public_bytes(Encoding.PEM), now, issuer, key)

    def server_context(self, host: str) -> ssl.SSLContext:
        """What speaks TLS as this host, over HTTP/1.1 alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            _certificate(_named(host), self._issuer.subject, key, self._made_at)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        _load(context, leaf.public_bytes(Encoding.PEM) + self.certificate + private)
        return context


def _load(context: ssl.SSLContext, chain_and_key: bytes) -> None:
    """Hand them to OpenSSL through a file that lies in memory, and has no name that lasts."""
    with os.fdopen(os.memfd_create("crewcap"), "wb") as memory:
        memory.write(chain_and_key)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + _LATEST)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
