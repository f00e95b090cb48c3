"""JSON that is read without guessing, and edited without touching what was not read.

A request is bounded by what *we* read in it and billed by what the *provider* reads in it, so the two must not be
able to differ. Whatever parsers are known to disagree about is refused here: duplicate keys at any depth, invalid
UTF-8, NaN and Infinity, lone surrogates, nesting beyond 100, anything before or after the one object.

Edits go by the place of a top-level member, never by search: a tool call in the history may hold a field of the
same name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import msgspec

from crewcap.wire import Malformed

MAX_DEPTH = 100


class Document(NamedTuple):
    """A body that was read whole."""

    value: dict[str, Any]
    objects: list[dict[str, Any]]  # every object in it, at any depth, the outermost first


class Member(NamedTuple):
    """One top-level member of an object: where its value stands in the bytes."""

    name: str
    start: int
    end: int


def parse(body: bytes) -> Document:
    """Read a JSON object; `Malformed` says in one sentence why it cannot be read without guessing."""
    value = _decode(body)
    if not isinstance(value, dict):
        raise Malformed("the body is not a JSON object")
    objects = _objects(value)
    if _SURROGATE.search(body):
        _refuse_lone_surrogates(value)
    return Document(value, objects)


def members(body: bytes) -> Iterator[Member]:
    """The top-level members of a body that `parse` has read, in order."""
    try:
        values = _RAW.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed("the body is not a JSON object") from error
    at = 0
    for name, raw in values.items():
        key = _KEY.match(body, at)
        if key is None:
            raise Malformed("the body has duplicate keys")
        at = key.end() + len(memoryview(raw))
        yield Member(name, key.end(), at)
    if not _CLOSE.match(body, at):
        raise Malformed("the body has duplicate keys")


def splice(body: bytes, values: Mapping[str, bytes]) -> bytes:
    """The same bytes with these top-level members replaced, or added at the end; all else as received."""
    parts, at, missing = [], 0, dict(values)
    for member in members(body) if _may_have(body, values) else ():
        if member.name in missing:
            parts += [body[at : member.start], missing.pop(member.name)]
            at = member.end
    if missing:
        close = body.rindex(b"}")
        added = b",".join(json.dumps(name).encode() + b":" + value for name, value in missing.items())
        parts += [body[at:close], b"" if _EMPTY.match(body) else b",", added]
        at = close
    return b"".join([*parts, body[at:]])


def pick(body: bytes, names: frozenset[str]) -> bytes:
    """A body with only these top-level members, each value as received."""
    kept = (member for member in members(body) if member.name in names)
    return b"{" + b",".join(json.dumps(m.name).encode() + b":" + body[m.start : m.end] for m in kept) + b"}"


def _may_have(body: bytes, names: Iterable[str]) -> bool:
    """Whether one of these may be a member of it: a name stands there as it is, or by its letters' numbers."""
    return b"\\u" in body or any(b'"%b"' % name.encode() in body for name in names)


_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEY = re.compile(rb'[\s,{]*"[^"\\]*(?:\\.[^"\\]*)*"\s*:\s*', re.DOTALL)
_CLOSE = re.compile(rb"\s*(?:\{\s*)?\}\s*\Z")
_EMPTY = re.compile(rb"\s*\{\s*\}\s*\Z")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _decode(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON ({error.msg}, line {error.lineno} column {error.colno})") from None
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    except Malformed:
        raise
    except ValueError:
        raise Malformed("the body holds a number with too many digits") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"the key {twice[:80]!a} stands twice in one object, and readers differ on which one counts")
    return value


def _constant(text: str) -> NoReturn:
    raise Malformed(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_TOO_DEEP = f"the body is nested deeper than {MAX_DEPTH} levels"


def _objects(root: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object, level by level; too many levels are refused."""
    found: list[dict[str, Any]] = []
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH):
        dicts = [node for node in level if type(node) is dict]
        lists = [node for node in level if type(node) is list]
        found += dicts
        level = [value for node in dicts for value in node.values() if type(value) is dict or type(value) is list]
        level += [value for node in lists for value in node if type(value) is dict or type(value) is list]
        if not level:
            return found
    raise Malformed(_TOO_DEEP)


def _refuse_lone_surrogates(value: dict[str, Any]) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Malformed("the body holds a lone surrogate (half of a \\u pair)") from None
