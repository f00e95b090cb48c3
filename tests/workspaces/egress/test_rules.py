"""Where a request may lead: names, ports, addresses."""

from __future__ import annotations

import base64

import pytest

from crewcap.settings.hosts import expand, never_hosts, plain_hosts
from crewcap.workspaces.egress.rules import NOT_LISTED, Allowed, Refusal, Registry, Scheme, Target, is_public, judge

ALLOWED = Allowed(
    hosts=(*expand(["python", "debian"]), "*.example.org", "*.googleapis.com", "nexus.acme.example"),
    plain=plain_hosts(),
    never=never_hosts(),
    registries=(Registry(host="nexus.acme.example", address="10.0.0.7:8443"),),
)


def reason(host: str, port: int = 443, scheme: Scheme = "https") -> str:
    judged = judge(host, port, scheme, ALLOWED)
    return judged.reason if isinstance(judged, Refusal) else ""


def test_a_listed_host_may_be_reached_whatever_its_case() -> None:
    assert judge("PyPI.org", 443, "https", ALLOWED) == Target(host="pypi.org", port=443, scheme="https")


@pytest.mark.parametrize("host", ["evil.test", "pypi.org.evil.test", "xpypi.org", "org", "example.org", "api.pypi.org"])
def test_a_host_off_the_list_is_refused(host: str) -> None:
    assert reason(host) == (NOT_LISTED if "." in host else reason("x"))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001"),
        *("127.0.0.1.", "[::1]", "::1", "[::ffff:127.0.0.1]", "[fe80::1%eth0]", "[64:ff9b::7f00:1]", "8.8.8.8", "0"),
    ],
)
def test_an_address_is_refused_in_every_notation(host: str) -> None:
    assert "an address is no host's name" in reason(host)


@pytest.mark.parametrize(
    "host", ["pypi.org.", "\u0440ypi.org", "pypi.org\0.evil.test", "pypi_org.example.org", "a%2eb.org", ""]
)
def test_a_name_that_hosts_could_not_have_is_refused(host: str) -> None:
    assert "not a host's name" in reason(host)


@pytest.mark.parametrize("port", [22, 80, 8443, 1, 65_535])
def test_one_port_is_open(port: int) -> None:
    assert reason("pypi.org", port) == f"port {port} is closed, 443 is open"


def test_plain_http_is_for_debian_alone() -> None:
    assert reason("deb.debian.org", 80, "http") == ""
    assert reason("deb.debian.org", 8080, "http") == "port 8080 is closed, 80 is open"
    assert "use https" in reason("pypi.org", 80, "http")


def test_a_providers_host_is_never_reached_though_a_wildcard_covers_it() -> None:
    for host in ("generativelanguage.googleapis.com", "us-central1-aiplatform.googleapis.com"):
        assert "model provider" in reason(host)
    assert reason("storage.googleapis.com") == ""


def test_a_registry_leads_to_where_the_operator_put_it() -> None:
    for port in (443, 8443):
        target = judge("nexus.acme.example", port, "https", ALLOWED)
        assert isinstance(target, Target)
        assert (target.endpoint, target.is_placed) == (("10.0.0.7", 8443), True)
    assert reason("nexus.acme.example", 22) == "port 22 is closed, 443 is open"


def test_what_a_registry_is_sent_is_known_in_all_its_parts() -> None:
    """The header is added outside; a registry that repeats it may take it apart."""
    assert Registry(host="a.example").secrets == ()
    assert Registry(host="a.example", authorization="Bearer tok-1234").secrets == ("tok-1234",)
    sent = base64.b64encode(b"ci:pass:word").decode()
    assert Registry(host="a.example", authorization=f"Basic {sent}").secrets == (sent, "ci:pass:word", "pass:word")


SPECIAL = {
    "this network": ("0.0.0.0", "0.1.2.3", "::"),
    "private": ("10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1"),
    "a provider's own NAT": ("100.64.0.1", "100.127.255.255", "100.100.100.200"),
    "loopback": ("127.0.0.1", "127.8.8.8", "::1"),
    "link-local, and the metadata services": ("169.254.169.254", "fe80::1", "fe80::1%eth0", "168.63.129.16"),
    "documentation": ("192.0.2.1", "198.51.100.9", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff::1"),
    "benchmarking": ("198.18.0.1", "198.19.255.255", "2001:2::1"),
    "protocols' own": ("192.0.0.8", "192.0.0.171", "192.88.99.1", "192.31.196.1", "192.52.193.1", "192.175.48.1"),
    "protocols' own, IPv6": ("2001:10::1", "2001:20::1", "2620:4f:8000::1", "100::1", "5f00::1"),
    "multicast": ("224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"),
    "never given out": ("240.0.0.1", "255.255.255.255", "4000::1", "1000::1"),
    "mapped": ("::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:203.0.113.7", "::ffff:100.64.0.1"),
    "compatible": ("::127.0.0.1", "::8.8.8.8", "::ffff:0:10.0.0.1"),
    "NAT64": ("64:ff9b::a00:1", "64:ff9b::6440:1", "64:ff9b::cb00:7107", "64:ff9b:1::1", "64:ff9b:1::808:808"),
    "6to4": ("2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1", "2002:a9fe:a9fe::"),
    "Teredo": ("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    "ISATAP": ("2a00::5efe:10.0.0.1", "2a00::200:5efe:192.168.1.1"),
}


@pytest.mark.parametrize("address", [address for kind in SPECIAL.values() for address in kind])
def test_an_address_that_leads_inside_or_nowhere_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "151.101.0.223", "192.0.1.1", "198.17.255.255", "203.0.112.1", "100.128.0.1", "2a04:4e42::223"),
        *("2001:4860:4860::8888", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1", "2a00::5efe:1.1.1.1"),
    ],
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)
