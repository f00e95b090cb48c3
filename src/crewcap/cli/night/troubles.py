"""What stands between requests and their provider: frozen keys, incidents that nobody has looked at, open breakers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crewcap.cli.context import Call
from crewcap.core.harmless import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a provider is not asked now."""

    provider: str
    why: str
    help: str = ""

    def as_json(self) -> dict[str, str]:
        """For machines."""
        return {"provider": self.provider, "reason": self.why, "help": self.help}


def troubles(call: Call, status: Mapping[str, Any]) -> list[Stop]:
    """By the books, and by the word of this home's gateway (`gateways_word`)."""
    incidents = [
        Stop(provider=each.provider, why=one_line(each.reason, limit=160), help=f"crewcap ledger thaw {each.provider}")
        for each in call.app.ledger.frozen()
    ]
    frozen = [
        Stop(provider=each["provider"], why=one_line(each["reason"], limit=160), help=_until(each.get("until")))
        for each in status.get("frozen", [])
        if each["kind"] != "incident"
    ]
    resting = [
        Stop(
            provider=str(each["key"]).partition(" ")[0],
            why=f"failed {each['failures']} times in a row and is left alone",
            help=f"it is tried again in {each['wait_s']:.0f} s",
        )
        for each in status.get("breakers", [])
        if each["state"] == "open"
    ]
    return [*incidents, *frozen, *resting]


def _until(moment: object) -> str:
    return f"until {moment}" if moment else "it is tried every minute, for free"


def gateways_word(call: Call) -> dict[str, Any]:
    """The status of the gateway; nothing where none runs."""
    if not call.home.gateway_note.exists():
        return {}
    from crewcap.gateway.client import find  # noqa: PLC0415  (aiohttp; only where a gateway may run)

    async def ask() -> dict[str, Any]:
        found = await find(call.home)
        return dict(await found.status()) if found is not None else {}

    return asyncio.run(ask())
