"""What the gateway answers, and what it refuses before anything could cost."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from crewcap.core.money import ZERO
from crewcap.simulator.troubles import TROUBLES

if TYPE_CHECKING:
    from tests.gateway.conftest import Rig, RigMaker


def error_of(body: bytes) -> dict[str, Any]:
    said = json.loads(body)
    assert said["type"] == "error"
    error: dict[str, Any] = said["error"]
    return error


async def nothing_was_sent(r: Rig) -> None:
    await r.settled()
    assert r.simulator.meter.total() == ZERO
    assert not [record for record in r.simulator.log.records if record.path.startswith("/v1/messages")]
    assert r.balance().held == ZERO


async def raw(r: Rig, request: bytes) -> bytes:
    """Send bytes as they are and read until the gateway closes."""
    host, port = r.gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n", 1))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


def test_a_whole_answer_is_booked_to_the_nano(rig: RigMaker) -> None:
    """The provider's own meter and our ledger are two sums of the same answers."""

    async def main() -> None:
        async with rig() as r:
            status, headers, body = await r.post(r.request())
            assert status == 200
            assert json.loads(body)["content"][0]["text"].startswith("Yes.")
            await r.settled()
            assert r.charged() == r.simulator.meter.total() > ZERO
            assert headers["x-crewcap-cost-usd"] == r.charged().exact()
            assert headers["x-crewcap-run"] == r.key.row.id

    asyncio.run(main())


def test_a_stream_passes_untouched_and_is_booked_to_the_nano(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            status, headers, body = await r.post(r.request(stream=True), path="/v1/messages?beta=true")
            assert status == 200
            assert headers["content-type"].startswith("text/event-stream")
            assert body.endswith(b'"type":"message_stop"}\n\n')
            await r.settled()
            assert r.charged() == r.simulator.meter.total() > ZERO
            assert r.balance().held == ZERO
            assert r.simulator.log.records[-1].path == "/v1/messages?beta=true"

    asyncio.run(main())


def test_the_body_goes_out_as_it_came_but_for_the_tier(rig: RigMaker) -> None:
    """A field of the same name further in is not ours to touch."""

    async def main() -> None:
        async with rig(provider={"keep_bodies": True}) as r:
            text = '{"max_tokens": 9} \\u00e9 "service_tier":"auto"'
            body = json.dumps(r.request(text)).encode()
            await r.post(body)
            sent = r.simulator.log.records[-1].body
            assert json.loads(sent) == {**json.loads(body), "service_tier": "standard_only"}
            assert json.dumps(text).encode() in sent

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/complete"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/messages/../files"),
        ("POST", "//v1/messages"),
        ("POST", "/v1/messages/"),
        ("POST", "/v1/files"),
        ("GET", "/v1/organizations/cost_report"),
        ("DELETE", "/runs/x"),
    ],
)
def test_what_is_not_on_the_list_does_not_exist(rig: RigMaker, method: str, path: str) -> None:
    """Every path that reaches a provider is metered or free; there is no pass-through."""

    async def main() -> None:
        async with rig() as r:
            head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {r.key.secret}\r\ncontent-length: 2\r\n\r\n{{}}"
            answer = await raw(r, head.encode())
            assert answer.startswith(b"HTTP/1.1 404")
            assert error_of(answer.partition(b"\r\n\r\n")[2])["type"] == "not_found_error"
            assert not r.simulator.log.records

    asyncio.run(main())


