"""The vendors' own SDKs, each told to do the same few things, and a gateway between them and the scripted provider."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import anthropic
import openai
from google import genai
from google.genai import errors, types
from tests.gateway.conftest import Key, add_key
from tests.gateway.dialects import PROVIDER_KEY, endpoints

from crewcap.core.budget import Balance, Scope
from crewcap.core.money import Money
from crewcap.gateway.policy import Policy
from crewcap.gateway.server import Gateway
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.simulator.script import Script
from crewcap.simulator.server import Simulator
from crewcap.stores.sqlite.ledger import SqliteLedger

TOOL = "look"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


class Said(NamedTuple):
    """An answer as an SDK hands it over."""

    text: str
    sent: int  # tokens of the prompt, however they were billed
    written: int  # tokens of the answer


class Sdk(Protocol):
    """One SDK, and one of its APIs."""

    name: str
    model: str
    failures: dict[int, type[Exception]]  # which exception the SDK makes of a status

    def connect(self, url: str, key: str, *, retries: int = 0) -> None:
        """Make the client."""

    async def whole(self, text: str, *, limit: int = 2_000) -> Said:
        """Ask, without a stream."""

    async def stream(self, text: str) -> Said:
        """Ask for a stream, and read it to its end."""

    async def use_tool(self, text: str) -> tuple[dict[str, Any], str]:
        """Offer a tool, answer its call with "forty-two"; its input, and what the model says then."""

    async def count(self, text: str) -> int:
        """The provider's own count call."""

    async def close(self) -> None:
        """Let go of the client's connections."""


class Anthropic:
    name = "anthropic"
    model = "claude-sonnet-4-6"
    failures: dict[int, type[Exception]] = {  # noqa: RUF012  (read only)
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        402: anthropic.APIStatusError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
        500: anthropic.InternalServerError,
    }
    tool: Any = {"name": TOOL, "description": "Look at a file", "input_schema": SCHEMA}  # noqa: RUF012  (read only)

    def connect(self, url: str, key: str, *, retries: int = 0) -> None:
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=retries)

    async def whole(self, text: str, *, limit: int = 2_000) -> Said:
        return self._said(await self.client.messages.create(model=self.model, max_tokens=limit, messages=[_user(text)]))

    async def stream(self, text: str) -> Said:
        async with self.client.messages.stream(model=self.model, max_tokens=2_000, messages=[_user(text)]) as stream:
            said = "".join([part async for part in stream.text_stream])
            found = self._said(await stream.get_final_message())
        assert found.text == said
        return found

    async def use_tool(self, text: str) -> tuple[dict[str, Any], str]:
        talk: list[Any] = [_user(text)]
        ask: dict[str, Any] = {"model": self.model, "max_tokens": 2_000, "tools": [self.tool]}
        answer = await self.client.messages.create(messages=talk, **ask)
        call = next(block for block in answer.content if block.type == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "forty-two"}
        talk += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
        return dict(call.input), self._said(await self.client.messages.create(messages=talk, **ask)).text

    async def count(self, text: str) -> int:
        counted = await self.client.messages.count_tokens(model=self.model, messages=[_user(text)])
        return counted.input_tokens

    async def close(self) -> None:
        await self.client.close()

    def _said(self, message: Any) -> Said:
        usage = message.usage
        sent = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
        return Said("".join(b.text for b in message.content if b.type == "text"), sent, usage.output_tokens)


class _OpenAI:
    """What the SDK's two APIs share."""

    model = "gpt-5.5"
    failures: dict[int, type[Exception]] = {  # noqa: RUF012  (read only)
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
    }

    def connect(self, url: str, key: str, *, retries: int = 0) -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)

    async def close(self) -> None:
        await self.client.close()


class Responses(_OpenAI):
    name = "responses"
    tool: Any = {"type": "function", "name": TOOL, "parameters": SCHEMA, "strict": False}  # noqa: RUF012  (read only)

    async def whole(self, text: str, *, limit: int = 2_000) -> Said:
        return self._said(await self.client.responses.create(model=self.model, input=text, max_output_tokens=limit))

    async def stream(self, text: str) -> Said:
        async with self.client.responses.stream(model=self.model, input=text) as stream:
            said = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
            found = self._said(await stream.get_final_response())
        assert found.text == said
        return found

    async def use_tool(self, text: str) -> tuple[dict[str, Any], str]:
        talk: list[Any] = [_user(text)]
        answer = await self.client.responses.create(model=self.model, input=talk, tools=[self.tool], store=False)
        call = next(item for item in answer.output if item.type == "function_call")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "forty-two"}
        talk += [*(item.model_dump(exclude_none=True) for item in answer.output), result]
        told = await self.client.responses.create(model=self.model, input=talk, tools=[self.tool], store=False)
        return json.loads(call.arguments), told.output_text

    async def count(self, text: str) -> int:
        return (await self.client.responses.input_tokens.count(model=self.model, input=text)).input_tokens

    def _said(self, response: Any) -> Said:
        return Said(response.output_text, response.usage.input_tokens, response.usage.output_tokens)


