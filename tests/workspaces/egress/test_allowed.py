"""What settings allow a repository's runs to reach."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from tests.workspaces.outside import AUTHORITY

from crewcap.errors import UnsafeEnvironment
from crewcap.settings.load import load
from crewcap.settings.models import Settings
from crewcap.workspaces.egress.allowed import allowed_of

BOTH = """
[repos."acme/shop"]
url = "/srv/shop"
[repos."acme/other"]
url = "/srv/other"
[registries."npm.acme.example"]
token = { env = "NPM_TOKEN" }
repos = ["acme/shop"]
[registries."pypi.acme.example"]
user = "ci"
password = { env = "PYPI_PASSWORD" }
address = "10.0.0.7"
"""
ENVIRON = {"NPM_TOKEN": "fake-npm-token", "PYPI_PASSWORD": "fake-password"}


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    return load(path, environ={})


def test_a_registry_comes_with_its_credential_where_the_repository_may_use_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, BOTH)
    hosts = ("npm.acme.example", "pypi.acme.example")
    allowed = allowed_of(settings, "acme/shop", hosts, environ=ENVIRON)
    found = {registry.host: (registry.authorization, registry.address) for registry in allowed.registries}
    basic = base64.b64encode(b"ci:fake-password").decode()
    assert found == {
        "npm.acme.example": ("Bearer fake-npm-token", ""),
        "pypi.acme.example": (f"Basic {basic}", "10.0.0.7:443"),
    }
    other = allowed_of(settings, "acme/other", hosts, environ=ENVIRON)
    assert [registry.host for registry in other.registries] == ["pypi.acme.example"]


def test_a_credential_that_nobody_asked_for_is_not_read(tmp_path: Path) -> None:
    allowed = allowed_of(settings_of(tmp_path, BOTH), "acme/shop", ("python",), environ={})
    assert allowed.registries == ()
    assert allowed.hosts == ("pypi.org", "files.pythonhosted.org")
    assert allowed.written == ("python",)


def test_a_credential_that_is_missing_is_said_without_it(tmp_path: Path) -> None:
    with pytest.raises(UnsafeEnvironment, match=r"\$NPM_TOKEN is not set"):
        allowed_of(settings_of(tmp_path, BOTH), "acme/shop", ("npm.acme.example",), environ={})


def test_no_text_of_it_holds_a_credential(tmp_path: Path) -> None:
    allowed = allowed_of(settings_of(tmp_path, BOTH), "acme/shop", ("*.acme.example",), environ=ENVIRON)
    assert len(allowed.registries) == 2
    assert "fake" not in repr(allowed)


def test_plain_http_is_for_the_listed_hosts_of_debian(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "")
    assert allowed_of(settings, "x", ("python",), environ={}).plain == ()
    assert "deb.debian.org" in allowed_of(settings, "x", ("debian",), environ={}).plain


def test_the_host_of_every_provider_in_the_settings_is_never_reached(tmp_path: Path) -> None:
    text = '[providers.anthropic]\nbase_url = "https://llm.acme.example"\nprices = "anthropic"\n'
    allowed = allowed_of(settings_of(tmp_path, text), "x", ("python",), environ={})
    assert {"llm.acme.example", "*.openai.com"} <= set(allowed.never)


def test_the_authority_of_a_registry_is_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate)
    settings = settings_of(tmp_path, f'[registries."a.acme.example"]\nca = "{tmp_path}/ca.pem"\n')
    (found,) = allowed_of(settings, "x", ("a.acme.example",), environ={}).registries
    assert found.authority == AUTHORITY.certificate


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"nothing", "holds no certificates")])
def test_an_authority_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    settings = settings_of(tmp_path, '[registries."a.acme.example"]\nca = "~/ca.pem"\n')
    with pytest.raises(UnsafeEnvironment, match=f'registries."a.acme.example".*ca.pem, cannot be used: .*{why}'):
        allowed_of(settings, "x", ("a.acme.example",), environ={"HOME": str(tmp_path)})
