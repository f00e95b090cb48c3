"""A provider of a few lines for the real CLI: its answers are written down, what it was sent is kept."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crewcap.agents import Launch, LaunchOrder
from crewcap.agents.claude_code import ClaudeCode
from crewcap.core.runs import AgentEnd, AgentEvent

Step = list[dict[str, Any]] | int  # blocks of an answer, or the status of a refusal
LIMIT_S = 60


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def text(self) -> str:
        return json.dumps(self.body)


@dataclass
class Provider:
    """Answers by content: the step after the newest tool result that a conversation holds, never by counting."""

    steps: list[Step]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    aside: Callable[[Any], list[dict[str, Any]] | None] = field(default=lambda _: None)  # answers out of the row

    def step(self, body: Any) -> tuple[int, Step]:
        if (out_of_row := self.aside(body)) is not None:
            return 9, out_of_row
        blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
        done = [int(b["tool_use_id"].split("_")[1]) for b in blocks if b.get("type") == "tool_result"]
        number = max(done, default=-1) + 1
        return number, self.steps[min(number, len(self.steps) - 1)]

    def answer(self, body: Any) -> tuple[int, str, bytes]:
        number, step = self.step(body)
        if isinstance(step, int):
            error = {"type": "billing_error", "message": "run R needs up to $0.31 and has $0.12 left of $3.00"}
            return step, "application/json", json.dumps({"type": "error", "error": error}).encode()
        return 200, "text/event-stream", "".join(_events(number, step, body["model"])).encode()


def _events(number: int, blocks: list[dict[str, Any]], model: str) -> Iterator[str]:
    def event(kind: str, **rest: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **rest})}\n\n"

    usage = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    head = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": model, "content": []}
    yield event("message_start", message={**head, "stop_reason": None, "stop_sequence": None, "usage": usage})
    for index, block in enumerate(blocks):
        if "text" in block:
            yield event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            call = {"type": "tool_use", "id": f"toolu_{number}_{index}", "name": block["tool"], "input": {}}
            yield event("content_block_start", index=index, content_block=call)
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop = "tool_use" if any("tool" in block for block in blocks) else "end_turn"
    yield event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": 20})
    yield event("message_stop")


class UnixServer(ThreadingHTTPServer):
    """The same on a unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "unix", 0


@pytest.fixture
def provider() -> Iterator[Callable[..., Provider]]:
    """Start a provider on loopback, or on a unix socket; it ends with the test."""
    servers: list[ThreadingHTTPServer] = []

    def start(steps: list[Step], unix: Path | None = None) -> Provider:
        made = Provider(steps)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the parent's name)
                del format, args

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                made.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self._say(*made.answer(body))

            def do_HEAD(self) -> None:
                made.asked.append(Asked(self.path, dict(self.headers), {}))
                self._say(200, "text/plain", b"")

            def _say(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("x-should-retry", "false")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        if unix is None:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            made.url = f"http://127.0.0.1:{server.server_port}"
        else:
            server = UnixServer(str(unix), Handler)  # type: ignore[arg-type]  # an address of its family
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return made

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass
class Bench:
    """One run's folders, and the real CLI in them. No sandbox: what it is asked to do is written in the tests."""

    binary: str
    root: Path
    session: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def order(self, provider: Provider, **changes: Any) -> LaunchOrder:
        said: dict[str, Any] = {
            "binary": self.binary,
            "prompt": "Fix it.",
            "model": "claude-sonnet-5",
            "session": self.session,
            "home": str(self.home),
            "workspace": str(self.workspace),
            "gateway_url": provider.url,
            "key": "ccap-fake-0123456789abcdef",
            "run": "01RUN",
        }
        return LaunchOrder(**{**said, **changes})

    def run(
        self, order: LaunchOrder, *, alter: Callable[[Launch], Launch] = lambda launch: launch
    ) -> tuple[AgentEnd, list[AgentEvent], Launch]:
        adapter = ClaudeCode()
        launch = alter(adapter.launch(order))
        for path, content in launch.files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
        done = subprocess.run(
            launch.argv,
            input=launch.first_input,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "TERM": "dumb", "CI": "1", **launch.environ},
            cwd=self.workspace,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        events = [event for line in done.stdout.splitlines() for event in adapter.read(line)]
        last = next((event for event in reversed(events) if isinstance(event, AgentEnd)), None)
        return adapter.end(exit_status=done.returncode, last=last), events, launch


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A private HOME and a workspace for the CLI of the extra `[claude]`."""
    binary = ClaudeCode().bundled()
    if binary is None:
        pytest.skip("the extra [claude] is not installed, so there is no Claude Code to start")
    made = Bench(binary=binary, root=tmp_path)
    made.workspace.mkdir()
    made.home.mkdir()
    return made
