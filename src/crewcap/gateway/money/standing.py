"""Whether a rate that requests wait for is still the one that they were told of.

Rates are changed by commands, by the settings file and by other gateways of the same ledger, none of which tells those
who wait. So they look, every `LOOK_S`, and all that wait for the same scope share a look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from crewcap.core.budget import Busy, Scope
from crewcap.core.limits import RateBalance

LOOK_S = 0.5

Rates = tuple[RateBalance, ...]


@dataclass(slots=True)
class Standing:
    """The rates that are waited for, as they were seen last."""

    look: Callable[[Iterable[Scope]], asyncio.Future[Rates]]
    _seen: dict[Scope, tuple[float, asyncio.Future[Rates]]] = field(default_factory=dict)

    async def stands(self, busy: Busy) -> bool:
        """Whether it says the same as before; what was raised, lowered or taken back is worth asking anew."""
        rates = await asyncio.shield(self._newest(busy.scope))  # others wait for the same look
        return any((rate.scope, rate.kind, rate.limit) == (busy.scope, busy.kind, busy.limit) for rate in rates)

    def _newest(self, scope: Scope) -> asyncio.Future[Rates]:
        now = asyncio.get_running_loop().time()
        self._seen = {each: seen for each, seen in self._seen.items() if now - seen[0] < LOOK_S}
        if scope not in self._seen:
            self._seen[scope] = now, self.look((scope,))
        return self._seen[scope][1]
