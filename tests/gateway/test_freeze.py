"""What a provider's refusals mean for its key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from crewcap.gateway.freeze import Freezer, Trouble, diagnose
from crewcap.simulator.troubles import TROUBLES

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("usage_limit", "spend"),
        ("credit_balance", "spend"),
        ("billing", "spend"),
        ("spend_limit", "spend"),
        ("authentication", "key"),
        ("permission", "model"),
        ("bad_request", None),
        ("rate_limit", None),
        ("not_found", None),
        ("overloaded", None),
    ],
)
def test_every_shape_of_a_spend_limit_is_known(name: str, kind: str | None) -> None:
    trouble = diagnose(TROUBLES[name].status, TROUBLES[name].body("req"), model="m")
    assert (trouble.kind if trouble else None) == kind


def test_the_date_that_the_provider_names_is_when_it_ends() -> None:
    trouble = diagnose(400, TROUBLES["usage_limit"].body("req"), model="m")
    assert trouble is not None
    assert trouble.until == datetime(2026, 12, 1, tzinfo=UTC)
    freezer = Freezer()
    freezer.freeze("p", trouble)
    assert freezer.blocks("p", "m", is_capped=True, now=NOW) == trouble
    assert freezer.to_probe() == {}
    assert freezer.blocks("p", "m", is_capped=True, now=datetime(2026, 12, 1, tzinfo=UTC)) is None


def test_an_agent_cannot_freeze_a_key_by_being_quoted() -> None:
    """Only the beginning of a message counts; its end may be the request's own words."""
    quoted = "tools.0.name: 'your credit balance is too low' does not match the pattern"
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": quoted}}).encode()
    assert diagnose(400, body, model="m") is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 1}', b'{"error": {"message": 7}}', b"\xff"])
def test_an_error_that_cannot_be_read_is_the_requests_own_affair(body: bytes) -> None:
    assert diagnose(400, body, model="m") is None
    assert diagnose(529, body, model="m") is None


def test_a_model_that_is_forbidden_freezes_that_model_alone() -> None:
    freezer = Freezer()
    freezer.freeze("p", Trouble(kind="model", reason="no", model="opus"))
    assert freezer.blocks("p", "opus", is_capped=True, now=NOW) is not None
    assert freezer.blocks("p", "sonnet", is_capped=True, now=NOW) is None


def test_an_incident_freezes_capped_keys_until_somebody_has_looked() -> None:
    freezer = Freezer()
    assert freezer.freeze("p", Trouble(kind="incident", reason="dearer"))
    assert not freezer.freeze("p", Trouble(kind="incident", reason="again"))
    late = NOW + timedelta(days=30)
    assert freezer.blocks("p", "m", is_capped=True, now=late) is not None
    assert freezer.blocks("p", "m", is_capped=False, now=late) is None
    assert freezer.to_probe() == {}
    assert freezer.thaw("p")
    assert not freezer.thaw("p")
    assert freezer.blocks("p", "m", is_capped=True, now=late) is None


def test_a_probe_that_succeeds_ends_that_trouble_alone() -> None:
    freezer = Freezer()
    key, model = Trouble(kind="key", reason="401"), Trouble(kind="model", reason="403", model="opus")
    freezer.freeze("p", key)
    freezer.freeze("p", model)
    assert freezer.to_probe() == {"p": (key, model)}
    assert freezer.thaw("p", key)
    assert freezer.all() == {"p": (model,)}
