"""The request log keeps what tests ask for, and no secret in what is written down."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.simulator.log import Record, RequestLog, without_secrets

KEY = "sk-ant-fake-0123456789-abcdefgh"
RECORD = Record(
    at=datetime(2026, 11, 22, tzinfo=UTC),
    id="req_sim_1",
    method="POST",
    path="/v1/messages?beta=true",
    key=KEY,
    body=b"a prompt",
    usage=Usage(input=8, cache_read=5, output=2),
    billed=Money(17),
)


def test_a_line_tells_tokens_and_money_exactly_and_no_key_or_body(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log.jsonl")
    log.add(RECORD)
    line = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    data = json.loads(line)
    assert (data["input"], data["cache_read"], data["output"], data["billed"]) == (8, 5, 2, "0.000000017")
    assert data["key"] == "key(…efgh)"
    assert KEY not in line + repr(RECORD)
    assert "a prompt" not in line + repr(RECORD)


def test_messages_are_told_from_other_requests() -> None:
    log = RequestLog()
    for path in ("/v1/messages/count_tokens", "/v1/messages?beta=true", "/v1/models"):
        log.add(Record(at=RECORD.at, id="r", method="POST", path=path))
    assert [record.path for record in log.messages()] == ["/v1/messages?beta=true"]
    log.reset()
    assert log.records == []


def test_headers_are_kept_without_their_secrets() -> None:
    kept = without_secrets({"X-Api-Key": KEY, "Authorization": f"Bearer {KEY}", "Anthropic-Beta": "a,b"})
    assert kept["anthropic-beta"] == "a,b"
    assert KEY not in "".join(kept.values())
