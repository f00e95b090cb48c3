"""Which model a name means.

The library finds models by the beginning of a name, so `claude-opus-4-10` would be priced as Opus 4.1 and
`claude-opus-4-8-fast` at the standard price. Here a name means a model only when it is spelled as one of the
model's known spellings, followed by nothing but an edition (a date, `-latest`, `-001`, `-v1:0`). Anything else is
unknown, and an unknown model is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

_DATE = r"(?:\d{8}|20\d\d-\d\d-\d\d|\d\d-\d\d(?:-\d{4})?|\d\d-20\d\d)"
_EDITION = re.compile(rf"(?:[-@](?:{_DATE}|00\d|latest|preview|default|v\d(?::\d)?))+\Z", re.ASCII)
_DATED = re.compile(rf"(?P<stem>.+?)[-@]{_DATE}\Z", re.ASCII)
_LONGEST_NAME = 200  # names come from strangers; cutting a longer one at each of its dashes takes real time
_REMEMBERED = 1_024  # names come from strangers
_LONG_CONTEXT = "[1m]"  # Claude Code's way of asking for the long window; the model is the same


def plain(name: str) -> str:
    """A name without case, blanks and the long-context mark."""
    return name.strip().lower().removesuffix(_LONG_CONTEXT)


class Directory:
    """The known spellings of one provider's models."""

    def __init__(self, spellings: Iterable[tuple[str, str]]) -> None:
        """Take (spelling, model) pairs; of two that are equal the first one counts."""
        self._models: dict[str, str] = {}
        for spelling, model in spellings:
            for text in (spelling.lower(), spelling.lower().rstrip("-@.")):
                self._models.setdefault(text, model)
        self._editions = _editions(self._models)
        self._nearest: dict[tuple[str, tuple[str, ...]], str] = {}

    def find(self, name: str) -> str | None:
        """The model that a plain name means, or None."""
        if name in self._models or len(name) > _LONGEST_NAME:
            return self._models.get(name)
        stems = (stem for stem in self._stems(name) if _EDITION.match(name[len(stem) :]))
        return next((self._models[stem] for stem in stems), None)

    def may_be(self, name: str) -> frozenset[str]:
        """Models of their own that are dated editions of this undated name: the vendor chooses one of them."""
        return self._editions.get(name.removesuffix("-latest"), frozenset())

    def nearest(self, name: str, *, others: Iterable[str] = ()) -> str:
        """The known spelling that this name goes on from, else the one (or the other) that looks most like it."""
        asked = (name, tuple(others))
        found = self._nearest.get(asked)
        if found is None:  # milliseconds, and the same unknown name is asked for again and again
            if len(self._nearest) >= _REMEMBERED:
                self._nearest.clear()
            alike = difflib.get_close_matches(name, [*asked[1], *self._models], n=1, cutoff=0.5)
            found = self._nearest[asked] = next(self._stems(name), None) or next(iter(alike), "")
        return found

    def _stems(self, name: str) -> Iterator[str]:
        """Known spellings that the name begins with, up to one of its dashes; the longest first."""
        ends = (i for i in range(len(name) - 1, 0, -1) if name[i] in "-@")
        return (name[:i] for i in ends if name[:i] in self._models)


def _editions(models: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """For each undated spelling, the models that dated spellings of it have to themselves."""
    found: dict[str, set[str]] = {}
    for spelling, model in models.items():
        dated = _DATED.match(spelling)
        if dated and models.get(dated["stem"], model) != model:
            found.setdefault(dated["stem"], set()).add(model)
    return {stem: frozenset(ids) for stem, ids in found.items()}
