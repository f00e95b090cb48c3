"""What crewcap knows of OpenAI's two APIs, as data: everything a body may hold whose cost is understood.

Members of these lists come from the vendor's own client library (openai-python 3.54, November 2026) and from what
Codex 0.169, opencode 1.18 and Qwen Code 0.15 were seen to send. What is on no list is refused on capped keys, with
the settings line that lets it pass; unknown keys inside a known member pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from crewcap.wire import Tier

IfAllowed = Literal["unbounded", "window", "twice", "nothing"]
"""What an allowed member does to the hold; what is `unbounded` stays refused on capped keys."""


class Costly(NamedTuple):
    """A member that moves the cost beyond what the body and its output limit bound."""

    why: str
    if_allowed: IfAllowed
    piece: str = ""  # the fee that it causes
    name: str = ""  # what `[gateway] allow` calls it, where that is not its own name


_SHARED_FIELDS = frozenset(
    {
        "metadata",
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",  # how long a cache is kept at most; costs nothing
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
    }
)

RESPONSES_FIELDS = _SHARED_FIELDS | {
    "client_metadata",  # Codex: who asks, for the provider's records
    "image",  # how images are made smaller; never larger
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "reasoning",
    "text",
    "truncation",
}

CHAT_FIELDS = _SHARED_FIELDS | {
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "modalities",
    "n",
    "prediction",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "verbosity",
}

_ELSEWHERE = "brings input that is not in the body"
_MODERATION = Costly("has the provider run another model, whose price is not known", "nothing")

COSTLY_RESPONSES_FIELDS: Mapping[str, Costly] = {
    "access_programs": Costly("chooses a programme whose prices are not known", "nothing"),
    "background": Costly("has the answer made after this request, where no meter reads it", "unbounded"),
    "background_options": Costly("has the answer made after this request, where no meter reads it", "unbounded"),
    "context_management": Costly("has the provider summarise the conversation", "twice", name="compaction"),
    "conversation": Costly(_ELSEWHERE, "window"),
    "moderation": _MODERATION,
    "previous_response_id": Costly(_ELSEWHERE, "window"),
    "prompt": Costly(_ELSEWHERE, "window"),
}

COSTLY_CHAT_FIELDS: Mapping[str, Costly] = {
    "audio": Costly("has the model speak, at a price of its own", "unbounded", "output_audio_token"),
    "moderation": _MODERATION,
    "web_search_options": Costly("searches the web at a fee and without a limit", "unbounded", "web_search_preview"),
}

COUNT_FIELDS = frozenset(
    {
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""What the count call of the Responses API takes."""

NOT_IN_THE_PROMPT = frozenset(
    {
        "background",
        "client_metadata",
        "include",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "top_logprobs",
        "top_p",
        "user",
    }
)
"""Fields that bring no prompt tokens. Whatever is neither here nor above may, and the count call would not see it."""

Item = Literal["message", "text", "output", "screenshot", "tools", "settings", "window"]

ITEMS: Mapping[str, Item] = {
    "message": "message",
    "agent_message": "message",  # between Codex's agents, some of it encrypted
    "apply_patch_call": "text",
    "computer_call": "text",
    "custom_tool_call": "text",
    "function_call": "text",
    "local_shell_call": "text",
    "mcp_approval_request": "text",
    "mcp_approval_response": "text",
    "reasoning": "text",  # encrypted, it is longer than what it stands for
    "shell_call": "text",
    "shell_call_output": "text",  # what a command wrote, without blocks
    "tool_search_call": "text",
    "apply_patch_call_output": "output",
    "custom_tool_call_output": "output",
    "function_call_output": "output",
    "local_shell_call_output": "output",
    "computer_call_output": "screenshot",
    "additional_tools": "tools",
    "tool_search_output": "tools",
    "configuration_update": "settings",
    # what an earlier request left behind on the provider's side: its size is not the body's
    "code_interpreter_call": "window",
    "compaction": "window",
    "file_search_call": "window",
    "image_generation_call": "window",
    "mcp_call": "window",
    "mcp_list_tools": "window",
    "program": "window",
    "program_output": "window",
    "web_search_call": "window",
}

