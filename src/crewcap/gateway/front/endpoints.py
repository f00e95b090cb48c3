"""Which provider and which dialect serve a path. What is on no list goes nowhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from crewcap.gateway.provider.upstream import Provider
from crewcap.wire import COUNT_PATHS, Dialect

_MODEL = "{model}"
_MODEL_NAME = r"(?P<model>[A-Za-z0-9][A-Za-z0-9._-]{0,127})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One metered path, as the provider has it too."""

    provider: Provider
    dialect: Dialect
    template: str  # "/v1/messages", "/v1beta/models/{model}:generateContent"
    _pattern: re.Pattern[str] = field(init=False, repr=False)
    _counting: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pattern", _pattern(self.template))
        counts = COUNT_PATHS.get(self.template, "") if self.dialect.has_count else ""
        object.__setattr__(self, "_counting", _pattern(counts) if counts else None)

    def serves(self, path: str) -> bool:
        """Whether a request to this path is metered here."""
        return self._pattern.fullmatch(path) is not None

    def counts(self, path: str) -> bool:
        """Whether this path is the free count call for requests to this one."""
        return self._counting is not None and self._counting.fullmatch(path) is not None

    def count_path(self, path: str) -> str:
        """Where the provider counts a request to `path`; '' where it does not."""
        found = self._pattern.fullmatch(path)
        if found is None or self._counting is None:
            return ""
        return COUNT_PATHS[self.template].replace(_MODEL, found.groupdict().get("model", ""))


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Every metered path of one gateway; the first provider that speaks a dialect has its paths."""

    every: Sequence[Endpoint]

    def metered(self, path: str) -> Endpoint | None:
        """Who serves this path."""
        return next((each for each in self.every if each.serves(path)), None)

    def counting(self, path: str) -> Endpoint | None:
        """Whose free count call this path is."""
        return next((each for each in self.every if each.counts(path)), None)

    def of(self, family: str) -> Endpoint | None:
        """The first of a dialect's endpoints."""
        return next((each for each in self.every if each.dialect.name == family), None)

    @property
    def families(self) -> tuple[str, ...]:
        """Every dialect that is spoken here, in the order of the settings."""
        return tuple(dict.fromkeys(each.dialect.name for each in self.every))


def _pattern(template: str) -> re.Pattern[str]:
    before, model, after = template.partition(_MODEL)
    return re.compile(re.escape(before) + (_MODEL_NAME + re.escape(after) if model else ""))
