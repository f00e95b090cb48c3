"""A gateway's stand-in: it listens, answers, and writes down what it is told: `tiny_gateway.py DIARY HOST:PORT`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

diary, (host, _, port) = Path(sys.argv[1]), sys.argv[2].rpartition(":")


def write(word: str, **more: object) -> None:
    with diary.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"word": word, "pid": os.getpid(), **more}) + "\n")


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = await reader.readline()
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    writer.close()
    if diary.with_name("count").exists():
        write(asked.decode().strip())


async def main() -> None:
    line, told = sys.stdin.readline(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    loop.add_signal_handler(signal.SIGHUP, write, "hangup")
    loop.add_reader(sys.stdin, lambda: told.set() if not os.read(0, 1) else None)
    refusal = diary.with_name("refuse-gateway")
    if refusal.exists():
        say({"error": {"code": "ledger", "message": refusal.read_text(), "help": ""}})
        return
    server = await asyncio.start_server(answer, host, int(port))
    write("born", handed=json.loads(line)["environ"], first="--first" in sys.argv)
    place = server.sockets[0].getsockname()
    say({"url": f"http://{place[0]}:{place[1]}"})
    await told.wait()
    write("ended")


asyncio.run(main())
