"""What a provider's refusals mean for its key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from crewcap.gateway.provider.freeze import Freezer, Trouble, diagnose
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


def of_google(reason: str, **fields: object) -> dict[str, object]:
    return {"details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}], **fields}


def a_quota(*ids: str) -> dict[str, object]:
    """What Google answers for every kind of quota: only the quota's name tells which."""
    violations = [{"quotaMetric": "generativelanguage.googleapis.com/requests", "quotaId": each} for each in ids]
    message = "You exceeded your current quota, please check your plan and billing details."
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}]
    return {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": message, "details": details}


@pytest.mark.parametrize(
    ("status", "error", "kind", "model"),
    [
        (429, {"code": "insufficient_quota", "type": "insufficient_quota", "message": "You exceeded"}, "spend", ""),
        (400, {"code": "billing_hard_limit_reached", "message": "Billing hard limit"}, "spend", ""),
        (429, {"code": "billing_not_active", "type": "billing_not_active", "message": "Not active"}, "spend", ""),
        (429, {"code": "project_spend_limit_exceeded", "message": "m"}, "spend", ""),
        (429, {"code": "rate_limit_exceeded", "type": "requests", "message": "Rate limit reached"}, None, ""),
        (429, {"code": None, "type": "tokens", "message": "Request too large for gpt-5.5"}, None, ""),
        (401, {"code": "invalid_api_key", "message": "Incorrect API key provided"}, "key", ""),
        (403, {"code": "unsupported_country_region_territory", "message": "m"}, "model", "m"),
        (429, {"code": 429, "message": "Your prepayment credits are depleted. Please go to AI Studio"}, "spend", ""),
        (429, {"code": 429, "message": "Your project has exceeded its monthly spending cap."}, "spend", ""),
        (403, of_google("BILLING_DISABLED", message="This API method requires billing"), "spend", ""),
        (400, of_google("API_KEY_INVALID", message="API key not valid. Please pass a valid API key."), "key", ""),
        (400, {"code": 400, "message": "API key expired. Please renew the API key."}, "key", ""),
        (403, {"code": 403, "message": "Your API key was reported as leaked."}, "key", ""),
        (403, of_google("SERVICE_DISABLED", message="Generative Language API has not been used"), "key", ""),
        (403, {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}, "model", "m"),
        (403, {"code": 403, "message": "You do not have permission to access the File abc"}, None, ""),
        (403, {"code": 403, "message": "CachedContent not found (or permission denied)"}, None, ""),
        (429, a_quota("GenerateRequestsPerMinutePerProjectPerModel"), None, ""),
        (429, a_quota("GenerateContentInputTokensPerModelPerMinute-FreeTier"), None, ""),
        (429, a_quota("GenerateRequestsPerMinutePerModel", "GenerateRequestsPerDayPerModel"), "spend", "m"),
        (429, {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Resource has been exhausted"}, None, ""),
        (400, {"code": 400, "status": "INVALID_ARGUMENT", "message": "* the billing of insufficient_quota"}, None, ""),
        (503, {"code": "insufficient_quota", "message": "overloaded"}, None, ""),
        (429, {"code": "insufficient_quota", "details": [1, {"violations": {}}], "message": "m"}, "spend", ""),
    ],
)
def test_the_words_of_openai_and_google_are_known(
    status: int, error: dict[str, object], kind: str | None, model: str
) -> None:
    """Credit and caps freeze the key, a day's quota the model; what is over in a minute freezes nothing."""
    trouble = diagnose(status, json.dumps({"error": error}).encode(), model="m")
    assert (trouble.kind if trouble else None, trouble.model if trouble else "") == (kind, model)


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
