"""The Gemini API through the gateway, end to end: what is held, forwarded, billed and refused."""

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

MODEL = "gemini-2.5-pro"
WHOLE = f"/v1beta/models/{MODEL}:generateContent"
STREAM = f"/v1beta/models/{MODEL}:streamGenerateContent"
ASK: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 40,
    "thoughtsTokenCount": 10,
    "totalTokenCount": 150,
}
COST = Money.usd("0.0006025")  # 80 at $1.25, 20 at $0.125, 50 at $10 the million


def part(text: str = "Yes.", *, end: str = "", usage: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a stream, or a whole answer."""
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if end:
        candidate["finishReason"] = end
    told = {"usageMetadata": usage} if usage is not None else {}
    return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "r1", **told, **fields}


def events(*chunks: dict[str, Any], **said: Any) -> Said:
    """A stream of events, with the line ends that Google writes."""
    return Said(b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in chunks), kind=SSE, **said)


FIRST = part(usage={"promptTokenCount": 90, "candidatesTokenCount": 2, "totalTokenCount": 92})
LAST = part(end="STOP", usage=USAGE)


def error_of(body: bytes) -> dict[str, Any]:
    """The error in Google's shape, and nothing beside it."""
    said = json.loads(body)
    assert set(said) == {"error"}
    assert {"code", "message", "status", "details"} == set(said["error"])
    found: dict[str, Any] = said["error"]
    return found


def test_an_answer_is_held_forwarded_and_booked_to_the_nano(tmp_path: Path, book: Book) -> None:
    """Gemini CLI sends no output limit: the model's own goes out, and nothing else of the body changes."""

    async def main() -> None:
        answer = part(end="STOP", usage=USAGE)
        async with three(tmp_path, book, Said(json.dumps(answer).encode())) as t:
            status, headers, body = await t.post(WHOLE, ASK)
            assert (status, json.loads(body)) == (200, answer)
            asked = t.provider.asked[0]
            assert (asked.target, asked.headers["x-goog-api-key"]) == (WHOLE, "sk-fake-provider-key-0002")
            assert asked.fields == {**ASK, "generationConfig": {"maxOutputTokens": 65_536}}
            entry = await t.entry()
            assert (entry.kind, entry.spent, entry.uncertain, entry.request_id) == ("settled", COST, ZERO, "r1")
            assert headers["x-crewcap-cost-usd"] == COST.exact()
            assert t.balance().held == ZERO

    asyncio.run(main())


def test_a_stream_of_events_passes_untouched_and_is_booked_by_its_last_word(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        async with three(tmp_path, book, events(FIRST, LAST)) as t:
            status, headers, body = await t.post(STREAM + "?alt=sse", ASK)
            assert (status, body) == (200, events(FIRST, LAST).body)
            assert headers["content-type"].startswith(SSE)
            assert t.provider.asked[0].target == STREAM + "?alt=sse"
            entry = await t.entry()
            assert (entry.kind, entry.spent) == ("settled", COST)

    asyncio.run(main())


def test_a_request_that_the_cap_cannot_hold_is_refused_once_in_googles_shape(tmp_path: Path, book: Book) -> None:
    """A 400 in Google's error shape ends Gemini CLI after one request, with our words shown."""

    async def main() -> None:
        async with three(tmp_path, book, events(LAST), cap="0.0001") as t:
            for path in (WHOLE, STREAM + "?alt=sse"):
                status, _, said = await t.post(path, ASK)
                error = error_of(said)
                assert (status, error["code"], error["status"]) == (400, 400, "FAILED_PRECONDITION")
                assert error["details"][0]["reason"] == "budget_exhausted"
                assert "raise it with" in error["message"]
            assert not t.provider.asked
            assert t.charged() == ZERO

    asyncio.run(main())


# --- what goes out


RECORDED = sorted((Path(__file__).parents[1] / "wire" / "recorded" / "gemini").glob("*.json"))


def raw_members(body: bytes) -> dict[str, bytes]:
    """The top-level members, each value as it is spelled."""
    return {each.name: body[each.start : each.end] for each in strict_json.members(body)}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_clients_send_goes_out_byte_for_byte_but_for_what_is_ours_to_say(
    tmp_path: Path, book: Book, path: Path
) -> None:
    """The output limit inside `generationConfig`, and a tier; all else, however it is spelled, is the client's."""
    recorded = json.loads(path.read_bytes())

    async def main() -> None:
        body = json.dumps(recorded["body"], indent=1).replace('"x"', '"\\u0078 \\/"').encode()
        async with three(tmp_path, book, events(LAST), cap=None) as t:
            status, _, _ = await t.post(recorded["path"], body)
            assert status == 200
            before, after = raw_members(body), raw_members(t.provider.asked[0].body)
            limited, config = after.pop("generationConfig", b"{}"), before.pop("generationConfig", b"{}")
            tiers = {before.pop("serviceTier", None), after.pop("serviceTier", None)}
            assert tiers in ({None}, {b'"standard"'}, {b'"priority"', b'"standard"'}, {b'"flex"', b'"standard"'})
            assert after == before
            if not recorded["path"].endswith(":countTokens"):
                assert json.loads(limited) == {"maxOutputTokens": 65_536, **json.loads(config)}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("", ""),
        ("?alt=sse", "?alt=sse"),
        ("?%24alt=sse&alt=sse", "?alt=sse"),
        ("?alt=proto", ""),
        ("?alt=sse&fields=candidates&%24fields=candidates&prettyPrint=false&quotaUser=me", "?alt=sse"),
        ("?alt=sse&key={key}", "?alt=sse"),
    ],
)
def test_of_the_query_only_the_form_of_a_stream_goes_on(tmp_path: Path, book: Book, query: str, sent: str) -> None:
    """`fields` would thin out the answer: no usage, no bill. A key in the query is ours."""

    async def main() -> None:
        async with three(tmp_path, book, events(LAST)) as t:
            status, _, _ = await t.post(STREAM + query.format(key=t.key.secret), ASK)
            assert (status, t.provider.asked[0].target) == (200, STREAM + sent)

    asyncio.run(main())


