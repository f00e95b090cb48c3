"""A program that is started like Claude Code and speaks its language, without a model: for tests of the commands.

It asks its provider once, does what the test's repository needs, and says so. At its cap it stops as the real one does.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

VERSION = "2.1.330"


def main() -> None:
    if "--version" in sys.argv:
        tell_plain(f"{VERSION} (Claude Code)")
        return
    said = json.loads(sys.stdin.readline())["message"]["content"][0]["text"]
    session = sys.argv[sys.argv.index("--resume" if "--resume" in sys.argv else "--session-id") + 1]
    place = Path(os.environ["HOME"], ".claude", "projects", "shop")
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{session}.jsonl").touch()
    tell(type="system", subtype="init", session_id=session, cwd=str(Path.cwd()), claude_code_version=VERSION)
    status = ask(said)
    if status != 200:
        tell(type="result", subtype="success", is_error=True, api_error_status=status, result="out of money")
        sys.exit(1)
    tell(type="assistant", message={"content": [{"type": "tool_use", "id": "t1", "name": "Edit", "input": EDIT}]})
    Path("adder.py").write_text("def add(a, b):\n    return a + b\n", encoding="utf-8")
    tell(type="user", message={"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]})
    tell(type="result", subtype="success", is_error=False, result="done", num_turns=1, total_cost_usd=9.99)


EDIT = {"file_path": "adder.py", "old_string": "a - b", "new_string": "a + b"}


def ask(text: str) -> int:
    """One request through the run's own door; its status."""
    limit = int(os.environ["CLAUDE_CODE_MAX_OUTPUT_TOKENS"])
    model = sys.argv[sys.argv.index("--model") + 1]
    body = {"model": model, "max_tokens": limit, "messages": [{"role": "user", "content": text}]}
    content = json.dumps(body).encode()
    head = [
        "POST /v1/messages HTTP/1.1",
        "host: gateway",
        f"x-api-key: {os.environ['ANTHROPIC_API_KEY']}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        "connection: close",
    ]
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(os.environ["ANTHROPIC_UNIX_SOCKET"])
        door.sendall("\r\n".join([*head, "", ""]).encode() + content)
        answer = b""
        while chunk := door.recv(65_536):
            answer += chunk
    return int(answer.split()[1])


def tell(**line: Any) -> None:
    tell_plain(json.dumps(line))


def tell_plain(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
