"""What the reading of a request finds beside its size, and members of the right kind or `Malformed`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from crewcap.wire import Malformed, refusals

MOST_TOKENS = 10_000_000  # more than any model has; larger numbers are typing errors or mischief


@dataclass(slots=True)
class Findings:
    """Refusals and notes of one request, in the order in which they were found."""

    allow: frozenset[str] = frozenset()  # what the settings let capped keys use besides
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def allows(self, *names: str) -> bool:
        """Whether the settings name one of these."""
        return not self.allow.isdisjoint(names)

    def refuse(self, what: str, why: str, name: str) -> None:
        """Not for capped keys, until the settings say so."""
        self.refusals.append(refusals.may_be_allowed(what, why, name))

    def never(self, what: str, why: str) -> None:
        """Not for capped keys at all."""
        self.refusals.append(refusals.has_no_hold(what, why))


def text(fields: Mapping[str, Any], name: str) -> str:
    """A member that must be there and be a name."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name} is {'not a name' if name in fields else 'missing'}")
    return value


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """A member that is true, false, or not said."""
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise Malformed(f"{name} is neither true nor false")
    return value is True


def whole(fields: Mapping[str, Any], name: str, *, least: int = 0, most: int = MOST_TOKENS) -> int | None:
    """A member that is a whole number within bounds; None where it is not said."""
    value = fields.get(name)
    if value is None:
        return None
    if not is_whole(value, least=least, most=most):
        raise Malformed(f"{name} is not a whole number from {least:,} to {most:,}")
    return value


def is_whole(value: object, *, least: int = 0, most: int = MOST_TOKENS) -> TypeGuard[int]:
    """Whether a value is a whole number within bounds; true and false are none."""
    return type(value) is int and least <= value <= most


def object_or_none(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A member that is an object, or not said."""
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"{name} is not an object")
    return value


def objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Malformed(f"{where} is not a list of objects")
    return value


def size(value: Any) -> int:
    """Bytes of a part of a body, written as widely as JSON writes it."""
    return len(json.dumps(value))
