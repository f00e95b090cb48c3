"""A checker of the common design, in its best form: nothing is held while an answer is under way.

Before a request it compares what was *spent* with the cap; after the answer it books what that has cost.

    python -m benchmarks.posthoc --port 9003 --upstream http://127.0.0.1:9001 --books FILE --cap-nano N --rates JSON

Kinder than most: it books at once and on the disk, at the exact price (cache writes at their own rates), reads a
stream to its end when its client leaves, and forgets nothing that was booked when it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from collections import defaultdict
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

BODY_LIMIT = 32 * 2**20


class Checker:
    """Spent money by key, and the two moments at which it is looked at."""

    def __init__(self, upstream: str, books: str, cap_nano: int, rates: dict[str, int]) -> None:
        self._upstream, self._cap, self._rates = upstream, cap_nano, rates
        self._db = sqlite3.connect(books, isolation_level=None)
        self._db.execute("CREATE TABLE IF NOT EXISTS spent (key TEXT, nano INTEGER)")
        self._spent: dict[str, int] = defaultdict(int)
        self._spent.update(self._db.execute("SELECT key, sum(nano) FROM spent GROUP BY key").fetchall())

    async def serve(self, port: int) -> None:
        """Check and forward until killed."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as self._session:
            app = web.Application(client_max_size=BODY_LIMIT)
            app.router.add_post("/v1/messages", self._messages)
            app.router.add_get("/spent/{key}", self._show)
            app.router.add_get("/healthz", self._healthz)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            await asyncio.Event().wait()

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["x-api-key"]
        if self._spent[key] >= self._cap:
            return web.json_response({"type": "error", "error": {"type": "billing_error", "message": "no"}}, status=402)
        headers = {
            "content-type": "application/json",
            "x-api-key": "sk-ant-fake-bench",
            "anthropic-version": "2023-06-01",
        }
        url, body = self._upstream + "/v1/messages", await request.read()
        async with self._session.post(url, data=body, headers=headers) as answer:
            response = web.StreamResponse(status=answer.status, headers={"content-type": answer.content_type})
            is_there, usage = True, dict[str, Any]()
            await response.prepare(request)
            async for line in answer.content:
                if line.startswith(b"data:") and b'"usage"' in line:
                    event = json.loads(line[5:])
                    usage.update(event.get("usage") or event.get("message", {}).get("usage", {}))
                try:
                    if is_there:
                        await response.write(line)
                except OSError:
                    is_there = False
            self._book(key, usage)
            if is_there:
                await response.write_eof()
        return response

    def _book(self, key: str, usage: dict[str, Any]) -> None:
        written = usage.get("cache_creation", {})
        tokens = {
            "input": usage.get("input_tokens", 0),
            "cache_read": usage.get("cache_read_input_tokens", 0),
            "write_5m": written.get("ephemeral_5m_input_tokens", 0),
            "write_1h": written.get("ephemeral_1h_input_tokens", 0),
            "output": usage.get("output_tokens", 0),
        }
        nano = -(-sum(count * self._rates[kind] for kind, count in tokens.items()) // 1_000)
        self._spent[key] += nano
        self._db.execute("INSERT INTO spent VALUES (?, ?)", (key, nano))

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({"nano": self._spent[request.match_info["key"]]})

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok")


def main() -> None:
    """Serve on the port that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--books", required=True)
    parser.add_argument("--cap-nano", type=int, required=True)
    parser.add_argument("--rates", type=json.loads, required=True, help="pico-dollars a token, by kind")
    given = parser.parse_args()
    uvloop.run(Checker(given.upstream, given.books, given.cap_nano, given.rates).serve(given.port))


if __name__ == "__main__":
    main()
