"""Versions of toolchains: what a project's file means by `20`, `lts/*`, `^18 || >=20`, `~=3.11`, `stable`. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

Numbers = tuple[int, ...]

# Even majors of Node are long-term releases; `lts/NAME` says which. Names are given once and for all.
_LTS_NAMES = (
    "argon",
    "boron",
    "carbon",
    "dubnium",
    "erbium",
    "fermium",
    "gallium",
    "hydrogen",
    "iron",
    "jod",
    "krypton",
)
_NODE_LTS = dict(zip(_LTS_NAMES, range(4, 26, 2), strict=True))
_PLAIN = re.compile(r"v?(\d+(?:\.\d+)*)(?:\.[xX*])*")
_COMPARISON = re.compile(r"(===|==|~=|!=|>=|<=|>|<|=|\^|~>|~)?\s*v?(\d+(?:\.\d+)*)((?:\.[xX*])*)[-+.\w]*")


@dataclass(frozen=True, slots=True)
class Spec:
    """What is wanted of a version: alternatives of conditions that all have to hold; none at all = any version."""

    text: str
    alternatives: tuple[tuple[tuple[str, Numbers], ...], ...] = ((),)
    name: str = ""  # a version that is a name: `stable`, `pypy3.10`, `temurin-21`

    @property
    def is_pinned(self) -> bool:
        """Whether it names one line of versions rather than a range."""
        return bool(self.name) or (len(self.alternatives) == 1 and any(sign == "=" for sign, _ in self.alternatives[0]))

    @property
    def line(self) -> Numbers:
        """The numbers of a pinned version; empty = there is none."""
        return next((numbers for sign, numbers in self.alternatives[0] if sign == "="), ()) if self.is_pinned else ()

    def admits(self, version: str, *, name: str = "") -> bool:
        """Whether an installed version will do; `name` is what its folder is called."""
        if self.name:
            return self.name in {name, version} or name.startswith(f"{self.name}-")
        numbers = numbers_of(version)
        return bool(numbers) and any(all(_holds(numbers, *one) for one in group) for group in self.alternatives)


def numbers_of(version: str) -> Numbers:
    """`v20.11.1` -> (20, 11, 1)."""
    plain = _PLAIN.match(version.strip())
    return tuple(int(part) for part in plain[1].split(".")) if plain else ()


def pin(text: str) -> Spec | None:
    """A version as version files name it: as much of it as is written has to fit; None = anything will do."""
    word = re.sub(r"^(?:python-?|cpython-|node[-/]|go(?=\d))", "", text.strip())
    if word.lower() in {"", "system", "latest", "node", "current", "any", "*"}:
        return None
    if found := _PLAIN.fullmatch(word):
        return Spec(found[1], ((("=", _split(found[1])),),))
    if re.fullmatch(r"\d+\.\d+\.\d+[-+].*", word):  # a build or an architecture after it: cpython-3.12.1-linux
        return Spec(word, ((("=", numbers_of(word)),),))
    return conditions(word) if word[0] in "<>=~^!" else Spec(word, name=word)


def node_version(text: str) -> Spec | None:
    """A line of `.nvmrc`."""
    word = text.strip().lower()
    if word == "stable":
        return None
    if word in {"lts", "lts/*", "lts/-0"}:
        return Spec("lts", tuple((("=", (major,)),) for major in range(40, 2, -2)))
    if word.startswith("lts/"):
        major = _NODE_LTS.get(word.removeprefix("lts/"))
        return Spec(word, ((("=", (major,)),),)) if major else Spec(word, name=word)
    return pin(word)


def conditions(text: str) -> Spec | None:
    """A range, as npm, PEP 440 and Poetry write them; None = no condition at all."""
    groups = tuple(tuple(_group(part)) for part in text.split("||"))
    return None if any(not group for group in groups) else Spec(" ".join(text.split()), groups)


def at_least(text: str) -> Spec | None:
    """The oldest version that will do, as `go.mod` says it."""
    numbers = numbers_of(text)
    return Spec(f">={text}", (((">=", numbers),),)) if numbers else None


def _group(text: str) -> Iterator[tuple[str, Numbers]]:
    text = text.strip()
    if hyphen := re.fullmatch(r"v?([\d.]+)\s+-\s+v?([\d.]+)", text):
        yield ">=", _split(hyphen[1])
        yield "<=", _split(hyphen[2])
        return
    for sign, number, wild in _COMPARISON.findall(text):
        yield from _condition(sign, _split(number), is_wild=bool(wild))


def _condition(sign: str, numbers: Numbers, *, is_wild: bool) -> Iterator[tuple[str, Numbers]]:
    if sign in {">=", "<=", ">", "<"}:
        yield sign, numbers
    elif sign == "!=":
        yield ("!" if is_wild else "!="), numbers
    elif sign == "^":
        place = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
        yield ">=", numbers
        yield "<", (*numbers[:place], numbers[place] + 1)
    elif sign in {"~=", "~>", "~"}:
        kept = max(1, len(numbers) - 1) if sign != "~" else min(2, len(numbers))
        yield ">=", numbers
        yield "=", numbers[:kept]
    else:
        yield "=", numbers


def _holds(version: Numbers, sign: str, wanted: Numbers) -> bool:
    cut, padded = version[: len(wanted)], version + (0,) * (len(wanted) - len(version))
    return {
        "=": cut == wanted,
        "!": cut != wanted,
        "!=": version != wanted,
        ">=": padded >= wanted,
        "<=": padded <= wanted or cut == wanted,
        ">": padded > wanted and cut != wanted,
        "<": padded < wanted and cut != wanted,
    }[sign]


def _split(number: str) -> Numbers:
    return tuple(int(part) for part in number.split("."))
