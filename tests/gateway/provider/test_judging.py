"""What stands in place of an answer, and what its client is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crewcap.gateway.provider.freeze import Trouble
from crewcap.gateway.provider.judging import First, frozen_message
from crewcap.gateway.provider.upstream import Provider

PROVIDER = Provider(name="main", base_url="https://x", prices="x", read_key=str, key_header=lambda key: {"k": key})


@pytest.mark.parametrize(
    ("first", "is_suspect"),
    [
        (First(b"event: message_start\n\n", is_there=True, is_broken=False), False),
        (First(b"event: error\n\n", is_there=True, is_broken=False), True),
        (First(b"event: mess", is_there=False, is_broken=True), True),
        (First(b"", is_there=False, is_broken=False), True),
    ],
)
def test_only_what_may_be_no_event_is_looked_at_before_its_client_has_it(first: First, *, is_suspect: bool) -> None:
    assert first.is_suspect is is_suspect


def test_a_frozen_key_is_told_with_its_reason_its_end_and_what_to_do() -> None:
    spend = Trouble(kind="spend", reason="no credit", until=datetime(2026, 12, 1, tzinfo=UTC))
    assert frozen_message(PROVIDER, spend) == "provider main is frozen until 2026-12-01 00:00 UTC: no credit"
    incident = Trouble(kind="incident", reason="a dearer model answered")
    assert frozen_message(PROVIDER, incident).endswith("when you have looked: crewcap ledger thaw main")
