"""Providers' usage reports, in the form of their admin interfaces."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.pricing import Modifiers, Usage
from crewcap.wire import Malformed
from crewcap.wire.usage_reports import read

RECORDED = Path(__file__).with_name("reports")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPANS = ((NOON, NOON + MINUTE), (NOON + MINUTE, NOON + 2 * MINUTE))


def recorded(vendor: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((RECORDED / f"{vendor}.json").read_bytes())
    return said


def test_anthropics_report_is_read() -> None:
    """Its kinds are disjoint; empty buckets tell that nothing was used."""
    page = read(json.dumps(recorded("anthropic")).encode())
    assert (page.dialect, page.spans, page.has_more) == ("anthropic", SPANS, False)
    (line,) = page.lines
    assert (line.model, line.api_key, line.most_prompt) == (
        "claude-sonnet-4-6",
        "apikey_01Rj2N8SVvo6BePZj99NhmiT",
        200_000,
    )
    assert line.usage == Usage(
        input=1_500, cache_read=200, write_5m=500, write_1h=1_000, output=500, pieces={"web_search": 10}
    )
    assert line.modifiers == (Modifiers(),)


def test_openais_report_is_read() -> None:
    """What was cached and written is inside its input, as in its answers."""
    page = read(json.dumps(recorded("openai")).encode())
    assert (page.dialect, page.spans, page.has_more) == ("openai", SPANS, True)
    (line,) = page.lines
    assert (line.model, line.api_key) == ("gpt-5.6-terra", "key_abc123")
    assert line.usage == Usage(input=17_996, cache_read=8_448, write_5m=900, write_1h=100, output=500)
    assert line.modifiers == (Modifiers(),)


def test_a_region_that_the_report_does_not_tell_may_be_any() -> None:
    said = recorded("anthropic")
    said["data"][0]["results"][0] |= {"inference_geo": None, "service_tier": None, "context_window": None}
    (line,) = read(json.dumps(said).encode()).lines
    assert line.modifiers == (Modifiers(), Modifiers(geo="us"))
    assert line.most_prompt is None


def test_batches_and_tiers_have_their_own_price() -> None:
    said = recorded("openai")
    said["data"][0]["results"][0] |= {"batch": True}
    assert read(json.dumps(said).encode()).lines[0].modifiers == (Modifiers(tier="batch"),)
    said["data"][0]["results"][0] |= {"batch": None, "service_tier": "flex"}
    assert read(json.dumps(said).encode()).lines[0].modifiers == (Modifiers(tier="flex"),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "does not tell the model"),
        ({"uncached_input_tokens": -1}, "fewer than no tokens"),
        ({"uncached_input_tokens": "many"}, "cannot be read"),
        ({"amount": "123.45", "currency": "USD"}, "cost report, which knows no tokens"),
    ],
)
def test_a_result_that_cannot_be_priced_is_named(change: dict[str, Any], words: str) -> None:
    said = recorded("anthropic")
    said["data"][0]["results"][0] |= change
    with pytest.raises(Malformed, match=words):
        read(json.dumps(said).encode())


def test_sound_is_not_reconciled() -> None:
    said = recorded("openai")
    said["data"][0]["results"][0] |= {"input_audio_tokens": 5}
    with pytest.raises(Malformed, match="audio or image tokens of gpt"):
        read(json.dumps(said).encode())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"data": {}}', b'{"data": []}', b'{"data": [1]}', b'{"data": [{"results": []}]}', b"\xff"],
)
def test_what_is_no_report_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["data", "results", "start_time", "starting_at", "model"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_a_file_holds_it_is_read_or_named(value: object) -> None:
    try:
        read(json.dumps(value).encode())
    except Malformed:
        return
