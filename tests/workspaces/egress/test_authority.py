"""A certificate authority of one phase: what it vouches for, and that its keys are nowhere."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from crewcap.workspaces.egress.authority import Authority

HOST = "npm.acme.example"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make([HOST], now=datetime.now(UTC))


def greet(authority: Authority, served: str, expected: str) -> str:
    """Speak TLS with a server that vouches for one name while another is expected; what went wrong, if anything."""
    ours, theirs = socket.socketpair()
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())

    def serve() -> None:
        try:
            with authority.server_context(served).wrap_socket(theirs, server_side=True) as there:
                there.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, trusting.wrap_socket(ours, server_hostname=expected):
            return ""
    except ssl.SSLError as error:
        return str(error)
    finally:
        thread.join(10)


def test_a_client_that_trusts_it_accepts_the_registry(authority: Authority) -> None:
    assert greet(authority, HOST, HOST) == ""


def test_it_cannot_vouch_for_another_host(authority: Authority) -> None:
    """Were its key stolen, it would be good for the registries alone."""
    assert "permitted subtree violation" in greet(authority, "pypi.org", "pypi.org")


def test_a_certificate_for_one_host_is_not_one_for_another(authority: Authority) -> None:
    assert "Hostname mismatch" in greet(authority, HOST, "other.acme.example")


def test_it_makes_no_further_authorities_and_ends_with_the_run(authority: Authority) -> None:
    found = x509.load_pem_x509_certificate(authority.certificate)
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days <= 31


def test_its_keys_are_in_no_file_and_no_text(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = _open_files()
    authority.server_context(HOST)
    assert _open_files() <= before
    assert list(tmp_path.iterdir()) == []
    assert b"PRIVATE" not in authority.certificate
    assert "PrivateKey" not in repr(authority)


def _open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}
