"""The request log: one record for each request, in memory and, where asked for, as JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from crewcap.core.keys import shown
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage

_NONE = Usage()
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})
_ASKS = re.compile(r"^/v1/(?:messages|responses|chat/completions)\Z|:(?:streamG|g)enerateContent\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request and what became of it."""

    at: datetime
    id: str
    method: str
    path: str
    key: str = field(default="", repr=False)  # as sent; files and the control page show its end only
    headers: Mapping[str, str] = field(default_factory=dict)  # without secrets
    size_bytes: int = 0
    body: bytes = field(default=b"", repr=False)  # kept where the simulator was told to
    model: str = ""
    max_tokens: int = 0
    stream: bool = False
    agent: str = ""  # "main" or "sub"
    agent_id: str = ""  # as the agent's header says, where the gateway let it through
    conversation: str = ""  # which task is worked on: tells agents apart also without that header
    session: str = ""
    step: str = ""
    round: int = 0
    status: int = 0
    usage: Usage = _NONE  # what was billed
    billed: Money = ZERO
    stop_reason: str = ""
    ending: str = ""  # complete, client_gone, cut, hung, refused, error_event

    def as_json(self) -> dict[str, Any]:
        """The record without bodies and keys."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in {"body", "usage"}}
        usage = {kind: count for kind, count in asdict(self.usage).items() if kind != "pieces"}
        return plain | {
            "at": self.at.isoformat(),
            "key": shown(self.key) if self.key else "",
            "headers": dict(self.headers),
            "billed": self.billed.exact(),
            **usage,
        }


class RequestLog:
    """Every record since the start or the last reset, oldest first."""

    def __init__(self, file: Path | None = None) -> None:
        self.records: list[Record] = []
        self._file = file
        if file is not None:
            file.open("a").close()  # what cannot be written is found before the first request

    def add(self, record: Record) -> None:
        """Keep a record; the file gets its line at once."""
        self.records.append(record)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record.as_json(), ensure_ascii=False) + "\n")

    def messages(self) -> list[Record]:
        """The records of requests for an answer, in any API."""
        return [record for record in list(self.records) if _ASKS.search(record.path.partition("?")[0])]

    def reset(self) -> None:
        """Forget what is in memory; the file stays."""
        self.records.clear()


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their small names, secrets shown by their ends only."""
    return {name.lower(): shown(value) if name.lower() in _SECRET_HEADERS else value for name, value in headers.items()}
