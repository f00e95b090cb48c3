"""What the real CLIs send, kept for those who have none of them: recorded between CLI and gateway, and scrubbed.

A recording holds every request in order (its path, headers, body, and the status that it got) and what the CLI itself
said on its standard output. Nothing of a machine or a person stays in it: long texts, paths, ids of sessions, dates and
keys are an `x`; what a request is made of stays, and so do the ids of calls, which tell the script where it stands.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

FOLDER = Path(__file__).with_name("recorded")
_LONGEST = 60
_OURS = re.compile(r"call_[a-z0-9-]+_\d+_\d+_[0-9a-f]{10}\Z")
_PRIVATE = re.compile(
    r"/(?:tmp|root|home|srv|var|private|Users)/|[0-9a-f]{8}-[0-9a-f]{4}-|\b\d{4}-\d\d-\d\d\b|ccap-|\b[0-9a-f]{12,}\b"
)
_OWN = re.compile(
    r"/(?:tmp|root|home|srv|var|private|Users)/[^\s\"'\\]*(?=/)|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|\b[0-9a-f]{12}\b|\$\d+\.\d+"
)
_MOST_SAID = 600
_TOLD = frozenset({"accept", "content-type", "originator", "x-codex-beta-features", "x-goog-api-client"})
_TELLING = ("x-openai-",)
_SKIPPED = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding"})
_TIMES = frozenset({"timestamp", "duration_ms", "session_id", "thread_id"})


@dataclass
class Recorder:
    """Stands between a CLI and the gateway and keeps what passes."""

    upstream: str
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._pass), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.close()
        await self._runner.cleanup()

    async def _pass(self, http: web.BaseRequest) -> web.StreamResponse:
        body = await http.read()
        headers = {name.lower(): value for name, value in http.headers.items() if name.lower() not in _SKIPPED}
        kept: dict[str, Any] = {"method": http.method, "path": http.raw_path, "headers": headers, "body": body}
        self.requests.append(kept)
        url = self.upstream + http.raw_path
        async with self._http.request(http.method, url, data=body, headers=headers) as answer:
            kept["status"] = answer.status
            passed = {name: value for name, value in answer.headers.items() if name.lower() not in _SKIPPED}
            response = web.StreamResponse(status=answer.status, headers=passed)
            await response.prepare(http)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    def write(self, name: str, *, agent: str, events: list[dict[str, Any]]) -> None:
        """Put the recording where the tests find it."""
        told = {
            "agent": agent,
            "requests": [
                {
                    "method": each["method"],
                    "path": each["path"],
                    "headers": {key: _header(key, value) for key, value in each["headers"].items()},
                    "body": scrubbed(json.loads(each["body"])) if each["body"] else None,
                    "status": each["status"],
                }
                for each in self.requests
            ],
            "events": [_spoken({k: v for k, v in event.items() if k not in _TIMES}) for event in events],
        }
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def scrubbed(value: Any) -> Any:
    """The same shape, without what is long or somebody's own."""
    match value:
        case dict():
            return {_text(key): _member(key, inner) for key, inner in value.items()}
        case list():
            return [scrubbed(item) for item in value]
        case str():
            return _text(value)
        case _:
            return value


def _spoken(value: Any) -> Any:
    """What a CLI says: its words stay, without what is somebody's own in them."""
    match value:
        case dict():
            return {key: _spoken(inner) for key, inner in value.items()}
        case list():
            return [_spoken(item) for item in value]
        case str():
            return _OWN.sub("x", value)[:_MOST_SAID]
        case _:
            return value


def _member(key: str, value: Any) -> Any:
    """Definitions of tools are the vendor's words: what a tool takes is told by its type alone."""
    if key in {"parameters", "parametersJsonSchema", "input_schema"} and isinstance(value, dict) and "type" in value:
        return {"type": "object"}
    return "x" if key == "description" else scrubbed(value)


def _text(text: str) -> str:
    if _OURS.search(text):
        return text
    return "x" if len(text) > _LONGEST or _PRIVATE.search(text) else text


def _header(name: str, value: str) -> str:
    if name == "user-agent":
        return " ".join(re.findall(r"[\w.-]+/[\d.]+", value))
    return value if (name in _TOLD or name.startswith(_TELLING)) and not _PRIVATE.search(value) else "x"
