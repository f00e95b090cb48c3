"""The least that any gateway on this library does: read, forward, copy chunks. aiohttp both ways, on uvloop.

python -m benchmarks.passthrough --port 9002 --upstream http://127.0.0.1:9001
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp
import uvloop
from aiohttp import web


async def serve(port: int, upstream: str) -> None:
    """Forward until killed."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
    ) as session:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            if request.method == "GET":
                return web.Response(text="ok")
            headers = {"content-type": "application/json", "x-api-key": request.headers.get("x-api-key", "")}
            async with session.post(upstream + request.path, data=await request.read(), headers=headers) as answer:
                response = web.StreamResponse(headers={"content-type": answer.headers["content-type"]})
                await response.prepare(request)
                while chunk := await answer.content.readany():
                    await response.write(chunk)
                await response.write_eof()
                return response

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=512).start()
        await asyncio.Event().wait()


def main() -> None:
    """Forward from a port to an address."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.upstream))


if __name__ == "__main__":
    main()
