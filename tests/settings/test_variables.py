"""Which variables may not be a secret."""

from __future__ import annotations

import pytest

from crewcap.settings.variables import reigns

OBEYED = """PATH HOME LD_PRELOAD LD_LIBRARY_PATH HTTPS_PROXY https_proxy NO_PROXY npm_config_proxy BASH_ENV PYTHONPATH
NODE_OPTIONS GIT_SSH_COMMAND GIT_CONFIG_GLOBAL SSL_CERT_FILE ANTHROPIC_BASE_URL CLAUDE_CODE_USE_BEDROCK CREWCAP_HOME"""
SECRETS = """STRIPE_KEY GIT_TOKEN GITHUB_TOKEN NPM_TOKEN DATABASE_URL PGPASSWORD AWS_SECRET_ACCESS_KEY SHOP_PATH
PROXY_USER HOMEBREW_GITHUB_API_TOKEN MY_LD_KEY TERMINAL_KEY CI_TOKEN OPENAI_ORG_ID"""


@pytest.mark.parametrize("name", OBEYED.split())
def test_what_programs_obey_is_no_name_of_a_secret(name: str) -> None:
    assert reigns(name)


@pytest.mark.parametrize("name", SECRETS.split())
def test_what_tests_read_is(name: str) -> None:
    assert not reigns(name)
