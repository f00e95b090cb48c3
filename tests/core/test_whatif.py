"""What requests would have cost otherwise: what the provider said of them is read from its own usage."""

from __future__ import annotations

import json

import pytest

from crewcap.core.pricing import Modifiers
from crewcap.core.whatif import modifiers_of


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", Modifiers()),
        ("no JSON at all", Modifiers()),
        ('{"speed":"standard","inference_geo":"not_available","service_tier":"standard"}', Modifiers()),
        ('{"speed": "fast"}', Modifiers(speed="fast")),
        ('{"inference_geo":"us","service_tier":"batch"}', Modifiers(geo="us", tier="batch")),
        ('{"service_tier":"priority"}', Modifiers(tier="priority")),
        (r'{"speed":"f\u0061st"}', Modifiers(speed="fast")),
        ('{"other":"fast","speed":"standard"}', Modifiers()),
        ('["us"]', Modifiers()),
    ],
)
def test_modifiers_are_what_the_provider_said(said: str, meant: Modifiers) -> None:
    """Also where a letter of a word is written as its number."""
    assert modifiers_of(said) == meant


def test_a_usage_of_any_size_is_read() -> None:
    assert modifiers_of(json.dumps({"input_tokens": list(range(5_000)), "speed": "fast"})).speed == "fast"