def test_a_key_is_shown_in_any_of_the_ways_of_googles_clients(tmp_path: Path, book: Book) -> None:
    """In its own header, as a bearer token, in the query; never in two ways that differ."""

    async def main() -> None:
        async with three(tmp_path, book, events(LAST)) as t:
            url, data, secret = t.gateway.url + WHOLE, json.dumps(ASK).encode(), t.key.secret
            other = t.new_key().secret
            for headers, query, expected in (
                ({"x-goog-api-key": secret}, "", 200),
                ({"authorization": f"Bearer {secret}"}, "", 200),
                ({}, f"?key={secret}", 200),
                ({"x-goog-api-key": secret}, f"?key={secret}", 200),
                ({"x-goog-api-key": secret}, f"?key={other}", 400),
                ({}, f"?key={secret}&key={other}", 400),
                ({"x-goog-api-key": secret, "authorization": f"Bearer {other}"}, "", 400),
                ({}, "", 401),
                ({}, "?key=nobody", 401),
            ):
                async with t.http.post(url + query, data=data, headers=headers) as answer:
                    assert (answer.status, query) == (expected, query)
            for asked in t.provider.asked:
                assert (asked.target, asked.headers["x-goog-api-key"]) == (WHOLE, "sk-fake-provider-key-0002")
                assert "authorization" not in asked.headers

    asyncio.run(main())


def test_nothing_is_sent_that_thins_out_the_answer_or_names_who_pays(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        sent = {
            "x-goog-fieldmask": "candidates",
            "x-goog-user-project": "p",
            "x-vertex-ai-llm-shared-request-type": "priority",
            "x-goog-api-client": "genai/3.4",
            "x-goog-request-params": "model=other",
            "x-http-method-override": "GET",
        }
        async with three(tmp_path, book, events(LAST)) as t:
            await t.post(WHOLE, ASK, headers=sent)
            assert not set(sent) & t.provider.asked[0].headers.keys()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"cachedContent": "cachedContents/1"}, "cachedContent"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "files/1"}}]}]}, "fileData"),
        ({"tools": [{"urlContext": {}}]}, "urlContext"),
        ({"tools": [{"googleSearch": {}}]}, "googleSearch"),
        ({"tools": [{"google_search": {}}]}, "googleSearch"),
        ({"tools": [{"codeExecution": {}}]}, "codeExecution"),
        ({"tools": [{"telepathy": {}}]}, "telepathy"),
        ({"generationConfig": {"routingConfig": {"autoMode": {}}}}, "routingConfig"),
        ({"tomorrow": 1}, "tomorrow"),
    ],
)
def test_what_no_hold_covers_is_refused_by_name_on_capped_keys(
    tmp_path: Path, book: Book, body: dict[str, Any], named: str
) -> None:
    async def main() -> None:
        async with three(tmp_path, book, events(LAST)) as t:
            status, _, said = await t.post(WHOLE, {**ASK, **body})
            assert (status, error_of(said)["details"][0]["reason"]) == (400, "not_allowed")
            assert named in error_of(said)["message"]
            assert not t.provider.asked
            assert t.charged() == ZERO

    asyncio.run(main())