def test_probes_and_health_need_no_key(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            for method, path in (("HEAD", "/"), ("GET", "/"), ("HEAD", "/api/hello"), ("GET", "/healthz")):
                async with r.http.request(method, r.gateway.url + path) as answer:
                    assert answer.status == 200
            assert not r.simulator.log.records

    asyncio.run(main())


def test_models_are_those_that_have_a_price_and_that_the_key_may_use(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            narrow = r.new_key(models=("claude-haiku-4-5",))
            for key, count in ((r.key, 5), (narrow, 1)):
                headers = {"authorization": f"Bearer {key.secret}"}
                async with r.http.get(r.gateway.url + "/v1/models?limit=1000", headers=headers) as answer:
                    data = (await answer.json())["data"]
                    assert len(data) >= count
                    assert len(data) == 1 or count > 1
            async with r.http.get(r.gateway.url + "/v1/models") as answer:
                assert answer.status == 401

    asyncio.run(main())


@pytest.mark.parametrize(
    "secret",
    ["", "ccap-unknown", "' OR '1'='1", "ccap-x'; DROP TABLE keys;--", "%27", "\\x00", "a" * 5_000, "sk-ant-fake-x"],
)
def test_a_key_that_is_not_known_is_401_and_nothing_else(rig: RigMaker, secret: str) -> None:
    """Keys are looked up by their hash, as a parameter."""

    async def main() -> None:
        async with rig() as r:
            for headers in ({"x-api-key": secret}, {"x-api-key": "", "authorization": f"Bearer {secret}"}):
                status, answered, body = await r.post(r.request(), headers=headers)
                assert status == 401
                assert error_of(body)["type"] == "authentication_error"
                assert answered["x-should-retry"] == "false"
                assert secret not in error_of(body)["message"] or not secret
            assert r.ledger.verify().problems == ()
            await nothing_was_sent(r)

    asyncio.run(main())


def test_a_key_that_is_revoked_or_over_opens_nothing(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            over = r.new_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
            revoked = r.new_key()
            assert (await r.post(r.request(), key=revoked))[0] == 200
            r.ledger.revoke_key(revoked.row.id)  # by another process: this one still remembers the key
            for key, word in ((over, "expired"), (revoked, "revoked")):
                status, _, body = await r.post(r.request(), key=key)
                assert status == 401
                assert word in error_of(body)["message"]

    asyncio.run(main())


def test_two_different_keys_in_one_request_are_refused(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            status, _, _ = await r.post(r.request(), headers={"authorization": f"Bearer {r.new_key().secret}"})
            assert status == 400
            await nothing_was_sent(r)

    asyncio.run(main())


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "array": b"[]",
    "duplicate keys": b'{"model":"claude-sonnet-4-6","max_tokens":1,"max_tokens":64000,"messages":[]}',
    "duplicate keys deep": b'{"model":"claude-sonnet-4-6","max_tokens":1,"messages":[{"role":"user","role":"user"}]}',
    "NaN": b'{"model":"claude-sonnet-4-6","max_tokens":NaN,"messages":[]}',
    "deep": b'{"model":"claude-sonnet-4-6","max_tokens":1,"messages":' + b"[" * 200 + b"]" * 200 + b"}",
    "not UTF-8": b'{"model":"claude-sonnet-4-6\xff","max_tokens":1,"messages":[]}',
    "lone surrogate": b'{"model":"claude-sonnet-4-6","max_tokens":1,"messages":[{"role":"user","content":"\\ud800"}]}',
    "stream is a text": b'{"model":"claude-sonnet-4-6","max_tokens":1,"stream":"true","messages":[]}',
    "negative limit": b'{"model":"claude-sonnet-4-6","max_tokens":-5,"messages":[]}',
    "huge limit": b'{"model":"claude-sonnet-4-6","max_tokens":1e300,"messages":[]}',
    "BOM": b'\xef\xbb\xbf{"model":"claude-sonnet-4-6","max_tokens":1,"messages":[]}',
    "two values": b"{}{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_body_that_cannot_be_read_without_guessing_is_400(rig: RigMaker, name: str) -> None:
    async def main() -> None:
        async with rig() as r:
            status, _, body = await r.post(HOSTILE[name])
            assert status == 400
            assert error_of(body)["type"] == "invalid_request_error"
            await nothing_was_sent(r)

    asyncio.run(main())


def test_an_encoded_body_is_refused(rig: RigMaker) -> None:
    """A small body could unfold into a large one."""

    async def main() -> None:
        async with rig() as r:
            packed = gzip.compress(json.dumps(r.request()).encode())
            status, _, body = await r.post(packed, headers={"content-encoding": "gzip"})
            assert status == 400
            assert "content-encoding" in error_of(body)["message"]
            await nothing_was_sent(r)

    asyncio.run(main())


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_that_is_too_large_is_413(rig: RigMaker, *, is_announced: bool) -> None:
    async def main() -> None:
        async with rig(body_bytes=100_000) as r:
            if is_announced:
                status, _, body = await r.post(b"x" * 100_001)
                assert status == 413
                assert error_of(body)["type"] == "request_too_large"
            else:
                chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
                head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {r.key.secret}\r\n"
                answer = await raw(r, head.encode() + b"transfer-encoding: chunked\r\n\r\n" + 2 * chunk + b"0\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 413")
            await nothing_was_sent(r)

    asyncio.run(main())


SMUGGLED: dict[str, str] = {
    "length and chunks": "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\n",
    "two lengths": "content-length: 2\r\ncontent-length: 20\r\n\r\n{}",
    "folded": "content-length: 2\r\nanthropic-beta: a\r\n b\r\n\r\n{}",
    "NUL": "content-length: 2\r\nanthropic-beta: a\0b\r\n\r\n{}",
    "space before colon": "content-length : 2\r\n\r\n{}",
    "bare LF": "content-length: 2\nanthropic-beta: x\r\n\r\n{}",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_ambiguous_http_is_refused(rig: RigMaker, name: str) -> None:
    async def main() -> None:
        async with rig() as r:
            head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {r.key.secret}\r\n"
            answer = await raw(r, head.encode() + SMUGGLED[name].encode())
            assert b" 400 " in answer[:16]
            assert b"200 OK" not in answer
            await nothing_was_sent(r)

    asyncio.run(main())


def test_what_the_client_says_in_headers_cannot_pick_key_host_or_path(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            hostile = {
                "host": "evil.example",
                "x-forwarded-host": "evil.example",
                "x-http-method-override": "DELETE",
                "anthropic-api-key": "x",
                "cookie": "session=1",
                "proxy-authorization": "Basic eA==",
                "user-agent": "me",
            }
            assert (await r.post(r.request(), headers=hostile, path="/v1/messages?beta=true&key=x&url=y"))[0] == 200
            record = r.simulator.log.records[-1]
            assert record.key == "sk-ant-fake-provider-key-0001"
            assert record.path == "/v1/messages?beta=true"
            sent = {name.lower() for name in record.headers}
            assert not sent & {"x-forwarded-host", "x-http-method-override", "cookie", "proxy-authorization"}
            assert record.headers["user-agent"] == "me"
            assert "evil" not in str(record.headers)

    asyncio.run(main())


def test_a_model_without_a_price_is_refused_with_the_nearest_one(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            status, _, body = await r.post(r.request(model="claude-sonet-4-6"))
            assert status == 400
            assert "claude-sonet-4-6" in error_of(body)["message"]
            assert "claude-sonnet-4-6" in error_of(body)["message"]
            await nothing_was_sent(r)

    asyncio.run(main())


def test_a_key_uses_its_own_models_alone(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            key = r.new_key(models=("claude-haiku-4-5",))
            status, _, body = await r.post(r.request(), key=key)
            assert status == 400
            assert "claude-haiku-4-5" in error_of(body)["message"]
            assert (await r.post(r.request(model="claude-haiku-4-5"), key=key))[0] == 200

    asyncio.run(main())


COSTLY: dict[str, dict[str, Any]] = {
    "web_search": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
    "mcp_servers": {"mcp_servers": [{"type": "url", "url": "https://x.example", "name": "x"}]},
    "container": {"container": "c1"},
    "fast": {"speed": "fast"},
    "unheard_of": {"unheard_of": True},
}


@pytest.mark.parametrize("word", COSTLY)
def test_what_has_no_known_cost_is_refused_by_name_on_capped_keys(rig: RigMaker, word: str) -> None:
    async def main() -> None:
        async with rig() as r:
            status, headers, body = await r.post(r.request(**COSTLY[word]))
            assert status == 400
            assert word in error_of(body)["message"]
            assert headers["x-should-retry"] == "false"
            await nothing_was_sent(r)

    asyncio.run(main())


def test_an_output_limit_of_the_key_is_put_on_each_answer_and_said(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            key = r.new_key(max_output=50)
            status, headers, body = await r.post(r.request(max_tokens=900), key=key)
            assert status == 200
            assert headers["x-crewcap-clamped"] == "900 -> 50"
            assert json.loads(body)["usage"]["output_tokens"] == 50
            await r.settled()
            assert "clamped 900 -> 50" in r.entries()[0].notes

    asyncio.run(main())


def test_a_key_whose_limit_is_below_the_thinking_budget_says_so(rig: RigMaker) -> None:
    """The thinking budget is never changed in flight."""

    async def main() -> None:
        async with rig() as r:
            key = r.new_key(max_output=1_000)
            thinking = {"type": "enabled", "budget_tokens": 2_000}
            status, _, body = await r.post(r.request(max_tokens=3_000, thinking=thinking), key=key)
            assert status == 400
            assert "thinking" in error_of(body)["message"]
            await nothing_was_sent(r)

    asyncio.run(main())


def test_the_turns_of_a_key_are_counted(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            key = r.new_key(max_turns=2)
            statuses = [(await r.post(r.request(), key=key))[0] for _ in range(3)]
            assert statuses == [200, 200, 402]

    asyncio.run(main())


def test_count_calls_are_free_need_a_key_and_are_bounded(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(counts_per_minute=3) as r:
            body = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "hi"}]}
            path = "/v1/messages/count_tokens"
            answers = [await r.post(body, path=path) for _ in range(4)]
            assert [status for status, _, _ in answers] == [200, 200, 200, 429]
            assert json.loads(answers[0][2])["input_tokens"] > 0
            assert int(answers[3][1]["retry-after"]) > 0
            assert (await r.post(body, path=path, headers={"x-api-key": "x"}))[0] == 401
            assert r.charged() == ZERO

    asyncio.run(main())


def test_an_uncapped_key_still_counts_against_every_limit_above_it(rig: RigMaker) -> None:
    """No cap of its own is not no limit: what all have left binds it, and so do the rules for capped keys."""

    async def main() -> None:
        from crewcap.core.budget import ALL  # noqa: PLC0415
        from crewcap.core.money import Money  # noqa: PLC0415
        from crewcap.stores import Limit  # noqa: PLC0415

        async with rig() as r:
            key = r.new_key(None, capped=False)
            r.ledger.set_limit(Limit(scope=ALL, window="total", amount=Money.usd("0.001"), source="command"))
            assert (await r.post(r.request(), key=key))[0] == 402
            assert (await r.post(r.request(unheard_of=1), key=key))[0] == 400

    asyncio.run(main())


@pytest.mark.parametrize("name", ["usage_limit", "credit_balance", "billing", "spend_limit", "authentication"])
def test_a_spent_or_refused_provider_key_freezes_and_ends_agents_at_once(rig: RigMaker, name: str) -> None:
    """402 and never again, also for a 401: agents retry those for minutes. The second request is not even sent."""

    async def main() -> None:
        async with rig() as r:
            r.simulator.trouble = TROUBLES[name]
            for _ in range(2):
                status, headers, body = await r.post(r.request(stream=True))
                assert status == 402
                assert headers["x-should-retry"] == "false"
                assert "frozen" in error_of(body)["message"]
            await r.settled()
            assert len(r.simulator.log.records) == 1
            assert r.charged() == ZERO

    asyncio.run(main())


def test_a_frozen_key_is_thawed_by_a_free_probe(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            r.simulator.trouble = TROUBLES["credit_balance"]
            assert (await r.post(r.request()))[0] == 402
            await r.gateway.probe()
            assert (await r.post(r.request()))[0] == 402
            r.simulator.trouble = None
            await r.gateway.probe()
            assert (await r.post(r.request()))[0] == 200

    asyncio.run(main())


def test_a_client_that_asks_first_is_told_to_go_on(rig: RigMaker) -> None:
    """curl asks before it sends a large body, and waits a second if nobody answers."""

    async def main() -> None:
        async with rig() as r:
            body = json.dumps(r.request()).encode()
            head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {r.key.secret}\r\nexpect: 100-continue\r\n"
            answer = await raw(r, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            first, _, rest = answer.partition(b"\r\n\r\n")
            assert first == b"HTTP/1.1 100 Continue"
            assert rest.startswith(b"HTTP/1.1 200 OK")

    asyncio.run(main())


def test_a_body_that_never_ends_is_given_up(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig(idle_s=0.1) as r:
            host, port = r.gateway.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {r.key.secret}\r\n".encode())
            writer.write(b"content-length: 50\r\n\r\n{")
            async with asyncio.timeout(5):
                assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
            writer.close()
            await nothing_was_sent(r)

    asyncio.run(main())
