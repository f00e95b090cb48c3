"""A message to a web address, in the form that chat tools take.

`text` is what Slack, Mattermost, Google Chat and Rocket.Chat read, `content` what Discord reads; `crewcap` is for
programs. The address is a secret: whoever has it can write there, so no message and no error shows it.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp

from crewcap.core.notices import Notice
from crewcap.notify import NotSent

_LIMIT_S = 10.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_FINE = range(200, 300)


class Webhook:
    """One address."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if not parts.hostname or not (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        ):
            raise NotSent("the webhook's address is not one: it begins with https://")
        self._address = address

    def send(self, notice: Notice) -> None:
        """Post it; redirects are not followed."""
        asyncio.run(self._post(notice))

    async def _post(self, notice: Notice) -> None:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_LIMIT_S), trust_env=False) as session,
                session.post(self._address, json=message(notice), allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NotSent(f"the webhook cannot be reached ({type(error).__name__})") from None
        if status not in _FINE:
            raise NotSent(f"the webhook answered {status}")


def message(notice: Notice) -> dict[str, object]:
    """What is posted."""
    text = f"crewcap: {notice.text}"
    told = {"event": notice.kind, "id": notice.once, "at": notice.at.isoformat(), "percent": notice.percent or None}
    return {"text": text, "content": text, "crewcap": told}
