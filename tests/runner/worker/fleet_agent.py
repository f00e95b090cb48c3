"""A program that is started like Claude Code and keeps a diary, for tests of many workers.

The first line of its task says what it does: `seconds=1.5 requests=2`. Each start is a line in the diary, each end is
one as well; an agent that was killed leaves the second one out, and its process is gone.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

DIARY = "@DIARY@"


def main() -> None:
    if "--version" in sys.argv:
        say_plain("2.1.330 (Claude Code)")
        return
    said = json.loads(sys.stdin.readline())["message"]["content"][0]["text"]
    is_resumed = "--resume" in sys.argv
    session = sys.argv[sys.argv.index("--resume" if is_resumed else "--session-id") + 1]
    place = Path(os.environ["HOME"], ".claude", "projects", "shop")
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{session}.jsonl").touch()
    note("start", session, said=said, resumed=is_resumed)
    say(type="system", subtype="init", session_id=session, cwd=str(Path.cwd()), claude_code_version="2.1.330")
    wanted = dict(re.findall(r"(seconds|requests)=([\d.]+)", said))
    statuses = [ask(said) for _ in range(int(wanted.get("requests", "1")))]
    work(session, float(wanted.get("seconds", "0")), said)
    Path(f"done-{session[:8]}.txt").write_text("done\n", encoding="utf-8")
    note("end", session, statuses=statuses)
    if statuses[-1] != 200:
        say(type="result", subtype="success", is_error=True, api_error_status=statuses[-1], result="out of money")
        sys.exit(1)
    say(type="result", subtype="success", is_error=False, result="done", num_turns=1, total_cost_usd=9.99)


def work(session: str, seconds: float, said: str) -> None:
    """Say something now and then; and a request a second, whose answer goes into the diary."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(0.5, left))
        say(type="assistant", message={"content": [{"type": "text", "text": "working"}]})
        if "asking" in said:
            note("asked", session, status=ask(said))


def note(what: str, session: str, **more: Any) -> None:
    line = {"what": what, "session": session, "pid": os.getpid(), "at": time.monotonic(), **more}
    with open(DIARY, "a", encoding="utf-8") as diary:  # noqa: PTH123  (one write, so that lines stay whole)
        diary.write(json.dumps(line) + "\n")


def ask(text: str) -> int:
    """One request through the run's own door; its status, 0 where nobody is there."""
    model = sys.argv[sys.argv.index("--model") + 1]
    limit = int(os.environ["CLAUDE_CODE_MAX_OUTPUT_TOKENS"])
    body = {"model": model, "max_tokens": min(100, limit), "messages": [{"role": "user", "content": text[:200]}]}
    content = json.dumps(body).encode()
    head = [
        "POST /v1/messages HTTP/1.1",
        "host: gateway",
        f"x-api-key: {os.environ['ANTHROPIC_API_KEY']}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        "connection: close",
    ]
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(os.environ["ANTHROPIC_UNIX_SOCKET"])
            door.sendall("\r\n".join([*head, "", ""]).encode() + content)
            answer = b""
            while chunk := door.recv(65_536):
                answer += chunk
        return int(answer.split()[1])
    except (OSError, IndexError):
        return 0


def say(**line: Any) -> None:
    say_plain(json.dumps(line))


def say_plain(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
