"""Values that are made quickly are the same values."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from inspect import Parameter, signature

import pytest

from crewcap.core.quick import quickly_made


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """As the standard library makes it."""

    name: str
    size: int = 3
    parts: list[str] = field(default_factory=list)
    hidden: str = field(default="", repr=False, compare=False)


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The same, made quickly."""

    name: str
    size: int = 3
    parts: list[str] = field(default_factory=list)
    hidden: str = field(default="", repr=False, compare=False)


def test_it_has_the_fields_that_were_said_and_the_defaults_of_those_that_were_not() -> None:
    plain, quick = Plain(name="a", size=5), Quick(name="a", size=5)
    assert [getattr(quick, each.name) for each in fields(Quick)] == [
        getattr(plain, each.name) for each in fields(Plain)
    ]
    assert repr(quick) == repr(plain).replace("Plain", "Quick")


def test_a_default_that_is_made_is_made_for_each() -> None:
    one, other = Quick(name="a"), Quick(name="a")
    one.parts.append("x")
    assert other.parts == []


def test_it_stays_frozen_equal_and_replaceable_and_can_be_sent_to_another_process() -> None:
    quick = Quick(name="a", hidden="h")
    with pytest.raises(FrozenInstanceError):
        quick.name = "b"  # type: ignore[misc]  # that is what is tried
    assert quick == Quick(name="a", hidden="other")
    assert replace(quick, size=7) == Quick(name="a", size=7)
    assert pickle.loads(pickle.dumps(quick)) == quick


def test_it_asks_for_the_same_arguments() -> None:
    def asked(made: type) -> list[tuple[str, object, bool]]:
        found = signature(made).parameters.values()
        return [(each.name, each.kind, each.default is Parameter.empty) for each in found]

    assert asked(Quick) == asked(Plain)


def test_a_field_that_is_missing_or_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="name"):
        Quick()  # type: ignore[call-arg]  # that is what is tried
    with pytest.raises(TypeError, match="colour"):
        Quick(name="a", colour="red")  # type: ignore[call-arg]  # that is what is tried


def test_what_is_made_in_another_way_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class ByPlace:
        name: str

    with pytest.raises(TypeError, match="ByPlace"):
        quickly_made(ByPlace)
