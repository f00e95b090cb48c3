"""In whose words a request is spoken to that no endpoint serves: by its path, else by what its client shows.

Paths are taken as they stand in the request line. Nothing is decoded, merged or resolved (`//`, `..`, `%2f`, `;x`,
`#x`): a path that is not on the list letter by letter is another path, and goes nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache

from aiohttp import HttpVersion10, web

from crewcap.gateway.front.answers import Refusal
from crewcap.wire import ENDPOINTS, Dialect

SHOWN = 200  # characters of a path that are said back

_FAMILIES: Mapping[str, re.Pattern[str]] = {
    "gemini": re.compile(r"/v1(?:alpha|beta\w*)(?:/|\Z)|/v1/models/[^/]*:|/upload/"),
    "anthropic": re.compile(r"/v1/(?:complete|messages|organizations|skills)(?:/|\Z)|/api/"),
    "openai": re.compile(
        r"/v1/(?:assistants|audio|batches|chat|completions|containers|conversations|embeddings|evals|fine_tuning|images"
        r"|moderations|realtime|responses|threads|uploads|vector_stores|videos)(?:/|\Z)"
    ),
}
_GOOGLES = ("/v1beta/models", "/v1/models")
_SIGNS: Mapping[str, tuple[str, ...]] = {
    "gemini": ("x-goog-api-key", "x-goog-api-client"),
    "anthropic": ("anthropic-version", "x-api-key"),
    "openai": ("openai-beta", "authorization"),
}


def path_of(http: web.BaseRequest) -> str:
    """The path as it stands in the request line; a request that names a server there is for a proxy."""
    if http.version < HttpVersion10:
        raise Refusal("malformed", "the request line names no version of HTTP")
    target = http.raw_path.partition("?")[0]
    if not target.startswith("/") and target != "*":
        raise Refusal(
            "malformed", "the request line names a server; crewcap is no proxy: make it the client's base URL"
        )
    return target


def keys_queried(http: web.BaseRequest) -> list[str]:
    """The keys in the query, where Google's clients may put theirs; elsewhere `key` is a word like any other."""
    return http.query.getall("key", []) if http.raw_path.startswith(_GOOGLES) else []


def family_of(path: str, headers: Mapping[str, str], known: Collection[str]) -> str:
    """Whose client asks; where neither path nor headers tell, the first of those who are known here."""
    by_path = (family for family, pattern in _FAMILIES.items() if pattern.match(path))
    by_sign = (family for family, names in _SIGNS.items() if any(name in headers for name in names))
    return next(by_path, None) or next((each for each in by_sign if each in known), None) or next(iter(known))


def nothing_there(path: str, known: Collection[str]) -> Refusal:
    """Nobody serves this path; a provider that is not configured is named."""
    said = path[:SHOWN]
    for family, templates in ENDPOINTS.items():
        if family not in known and any(_is_like(path, template) for template in templates):
            return Refusal("not_found", f"no provider here serves {said}; add [providers.{family}] to the settings")
    return Refusal("not_found", f"crewcap serves no {said}; what it does not know it does not forward")


@cache
def speaker(family: str) -> Dialect:
    """Somebody who can say no in the words of a family, whether or not a provider of it is configured."""
    return next(iter(ENDPOINTS[family].values()))()


def _is_like(path: str, template: str) -> bool:
    before, _, after = template.partition("{model}")
    return path.startswith(before) and path.endswith(after) and len(path) >= len(template) - len("{model}")