def test_addresses_that_are_let_are_held_for_at_as_many_as_the_provider_takes(tmp_path: Path, book: Book) -> None:
    """Twenty addresses at most, each of which has the model run once more over whatever fits its window."""

    async def main() -> None:
        ask = {**ASK, "tools": [{"urlContext": {}}], "generationConfig": {"maxOutputTokens": 1_000}}
        ask["generationConfig"]["thinkingConfig"] = {"thinkingBudget": 0}
        async with three(tmp_path, book, events(LAST), cap="100", allow=frozenset({"urlContext"})) as t:
            await t.post(WHOLE, ask)
            most = 21 * (1_048_576 * 2.5 + 1_000 * 15) / 1_000_000  # at the price of a long prompt
            assert (await t.entry()).held_at_first == Money.usd(f"{most:.6f}")

    asyncio.run(main())


def test_thinking_is_held_for_beside_the_limit_for_each_candidate(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        config = {"maxOutputTokens": 1_000, "candidateCount": 2, "thinkingConfig": {"thinkingBudget": 500}}
        both = part(end="STOP", usage={**USAGE, "thoughtsTokenCount": 1_000, "candidatesTokenCount": 2_000})
        both["candidates"].append({**both["candidates"][0], "index": 1})
        both["usageMetadata"].pop("totalTokenCount")
        async with three(tmp_path, book, Said(json.dumps(both).encode())) as t:
            await t.post(WHOLE, {**ASK, "generationConfig": config})
            entry = await t.entry()
            assert entry.held_at_first >= Money.usd("0.03")
            assert entry.held_at_first < Money.usd("0.04")
            assert (entry.kind, entry.usage.output, entry.incident) == ("settled", 3_000, "")

    asyncio.run(main())


def test_what_is_left_of_a_cap_limits_the_answer_and_the_client_is_told(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        ask = {**ASK, "generationConfig": {"thinkingConfig": {"thinkingBudget": 128}}}
        async with three(tmp_path, book, events(FIRST, LAST), cap="0.05") as t:
            _, headers, _ = await t.post(STREAM + "?alt=sse", ask)
            limit = t.provider.asked[0].fields["generationConfig"]["maxOutputTokens"]
            assert 1_024 <= limit < 5_000
            assert headers["x-crewcap-clamped"] == f"65536 -> {limit}"
            assert (await t.entry()).notes == (f"clamped 65536 -> {limit}",)

    asyncio.run(main())


def test_the_name_that_gemini_cli_chooses_by_itself_has_a_price(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        name = "gemini-3.1-pro-preview-customtools"
        async with three(tmp_path, book, Said(json.dumps({**LAST, "modelVersion": name}).encode())) as t:
            status, _, _ = await t.post(f"/v1beta/models/{name}:generateContent", ASK)
            assert (status, t.provider.asked[0].target) == (200, f"/v1beta/models/{name}:generateContent")
            entry = await t.entry()
            assert (entry.kind, entry.incident) == ("settled", "")

    asyncio.run(main())


def test_counting_is_free_and_passed_on(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        async with three(tmp_path, book, Said(b'{"totalTokens": 7}')) as t:
            path = f"/v1beta/models/{MODEL}:countTokens"
            status, _, body = await t.post(path, ASK)
            assert (status, json.loads(body)) == (200, {"totalTokens": 7})
            assert (t.provider.asked[0].target, t.provider.asked[0].fields) == (path, ASK)
            assert not t.ledger.entries()

    asyncio.run(main())


def test_a_count_call_that_the_provider_refuses_its_key_for_says_so(tmp_path: Path, book: Book) -> None:
    """Google answers a bad key with 400, as if the request were at fault."""

    async def main() -> None:
        error = {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
        }
        async with three(tmp_path, book, Said(json.dumps({"error": error}).encode(), status=400)) as t:
            status, _, body = await t.post(f"/v1beta/models/{MODEL}:countTokens", ASK)
            assert (status, error_of(body)["details"][0]["reason"]) == (400, "provider_frozen")

    asyncio.run(main())


def test_a_prompt_that_does_not_fit_by_its_bytes_is_counted(tmp_path: Path, book: Book) -> None:
    """Bytes bound four times too high; the count call is free, and asked once with all that may be billed."""

    async def main() -> None:
        config = {"maxOutputTokens": 100, "thinkingConfig": {"thinkingBudget": 0}}
        ask = {"contents": [{"parts": [{"text": "word " * 4_000}]}], "generationConfig": config}
        answers = [Said(b'{"totalTokens": 4001}'), Said(json.dumps(part(end="STOP", usage=USAGE)).encode())]
        async with three(tmp_path, book, *answers, cap="0.01") as t:
            status, _, _ = await t.post(WHOLE, ask)
            assert status == 200
            assert [asked.target for asked in t.provider.asked] == [f"/v1beta/models/{MODEL}:countTokens", WHOLE]
            assert t.provider.asked[0].fields["generateContentRequest"]["model"] == f"models/{MODEL}"
            assert "bound by count call: 4001 tokens" in (await t.entry()).notes

    asyncio.run(main())


# --- what comes back


def test_a_stream_without_events_is_one_list_that_passes_as_it_comes(tmp_path: Path, book: Book) -> None:
    """Without `alt=sse` the API writes one JSON list, chunk by chunk; the client reads it so."""

    async def main() -> None:
        first, last = b"[" + json.dumps(FIRST).encode(), b",\r\n" + json.dumps(LAST).encode() + b"]"
        gate = asyncio.Event()
        async with three(tmp_path, book, Said(first, after=gate, rest=last)) as t:
            headers = {"x-goog-api-key": t.key.secret}
            async with t.http.post(t.gateway.url + STREAM, data=json.dumps(ASK).encode(), headers=headers) as answer:
                assert answer.content_type == "application/json"
                assert await answer.content.readexactly(len(first)) == first
                gate.set()
                assert await answer.content.read() == last
            entry = await t.entry()
            assert (entry.kind, entry.spent) == ("settled", COST)

    asyncio.run(main())


def test_a_hold_is_lowered_once_the_cache_has_told_its_share_and_never_before(tmp_path: Path, book: Book) -> None:
    """The prompt of a stream's first chunks is an estimate; one that tells the cache's share is exact."""

    async def main() -> None:
        told = part(usage={**USAGE, "candidatesTokenCount": 1, "totalTokenCount": 111})
        gates = [asyncio.Event(), asyncio.Event()]
        answers = [
            Said(events(each).body, kind=SSE, after=gate, rest=events(LAST).body)
            for each, gate in zip((FIRST, told), gates, strict=True)
        ]
        ask = {**ASK, "generationConfig": {"maxOutputTokens": 1_000, "thinkingConfig": {"thinkingBudget": 0}}}
        async with three(tmp_path, book, *answers, release_s=0) as t:
            held = []
            for gate in gates:
                headers = {"x-goog-api-key": t.key.secret}
                url = t.gateway.url + STREAM + "?alt=sse"
                async with t.http.post(url, data=json.dumps(ask).encode(), headers=headers) as answer:
                    await answer.content.readline()
                    await asyncio.sleep(0.01)  # the release is written at the loop's next turn
                    await t.gateway.service.purse.do(lambda: None)
                    (hold,) = t.ledger.open_holds()
                    held.append(hold.held)
                    gate.set()
                    await answer.content.read()
                await t.settled()
            by_bytes = t.ledger.entries()[0].held_at_first
            assert held[0] == by_bytes
            assert held[1] == Money.usd("0.0101025")  # 80 at $1.25, 20 at $0.125, 1,000 at $10 the million
            assert [entry.spent for entry in t.ledger.entries()] == [COST, COST]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "spent", "uncertain"),
    [
        # the prompt is told for good with the last chunk, and another figure of output could have followed
        (events(FIRST, LAST, is_cut=True), "0.0001025", "0.01"),
        # only an estimate of the prompt: the whole hold
        (events(FIRST, is_cut=True), "0", None),
        (events(FIRST), "0", None),
        (Said(events(FIRST).body + b'{"error":{"code":500,"status":"INTERNAL"}}', kind=SSE), "0", None),
        (Said(b"[" + json.dumps(FIRST).encode(), is_cut=True), "0", None),
    ],
)
def test_a_stream_is_whole_only_where_its_connection_ends_well(
    tmp_path: Path, book: Book, answer: Said, spent: str, uncertain: str | None
) -> None:
    """It has no end mark of its own."""

    async def main() -> None:
        ask = {**ASK, "generationConfig": {"maxOutputTokens": 1_000, "thinkingConfig": {"thinkingBudget": 0}}}
        async with three(tmp_path, book, answer) as t:
            status, _, body = await t.post(STREAM + ("?alt=sse" if answer.kind == SSE else ""), ask)
            entry = await t.entry()
            assert (status, body.endswith(b"<cut>")) == (200, True)
            assert (entry.kind, entry.spent) == ("uncertain", Money.usd(spent))
            assert entry.uncertain == (entry.held_at_first if uncertain is None else Money.usd(uncertain))
            assert entry.reason

    asyncio.run(main())


def test_sound_is_booked_at_the_price_of_sound(tmp_path: Path, book: Book) -> None:
    """Gemini 2.5 Flash: $0.30 a million tokens of text, $1.00 of sound; sound of any size is held as the window."""

    async def main() -> None:
        model = "gemini-2.5-flash"
        sound = {"inlineData": {"mimeType": "audio/ogg", "data": "AAAA"}}
        ask = {"contents": [{"parts": [{"text": "what is said?"}, sound]}]}
        usage = {
            "promptTokenCount": 400,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 300}],
            "candidatesTokenCount": 10,
            "totalTokenCount": 410,
        }
        answer = {**part(end="STOP", usage=usage), "modelVersion": model}
        async with three(tmp_path, book, Said(json.dumps(answer).encode())) as t:
            await t.post(f"/v1beta/models/{model}:generateContent", ask)
            entry = await t.entry()
            assert entry.spent == Money.usd("0.000355")  # 100 x 0.30 + 300 x 1.00 + 10 x 2.50
            assert entry.held_at_first >= Money.usd("1.048576")
            assert entry.incident == ""

    asyncio.run(main())


