"""Named lists of package hosts, hosts that no list may hold, and registries of one's own."""

from __future__ import annotations

import pytest

from crewcap.config import Settings
from crewcap.core.hostnames import covered, is_name
from crewcap.errors import SettingsError
from crewcap.settings import explain, load
from crewcap.settings.hosts import (
    expand,
    named_lists,
    never_hosts,
    plain_hosts,
    read_endpoint,
    read_hosts,
    refuse_providers,
)
from crewcap.settings.resolve import VENDORS
from crewcap.settings.values import Wrong


def read(text: str) -> Settings:
    return load.settings_of(load.parse(text.encode(), name="config.toml"))


def test_every_listed_host_is_a_name_and_none_is_a_providers() -> None:
    for name, hosts in named_lists().items():
        assert all(is_name(host) for host in hosts), name
        refuse_providers(hosts)
    assert set(named_lists()) == {"python", "npm", "rust", "go", "debian"}


def test_plain_http_is_for_hosts_of_the_debian_list() -> None:
    assert set(plain_hosts()) <= set(expand(["debian"]))


def test_lists_and_names_are_put_together_once_each() -> None:
    assert expand(["python", "pypi.org", "a.example"]) == ("pypi.org", "files.pythonhosted.org", "a.example")


@pytest.mark.parametrize(
    "host",
    [
        *("api.anthropic.com", "claude.ai", "api.openai.com", "eu.api.openai.com", "generativelanguage.googleapis.com"),
        *("acme.openai.azure.com", "acme.cognitiveservices.azure.com", "acme.services.ai.azure.com"),
        *("aiplatform.googleapis.com", "europe-west4-aiplatform.googleapis.com", "cloudcode-pa.googleapis.com"),
        *("aiplatform.us.rep.googleapis.com", "bedrock-runtime.us-east-1.amazonaws.com"),
        *("bedrock-runtime.eu-central-1.amazonaws.com", "bedrock-runtime-fips.us-gov-west-1.amazonaws.com"),
        *("bedrock-mantle.us-east-1.api.aws", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        *("vpce-1-2.bedrock-runtime.us-east-1.vpce.amazonaws.com", "bedrock-agent-runtime.us-west-2.amazonaws.com"),
        *("api.githubcopilot.com", "api.business.githubcopilot.com", "models.github.ai", "openrouter.ai"),
        *("api.mistral.ai", "api.groq.com", "api.x.ai", "api.deepseek.com", "api.together.xyz", "api.cohere.com"),
    ],
)
def test_a_providers_host_is_never_listed_whatever_its_region(host: str) -> None:
    assert covered(host, never_hosts())
    with pytest.raises(Wrong, match="host of a model provider"):
        read_hosts([host])


def test_every_vendor_that_the_gateway_knows_is_among_them() -> None:
    for vendor in VENDORS.values():
        with pytest.raises(Wrong, match="model provider"):
            refuse_providers([vendor.base_url.removeprefix("https://")])


@pytest.mark.parametrize(
    "wildcard",
    [
        *("*.amazonaws.com", "*.us-east-1.amazonaws.com", "*.googleapis.com", "*.azure.com", "*.openai.com"),
        *("*.mistral.ai", "*.api.aws", "*.vpce.amazonaws.com", "*.rep.googleapis.com"),
    ],
)
def test_a_wildcard_that_covers_a_provider_is_refused(wildcard: str) -> None:
    with pytest.raises(Wrong, match="is, or covers, the host of a model provider"):
        read_hosts([wildcard])


@pytest.mark.parametrize(
    "host",
    ["storage.googleapis.com", "acme.s3.amazonaws.com", "*.s3.us-east-1.amazonaws.com", "*.blob.core.windows.net"],
)
def test_a_clouds_other_hosts_may_be_listed(host: str) -> None:
    assert read_hosts([host]) == (host,)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10.0.0.7", "10.0.0.7:443"),
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        ("[fd00::7]:8443", "[fd00::7]:8443"),
        ("Nexus.internal", "nexus.internal:443"),
    ],
)
def test_the_place_of_a_registry_has_a_port(written: str, meant: str) -> None:
    assert read_endpoint(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        *("", "nexus", "https://nexus.internal", "10.0.0.7:0", "10.0.0.7:99999", "fd00::7", "[10.0.0.7]:1x", 7, None),
        *("169.254.169.254", "0.0.0.0", "224.0.0.1", "[fe80::1]:443", "[::]:443", "2130706433", "api.openai.com"),
    ],
)
def test_a_place_that_is_none_is_refused(written: object) -> None:
    with pytest.raises(Wrong):
        read_endpoint(written)


