"""Transcripts of Gemini CLI: `tmp/<project>/chats/session-*.jsonl`, in older versions one `.json` of the whole chat.

A message of type `gemini` has an id and its `tokens`; it is written once more when its tools have run, and all messages
again when a chat is taken up or compressed, so the id is what tells messages apart. The folder that the project is in
stands in a file beside the chats (older versions: nowhere, there is only its hash).

Google counts cached tokens inside the input; what a tool brought into the prompt is beside it, and thoughts are beside
the output: both are billed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crewcap.core.transcripts import Told
from crewcap.transcripts import Block, Manner, Sink, State
from crewcap.transcripts.times import at_ms
from crewcap.wire import lenient

AGENT = "gemini"
PROVIDER = "google"
_WORDS = (b'"tokens"', b'"sessionId"')
_ROOT = ".project_root"
_MOST_ROOT = 4_096


class GeminiCli:
    """Implements `Reader`."""

    agent = AGENT

    def places(self, environ: Mapping[str, str]) -> tuple[Path, ...]:
        """Below `~/.gemini`; `$GEMINI_CLI_HOME` stands for the home."""
        home = Path(environ.get("GEMINI_CLI_HOME") or environ.get("HOME", "~")).expanduser()
        return (home / ".gemini" / "tmp",)

    def claims(self, name: str, folder: str) -> bool:
        """Chats are in a folder of that name, those of subagents one deeper."""
        above = folder.split("/")[-2:]
        return name.endswith((".json", ".jsonl")) and (
            above[-1] == "chats" or (above[0] == "chats" and "/.gemini/" in folder)
        )

    def manner(self, path: str) -> Manner:
        """Lines are appended, a whole chat is written anew."""
        return "lines" if path.endswith(".jsonl") else "whole"

    def beside(self, path: str) -> tuple[str, ...]:
        """Nothing."""
        del path
        return ()

    def read(self, block: Block, state: State, into: Sink) -> None:
        """One JSON object a line; a whole chat is one object over many lines, and is read anew when it has changed."""
        if "folder" not in state:
            state["folder"] = _folder(state["path"])
        if self.manner(state["path"]) == "whole":
            _take(bytes(block.buffer[block.start : block.end]), state, into)
            return
        buffer, at, end = block.buffer, block.start, block.end
        while at < end:
            line_end = buffer.find(b"\n", at, end)
            line_end = end if line_end < 0 else line_end
            if any(buffer.find(word, at, line_end) >= 0 for word in _WORDS):
                _take(bytes(buffer[at:line_end]), state, into)
            at = line_end + 1


def _take(raw: bytes, state: State, into: Sink) -> None:
    said = lenient.parsed(raw)
    if isinstance(said, dict):
        _take_object(said, state, into)
    else:
        into.problems["torn: no JSON"] += 1


def _take_object(said: dict[str, Any], state: State, into: Sink) -> None:
    if isinstance(said.get("sessionId"), str):
        state["session"] = said["sessionId"]
        state["is_sub"] = said.get("kind") == "subagent"
    for message in _messages(said):
        _take_message(message, state, into)


def _messages(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object itself, what it sets, and the chat in it, as far as they are answers."""
    changed = said.get("$set")
    for place in (said, changed if isinstance(changed, dict) else {}):
        messages = place.get("messages")
        for each in (place, *(messages if isinstance(messages, list) else ())):
            if isinstance(each, dict) and isinstance(each.get("tokens"), dict):
                yield each


def _take_message(message: dict[str, Any], state: State, into: Sink) -> None:
    tokens, id_ = message["tokens"], lenient.word(message.get("id"))
    prompt, cached, output, thoughts, tool = (
        _count(tokens.get(name), into) for name in ("input", "cached", "output", "thoughts", "tool")
    )
    if not (prompt or output or thoughts or tool):
        return
    at = at_ms(lenient.word(message.get("timestamp")), state, into)
    into.add(
        Told(
            key=f"gemini:{id_}" if id_ else f"gemini:{state.get('session', '')}:{at}",
            at=at,
            session=state.get("session", ""),
            folder=state["folder"],
            provider=PROVIDER,
            model=lenient.word(message.get("model")),
            input=max(0, prompt - cached) + tool,
            cache_read=min(cached, prompt),
            output=output + thoughts,
            thinking=thoughts,
            is_sub=bool(state.get("is_sub")),
        )
    )


def _count(value: Any, into: Sink) -> int:
    if value is None or lenient.is_count(value):
        return int(value or 0)
    into.problems["in doubt: what it says at least was counted"] += 1
    return lenient.least_count(value) or 0


def _folder(path: str) -> str:
    """The project's folder, from the file beside the chats; empty where there is none."""
    for above in Path(path).parents[1:3]:
        try:
            with (above / _ROOT).open(encoding="utf-8", errors="replace") as file:
                return file.read(_MOST_ROOT).strip()
        except OSError:
            continue
    return ""
