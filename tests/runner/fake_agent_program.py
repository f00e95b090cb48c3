"""The program of the fake agent: it reads what to do from its standard input and does just that.

Standard library alone, and started without any packages, so that it is there inside every sandbox.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Do one deed after the other."""
    for name, *rest in json.loads(sys.stdin.readline())["deeds"]:
        DEEDS[name](*rest)


def tell(**line: Any) -> None:
    """One line of output."""
    raw(json.dumps(line) + "\n")


def say(text: str) -> None:
    tell(say=text)


def listen() -> None:
    """Wait for what is said into the session; the end of its input is heard as well."""
    line = sys.stdin.readline()
    say(f"told: {json.loads(line)}" if line else "nobody will say more")


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def remember(session: str) -> None:
    """Leave a session to go on in: somewhere below its home."""
    write(str(Path(os.environ["HOME"], "sessions", f"{session}.jsonl")), "{}\n")


def commit(message: str) -> None:
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", message], check=True)


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)


def ignore(*names: str) -> None:
    """Do not hear some signals."""
    for name in names:
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def not_yet(text: str) -> None:
    """Say something when it is asked to end, and go on."""
    signal.signal(signal.SIGINT, lambda *_: say(text))


def hang() -> None:
    while True:
        signal.pause()


def be_killed() -> None:
    """As somebody outside would do it, who is not crewcap."""
    os.kill(os.getpid(), signal.SIGTERM)


def close_output() -> None:
    """Say nothing more; the process stays."""
    sys.stdout.flush()
    os.close(1)


def ask(max_tokens: int = 100, agent: str = "") -> None:
    """One paid request through the run's own door, and what came of it."""
    named = f"x-claude-code-agent-id: {agent}\r\n" if agent else ""
    body = json.dumps(
        {
            "model": os.environ["FAKE_MODEL"],
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": "hello"}],
        }
    ).encode()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: {os.environ['FAKE_KEY']}\r\n"
        f"{named}content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    with _connect() as door:
        door.sendall(head.encode() + body)
        answer = b""
        while chunk := door.recv(65_536):
            answer += chunk
    tell(say=f"status {answer.split()[1].decode()}")


def _connect() -> socket.socket:
    if path := os.environ["FAKE_SOCKET"]:
        door = socket.socket(socket.AF_UNIX)
        door.connect(path)
        return door
    host, port = os.environ["FAKE_URL"].removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)))


def complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def raw(text: str) -> None:
    """A line that is none of ours; what is printed need not end with a line."""
    sys.stdout.write(text)
    sys.stdout.flush()


def end(fields: dict[str, Any]) -> None:
    """The agent's own last word."""
    tell(end=fields)


DEEDS: dict[str, Any] = {
    "say": say,
    "act": lambda *fields: tell(act=fields),
    "answer": lambda *fields: tell(answer=fields),
    "listen": listen,
    "write": write,
    "remove": lambda path: Path(path).unlink(),
    "remember": remember,
    "commit": commit,
    "git": git,
    "ignore": ignore,
    "not_yet": not_yet,
    "hang": hang,
    "be_killed": be_killed,
    "close_output": close_output,
    "ask": ask,
    "complain": complain,
    "raw": raw,
    "end": end,
    "exit": sys.exit,
}

if __name__ == "__main__":
    main()
