"""OpenAI's two APIs through the gateway, end to end: what is held, forwarded, billed, withheld and refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.dialects import SSE, Said, three

from crewcap.core.money import ZERO, Money
from crewcap.prices import Book
from crewcap.wire import strict_json

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
MODEL = "gpt-5.5"
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 150,
}
COST = Money.usd("0.00191")  # 80 at $5, 20 at $0.50, 50 at $30 the million


def response(**fields: Any) -> dict[str, Any]:
    """A whole answer of the Responses API."""
    plain = {"id": "resp_1", "object": "response", "model": MODEL, "status": "completed", "service_tier": "default"}
    return {**plain, "output": [], "usage": USAGE, **fields}


def whole(**fields: Any) -> Said:
    return Said(json.dumps(response(**fields)).encode())


def events(*bodies: dict[str, Any], end: bytes = b"") -> Said:
    """A stream of events."""
    return Said(b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in bodies) + end, kind=SSE)


def stream(**fields: Any) -> Said:
    """A stream of the Responses API."""
    return events(
        {"type": "response.created", "response": {"id": "resp_1", "model": MODEL, "status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "Yes."},
        {"type": "response.completed", "response": response(**fields)},
    )


def chunk(*, usage: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a stream of Chat Completions."""
    return {"id": "chat_1", "model": MODEL, "service_tier": "default", "choices": [], "usage": usage, **fields}


