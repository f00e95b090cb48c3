"""How many tokens a request is billed for: a deterministic tokenizer that obeys the law of MONEY 9.

The law: tokens of the input are at most the bytes of the request plus a fixed pad. Here a token is
`bytes_per_token` UTF-8 bytes of what a block says, rounded up for each block. `spelled` counts the bytes of a JSON
value without most of its punctuation, so that it can never exceed what was sent, however the sender spelled it:

    string      its UTF-8 bytes (an escape is never shorter than what it stands for)
    object      its keys and values, and 2 for each pair (two quotes, a colon and a comma or brace were sent)
    list        its items, and 1 for each (a comma or a bracket was sent)
    number      its digits as sent (floats are kept as text by the parser for that reason)

Fixed parts stay well inside the pads that a bound must add (MONEY 2.2): 8 for any request, 346 with tools, 700 for
each tool that the provider defines itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REQUEST_TOKENS = 8
MESSAGE_TOKENS = 3
TOOLS_TOKENS = 346
VENDOR_TOOL_TOKENS = 700
IMAGE_TOKENS = 1_600
REMOTE_DOCUMENT_TOKENS = 20_000


def spelled(value: Any) -> int:
    """Bytes that a JSON value says; never more than were sent for it."""
    match value:
        case str():
            return len(value.encode("utf-8", "surrogatepass"))
        case Mapping():
            return sum(spelled(key) + spelled(item) + 2 for key, item in value.items())
        case list():
            return sum(spelled(item) + 1 for item in value)
        case bool() | None:
            return 4
        case _:
            return len(str(value))


def tokens_of_bytes(size_bytes: int, *, bytes_per_token: int = 4) -> int:
    """Round bytes up to tokens."""
    return -(-size_bytes // bytes_per_token)


def tokens_of_block(block: Any, *, bytes_per_token: int = 4) -> int:
    """Tokens of one content block, with the pictures and documents inside it."""
    if not isinstance(block, Mapping):
        return tokens_of_bytes(spelled(block), bytes_per_token=bytes_per_token)
    if block.get("type") == "image":
        return IMAGE_TOKENS
    if block.get("type") == "document" and _is_elsewhere(block):
        return REMOTE_DOCUMENT_TOKENS
    inner = block.get("content")
    if block.get("type") == "tool_result" and isinstance(inner, list):
        own = {key: value for key, value in block.items() if key != "content"}
        return tokens_of_block({**own, "type": "result"}, bytes_per_token=bytes_per_token) + sum(
            tokens_of_block(item, bytes_per_token=bytes_per_token) for item in inner
        )
    return tokens_of_bytes(spelled(block), bytes_per_token=bytes_per_token)


def tokens_of_tool(tool: Any, *, is_own: bool, bytes_per_token: int = 4) -> int:
    """Tokens of one tool definition; the provider's own ones (`bash_20250124`) bring hidden text."""
    return tokens_of_bytes(spelled(tool), bytes_per_token=bytes_per_token) + (VENDOR_TOOL_TOKENS if is_own else 0)


def _is_elsewhere(block: Mapping[str, Any]) -> bool:
    """A document that is named in the request, not carried by it."""
    source = block.get("source")
    return isinstance(source, Mapping) and source.get("type") in {"url", "file"}