COSTLY_ITEMS: Mapping[str, Costly] = {
    "compaction_trigger": Costly("has the provider summarise the conversation", "twice", name="compaction"),
    "item_reference": Costly(_ELSEWHERE, "window"),
}

Part = Literal["text", "image"]

RESPONSES_PARTS: Mapping[str, Part] = {
    "computer_screenshot": "image",
    "encrypted_content": "text",
    "input_image": "image",
    "input_text": "text",
    "output_text": "text",
    "reasoning_text": "text",
    "refusal": "text",
    "summary_text": "text",
    "text": "text",
}

CHAT_PARTS: Mapping[str, Part] = {"image_url": "image", "refusal": "text", "text": "text"}

_AUDIO = Costly("is sound, which has a price of its own", "unbounded", "input_audio_token")

COSTLY_RESPONSES_PARTS: Mapping[str, Costly] = {
    "input_audio": _AUDIO,
    "input_file": Costly("is read by the provider, which may make more of it than its bytes", "window"),
}

COSTLY_CHAT_PARTS: Mapping[str, Costly] = {
    "file": Costly("is read by the provider, which may make more of it than its bytes", "window", name="input_file"),
    "input_audio": _AUDIO,
}

PLAIN_TOOLS = frozenset({"custom", "function"})
"""Tools that the client runs and whose whole definition is in the body."""

CLIENT_TOOLS = frozenset({"apply_patch", "local_shell"})
"""Vendor-typed tools that the client runs: the provider adds their definition to the prompt, and nothing more."""

COMPUTER_TOOL = re.compile(r"computer(?:_use(?:_preview)?)?(?:_\d{4}_\d{2}_\d{2})?\Z")
"""Run by the client as well; what the provider puts into the prompt for them is not known so well."""

HOSTED_TOOL = re.compile(
    r"(?P<family>code_interpreter|file_search|image_generation|mcp|programmatic_tool_calling|shell|tool_search"
    r"|web_search|web_search_preview)(?:_\d{4}_\d{2}_\d{2})?\Z"
)
"""Vendor-typed tools that the provider runs, sampling the model again after each use, whatever their version."""

PRICED_HOSTED_TOOLS: Mapping[str, str] = {"file_search": "storage_search", "web_search": "web_search"}
"""Hosted tools that `max_tool_calls` bounds, and the fee that each call costs."""

UNBOUNDED_HOSTED_TOOLS: Mapping[str, tuple[str, str]] = {
    "code_interpreter": ("runs code in a container that is billed by the session", "code_interpreter"),
    "image_generation": ("runs a model of its own, whose tokens are billed apart", "image_generation"),
    "mcp": ("has the provider call tools, and run the model again after each call, without a limit", ""),
    "programmatic_tool_calling": ("has the provider run a program that calls tools, without a limit", ""),
    "shell": ("runs commands in a container that is billed by the session", "code_interpreter"),
    "tool_search": ("has the provider search tools, and run the model again after each search, without a limit", ""),
    "web_search_preview": ("searches the web at a fee that differs from model to model", "web_search_preview"),
}
"""Hosted tools that have no bound, why, and the fee that they cause."""

FEES_OF_ITEMS: Mapping[str, str] = {
    "code_interpreter_call": "code_interpreter",
    "file_search_call": "storage_search",
    "image_generation_call": "image_generation",
    "web_search_call": "web_search",
}
"""Items of an answer that cost a fee each; a web search only where it searched, and did not open a page."""

SEARCHING_MODEL = re.compile(r"-search-(?:api|preview)(?:\Z|-)")
"""Models that search the web in every request, at a fee that no answer tells."""

LIFETIMES = frozenset({"30m", "12h"})
"""How long a cache write lives: the first is the price list's 5-minute write, the second its 1-hour write."""

SERVED_AS: Mapping[Tier, tuple[str, ...]] = {
    "default": ("standard",),
    "flex": ("standard", "flex"),
    "priority": ("priority", "standard"),
}
"""The tiers that a request for a tier may be billed at, the dearest first, in the price book's words."""

TIER_WORDS: Mapping[str, str] = {"default": "standard", "fast": "priority", "on_demand": "standard"}
"""The answer's words for tiers that the price book calls otherwise."""
