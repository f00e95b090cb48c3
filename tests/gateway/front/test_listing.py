"""The lists of models, as the clients of each family read them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.dialects import Said, Three, three

from crewcap.prices import Book


async def names(t: Three, path: str, **headers: str) -> list[str]:
    """Ids, however they are written."""
    status, said = await t.get(path, **headers)
    assert status == 200
    entries: list[dict[str, Any]] = said.get("data", said.get("models"))
    return [each.get("id") or each["name"].removeprefix("models/") for each in entries]


def test_each_family_gets_its_own_models_in_its_own_shape(tmp_path: Path, book: Book) -> None:
    """Three clients ask the same path; what they show tells them apart."""

    async def main() -> None:
        async with three(tmp_path, book, Said(b"{}")) as t:
            secret = t.key.secret
            assert "claude-sonnet-4-6" in await names(t, "/v1/models", x_api_key=secret)
            openai = await names(t, "/v1/models", authorization=f"Bearer {secret}")
            assert "gpt-5.5" in openai
            assert "whisper-1" not in openai  # no price by the token
            gemini = await names(t, "/v1beta/models", x_goog_api_key=secret)
            assert "gemini-2.5-pro" in gemini
            assert not [name for name in gemini if name.startswith("claude")]
            assert gemini == await names(t, "/v1/models", x_goog_api_key=secret)
            assert gemini == await names(t, f"/v1beta/models?key={secret}")
            assert not t.provider.asked

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "shown", "expected"),
    [
        ("/v1/models/gpt-5.5", "authorization", {"id": "gpt-5.5", "object": "model"}),
        ("/v1/models/claude-sonnet-4-6", "x-api-key", {"id": "claude-sonnet-4-6", "type": "model"}),
        (
            "/v1beta/models/gemini-2.5-pro",
            "x-goog-api-key",
            {"name": "models/gemini-2.5-pro", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536},
        ),
    ],
)
def test_one_model_can_be_asked_for(
    tmp_path: Path, book: Book, path: str, shown: str, expected: dict[str, Any]
) -> None:
    async def main() -> None:
        async with three(tmp_path, book, Said(b"{}")) as t:
            key = {shown: f"Bearer {t.key.secret}" if shown == "authorization" else t.key.secret}
            status, said = await t.get(path, **key)
            assert status == 200
            assert expected.items() <= said.items()
            status, said = await t.get(path + "-nonsense", **key)
            assert status == 404
            assert "no price" in said["error"]["message"]

    asyncio.run(main())


def test_a_key_sees_the_models_that_it_may_use(tmp_path: Path, book: Book) -> None:
    async def main() -> None:
        async with three(tmp_path, book, Said(b"{}")) as t:
            narrow = f"Bearer {t.new_key(models=('gpt-5.5',)).secret}"
            assert await names(t, "/v1/models", authorization=narrow) == ["gpt-5.5"]
            status, _ = await t.get("/v1/models/gpt-5.4", authorization=narrow)
            assert status == 404
            status, _ = await t.get("/v1/models", authorization="Bearer nobody")
            assert status == 401

    asyncio.run(main())
