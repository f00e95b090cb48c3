"""What crewcap knows of the Messages API, as data: everything a body may hold whose cost is understood.

A member of these lists passes. An unknown top-level field, tool type, content block, source or edit is refused for
capped keys, with the settings line that would let it pass: it may bring input that is not in the body, or run the
model more than once. Unknown keys *inside* a known block pass.

Checked against the vendor's SDK 2.12.0 and against what Claude Code 2.1.330 sends (`tests/wire/recorded`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

FIELDS = frozenset(
    {
        "cache_control",
        "context_management",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)

IfAllowed = Literal["unbounded", "window", "twice", "fallbacks", "nothing"]
"""What an allowed field does to the hold; what is `unbounded` stays refused on capped keys."""


class Costly(NamedTuple):
    """A field that moves the cost beyond what the body and its output limit bound."""

    why: str
    if_allowed: IfAllowed


COSTLY_FIELDS: Mapping[str, Costly] = {
    "billing_policy": Costly("lets someone else be billed, which the ledger cannot follow", "nothing"),
    "compaction": Costly("has the provider summarise the conversation", "twice"),
    "container": Costly("has the provider run code, and the model again after each step", "unbounded"),
    "fallback_credit_token": Costly("changes what the answer is billed at", "nothing"),
    "fallbacks": Costly("may run other models after the first one", "fallbacks"),
    "mcp_servers": Costly("has the provider call tools, and run the model again after each call", "unbounded"),
    "safeguards": Costly("has the provider run a classifier whose price is not known", "twice"),
    "thread": Costly("brings input that is not in the body", "window"),
}

COUNT_FIELDS = frozenset(
    {
        "cache_control",
        "context_management",
        "messages",
        "model",
        "output_config",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
"""What the free count call takes; it answers 400 to anything more."""

NOT_IN_THE_PROMPT = frozenset(
    {
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "metadata",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "temperature",
        "top_k",
        "top_p",
    }
)
"""Fields that bring no prompt tokens. Whatever is neither here nor above may, and the count call would not see it."""

CLIENT_TOOLS = frozenset(
    {
        "bash_20241022",
        "bash_20250124",
        "computer_20241022",
        "computer_20250124",
        "computer_20251124",
        "memory_20250818",
        "text_editor_20241022",
        "text_editor_20250124",
        "text_editor_20250429",
        "text_editor_20250728",
    }
)
"""Vendor-typed tools that the client runs: the provider adds their definition to the prompt, and nothing more."""

SERVER_TOOL = re.compile(
    r"(?P<family>advisor|code_execution|tool_search_tool(?:_bm25|_regex)?|web_fetch|web_search)(?:_\d{8})?\Z"
)
"""Vendor-typed tools that the provider runs, sampling the model again after each use, whatever their version."""

PRICED_SERVER_TOOLS: Mapping[str, str | None] = {"advisor": None, "web_fetch": None, "web_search": "web_search"}
"""Server tools that have a `max_uses`, and the fee that each use costs. The others have no bound at all."""

FREE_PIECES = frozenset({"web_fetch"})
"""Counted in `usage.server_tool_use`, billed by their tokens alone."""

Block = Literal["text", "image", "document", "result", "reference", "addition", "window"]

BLOCKS: Mapping[str, Block] = {
    "text": "text",
    "thinking": "text",
    "redacted_thinking": "text",
    "tool_use": "text",
    "search_result": "document",  # text that may be cut up for citations
    "document": "document",
    "image": "image",
    "tool_result": "result",  # blocks inside
    "tool_reference": "reference",  # shows a tool's definition
    "tool_addition": "addition",  # shows a tool's definition, or brings one
    "tool_removal": "text",
    "fallback": "text",  # a marker that is not shown to the model
    # what an earlier request left behind on the provider's side: its size is not the body's
    "advisor_tool_result": "window",
    "bash_code_execution_tool_result": "window",
    "code_execution_tool_result": "window",
    "compaction": "window",
    "server_tool_use": "window",
    "text_editor_code_execution_tool_result": "window",
    "tool_search_tool_result": "window",
    "web_fetch_tool_result": "window",
    "web_search_tool_result": "window",
}

SOURCES = frozenset({"base64", "content", "file", "text", "url"})

EDITS = frozenset({"clear_thinking_20251015", "clear_tool_uses_20250919"})
"""Edits of the context that only take away."""

COMPACTION = re.compile(r"compact(?:ion)?_\d{8}\Z")
"""An edit that runs the model once more, to summarise what it takes away; `[gateway] allow` calls it compaction."""

LONG_CONTEXT = "context-1m-"
LONG_CONTEXT_NAME = "[1m]"  # at the end of a model's name, where an agent asks for it that way
LONG_CONTEXT_TOKENS = 1_000_000

COSTLY_BETAS: Mapping[str, str] = {"cache-keepalive-": "may write caches that no answer reports"}
"""Betas that move the cost by themselves. Long context is priced (the window grows). Fast mode, compaction, server
tools, fallbacks, threads and inline tools need a member of the body, and are priced or refused there."""

BETAS = frozenset(
    {
        "advanced-tool-use-2025-11-20",
        "afk-mode-2026-01-31",
        "cache-diagnosis-2026-04-07",
        "claude-code-20250219",
        "context-1m-2025-08-07",
        "context-management-2025-06-27",
        "dangerous-tool-use-2026-09-03",
        "effort-2025-11-24",
        "extended-cache-ttl-2025-04-11",
        "fast-mode-2026-02-01",
        "files-api-2025-04-14",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "mid-conversation-output-config-2026-07-01",
        "mid-conversation-system-2026-04-07",
        "mid-conversation-system-clear-at-2026-08-21",
        "mid-conversation-tool-changes-2026-07-01",
        "model-context-window-exceeded-2025-08-26",
        "output-128k-2025-02-19",
        "output-300k-2026-03-24",
        "pdfs-2024-09-25",
        "per-turn-control-2026-07-01",
        "prompt-caching-2024-07-31",
        "prompt-caching-scope-2026-01-05",
        "redact-thinking-2026-02-12",
        "structured-outputs-2025-11-13",
        "structured-outputs-2025-12-15",
        "task-budgets-2026-03-13",
        "thinking-binding-controls-2026-08-01",
        "thinking-display-updates-2026-08-18",
        "thinking-token-count-2026-05-13",
        "token-counting-2024-11-01",
        "token-efficient-tools-2025-02-19",
        "web-search-2025-03-05",
    }
)
"""Betas that are known and free. Others pass too, but are noted, so that a new agent version shows itself."""
