"""A strict reader of the Prometheus text format 0.0.4, written from its published grammar.

It refuses what a scraper would refuse, and what the format's authors ask writers to keep to: a family's HELP and TYPE
before its samples, all lines of a family together, no series twice, buckets that add up and end in `+Inf`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\n|\\")*)"(,|\Z)')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)\Z")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+|Inf)|NaN")
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\"": '"'}
_KINDS = ("histogram", "counter", "gauge")
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",), "": ()}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Family:
    """One metric with its series."""

    name: str
    kind: str = ""
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def scrape(page: bytes) -> dict[str, Family]:
    """Every family by name; an AssertionError says which line is wrong."""
    text = page.decode("utf-8")
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    current = Family("")
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            name, _, said = line.removeprefix("# HELP ").partition(" ")
            assert re.fullmatch(_NAME, name), line
            assert name not in families, f"{name} begins twice"
            assert said
            current = families[name] = Family(name)
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name == current.name, line
            assert kind in _KINDS, line
            assert not current.kind
            assert not current.samples, line
            current.kind = kind
        else:
            _take(current, line)
    for family in families.values():
        if family.kind == "histogram":
            _check_buckets(family)
    return families


def value(families: dict[str, Family], name: str, **labels: str) -> float:
    """One series' value; 0 where there is none."""
    found = [family for family in families.values() if name.startswith(family.name)]
    wanted = tuple(sorted(labels.items()))
    return next((number for family in found for key, number in family.samples.items() if key == (name, wanted)), 0.0)


def total(families: dict[str, Family], name: str, **labels: str) -> float:
    """The sum of all series with these labels among theirs."""
    return sum(number for (_, said), number in families[name].samples.items() if set(labels.items()) <= set(said))


def _take(family: Family, line: str) -> None:
    match = _SAMPLE.fullmatch(line)
    assert match, f"not a sample: {line!r}"
    name, inside, number = match.groups()
    assert name in {family.name + suffix for suffix in _SUFFIXES[family.kind]}, f"{line!r} is not of {family.name}"
    assert _NUMBER.fullmatch(number), line
    key = (name, _labels(inside, line))
    assert key not in family.samples, f"twice: {line!r}"
    family.samples[key] = float(number)
    assert family.kind != "counter" or float(number) >= 0


def _labels(inside: str | None, line: str) -> Labels:
    found: dict[str, str] = {}
    rest = inside or ""
    assert inside is None or inside, line
    while rest:
        match = _LABEL.match(rest)
        assert match, f"not a label: {rest!r}"
        name, said, more = match.groups()
        assert name not in found, line
        found[name] = re.sub(r'\\[\\n"]', lambda each: _ESCAPES[each[0]], said)
        rest = rest[match.end() :]
        assert not more or rest, line
    return tuple(sorted(found.items()))


def _check_buckets(family: Family) -> None:
    series: dict[Labels, list[tuple[float, float]]] = {}
    for (name, labels), number in family.samples.items():
        if name.endswith("_bucket"):
            said = dict(labels)
            bound = float(said.pop("le"))
            series.setdefault(tuple(sorted(said.items())), []).append((bound, number))
    for labels, buckets in series.items():
        assert buckets == sorted(buckets), family.name
        assert [count for _, count in buckets] == sorted(count for _, count in buckets), family.name
        assert buckets[-1][0] == float("inf")
        assert buckets[-1][1] == family.samples[f"{family.name}_count", labels]
        assert (f"{family.name}_sum", labels) in family.samples
