"""Paths as they stand in the request line, and in whose words a client is told that nothing is there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.gateway.dialects import Said, three

from crewcap.gateway.front.paths import family_of, nothing_there
from crewcap.prices import Book

ALL = ("anthropic", "openai", "gemini")


@pytest.mark.parametrize(
    ("path", "headers", "family"),
    [
        ("/v1/messages", {}, "anthropic"),
        ("/v1/messages/batches", {"authorization": "Bearer x"}, "anthropic"),
        ("/v1/responses/resp_1", {}, "openai"),
        ("/v1/completions", {"x-api-key": "x"}, "openai"),
        ("/v1/complete", {}, "anthropic"),
        ("/v1beta/models/m:embedContent", {}, "gemini"),
        ("/v1/models/m:generateContent", {"x-api-key": "x"}, "gemini"),
        ("/v1alpha/anything", {}, "gemini"),
        ("/v1/models", {"x-api-key": "x"}, "anthropic"),
        ("/v1/models", {"anthropic-version": "1", "authorization": "Bearer x"}, "anthropic"),
        ("/v1/models", {"authorization": "Bearer x"}, "openai"),
        ("/v1/models", {"x-goog-api-key": "x"}, "gemini"),
        ("/v1/files", {}, "anthropic"),
    ],
)
def test_a_family_is_known_by_path_and_else_by_what_its_clients_show(
    path: str, headers: dict[str, str], family: str
) -> None:
    assert family_of(path, headers, ALL) == family


def test_a_sign_of_a_family_that_is_not_here_decides_nothing() -> None:
    """A bearer token is shown to Anthropic's gateways too."""
    assert family_of("/v1/models", {"authorization": "Bearer x"}, ("anthropic",)) == "anthropic"
    assert family_of("/v1/responses", {"x-api-key": "x"}, ("anthropic",)) == "openai"


def test_a_provider_that_is_missing_is_named() -> None:
    assert "[providers.openai]" in nothing_there("/v1/responses", ("anthropic",)).message
    assert "[providers.gemini]" in nothing_there("/v1beta/models/m:generateContent", ("openai",)).message
    assert "[providers" not in nothing_there("/v1/embeddings", ("anthropic",)).message
    assert "[providers" not in nothing_there("/v1/responses", ALL).message


def test_what_is_not_there_is_said_in_the_words_of_whoever_asks(tmp_path: Path, book: Book) -> None:
    """An SDK raises its own NotFound only for its own shape."""

    async def main() -> None:
        async with three(tmp_path, book, Said(b"{}"), families=["anthropic"]) as t:
            status, _, body = await t.post("/v1/responses", {})
            assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")
            status, _, body = await t.post("/v1beta/models/gemini-2.5-pro:generateContent", {})
            assert (status, json.loads(body)["error"]["status"]) == (404, "NOT_FOUND")
            assert "[providers.gemini]" in json.loads(body)["error"]["message"]
            status, _, body = await t.post("/v1/messages/batches", {})
            assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
            assert not t.provider.asked

    asyncio.run(main())


def test_a_websocket_is_answered_so_that_codex_goes_on_without_one(tmp_path: Path, book: Book) -> None:
    """426 is the one answer after which it sends a POST at once; a 404 costs seven tries."""

    async def main() -> None:
        async with three(tmp_path, book, Said(b"{}")) as t:
            upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
            async with t.http.get(t.gateway.url + "/v1/responses", headers=upgrade) as answer:
                assert (answer.status, answer.headers["upgrade"]) == (426, "HTTP/1.1")
                assert (await answer.json())["error"]["type"] == "invalid_request_error"
            async with t.http.get(t.gateway.url + "/v1/responses") as answer:
                assert (answer.status, answer.headers["allow"]) == (405, "POST")
            assert not t.provider.asked

    asyncio.run(main())
