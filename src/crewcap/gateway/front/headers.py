"""Which headers pass. Both directions are rebuilt from a list; what is not on it does not exist.

Towards a provider: what its interface is made of (version, betas, content), and who the client says it is
(`user-agent`, `x-app`: providers treat their own agents apart). Never the client's key, Host, cookies,
forwarding headers, or what describes the client's machine and changes no answer (`x-stainless-*`, Codex's metadata with
its paths). Never what names who pays (`openai-organization`, `openai-project`, `x-goog-user-project`) or what thins out
the answer (`x-goog-fieldmask`: the usage would be gone): both are the gateway's to say.

Towards the client: what an agent acts on (retry advice, rate limits, the request's id). Never the organisation's
id, cookies or hop-by-hop headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

IN_ALLOWED = frozenset(
    {
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "openai-beta",
        "user-agent",
        "x-app",
        "x-openai-internal-codex-responses-lite",  # says in which of two forms Codex wrote its body
    }
)
OUT_ALLOWED = frozenset(
    {
        "cache-control",
        "content-type",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-request-id",
        "x-should-retry",
    }
)
OUT_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")
JOINED = frozenset({"anthropic-beta", "openai-beta"})  # said more than once, these are a list; others must be said once

KEY_NAMES = ("x-api-key", "x-goog-api-key")
QUERY_ALLOWED = (("beta", "true"), ("alt", "sse"))

RUN = "x-crewcap-run"
COST = "x-crewcap-cost-usd"
CLAMPED = "x-crewcap-clamped"


class HeaderError(ValueError):
    """A header that decides something is said twice, or says what is not understood."""


def read(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The client's headers by small name. Said twice, a list is joined and anything else is refused."""
    found: dict[str, str] = {}
    for name, value in pairs:
        small = name.lower()
        if small not in found:
            found[small] = value
        elif small in JOINED:
            found[small] = f"{found[small]},{value}"
        elif small in _DECIDING and value != found[small]:
            raise HeaderError(f"the header {small} is given twice with different values")
    return found


def to_provider(client: Mapping[str, str], *, key: Mapping[str, str]) -> dict[str, str]:
    """What the provider is sent: the allowed ones, our content type, and the provider's own key."""
    passed = {name: value for name, value in client.items() if name in IN_ALLOWED}
    both = {name: f"{passed[name]},{key[name]}" for name in JOINED if name in passed and name in key}
    return {"accept": "application/json", **passed, **_FIXED, **key, **both}


def to_client(provider: Mapping[str, str]) -> dict[str, str]:
    """What the client is sent of the provider's headers."""
    return {
        small: value
        for name, value in provider.items()
        if (small := name.lower()) in OUT_ALLOWED or small.startswith(OUT_PREFIXES)
    }


def key_shown(client: Mapping[str, str], queried: Iterable[str] = ()) -> str:
    """The virtual key that the client shows, in whichever way its provider's clients do; '' when it shows none.

    `queried` are the keys of the query, which is where Google's oldest clients put theirs.

    Some clients send the same key in two ways; two different ones are refused, so that nobody can argue which one
    was meant.
    """
    scheme, _, token = client.get("authorization", "").strip().partition(" ")
    ways = [token if scheme.lower() == "bearer" else "", *(client.get(name, "") for name in KEY_NAMES), *queried]
    shown = {way.strip() for way in ways} - {""}
    if len(shown) > 1:
        raise HeaderError("the request carries two different keys; send one")
    return shown.pop() if shown else ""


def query(client: Mapping[str, str]) -> dict[str, str]:
    """What of the query is the provider's: what its clients send and means something."""
    return {name: value for name, value in QUERY_ALLOWED if client.get(name) == value}


_DECIDING = frozenset(
    {"accept", "anthropic-version", "authorization", "content-encoding", "content-type", "user-agent", *KEY_NAMES}
)
_FIXED = {"content-type": "application/json", "accept-encoding": "identity"}
