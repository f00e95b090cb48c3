"""The Prometheus text format, version 0.0.4: families of numbers, written so that any scraper reads them.

    # HELP name What it counts, on one line.
    # TYPE name counter
    name{label="value"} 7

A family is written whole, its labels always in the same order, its values as exact integers where they are such. A
label takes whatever it is given up to a number of different values; what comes after that is counted as `other`, so
that nobody can make a gateway remember, or a scraper store, without end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
MOST_SERIES = 1_000  # of one family
LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]
Sample = tuple[Labels, float]


@dataclass(slots=True)
class Counter:
    """A number for each set of labels, which only rises."""

    name: str
    help: str
    labels: Labels = ()
    _values: dict[Labels, int] = field(default_factory=dict)

    def add(self, *labels: str, by: int = 1) -> None:
        """Count; the labels in the family's order."""
        values = self._values
        if labels not in values and len(values) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        values[labels] = values.get(labels, 0) + by

    def lines(self) -> Iterator[str]:
        """The family as text."""
        return family(self.name, "counter", self.help, self.labels, self._values.items())


@dataclass(slots=True)
class Histogram:
    """How long things took."""

    name: str
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = LATENCIES_S
    _seen: dict[Labels, list[int]] = field(default_factory=dict)  # one slot for each bound and one for what is above
    _sums: dict[Labels, float] = field(default_factory=dict)

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one; a clock that stood still is 0, never less."""
        if labels not in self._seen and len(self._seen) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        slots = self._seen.setdefault(labels, [0] * (len(self.bounds) + 1))
        slots[bisect_left(self.bounds, seconds)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + max(0.0, seconds)

    def lines(self) -> Iterator[str]:
        """The family as text: buckets that add up, the sum and the count."""
        yield from _head(self.name, "histogram", self.help)
        for labels, slots in tuple(self._seen.items()):
            said, so_far = dict(zip(self.labels, labels, strict=True)), 0
            for bound, count in zip((*(_number(each) for each in self.bounds), "+Inf"), tuple(slots), strict=True):
                so_far += count
                yield f"{self.name}_bucket{_braces({**said, 'le': bound})} {so_far}"
            yield f"{self.name}_sum{_braces(said)} {_number(self._sums.get(labels, 0.0))}"
            yield f"{self.name}_count{_braces(said)} {so_far}"


def family(name: str, kind: Kind, help_: str, labels: Labels, samples: Iterable[Sample]) -> Iterator[str]:
    """A family of plain numbers as text."""
    yield from _head(name, kind, help_)
    for values, number in tuple(samples):
        yield f"{name}{_braces(dict(zip(labels, values, strict=True)))} {_number(number)}"


def text(lines: Iterable[str]) -> bytes:
    """Lines as they are sent."""
    return "".join(f"{line}\n" for line in lines).encode()


def _head(name: str, kind: Kind, help_: str) -> Iterator[str]:
    yield f"# HELP {name} {help_.replace(chr(92), chr(92) * 2).replace(chr(10), chr(92) + 'n')}"
    yield f"# TYPE {name} {kind}"


def _braces(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """A label's value; half of a surrogate pair has no UTF-8 and is shown as `?`."""
    plain = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return plain.encode(errors="replace").decode()


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
