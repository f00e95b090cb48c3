"""What the requests of one gateway share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from crewcap.core.budget import BootId
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.money.admission import Prices
from crewcap.gateway.money.purse import Purse
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.freeze import Freezer
from crewcap.gateway.provider.incidents import Incidents
from crewcap.gateway.provider.upstream import Upstream
from crewcap.stores import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a gateway goes by, as its settings say it; exchanged as a whole, or not at all."""

    endpoints: tuple[Endpoint, ...]
    book: Prices
    policy: Policy
    terms: str = ""  # short hash of what decides where money goes


@dataclass(slots=True, kw_only=True)
class Parts:
    """One running gateway's own; a request keeps the ones that it began with."""

    ledger: Ledger
    purse: Purse
    upstream: Upstream
    book: Prices
    policy: Policy
    boot: BootId
    freezer: Freezer
    incidents: Incidents
    clock: Callable[[], datetime]