def test_a_blocked_prompt_costs_what_it_tells(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        usage = {"promptTokenCount": 100, "totalTokenCount": 100}
        answer = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage, "modelVersion": MODEL}
        async with three(tmp_path, book, Said(json.dumps(answer).encode())) as t:
            await t.post(WHOLE, ASK)
            entry = await t.entry()
            assert (entry.kind, entry.spent) == ("settled", Money.usd("0.000125"))

    asyncio.run(main())


def test_a_dearer_tier_than_was_held_is_an_incident_that_freezes_the_key(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        ask = {**ASK, "serviceTier": "priority"}
        answer = part(end="STOP", usage={**USAGE, "trafficType": "ON_DEMAND_PRIORITY"})
        async with three(tmp_path, book, Said(json.dumps(answer).encode())) as t:
            await t.post(WHOLE, ask)
            assert t.provider.asked[0].fields["serviceTier"] == "standard"
            entry = await t.entry()
            assert entry.spent + entry.uncertain > COST
            assert entry.incident
            status, _, body = await t.post(WHOLE, ask)
            assert (status, error_of(body)["details"][0]["reason"]) == (400, "provider_frozen")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (
            400,
            {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"},
        ),
        (429, {"code": 429, "message": "Your project has exceeded its monthly spending cap.", "status": "x"}),
    ],
)
def test_a_key_that_is_refused_or_out_of_money_is_frozen(
    tmp_path: Path, book: Book, status: int, error: dict[str, Any]
) -> None:
    """Google says both with statuses that its clients take for the request's own affair, or ask again ten times."""

    async def main() -> None:
        async with three(tmp_path, book, Said(json.dumps({"error": error}).encode(), status=status), attempts=6) as t:
            for _ in range(2):
                answered, _, body = await t.post(WHOLE, ASK)
                assert (answered, error_of(body)["details"][0]["reason"]) == (400, "provider_frozen")
            assert len(t.provider.asked) == 1
            assert t.charged() == ZERO
            t.provider.answers = [Said(b'{"models": []}')]
            await t.gateway.probe()
            assert t.provider.asked[-1].target == "/v1beta/models?pageSize=1000"
            t.provider.answers = [events(LAST)]
            answered, _, _ = await t.post(STREAM + "?alt=sse", ASK)
            assert answered == 200

    asyncio.run(main())
