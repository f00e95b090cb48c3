"""Clients that ask as agents do: several at once, in a row, and some of them leave in the middle."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import aiohttp

from torture.talk import Talk

GONE = (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, TimeoutError)


async def crowd(url: str, key: str, talk: Talk, *, chance: random.Random, clients: int, each: int) -> list[int]:
    """So many clients, each with so many requests in a row; the statuses that they saw, 0 = no whole answer."""
    seeds = [chance.randrange(2**32) for _ in range(clients)]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        found = await asyncio.gather(*(_client(http, url, key, talk, random.Random(seed), each) for seed in seeds))
    return [status for row in found for status in row]


async def _client(
    http: aiohttp.ClientSession, url: str, key: str, talk: Talk, chance: random.Random, each: int
) -> list[int]:
    statuses = []
    for _ in range(each):
        try:
            statuses.append(await _one(http, url, key, talk, chance))
        except GONE:
            statuses.append(0)
    return statuses


async def _one(http: aiohttp.ClientSession, url: str, key: str, talk: Talk, chance: random.Random) -> int:
    is_stream = chance.random() < 0.8
    path, body = talk.request(stream=is_stream, text="x" * chance.randrange(1, 4_000))
    leaves = chance.random() < 0.2
    headers: dict[str, Any] = talk.headers(key)
    async with http.post(url + path, json=body, headers=headers) as answer:
        if leaves:
            await answer.content.read(chance.randrange(1, 400))
            return 0
        await answer.read()
        return answer.status
