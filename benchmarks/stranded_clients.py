"""Who spends in `stranded.py`: scripted clients, each with its conversation, and what the provider answers them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crewcap.core.money import Money
from crewcap.simulator.script import Script, Step, Use, When

WORDS = "def total(items: list[Item]) -> Money:  # what all of them cost, rounded up once\n    return sum(items)\n"
COSTS = ("0.05", "0.12", "0.20", "0.31", "0.50")


def text(size_bytes: int) -> str:
    """So many bytes of something like code."""
    return (WORDS * (size_bytes // len(WORDS) + 1))[:size_bytes]


class Client:
    """One client that spends: the body of its next request, and what it makes of an answer."""

    path = "/v1/messages"

    def __init__(self, number: int) -> None:
        self.number = number
        self.turn = 0

    def body(self) -> dict[str, Any]:
        """The next request."""
        raise NotImplementedError

    def heard(self, _answer: bytes) -> None:
        """Go on after an answer."""
        self.turn += 1


class Writer(Client):
    """Small prompts, long answers of $0.05 to $0.50."""

    def body(self) -> dict[str, Any]:
        """The next request."""
        cost = COSTS[(self.number + self.turn) % len(COSTS)]
        said = [{"role": "user", "content": f"cost-{cost} please"}]
        return {"model": "claude-sonnet-4-5", "max_tokens": 33_400, "stream": True, "messages": said}


class Agent(Client):
    """A coding agent's conversation: 50 KB of tools and system, then turns of a thought, a call and its result.

    Marks stand as Claude Code sets them: on the system text and on the last block, which moves.
    """

    model, result_bytes, max_tokens, mark = "claude-sonnet-5-5", 2_000, 16_000, {"type": "ephemeral"}

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.messages: list[dict[str, Any]] = [{"role": "user", "content": f"Client {number}: fix the login."}]

    def body(self) -> dict[str, Any]:
        """The next request."""
        *before, last = self.messages
        content = last["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        blocks[-1] = {**blocks[-1], "cache_control": self.mark}
        return {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "stream": True,
            "thinking": {"type": "adaptive"},
            "system": [{"type": "text", "text": text(10_000), "cache_control": self.mark}],
            "tools": [
                {"name": name, "description": text(8_000), "input_schema": {"type": "object"}}
                for name in ("Bash", "Edit", "Read", "Write", "Agent")
            ],
            "messages": [*before, {**last, "content": blocks}],
        }

    def heard(self, answer: bytes) -> None:
        """Go on after an answer."""
        blocks = content_of(answer)
        result = text(self.result_bytes)
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": result}
            for block in blocks
            if block["type"] == "tool_use"
        ]
        self.messages += [{"role": "assistant", "content": blocks}]
        self.messages += [{"role": "user", "content": results or "Go on."}]
        self.turn += 1


class TersePrompt(Agent):
    """The same with answers of 500 tokens: nearly all of the money is the prompt's."""


class Reader(Client):
    """The same 60,000 tokens again and again, read from the cache: $0.03 a turn."""

    def body(self) -> dict[str, Any]:
        """The next request."""
        block = {"type": "text", "text": text(240_000), "cache_control": {"type": "ephemeral"}}
        return {
            "model": "claude-sonnet-4-5",
            "max_tokens": 32_000,
            "stream": True,
            "messages": [{"role": "user", "content": [block, {"type": "text", "text": f"turn {self.turn}"}]}],
        }


class Writes5m(Client):
    """Another 60,000 tokens every time, written to the cache."""

    ttl = "5m"

    def body(self) -> dict[str, Any]:
        """The next request."""
        said = f"client {self.number}, turn {self.turn}: {text(240_000)}"
        block = {"type": "text", "text": said, "cache_control": {"type": "ephemeral", "ttl": self.ttl}}
        return {
            "model": "claude-sonnet-4-5",
            "max_tokens": 32_000,
            "stream": True,
            "messages": [{"role": "user", "content": [block]}],
        }


class Writes1h(Writes5m):
    """The same, for an hour."""

    ttl = "1h"


class Responses(Client):
    """OpenAI: long answers to small prompts. No stream tells its prompt early, so no hold shrinks before its end."""

    path = "/v1/responses"

    def body(self) -> dict[str, Any]:
        """The next request."""
        cost = COSTS[(self.number + self.turn) % len(COSTS)]
        said = [{"role": "user", "content": f"cost-{cost} please"}]
        return {"model": "gpt-5.6-terra", "max_output_tokens": 33_400, "stream": True, "input": said}


