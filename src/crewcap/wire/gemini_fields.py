"""Fields of the Gemini API by one name each, whichever of their two spellings a client sent.

The provider reads `maxOutputTokens` and `max_output_tokens` as one field. A body that holds both has no meaning that
all readers share, and neither has one that spells a known field in a third way: the provider may ignore it or not.
Both are malformed, as a key that stands twice is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from crewcap.wire import Malformed
from crewcap.wire.refusals import quoted


def named(value: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The same members, those of known names under the first of their spellings."""
    found: dict[str, Any] = {}
    for key, member in value.items():
        name = name_of(key, known)
        if name in found:
            raise Malformed(f"the field {quoted(name)} stands twice, in both of its spellings")
        found[name] = member
    return found


def name_of(key: str, known: frozenset[str]) -> str:
    """The first spelling of a known field's name; an unknown key is its own name."""
    name = _folded(known).get(_fold(key))
    if name is None:
        return key
    if key not in (name, _snake(name)):
        raise Malformed(f"the field {quoted(name)} is spelled {quoted(key)}, and readers differ on such a name")
    return name


def objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects; where the API takes a list, it takes one object that stands alone as well."""
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Malformed(f"{where} is not a list of objects")
    return items


@cache
def _folded(known: frozenset[str]) -> dict[str, str]:
    return {_fold(name): name for name in known}


def _fold(key: str) -> str:
    return key.replace("_", "").lower()


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