class Chat(_OpenAI):
    name = "chat"
    tool: Any = {"type": "function", "function": {"name": TOOL, "parameters": SCHEMA}}  # noqa: RUF012  (read only)

    async def whole(self, text: str, *, limit: int = 2_000) -> Said:
        answer = await self.client.chat.completions.create(
            model=self.model, messages=[_user(text)], max_completion_tokens=limit
        )
        return self._said(answer.choices[0].message.content, answer.usage)

    async def stream(self, text: str) -> Said:
        said, usage = "", None
        async for chunk in await self.client.chat.completions.create(
            model=self.model, messages=[_user(text)], stream=True, stream_options={"include_usage": True}
        ):
            said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            usage = chunk.usage or usage
        return self._said(said, usage)

    async def use_tool(self, text: str) -> tuple[dict[str, Any], str]:
        talk: list[Any] = [_user(text)]
        answer = await self.client.chat.completions.create(model=self.model, messages=talk, tools=[self.tool])
        message = answer.choices[0].message
        call: Any = (message.tool_calls or [])[0]
        talk += [message, {"role": "tool", "tool_call_id": call.id, "content": "forty-two"}]
        told = await self.client.chat.completions.create(model=self.model, messages=talk, tools=[self.tool])
        return json.loads(call.function.arguments), told.choices[0].message.content or ""

    async def count(self, text: str) -> int:
        raise NotImplementedError(text)

    def _said(self, text: str | None, usage: Any) -> Said:
        return Said(text or "", usage.prompt_tokens, usage.completion_tokens)


class Gemini:
    name = "gemini"
    model = "gemini-2.5-pro"
    failures: dict[int, type[Exception]] = {  # noqa: RUF012  (read only)
        400: errors.ClientError,
        401: errors.ClientError,
        404: errors.ClientError,
        429: errors.ClientError,
        500: errors.ServerError,
    }

    def connect(self, url: str, key: str, *, retries: int = 0) -> None:
        again = types.HttpRetryOptions(attempts=retries + 1, initial_delay=0.05, max_delay=0.2)
        options = types.HttpOptions(base_url=url, retry_options=again)
        self.client = genai.Client(api_key=key, vertexai=False, http_options=options)

    async def whole(self, text: str, *, limit: int = 2_000) -> Said:
        config = types.GenerateContentConfig(max_output_tokens=limit)
        answer = await self.client.aio.models.generate_content(model=self.model, contents=text, config=config)
        return self._said(answer.text, answer.usage_metadata)

    async def stream(self, text: str) -> Said:
        said, usage = "", None
        async for chunk in await self.client.aio.models.generate_content_stream(model=self.model, contents=text):
            said += chunk.text or ""
            usage = chunk.usage_metadata or usage
        return self._said(said, usage)

    async def use_tool(self, text: str) -> tuple[dict[str, Any], str]:
        """The SDK's own loop: it calls the function and sends its result."""
        given: list[dict[str, Any]] = []

        def look(path: str) -> str:
            """Look at a file."""
            given.append({"path": path})
            return "forty-two"

        config = types.GenerateContentConfig(tools=[look])
        answer = await self.client.aio.models.generate_content(model=self.model, contents=text, config=config)
        return given[0], answer.text or ""

    async def count(self, text: str) -> int:
        counted = await self.client.aio.models.count_tokens(model=self.model, contents=text)
        return counted.total_tokens or 0

    async def close(self) -> None:
        await self.client.aio.aclose()

    def _said(self, text: str | None, usage: Any) -> Said:
        written = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        return Said(text or "", usage.prompt_token_count, written)


SDKS: tuple[type[Sdk], ...] = (Anthropic, Responses, Chat, Gemini)


def _user(text: str) -> Any:
    return {"role": "user", "content": text}


@dataclass
class Seen:
    """What a gateway tells those who watch it."""

    ends: list[Ended] = field(default_factory=list)
    refusals: list[Declined] = field(default_factory=list)

    def ended(self, ended: Ended) -> None:
        self.ends.append(ended)

    def declined(self, declined: Declined) -> None:
        self.refusals.append(declined)


@dataclass
class Between:
    """A gateway between an SDK and the provider."""

    gateway: Gateway
    simulator: Simulator
    ledger: SqliteLedger
    seen: Seen
    key: Key

    def new_key(self, cap: str) -> Key:
        return add_key(self.ledger, cap)

    def balance(self, key: Key | None = None) -> Balance:
        row = (key or self.key).row
        return next(each for each in self.ledger.balances(row.id) if each.scope == Scope(f"key:{row.id}"))

    async def booked(self) -> Money:
        """What the key was charged, once everything is settled: never an uncertain hold among it."""
        async with asyncio.timeout(10):
            for exchange in tuple(self.gateway.service.exchanges):
                await exchange.over.wait()
        await self.gateway.service.purse.do(lambda: None)
        balance = self.balance()
        assert balance.held == balance.uncertain == Money(0)
        return balance.spent


@asynccontextmanager
async def between(
    folder: Path, book: Book, script: Script, *, cap: str = "5.00", **policy: Any
) -> AsyncIterator[Between]:
    """A gateway for all families in front of the simulator."""
    home = Home(folder / "home")
    home.make()
    ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    try:
        async with (
            Simulator(script, book=book, keys=frozenset({PROVIDER_KEY})) as simulator,
            Gateway(
                home=home,
                ledger=ledger,
                book=book,
                endpoints=endpoints(simulator.url),
                policy=Policy(**{"backoff_s": 0.01, **policy}),
                clock=lambda: datetime.now(UTC),
            ) as gateway,
        ):
            seen = Seen()
            gateway.service.watchers.append(seen)
            yield Between(gateway=gateway, simulator=simulator, ledger=ledger, seen=seen, key=add_key(ledger, cap))
    finally:
        ledger.close()