class Codex(Client):
    """OpenAI: an agent's conversation of items; caches write and read themselves."""

    path = "/v1/responses"

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.items: list[dict[str, Any]] = [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": f"Client {number}: fix it."}],
            }
        ]

    def body(self) -> dict[str, Any]:
        """The next request."""
        tools = [
            {"type": "function", "name": name, "description": text(8_000), "parameters": {"type": "object"}}
            for name in ("Bash", "Edit", "Read", "Write")
        ]
        return {
            "model": "gpt-5.6-terra",
            "max_output_tokens": 16_000,
            "reasoning": {"effort": "medium"},
            "instructions": text(10_000),
            "tools": tools,
            "input": self.items,
            "store": False,
        }

    def heard(self, answer: bytes) -> None:
        """Go on after an answer."""
        made = json.loads(answer)["output"]
        self.items += made
        self.items += [
            {"type": "function_call_output", "call_id": item["call_id"], "output": text(2_000)}
            for item in made
            if item["type"] == "function_call"
        ]
        self.turn += 1


class Gemini(Client):
    """Gemini: long answers to small prompts."""

    path = "/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse"

    def body(self) -> dict[str, Any]:
        """The next request."""
        cost = COSTS[(self.number + self.turn) % len(COSTS)]
        contents = [{"role": "user", "parts": [{"text": f"cost-{cost} please"}]}]
        thinking = {"thinkingBudget": 128}
        return {"contents": contents, "generationConfig": {"maxOutputTokens": 33_400, "thinkingConfig": thinking}}


def content_of(answer: bytes) -> list[dict[str, Any]]:
    """The blocks of a streamed answer, as an agent sends them back."""
    blocks: list[dict[str, Any]] = []
    arguments = ""
    for line in answer.split(b"\n"):
        event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
        match event.get("type"):
            case "content_block_start":
                blocks.append(event["content_block"])
                arguments = ""
            case "content_block_delta":
                delta = event["delta"]
                arguments += delta.get("partial_json", "")
                for name in ("text", "thinking", "signature"):
                    if name in delta:
                        blocks[-1][name] = blocks[-1].get(name, "") + delta[name]
            case "content_block_stop" if blocks[-1]["type"] == "tool_use":
                blocks[-1]["input"] = json.loads(arguments or "{}")
    return [block for block in blocks if block.get("text") != ""]


def priced(tokens: Callable[[str], Step]) -> Script:
    """A script whose answers cost what a request says."""
    return Script(name="costs", steps=tuple(tokens(cost) for cost in COSTS))


def costs(cost: str) -> Step:
    """The answer that costs this."""
    when = When(task=re.compile(re.escape(f"cost-{cost} ")))
    return Step(name=f"cost-{cost.replace('.', '-')}", when=when, say="Yes.", cost=Money.usd(cost))


def turns(output_tokens: int) -> Script:
    """A script whose every answer calls a tool."""
    call = Use(tool="Bash", input={"command": "python -m unittest -q", "description": "Run the tests"})
    step = Step(name="work", say="I look at it.", use=(call,), output_tokens=output_tokens)
    return Script(name="turns", steps=(step,))


def plain(output_tokens: int) -> Script:
    """A script of words."""
    return Script(name="words", steps=(Step(name="words", say="Yes.", output_tokens=output_tokens),))


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A way of spending."""

    name: str
    client: type[Client]
    script: Script
    family: str = "anthropic"
    aim: int = 0  # percent of $1 that must be used


PROFILES = (
    Profile(name="output-heavy", client=Writer, script=priced(costs), aim=99),
    Profile(name="agent turns, thinking", client=Agent, script=turns(3_000), aim=85),
    Profile(name="agent turns, terse", client=TersePrompt, script=turns(500)),
    Profile(name="60k read again", client=Reader, script=plain(800)),
    Profile(name="60k written, 5 min", client=Writes5m, script=plain(1_000)),
    Profile(name="60k written, 1 h", client=Writes1h, script=plain(1_000)),
    Profile(name="OpenAI output-heavy", client=Responses, script=priced(costs), family="openai"),
    Profile(name="OpenAI agent turns", client=Codex, script=turns(3_000), family="openai"),
    Profile(name="Gemini output-heavy", client=Gemini, script=priced(costs), family="gemini"),
)
