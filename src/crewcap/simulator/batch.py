"""The batch APIs of Anthropic and OpenAI: batches that take as many polls as their script says, and bill as they go.

A batch gets on with each poll: every one does its share of the requests, answered from the same script as all others
and billed at a batch's prices. What happens to a request is picked by what it says, never by its place. `accident` is
what happens to every POST that makes a batch while it is set:

    hang     the batch is made, and no answer comes
    cut      the batch is made, and the connection is cut
    error    the batch is made, and the answer is 500
    lost     nothing is made, and the connection is cut
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from aiohttp import web

from crewcap.simulator.anthropic import Messages
from crewcap.simulator.family import Family
from crewcap.simulator.log import Record
from crewcap.simulator.openai_chat import Completions
from crewcap.simulator.openai_responses import Responses

Accident = Literal["", "hang", "cut", "error", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchScript:
    """What becomes of batches; the patterns are looked for in a request's body."""

    polls: int = 1  # until a batch has ended
    fails: re.Pattern[str] | None = None  # an error answer, which is not billed
    expires: re.Pattern[str] | None = None  # the day was too short
    vanishes: re.Pattern[str] | None = None  # no result at all
    repeats: re.Pattern[str] | None = None  # two results under one name
    repeat_times: int = 2  # the output on the bill of the second one, in outputs of the first
    is_invalid: bool = False  # the batch as a whole is refused, after it was made


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the batch APIs need of their simulator."""

    record: Callable[[web.Request], Record]
    admit: Callable[[Family, Record], web.Response | None]
    answer: Callable[[Family, Record, bytes], tuple[int, Any]]
    number: Callable[[], int]
    now: Callable[[], datetime]


@dataclass(slots=True, kw_only=True)
class Batch:
    """One batch, of either API."""

    id: str
    family: Family
    record: Record  # of the POST that made it
    items: list[tuple[str, bytes]]
    made_at: datetime
    said: dict[str, Any] = field(default_factory=dict)  # what it was made with
    results: list[tuple[str, str, int, Any]] = field(default_factory=list)  # name, kind, status, body
    left: int = 0  # requests that nobody has looked at
    polls: int = 0
    is_cancelled: bool = False
    ended_at: datetime | None = None

    def count(self, *kinds: str) -> int:
        """How many results are of these kinds."""
        return sum(kind in kinds for _, kind, _, _ in self.results)


class Batches:
    """Every batch of one simulator."""

    def __init__(self, script: BatchScript, desk: Desk) -> None:
        self.script = script
        self.accident: Accident = ""
        self.posted = 0  # POSTs that asked for a batch
        self.made: dict[str, Batch] = {}
        self._files: dict[str, bytes] = {}
        self._desk = desk
        self._messages = Messages()
        self._families: dict[str, Family] = {"/v1/responses": Responses(), "/v1/chat/completions": Completions()}

    def forget(self) -> None:
        """Back to the start."""
        self.made.clear()
        self._files.clear()
        self.posted, self.accident = 0, ""

    def add_routes(self, app: web.Application) -> None:
        """Anthropic's paths and OpenAI's."""
        add = app.router
        add.add_post("/v1/messages/batches", self._make_messages)
        add.add_get("/v1/messages/batches", self._list_messages)
        add.add_get("/v1/messages/batches/{id}", self._poll_messages)
        add.add_post("/v1/messages/batches/{id}/cancel", self._cancel_messages)
        add.add_get("/v1/messages/batches/{id}/results", self._results_messages)
        add.add_post("/v1/files", self._upload)
        add.add_get("/v1/files/{id}/content", self._content)
        add.add_post("/v1/batches", self._make)
        add.add_get("/v1/batches", self._list)
        add.add_get("/v1/batches/{id}", self._poll)
        add.add_post("/v1/batches/{id}/cancel", self._cancel)

    # --- Anthropic

    async def _make_messages(self, request: web.Request) -> web.StreamResponse:
        record, refused = self._admitted(self._messages, request)
        if refused is not None:
            return refused
        said = json.loads(await request.read())
        items = [(each["custom_id"], json.dumps(each["params"]).encode()) for each in said["requests"]]
        return await self._made(request, "msgbatch_sim", self._messages, record, items, {}, _message_batch)

    async def _list_messages(self, request: web.Request) -> web.StreamResponse:
        return self._page(request, self._messages, "after_id", _message_batch)

    async def _poll_messages(self, request: web.Request) -> web.StreamResponse:
        return self._told(request, self._messages, _message_batch, is_poll=True)

    async def _cancel_messages(self, request: web.Request) -> web.StreamResponse:
        return self._told(request, self._messages, _message_batch, is_cancel=True)

    async def _results_messages(self, request: web.Request) -> web.StreamResponse:
        batch, refused = self._asked_for(request, self._messages)
        if batch is None or batch.ended_at is None:
            return refused or _error(404, "there are no results")
        lines = [
            {"custom_id": name, "result": _message_result(kind, body)}
            for name, kind, _, body in _shuffled(batch.results)
        ]
        return _jsonl(lines)

    # --- OpenAI

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        _, refused = self._admitted(self._families["/v1/responses"], request)
        if refused is not None:
            return refused
        form = await request.post()
        file = form.get("file")
        if form.get("purpose") != "batch" or not isinstance(file, web.FileField):
            return _error(400, "Missing required parameter: 'file'.")
        id_ = f"file-sim{self._desk.number():06d}"
        self._files[id_] = file.file.read()
        return web.json_response({"id": id_, "object": "file", "purpose": "batch", "filename": file.filename})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        _, refused = self._admitted(self._families["/v1/responses"], request)
        content = self._files.get(request.match_info["id"])
        if refused is not None or content is None:
            return refused or _error(404, "No such File object")
        return web.Response(body=content, content_type="application/octet-stream")

    async def _make(self, request: web.Request) -> web.StreamResponse:
        said = json.loads(await request.read())
        family = self._families.get(said.get("endpoint", ""))
        record, refused = self._admitted(family or self._families["/v1/responses"], request)
        if refused is not None or family is None:
            return refused or _error(400, "Invalid value: 'endpoint'.")
        content = self._files.get(said.get("input_file_id", ""))
        if content is None:
            return _error(400, "Invalid 'input_file_id'.")
        lines = [json.loads(line) for line in content.splitlines() if line.strip()]
        if len({line["body"].get("model") for line in lines}) > 1:
            return _error(400, "All requests of a batch must be for the same model.")
        items = [(line["custom_id"], json.dumps(line["body"]).encode()) for line in lines]
        return await self._made(request, "batch_sim", family, record, items, said, self._batch)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return self._page(request, self._families["/v1/responses"], "after", self._batch)

    async def _poll(self, request: web.Request) -> web.StreamResponse:
        return self._told(request, self._families["/v1/responses"], self._batch, is_poll=True)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        return self._told(request, self._families["/v1/responses"], self._batch, is_cancel=True)

    def _batch(self, batch: Batch) -> dict[str, Any]:
        """A batch as OpenAI tells it; its files are written when it ends."""
        is_invalid = self.script.is_invalid
        files: dict[str, str | None] = {"output_file_id": None, "error_file_id": None}
        if batch.ended_at is not None and not is_invalid:
            files = {name: self._write(batch, name) for name in files}
        status = _status(batch, is_invalid=is_invalid)
        ended = int(batch.ended_at.timestamp()) if batch.ended_at else None
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.said["endpoint"],
            "input_file_id": batch.said["input_file_id"],
            "completion_window": batch.said["completion_window"],
            "metadata": batch.said.get("metadata"),
            "status": status,
            "created_at": int(batch.made_at.timestamp()),
            **({f"{status}_at": ended} if ended else {}),
            "errors": {"data": [{"code": "invalid", "message": "line 1 is not valid"}]} if is_invalid else None,
            "request_counts": {
                "total": len(batch.items),
                "completed": batch.count("succeeded"),
                "failed": batch.count("errored", "expired", "canceled"),
            },
            **files,
        }

    def _write(self, batch: Batch, name: str) -> str | None:
        """A file of results; None where nothing would stand in it."""
        is_output = name == "output_file_id"
        lines = [
            _line(custom_id, kind, status, body)
            for custom_id, kind, status, body in _shuffled(batch.results)
            if (kind == "succeeded") == is_output
        ]
        if not lines:
            return None
        id_ = f"file-{name.partition('_')[0]}-{batch.id}"
        self._files[id_] = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return id_

    # --- both

    def _admitted(self, family: Family, request: web.Request) -> tuple[Record, web.Response | None]:
        record = self._desk.record(request)
        return record, self._desk.admit(family, record)

    async def _made(
        self,
        request: web.Request,
        prefix: str,
        family: Family,
        record: Record,
        items: list[tuple[str, bytes]],
        said: dict[str, Any],
        told: Callable[[Batch], dict[str, Any]],
    ) -> web.StreamResponse:
        """Make a batch, and let happen what is to happen to the answer."""
        self.posted += 1
        if self.accident == "lost":
            return _cut(request)
        batch = Batch(
            id=f"{prefix}_{self._desk.number():06d}",
            family=family,
            record=record,
            items=items,
            made_at=self._desk.now(),
            said=said,
            left=len(items),
        )
        self.made[batch.id] = batch
        match self.accident:
            case "hang":
                await asyncio.Event().wait()
            case "cut":
                return _cut(request)
            case "error":
                return _error(500, "The server had an error.")
        return web.json_response(told(batch))

    def _asked_for(self, request: web.Request, family: Family) -> tuple[Batch | None, web.Response | None]:
        record, refused = self._admitted(family, request)
        batch = self.made.get(request.match_info["id"])
        if refused is not None:
            return None, refused
        if batch is None or batch.record.key != record.key:
            return None, _error(404, "there is no such batch")
        return batch, None

    def _told(
        self,
        request: web.Request,
        family: Family,
        told: Callable[[Batch], dict[str, Any]],
        *,
        is_poll: bool = False,
        is_cancel: bool = False,
    ) -> web.Response:
        batch, refused = self._asked_for(request, family)
        if batch is None:
            return refused or _error(404, "there is no such batch")
        if is_cancel:
            batch.is_cancelled = True
        if is_poll:
            self._advance(batch)
        return web.json_response(told(batch))

    def _page(
        self, request: web.Request, family: Family, after: str, told: Callable[[Batch], dict[str, Any]]
    ) -> web.Response:
        """The batches of a key, newest first."""
        record, refused = self._admitted(family, request)
        if refused is not None:
            return refused
        is_messages = family is self._messages
        own = [
            batch
            for batch in reversed(self.made.values())
            if batch.record.key == record.key and (batch.family is self._messages) == is_messages
        ]
        names = [batch.id for batch in own]
        begin = names.index(request.query[after]) + 1 if request.query.get(after) in names else 0
        page = own[begin : begin + int(request.query.get("limit", "20"))]
        return web.json_response(
            {
                "object": "list",
                "data": [told(batch) for batch in page],
                "has_more": begin + len(page) < len(own),
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
            }
        )

    def _advance(self, batch: Batch) -> None:
        """One poll's share of the work."""
        if batch.ended_at is not None:
            return
        batch.polls += 1
        if self.script.is_invalid:
            batch.ended_at = self._desk.now()
            return
        share = -(-len(batch.items) // max(1, self.script.polls))
        done = len(batch.items) - batch.left
        for name, body in batch.items[done:] if batch.is_cancelled else batch.items[done : done + share]:
            batch.left -= 1
            self._do(batch, name, body)
        if not batch.left:
            batch.ended_at = self._desk.now()

    def _do(self, batch: Batch, name: str, body: bytes) -> None:
        text, script = body.decode(), self.script
        if batch.is_cancelled:
            batch.results.append((name, "canceled", 0, None))
        elif script.vanishes and script.vanishes.search(text):
            return
        elif script.expires and script.expires.search(text):
            batch.results.append((name, "expired", 0, None))
        elif script.fails and script.fails.search(text):
            error = {"type": "invalid_request_error", "message": "Something is not right."}
            batch.results.append((name, "errored", 400, {"type": "error", "error": error}))
        else:
            record = replace(batch.record, id=f"req_sim_{self._desk.number():06d}")
            status, answer = self._desk.answer(batch.family, record, body)
            if script.repeats and script.repeats.search(text):
                batch.results.append((name, "succeeded", status, _times(answer, script.repeat_times)))
            batch.results.append((name, "succeeded" if status == 200 else "errored", status, answer))


def _times(answer: dict[str, Any], factor: int) -> dict[str, Any]:
    """The same answer with so many times its output on its bill."""
    usage = dict(answer["usage"])
    name = "output_tokens" if "output_tokens" in usage else "completion_tokens"
    more = usage[name] * (factor - 1)
    bill = {each: usage[each] + more for each in (name, "total_tokens") if each in usage}
    return {**answer, "usage": {**usage, **bill}}


def _message_batch(batch: Batch) -> dict[str, Any]:
    """A batch as Anthropic tells it."""
    counts = {kind: batch.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
    state = "ended" if batch.ended_at else "canceling" if batch.is_cancelled else "in_progress"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": state,
        "request_counts": {"processing": len(batch.items) - sum(counts.values()) if state != "ended" else 0, **counts},
        "created_at": batch.made_at.isoformat(),
        "expires_at": (batch.made_at + timedelta(days=1)).isoformat(),
        "ended_at": batch.ended_at.isoformat() if batch.ended_at else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"https://results.example/{batch.id}" if batch.ended_at else None,
    }


def _message_result(kind: str, body: Any) -> dict[str, Any]:
    match kind:
        case "succeeded":
            return {"type": kind, "message": body}
        case "errored":
            return {"type": kind, "error": body}
        case _:
            return {"type": kind}


def _line(name: str, kind: str, status: int, body: Any) -> dict[str, Any]:
    """A line of one of OpenAI's files."""
    said: dict[str, Any] = {"id": f"batch_req_{name}", "custom_id": name, "response": None, "error": None}
    if kind in {"succeeded", "errored"}:
        return said | {"response": {"status_code": status, "request_id": f"req_{name}", "body": body}}
    code = {"expired": "batch_expired", "canceled": "batch_cancelled"}[kind]
    return said | {"error": {"code": code, "message": "This request was not executed."}}


def _status(batch: Batch, *, is_invalid: bool) -> str:
    if batch.ended_at is None:
        return "cancelling" if batch.is_cancelled else "in_progress" if batch.polls else "validating"
    if is_invalid:
        return "failed"
    if batch.is_cancelled:
        return "cancelled"
    return "expired" if batch.count("expired") else "completed"


def _shuffled(results: list[tuple[str, str, int, Any]]) -> list[tuple[str, str, int, Any]]:
    """In another order than they were asked in: providers promise none."""
    return results[::-1]


def _jsonl(lines: list[dict[str, Any]]) -> web.Response:
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return web.Response(text=body, content_type="application/x-jsonl")


def _error(status: int, message: str) -> web.Response:
    error = {"type": "invalid_request_error", "message": message}
    return web.json_response({"type": "error", "error": error}, status=status)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
