"""What LiteLLM is given in place of its database, for it cannot run here without one (see peers.py).

It is copied beside LiteLLM's settings and loaded by LiteLLM's own interpreter. Keys come by LiteLLM's documented
`custom_auth` hook, with its common checks on; its own cost tracking, which it registers by itself only with a
database, is registered by hand. The budget code that runs is LiteLLM's: its reservation, its settlement, its counter.

A key is named `sk-bench-DOLLARS-ANYTHING`. A request with the key `books:KEY` is told what LiteLLM has counted.
"""

from __future__ import annotations

from fastapi import HTTPException, Request  # type: ignore[import-not-found,unused-ignore]  # LiteLLM's own environment
from litellm.proxy._types import (  # type: ignore[import-not-found,unused-ignore]  # LiteLLM's own environment
    UserAPIKeyAuth,
    hash_token,
)
from litellm.proxy.hooks.proxy_track_cost_callback import (  # type: ignore[import-not-found,unused-ignore]  # as above
    ProxyDBLogger,
)

tracker = ProxyDBLogger()


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    """A key with its cap; or the books of one, as an error that nobody mistakes for an answer."""
    del request
    from litellm.proxy.proxy_server import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  (it must have started)
        spend_counter_cache,
    )

    if api_key.startswith("books:"):
        token = hash_token(api_key.removeprefix("books:"))
        counted = await spend_counter_cache.async_get_cache(key=f"spend:key:{token}")
        raise HTTPException(418, detail=f"counted {counted or 0} dollars")
    cap = float(api_key.split("-")[2])
    return UserAPIKeyAuth(api_key=api_key, token=hash_token(api_key), user_id="bench", max_budget=cap, spend=0.0)
