"""The night's agent: a small program with the manners of Claude Code, which asks, edits, commits and can go on.

Standard library alone, so that it is there in every sandbox. Its session knows how many turns are done; a later start
goes on behind them. While it lives it holds a lock in its HOME: a second one at the same time finds it taken and
writes `twice` into HOME/life, beside the start and the end of each.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TURNS = 3
ATTEMPTS = 4
VERSION = "2.1.999 (Claude Code)"
HOME = Path(os.environ.get("HOME", "/nowhere"))


class Refused(Exception):
    """The gateway gave no answer that one can work with."""


def main() -> int:
    """One start."""
    if "--version" in sys.argv:
        print(VERSION)
        return 0
    session = sys.argv[sys.argv.index("--resume" if "--resume" in sys.argv else "--session-id") + 1]
    model = sys.argv[sys.argv.index("--model") + 1]
    lock = os.open(HOME / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("twice")
    note("start")
    sys.stdin.readline()
    about = {"model": model, "claude_code_version": VERSION.split(maxsplit=1)[0], "cwd": str(Path.cwd())}
    say(type="system", subtype="init", session_id=session, **about)
    try:
        live(session, model)
    except Refused as refused:
        result(str(refused), is_error=True, api_error_status=500, terminal_reason="api_error")
    else:
        result("It is done.")
    note("end")
    return 0


def live(session: str, model: str) -> None:
    """Turn by turn, each remembered once it is done."""
    memory = HOME / "sessions" / f"{session}.jsonl"
    memory.parent.mkdir(exist_ok=True)
    with memory.open("a+", encoding="utf-8") as file:
        file.seek(0)
        for turn in range(len(file.read().splitlines()), TURNS):
            text = ask(model, turn)
            say(type="assistant", message={"id": f"m{turn}", "content": [{"type": "text", "text": text}]})
            work(session, turn)
            file.write(json.dumps({"turn": turn}) + "\n")
            file.flush()


def work(session: str, turn: int) -> None:
    """Edit in every turn, commit in the middle one: the last edit is left for whoever collects."""
    folder = Path("work")
    folder.mkdir(exist_ok=True)
    (folder / f"{session}-{turn}.txt").write_text(f"turn {turn}\n", "utf-8")
    if turn == 1:
        Path(".git/index.lock").unlink(missing_ok=True)  # of one that was killed in its commit
        subprocess.run(["git", "add", "--all"], check=True, capture_output=True)
        subprocess.run(["git", "commit", "--quiet", "--allow-empty", "-m", "half of it"], check=True)


def ask(model: str, turn: int) -> str:
    """One request, tried again as clients do."""
    fault = ""
    for attempt in range(ATTEMPTS):
        try:
            status, said = post(model, turn)
        except OSError as error:
            fault = str(error)
        else:
            if status == 200 and b"message_stop" in said:
                return f"turn {turn}"
            fault = f"status {status}: {said[:200].decode('utf-8', 'replace')}"
            if status in {400, 401, 402, 403}:
                break
        time.sleep(0.1 * 2**attempt)
    raise Refused(fault)


def post(model: str, turn: int) -> tuple[int, bytes]:
    """What was answered."""
    message = {"role": "user", "content": f"Turn {turn}. " + "Go on with the work. " * 20}
    body = json.dumps({"model": model, "max_tokens": 300, "stream": True, "messages": [message]}).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nanthropic-version: 2023-06-01\r\n"
        f"x-api-key: {os.environ['ANTHROPIC_API_KEY']}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    with door() as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    first, _, rest = answer.partition(b"\r\n")
    return int((first.split() or [b"", b"0"])[1]), rest


def door() -> socket.socket:
    """The way to the gateway."""
    if path := os.environ.get("ANTHROPIC_UNIX_SOCKET"):
        made = socket.socket(socket.AF_UNIX)
        made.connect(path)
        return made
    host, port = os.environ["ANTHROPIC_BASE_URL"].removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)))


def note(word: str) -> None:
    """A line of HOME/life."""
    with (HOME / "life").open("a", encoding="utf-8") as file:
        file.write(f"{word} {os.getpid()} {time.time():.3f}\n")


def say(**line: Any) -> None:
    """One line of output."""
    print(json.dumps(line), flush=True)


def result(text: str, *, is_error: bool = False, **more: Any) -> None:
    """Its last word."""
    say(type="result", subtype="success", is_error=is_error, result=text, num_turns=TURNS, total_cost_usd=0.0, **more)


if __name__ == "__main__":
    sys.exit(main())
