"""From settings to endpoints."""

from __future__ import annotations

import pytest

from crewcap.gateway.assemble import region


@pytest.mark.parametrize(
    ("address", "geo"),
    [
        ("https://api.openai.com", "global"),
        ("https://eu.api.openai.com", "eu"),
        ("https://EU.api.openai.com/", "eu"),
        ("https://us.api.openai.com:443", "us"),
        ("https://eu.api.openai.com.example.org", "global"),
        ("https://example.org/eu.api.openai.com", "global"),
        ("http://127.0.0.1:8000", "global"),
    ],
)
def test_a_regional_address_has_regional_prices(address: str, geo: str) -> None:
    """OpenAI's answers do not tell where they were made; the address does."""
    assert region(address) == geo
