"""What a request's prompt is made of, by the letters of each part: made after its answer, never on its way.

Parts are told apart by the shape of each dialect. What was read from files is told by the name of the tool that was
called; a tool of another name counts among all other results. Letters are those of texts and of JSON, which is near
enough for shares; an image or a document counts as so many letters as its tokens usually are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from crewcap.core.makeup import PARTS, Makeup

IMAGE_LETTERS = 6_000  # about 1,600 tokens
READERS = frozenset(
    {
        "read", "readfile", "read_file", "read_many_files", "readmanyfiles", "view", "view_file", "open_file", "cat",
        "notebookread", "read_notebook", "get_file_contents", "fs_read", "readtextfile", "read_text_file",
    }
)  # fmt: skip
"""Tools that read files, as the supported agents and the usual servers call them, in small letters."""

Pieces = Iterator[tuple[str, int]]


def of_request(dialect: str, body: bytes) -> Makeup:
    """The letters of each part of a body that was read strictly before; nothing where it has another shape."""
    try:
        fields = _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return Makeup()
    read = _READS.get(dialect)
    found = dict.fromkeys(PARTS, 0)
    if read is not None and isinstance(fields, dict):
        for part, letters in read(fields):
            found[part] += letters
    return Makeup(**found)


_DECODER = msgspec.json.Decoder()


def _anthropic(fields: Mapping[str, Any]) -> Pieces:
    yield "tools", _letters(fields.get("tools"))
    yield "instructions", _letters(fields.get("system"))
    readers: dict[str, bool] = {}
    for message in _dicts(fields.get("messages")):
        is_model = message.get("role") == "assistant"
        content = message.get("content")
        if isinstance(content, str):
            yield "history" if is_model else "prompts", len(content)
        for block in _dicts(content):
            kind = block.get("type")
            if kind == "tool_use":
                readers[str(block.get("id"))] = _reads(block.get("name"))
            if kind == "tool_result":
                yield _result(readers.get(str(block.get("tool_use_id")), False)), _letters(block.get("content"))
            elif is_model:
                yield "history", _letters(block)
            else:
                yield "prompts" if kind == "text" else "files", _letters(block)


def _openai(fields: Mapping[str, Any]) -> Pieces:
    """A chat has messages, a response has items; a conversation that is kept elsewhere cannot be seen."""
    yield "tools", _letters(fields.get("tools")) + _letters(fields.get("functions"))
    yield "instructions", _letters(fields.get("instructions"))
    if isinstance(fields.get("input"), str):
        yield "prompts", len(fields["input"])
    readers: dict[str, bool] = {}
    for item in (*_dicts(fields.get("messages")), *_dicts(fields.get("input"))):
        for call in _dicts(item.get("tool_calls")):
            function = call.get("function")
            readers[str(call.get("id"))] = _reads(function.get("name") if isinstance(function, dict) else None)
        if item.get("type") == "function_call":
            readers[str(item.get("call_id"))] = _reads(item.get("name"))
        yield _openai_part(item, readers), _letters(item)


def _openai_part(item: Mapping[str, Any], readers: Mapping[str, bool]) -> str:
    role, kind = item.get("role"), str(item.get("type", ""))
    if role == "tool" or kind.endswith("_output"):
        return _result(readers.get(str(item.get("tool_call_id", item.get("call_id"))), False))
    if role in {"system", "developer"}:
        return "instructions"
    return "prompts" if role == "user" else "history"


def _gemini(fields: Mapping[str, Any]) -> Pieces:
    yield "tools", _letters(fields.get("tools"))
    yield "instructions", _letters(fields.get("systemInstruction", fields.get("system_instruction")))
    for content in _dicts(fields.get("contents")):
        is_model = content.get("role") == "model"
        for part in _dicts(content.get("parts")):
            result = part.get("functionResponse", part.get("function_response"))
            if isinstance(result, dict):
                yield _result(_reads(result.get("name"))), _letters(result.get("response"))
            elif is_model:
                yield "history", _letters(part)
            else:
                yield "prompts" if "text" in part else "files", _letters(part)


_READS = {"anthropic": _anthropic, "openai": _openai, "gemini": _gemini}


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _reads(name: Any) -> bool:
    """Whether a tool of this name reads files; a server's prefix does not matter."""
    return isinstance(name, str) and name.casefold().rpartition("__")[2] in READERS


def _result(is_file: bool) -> str:  # noqa: FBT001  (the one thing that it is asked)
    return "files" if is_file else "results"


_IMAGES = ("image", "input_image", "image_url")  # no set: a body may call anything its type


def _letters(value: Any) -> int:
    """How many letters a value has in all its texts, what it is keyed by included."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        if value.get("type") in _IMAGES or "inlineData" in value:
            return IMAGE_LETTERS
        return sum(len(key) + _letters(each) for key, each in value.items())
    if isinstance(value, list):
        return sum(map(_letters, value))
    return 0 if value is None else 4