LOCAL = '[providers.anthropic]\nbase_url = "http://127.0.0.1:9099"\nprices = "anthropic"\n'
OWN = '[providers.anthropic]\nbase_url = "https://llm.acme.example"\nprices = "anthropic"\n'
_REGISTRY = """
[repos."acme/shop"]
url = "/srv/shop"
[registries."npm.acme.example"]
token = { env = "NPM_TOKEN" }
address = "10.0.0.7:8443"
ca = "/etc/acme/ca.pem"
repos = ["acme/shop"]
"""


def test_a_registry_is_shown_as_it_can_be_written_and_its_address_as_a_loosening() -> None:
    settings = read(_REGISTRY)
    rows = {row.key: row.value for row in explain.rows(settings) if row.key.startswith("registries")}
    assert rows == {
        'registries."npm.acme.example".token': '{ env = "NPM_TOKEN" }',
        'registries."npm.acme.example".address': '"10.0.0.7:8443"',
        'registries."npm.acme.example".ca': '"/etc/acme/ca.pem"',
        'registries."npm.acme.example".repos': '["acme/shop"]',
    }
    (warning,) = explain.warnings(settings)
    assert warning == (
        'registries."npm.acme.example".address lets setup of acme/shop reach 10.0.0.7:8443, '
        "wherever that is: a loosening"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[registries."a.acme.example"]\nuser = "x"', "a registry has a `token`, or a `user` and a `password`"),
        ('[registries."a.acme.example"]\npassword = { env = "X" }', "a registry has a `token`"),
        ('[registries."a.acme.example"]\ntoken = { env = "X" }\nuser = "x"\npassword = { env = "Y" }', "a `token`, or"),
        ('[registries."a.acme.example"]', "nothing is said about this registry"),
        ('[registries."*.acme.example"]\ntoken = { env = "X" }', "a registry is one host"),
        ('[registries."api.openai.com"]\ntoken = { env = "X" }', "model provider"),
        ('[registries."10.0.0.7"]\ntoken = { env = "X" }', "not a host's name"),
        ('[registries."a.acme.example"]\nca = "ca.pem"', "not a whole path"),
        ('[registries."a.acme.example"]\naddress = "nexus"', "is not an address"),
        ('[registries."a.acme.example"]\naddress = "api.anthropic.com"', "the host of a model provider"),
        (f'{LOCAL}[registries."a.acme.example"]\naddress = "127.0.0.1:9099"', "the address of a model provider"),
        (f'{LOCAL}[registries."a.acme.example"]\naddress = "[::1]:9099"', "the address of a model provider"),
        (f'{LOCAL}[registries."a.acme.example"]\naddress = "127.9.9.9:9099"', "the address of a model provider"),
        (f'{OWN}[registries."a.acme.example"]\naddress = "llm.acme.example:8443"', "the host of a model provider"),
        (f'{OWN}[registries."llm.acme.example"]\ntoken = {{ env = "X" }}', "the host of a model provider"),
        ('[registries."a.acme.example"]\naddress = "127.0.0.1:8787"', "where crewcap's own gateway listens"),
        (
            '[serve]\nlisten = "10.0.0.7:99"\n[registries."a.acme.example"]\naddress = "10.0.0.7:99"',
            "where crewcap's own gateway listens (10.0.0.7:99)",
        ),
        ('[registries."a.acme.example"]\ntoken = "fake-pasted"', "a secret may not stand in a settings file"),
        ('[registries."a.acme.example"]\ntoken = { env = "X" }\nrepos = ["nope"]', 'there is no repository "nope"'),
    ],
)
def test_a_registry_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert said in caught.value.message
