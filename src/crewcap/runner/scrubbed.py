"""A value of a run without secrets: its texts, and those of the values inside it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from crewcap.core.scrub import Scrubber

Value = TypeVar("Value")


def scrubbed(value: Value, scrubber: Scrubber) -> Value:
    """The same value, every text in it filtered; what holds none is handed back as it is."""
    found: Any = value
    if isinstance(found, str) and not isinstance(found, Enum):
        return scrubber.text(found)  # type: ignore[return-value]  # a text for a text
    if isinstance(found, tuple):
        return tuple(scrubbed(each, scrubber) for each in found)  # type: ignore[return-value]  # a tuple for a tuple
    if is_dataclass(found) and not isinstance(found, type):
        before = {each.name: getattr(found, each.name) for each in fields(found)}
        after = {name: scrubbed(each, scrubber) for name, each in before.items()}
        changed = {name: each for name, each in after.items() if each is not before[name] and each != before[name]}
        found = replace(found, **changed) if changed else found
    return found  # type: ignore[no-any-return]  # what came in
