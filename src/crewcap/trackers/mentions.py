"""Words for crewcap in a text for people: lines that begin with its name, as a reader of the Markdown sees them.

A line in a block of code is an example, one in a quotation is somebody else's, and one that readers do not see at all
(`core.harmless.reveal`) is nobody's: who calls this has taken those out before.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from crewcap.core.commands import LONGEST, NAME
from crewcap.core.harmless import one_line

_MENTION = re.compile(rf" {{0,3}}{NAME}(?:[:,]?[ \t]+|[:,]?$)(?P<words>.*)$", re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})(?P<rest>.*)$")


def apart(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without the lines for crewcap, and what these say."""
    kept, said = [], []
    for line, is_code in _lines(text):
        match = None if is_code else _MENTION.match(line)
        if match is None:
            kept.append(line)
        else:
            said.append(one_line(match["words"], limit=LONGEST))
    return ("\n".join(kept), tuple(said)) if said else (text, ())


def numbered(place: str, said: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each with its id: the same words are told apart by which of them they are in this place."""
    times: Counter[str] = Counter()
    for words in said:
        times[words] += 1
        digest = hashlib.sha256(f"{place}\0{words}".encode("utf-8", "replace")).hexdigest()[:20]
        yield f"{digest}.{times[words]}", words


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is code between fences."""
    open_ = ""
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if open_:
            yield line, True
            if fence and fence["mark"].startswith(open_) and not fence["rest"].strip():
                open_ = ""
            continue
        if fence and not ("`" in fence["mark"] and "`" in fence["rest"]):
            open_ = fence["mark"]
        yield line, bool(open_)
