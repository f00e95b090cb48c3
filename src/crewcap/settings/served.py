"""What a gateway goes by of all the settings: frozen values that need nothing to be built, and can be handed over.

A gateway runs for weeks and holds the keys. The models that check a file are for the moment in which it is read; these
are what stays of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from crewcap.core.budget import CountKind, RateKind, Scope, Window
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import Money
from crewcap.settings.keysource import KeySource
from crewcap.stores import Ledger, Limit, LimitSource

DEFAULT = "default"

DialectName = Literal["anthropic", "openai", "gemini"]
LimitKind = RateKind | CountKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """One provider, everything said."""

    name: str
    dialect: DialectName
    key: KeySource | None = None
    base_url: str
    billing: Literal["metered", "subscription"] = "metered"
    share: int = 100  # per cent
    prices: str  # the provider's name in the price book


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """Money for a scope and a window."""

    scope: Scope
    window: Window
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLine:
    """A rate or a count for a scope; a rate has no window."""

    scope: Scope
    kind: LimitKind
    window: Window | None = None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The metering gateway; `GatewayFile` says what each of them means."""

    allow: frozenset[str]
    wait_s: int
    drain_s: int
    idle_s: int
    retries: int
    retry_s: int
    geo: Literal["us", "global"]
    strict_betas: bool
    batch_share: int = 50  # per cent
    batch_poll_s: int = 30


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a gateway goes by."""

    providers: Mapping[str, ProviderSettings]
    gateway: GatewaySettings
    budgets: tuple[BudgetLine, ...]
    rates: tuple[LimitLine, ...] = ()  # rates and counts; money is in `budgets`
    timezone: str = "UTC"
    price_overrides: str = ""  # a price file of the user's own; empty = none
    store_url: str = ""  # empty = ledger.db in the state directory
    tells_of_money: bool = False  # whether somebody wants to be told of budgets; who, and how, is no gateway's affair
    source: str = ""  # the file that was read; empty = none
    origins: Mapping[str, str] = field(default_factory=dict)  # dotted key -> where its value was said

    def served(self) -> Served:
        """These values and no more."""
        return Served(**{each.name: getattr(self, each.name) for each in fields(Served)})

    @property
    def key_variables(self) -> tuple[str, ...]:
        """Names of the environment variables that hold providers' keys."""
        sources = [one.key for one in self.providers.values() if one.key is not None]
        return tuple(str(source.value) for source in sources if source.kind == "env")

    def prices_of(self, provider: str) -> str:
        """The price list that a provider bills by; one that is not in the settings any more is called as its list."""
        known = self.providers.get(provider)
        return known.prices if known is not None else provider

    def limits(self) -> tuple[Limit, ...]:
        """The budgets as the ledger takes them."""
        source: LimitSource = "file" if self.origins.get("budgets") != DEFAULT else "default"
        return tuple(
            Limit(scope=line.scope, window=line.window, amount=line.amount, source=source) for line in self.budgets
        )

    def rate_limits(self) -> tuple[RateLimit, ...]:
        """The rates as the ledger takes them."""
        return tuple(
            RateLimit(scope=line.scope, kind=line.kind, value=line.count, source="file")
            for line in self.rates
            if line.kind in ("tpm", "rpm", "concurrent")
        )

    def count_limits(self) -> tuple[CountLimit, ...]:
        """The counts as the ledger takes them."""
        return tuple(
            CountLimit(scope=line.scope, kind=line.kind, window=line.window, value=line.count, source="file")
            for line in self.rates
            if line.kind in ("runs", "tokens", "hours") and line.window is not None
        )

    def bring_limits(self, ledger: Ledger) -> None:
        """Make these limits those of a ledger, in one transaction; what was set by command outranks them."""
        ledger.sync_file_limits(
            self.limits(),
            zone=self.timezone,
            has_file=bool(self.source),
            rates=self.rate_limits(),
            counts=self.count_limits(),
        )