SAYS = chunk(choices=[{"index": 0, "delta": {"content": "Yes."}, "finish_reason": None}])
STOPS = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
BILL = chunk(usage={"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150})
DONE = b"data: [DONE]\n\n"


def error_of(body: bytes) -> dict[str, Any]:
    """The error in OpenAI's shape, and nothing beside it."""
    said = json.loads(body)
    assert set(said) == {"error"}
    assert {"message", "type", "param", "code"} <= set(said["error"])
    found: dict[str, Any] = said["error"]
    return found


def test_a_response_is_held_forwarded_and_booked_to_the_nano(tmp_path: Path, book: Book) -> None:
    """Codex sends no output limit: the model's own goes out, and nothing else of the body changes but the tier."""

    async def main() -> None:
        async with three(tmp_path, book, whole()) as t:
            status, headers, body = await t.post(RESPONSES, {"model": MODEL, "input": "hello"})
            assert (status, json.loads(body)) == (200, response())
            asked = t.provider.asked[0]
            assert asked.target == RESPONSES
            assert asked.headers["authorization"] == "Bearer sk-fake-provider-key-0002"
            assert asked.fields == {
                "model": MODEL,
                "input": "hello",
                "service_tier": "default",
                "max_output_tokens": 128_000,
            }
            entry = await t.entry()
            assert (entry.kind, entry.spent, entry.uncertain, entry.request_id) == ("settled", COST, ZERO, "resp_1")
            assert headers["x-crewcap-cost-usd"] == COST.exact()
            assert t.balance().held == ZERO

    asyncio.run(main())


def test_a_chat_tells_its_usage_to_the_gateway_alone(tmp_path: Path, book: Book) -> None:
    """The stream is always asked for its usage; a client that did not ask for that chunk does not get it."""

    async def main() -> None:
        async with three(tmp_path, book, events(SAYS, STOPS, BILL, end=DONE)) as t:
            body = {"model": MODEL, "stream": True, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
            status, _, said = await t.post(CHAT, body)
            assert (status, said) == (200, events(SAYS, STOPS, end=DONE).body)
            assert t.provider.asked[0].fields == {
                **body,
                "service_tier": "default",
                "stream_options": {"include_usage": True},
            }
            entry = await t.entry()
            assert (entry.kind, entry.spent) == ("settled", Money.usd("0.002"))
            _, _, said = await t.post(CHAT, {**body, "stream_options": {"include_usage": True}})
            assert said == events(SAYS, STOPS, BILL, end=DONE).body

    asyncio.run(main())


def test_a_request_that_the_cap_cannot_hold_is_refused_once_in_openais_shape(tmp_path: Path, book: Book) -> None:
    """A 400 with an error object is the one answer that stops Codex, opencode and Qwen Code at the first refusal."""

    async def main() -> None:
        async with three(tmp_path, book, whole(), cap="0.0001") as t:
            for path, body in (
                (RESPONSES, {"model": MODEL, "input": "hello"}),
                (CHAT, {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}),
            ):
                status, headers, said = await t.post(path, body)
                error = error_of(said)
                assert (status, error["code"]) == (400, "budget_exhausted")
                assert headers["x-should-retry"] == "false"
                assert "raise it with" in error["message"]
            assert not t.provider.asked
            assert t.charged() == ZERO

    asyncio.run(main())


def test_a_request_may_go_on_from_an_answer_of_its_own_key_alone(tmp_path: Path, book: Book) -> None:
    """What is kept at the provider is not in the body: another key's answer could be of any size, and anybody's."""

    async def main() -> None:
        async with three(tmp_path, book, whole(), cap="50") as t:
            ask = {"model": MODEL, "input": "go on", "previous_response_id": "resp_1", "max_output_tokens": 100}
            status, _, said = await t.post(RESPONSES, ask)
            assert (status, error_of(said)["code"]) == (400, "not_allowed")
            assert "previous_response_id" in error_of(said)["message"]
            assert not t.provider.asked
            await t.post(RESPONSES, {"model": MODEL, "input": "hello", "max_output_tokens": 100})
            status, _, _ = await t.post(RESPONSES, ask)
            assert status == 200
            assert t.provider.asked[-1].fields["previous_response_id"] == "resp_1"
            assert (await t.entry()).held_at_first > Money.usd("10")  # the whole window, at the price of a long prompt
            status, _, _ = await t.post(RESPONSES, ask, key=t.new_key("50"))
            assert status == 400

    asyncio.run(main())


# --- what goes out


RECORDED = sorted((Path(__file__).parents[1] / "wire" / "recorded" / "openai").glob("*.json"))
OURS = frozenset({"service_tier", "max_output_tokens", "max_completion_tokens", "stream_options"})


def raw_members(body: bytes) -> dict[str, bytes]:
    """The top-level members, each value as it is spelled."""
    return {each.name: body[each.start : each.end] for each in strict_json.members(body)}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_agents_send_goes_out_byte_for_byte_but_for_what_is_ours_to_say(
    tmp_path: Path, book: Book, path: Path
) -> None:
    """Tier, output limit and the asking for usage; all else, however it is spelled, is the client's."""

    recorded = json.loads(path.read_bytes())

    async def main() -> None:
        body = json.dumps(recorded["body"], indent=1).replace('"x"', '"\\u0078 \\/"').encode()
        async with three(tmp_path, book, whole(), cap=None) as t:
            status, _, _ = await t.post(recorded["path"], body)
            assert status == 200
            sent = t.provider.asked[0].body
            before, after = raw_members(body), raw_members(sent)
            assert {name: value for name, value in after.items() if name not in OURS} == {
                name: value for name, value in before.items() if name not in OURS
            }
            assert after["service_tier"] == b'"default"'
            assert [name for name in before if name in after] == list(before)

    asyncio.run(main())


def test_what_is_unknown_is_refused_by_name_and_passes_as_it_is_where_it_is_let(tmp_path: Path, book: Book) -> None:
    """An item type of tomorrow costs what nobody knows: a capped key needs a word for it, which holds the window."""

    async def main() -> None:
        item = b'{"type":"telepathy","x":[1.50,"\\u00e9"]}'
        body = b'{"model":"gpt-5.5","max_output_tokens":64,"input":[' + item + b'],"stream":false}'
        async with three(tmp_path, book, whole()) as t:
            status, _, said = await t.post(RESPONSES, body)
            assert (status, error_of(said)["code"]) == (400, "not_allowed")
            assert 'allow = ["telepathy"]' in error_of(said)["message"]
            status, _, _ = await t.post(RESPONSES, body, key=t.new_key(None))
            assert status == 200
        async with three(tmp_path / "b", book, whole(), cap="50", allow=frozenset({"telepathy"})) as t:
            status, _, _ = await t.post(RESPONSES, body)
            assert status == 200
            assert t.provider.asked[0].body == body[:-1] + b',"service_tier":"default"}'
            assert (await t.entry()).held_at_first > Money.usd("10")

    asyncio.run(main())


def test_headers_say_what_the_interface_is_and_nobody_who_pays(tmp_path: Path, book: Book) -> None:
    """Codex's metadata holds paths of the workspace; an organisation or a project would be billed instead of ours."""

    async def main() -> None:
        said = whole()
        answer = Said(
            said.body,
            headers={"x-ratelimit-remaining-tokens": "7", "openai-organization": "org-1", "set-cookie": "a=b"},
        )
        async with three(tmp_path, book, answer) as t:
            sent = {
                "openai-beta": "responses=experimental",
                "x-openai-internal-codex-responses-lite": "1",
                "openai-organization": "org-2",
                "openai-project": "proj-2",
                "x-codex-turn-metadata": '{"workspace":"/home/me"}',
                "thread-id": "t1",
                "x-stainless-os": "Linux",
                "cookie": "a=b",
            }
            _, found, _ = await t.post(RESPONSES, {"model": MODEL, "input": "hello"}, headers=sent)
            gone = t.provider.asked[0].headers
            assert {name for name in sent if name in gone} == {"openai-beta", "x-openai-internal-codex-responses-lite"}
            assert t.key.secret not in str(gone)
            assert found["x-ratelimit-remaining-tokens"] == "7"
            assert not {"openai-organization", "set-cookie"} & found.keys()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input_file"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "file_search"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"tools": [{"type": "mcp", "server_url": "https://example.org"}]}, "mcp"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "code_interpreter"),
        ({"context_management": [{"type": "compaction"}]}, "compaction"),
        ({"reasoning": {"mode": "pro"}}, "reasoning mode"),
    ],
)
def test_what_no_hold_covers_is_refused_by_name_on_capped_keys(
    tmp_path: Path, book: Book, body: dict[str, Any], named: str
) -> None:
    async def main() -> None:
        async with three(tmp_path, book, whole()) as t:
            status, _, said = await t.post(RESPONSES, {"model": MODEL, "input": "hello", **body})
            assert (status, error_of(said)["code"]) == (400, "not_allowed")
            assert named in error_of(said)["message"]
            assert not t.provider.asked
            assert t.charged() == ZERO

    asyncio.run(main())


def test_a_search_that_is_let_is_held_for_with_its_fees_and_booked_with_them(tmp_path: Path, book: Book) -> None:
    """Each call runs the model once more over whatever fits its window."""

    async def main() -> None:
        calls = [{"type": "web_search_call", "action": {"type": "search"}}] * 2
        ask = {"model": MODEL, "input": "hello", "max_output_tokens": 1_000, "tools": [{"type": "web_search"}]}
        async with three(tmp_path, book, whole(output=calls), cap="100", allow=frozenset({"web_search"})) as t:
            status, _, said = await t.post(RESPONSES, ask)
            assert (status, "max_tool_calls" in error_of(said)["message"]) == (400, True)
            status, _, _ = await t.post(RESPONSES, {**ask, "max_tool_calls": 2})
            assert status == 200
            entry = await t.entry()
            most = 3 * (1_050_000 * 10 + 1_000 * 45) / 1_000_000 + 2 * 0.01  # at the price of a long prompt
            assert entry.held_at_first == Money.usd(f"{most:.6f}")
            assert entry.spent == COST + Money.usd("0.02")

    asyncio.run(main())


def test_several_answers_are_held_for_and_billed_together(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        usage = {"prompt_tokens": 100, "completion_tokens": 3_000, "total_tokens": 3_100}
        answer = chunk(usage=usage, choices=[{"index": n, "finish_reason": "stop", "message": {}} for n in range(3)])
        async with three(tmp_path, book, Said(json.dumps(answer).encode())) as t:
            ask = {"model": MODEL, "max_tokens": 1_000, "n": 3, "messages": [{"role": "user", "content": "hello"}]}
            await t.post(CHAT, ask)
            entry = await t.entry()
            assert entry.held_at_first >= Money.usd("0.09")
            assert (entry.kind, entry.spent, entry.incident) == ("settled", Money.usd("0.0905"), "")

    asyncio.run(main())


def test_what_is_left_of_a_cap_limits_the_answer_and_the_client_is_told(tmp_path: Path, book: Book) -> None:
    """The limit that Codex never sends comes down from the model's own to what the money is good for."""

    async def main() -> None:
        async with three(tmp_path, book, whole(), cap="0.10") as t:
            status, headers, _ = await t.post(RESPONSES, {"model": MODEL, "input": "hello"})
            assert status == 200
            limit = t.provider.asked[0].fields["max_output_tokens"]
            assert 1_024 <= limit < 3_334
            assert headers["x-crewcap-clamped"] == f"128000 -> {limit}"
            entry = await t.entry()
            assert entry.held_at_first <= Money.usd("0.10")
            assert entry.notes == (f"clamped 128000 -> {limit}",)
            _, headers, _ = await t.post(CHAT, {"model": MODEL, "max_tokens": 100, "messages": []})
            assert "x-crewcap-clamped" not in headers

    asyncio.run(main())


# --- what comes back


def test_a_stream_of_responses_is_booked_by_its_last_event(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        async with three(tmp_path, book, stream()) as t:
            status, headers, body = await t.post(RESPONSES, {"model": MODEL, "stream": True, "input": "hello"})
            assert (status, body) == (200, stream().body)
            assert headers["content-type"].startswith(SSE)
            entry = await t.entry()
            assert (entry.kind, entry.spent) == ("settled", COST)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (RESPONSES, Said(stream().body[:-40], kind=SSE, is_cut=True)),
        (RESPONSES, Said(stream().body[:-40], kind=SSE)),
        (RESPONSES, events({"type": "response.created", "response": {"model": MODEL}}, {"type": "error", "code": "e"})),
        (RESPONSES, stream(status="failed", usage=None, error={"code": "server_error"})),
        (CHAT, Said(events(SAYS, STOPS).body, kind=SSE, is_cut=True)),
        (CHAT, events(SAYS, {"error": {"message": "m", "type": "server_error"}})),
    ],
)
def test_a_stream_that_does_not_tell_its_bill_keeps_its_whole_hold(
    tmp_path: Path, book: Book, path: str, answer: Said
) -> None:
    """OpenAI tells nothing before its last event, so nothing is known of an answer that has none."""

    async def main() -> None:
        async with three(tmp_path, book, answer) as t:
            body = {"model": MODEL, "stream": True, "input": "hello", "max_output_tokens": 1_000}
            chat = {"model": MODEL, "stream": True, "messages": [], "max_tokens": 1_000}
            status, _, _ = await t.post(path, body if path == RESPONSES else chat)
            entry = await t.entry()
            assert (status, entry.kind, entry.spent) == (200, "uncertain", ZERO)
            assert entry.uncertain == entry.held_at_first > ZERO
            assert entry.reason

    asyncio.run(main())


def test_a_plain_error_is_passed_on_and_costs_nothing(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        error = b'{"error":{"message":"No such model","type":"invalid_request_error","code":"model_not_found"}}'
        async with three(tmp_path, book, Said(error, status=404)) as t:
            status, _, body = await t.post(RESPONSES, {"model": MODEL, "input": "hello"})
            assert (status, body) == (404, error)
            assert (await t.entry()).kind == "released"
            assert t.charged() == ZERO

    asyncio.run(main())


def test_a_quota_that_is_used_up_freezes_the_key_and_nothing_more_is_sent(tmp_path: Path, book: Book) -> None:
    """OpenAI says so with a 429 whose text Codex hides; we say it with a 400 that shows it, once and for all."""

    async def main() -> None:
        error = {
            "message": "You exceeded your current quota",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
        }
        async with three(tmp_path, book, Said(json.dumps({"error": error}).encode(), status=429), attempts=6) as t:
            for _ in range(2):
                status, _, body = await t.post(RESPONSES, {"model": MODEL, "input": "hello"})
                assert (status, error_of(body)["code"]) == (400, "provider_frozen")
                assert "You exceeded your current quota" in error_of(body)["message"]
            assert len(t.provider.asked) == 1
            assert t.charged() == ZERO

    asyncio.run(main())


def test_a_dearer_tier_than_was_held_is_an_incident_that_freezes_the_key(tmp_path: Path, book: Book) -> None:
    """The gateway writes the tier itself; an answer that was served at another one is booked in full all the same."""

    async def main() -> None:
        ask = {"model": MODEL, "input": "hello", "service_tier": "priority"}
        async with three(tmp_path, book, whole(service_tier="priority")) as t:
            status, _, _ = await t.post(RESPONSES, ask)
            assert (status, t.provider.asked[0].fields["service_tier"]) == (200, "default")
            entry = await t.entry()
            assert entry.spent == Money.usd("0.004775")  # 2.5 times
            assert "dearer price" in entry.incident
            assert "service_tier was replaced by default" in entry.notes
            status, _, body = await t.post(RESPONSES, ask)
            assert (status, error_of(body)["code"]) == (400, "provider_frozen")

    asyncio.run(main())


def test_a_regional_address_is_held_and_booked_at_its_prices(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        async with three(tmp_path, book, whole(), options={"openai": {"geo": "eu"}}) as t:
            await t.post(RESPONSES, {"model": MODEL, "input": "hello"})
            entry = await t.entry()
            assert (entry.spent, entry.incident) == (Money.usd("0.002101"), "")

    asyncio.run(main())


def test_the_count_call_is_there_only_where_it_is_known_to_be_free(tmp_path: Path, book: Book) -> None:
    """The vendor publishes no price for it."""

    async def main() -> None:
        ask, count = {"model": MODEL, "input": "hello"}, Said(b'{"input_tokens": 7, "object": "response.input_tokens"}')
        async with three(tmp_path, book, count) as t:
            status, _, body = await t.post(RESPONSES + "/input_tokens", ask)
            assert (status, error_of(body)["code"]) == (404, "not_found")
            assert not t.provider.asked

    asyncio.run(main())
