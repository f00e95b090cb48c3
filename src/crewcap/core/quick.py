"""Values that are made often, made quickly.

The `__init__` that a frozen dataclass is given looks every field up by its name, to set it past its own lock: 0.2
microseconds each. A request through the gateway makes some forty values of three hundred fields. The one written here
hands each field to its slot, which takes a quarter of that. Whatever else a dataclass is stays as it was: the value is
as frozen, equal, hashed and shown as before.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")

_UNSAID = object()


def quickly_made(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots, whose fields are all said by name, that is made four times as quickly."""
    known: tuple[Field[Any], ...] = fields(cls)  # type: ignore[arg-type]  # it is a dataclass
    if any(not (each.kw_only and each.init) for each in known) or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} is made in another way than by the names of its fields")
    lines = (f"    set_{each.name}(self, {_given(each)})" for each in known)
    names = {f"set_{each.name}": cls.__dict__[each.name].__set__ for each in known}
    names |= {f"make_{each.name}": each.default_factory for each in known}
    names |= {f"default_{each.name}": each.default for each in known}
    source = f"def __init__(self, *, {', '.join(map(_parameter, known))}):\n" + "\n".join(lines)
    names["unsaid"] = _UNSAID
    exec(source, names)  # noqa: S102  (as the standard library does it; nothing is in there but the names of fields)
    made = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = made  # type: ignore[method-assign]  # which is the point
    return cls


def _parameter(each: Field[Any]) -> str:
    if each.default is not MISSING:
        return f"{each.name}=default_{each.name}"
    return each.name if each.default_factory is MISSING else f"{each.name}=unsaid"


def _given(each: Field[Any]) -> str:
    name = each.name
    return name if each.default_factory is MISSING else f"make_{name}() if {name} is unsaid else {name}"
