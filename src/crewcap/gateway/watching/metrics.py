"""What `/metrics` tells: one gateway's traffic, money and health, in numbers for a Prometheus scraper.

Labels are few and bounded: provider, model, kind, status. No key, run, repository or user is ever named: whoever may
look at a dashboard need not learn who works on what. Money is whole nano-dollars, so sums stay exact. A model is
called what its price list calls it, never what a client wrote, because anybody with a key could invent names.

Counters begin at zero with each gateway; the ledger remembers, this does not.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crewcap import __version__
from crewcap.gateway.money.admission import Request
from crewcap.gateway.watching.exposition import OTHER, Counter, Histogram, Sample, family, text
from crewcap.gateway.watching.watchers import Declined, Ended
from crewcap.stores import Settlement

TOKENS = ("input", "cache_read", "write_5m", "write_1h", "output")
LEDGER_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SELLER = ("provider", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One request under way."""

    provider: str
    model: str
    nano: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is so at the moment of a scrape."""

    boot: str
    book: str  # hash of the prices
    started_at: float  # seconds since 1970
    is_draining: bool
    waiting: int
    held: Sequence[Held]
    doors: int
    frozen: Sequence[tuple[str, str]]  # (provider, kind of trouble)
    breakers: Sequence[tuple[str, str]] = ()  # (provider, state)


class Metrics:
    """The numbers of one gateway; a watcher of its requests."""

    def __init__(self) -> None:
        self._requests = Counter(
            "crewcap_requests_total",
            "Attempts at a provider, by how they ended and by the class of its HTTP status.",
            (*_SELLER, "kind", "status"),
        )
        self._refusals = Counter(
            "crewcap_refusals_total", "Requests that crewcap answered itself, by why.", ("dialect", "kind")
        )
        self._money = {
            name: Counter(f"crewcap_{name}_nanodollars_total", said, _SELLER)
            for name, said in (
                ("spent", "Settled, exact."),
                ("uncertain", "Charged without proof: no answer told the cost."),
                ("notional", "What a subscription's answers would have cost; billed to nobody."),
            )
        }
        self._tokens = Counter(
            "crewcap_tokens_total", "Tokens by disjoint kind; cache_read are the cache's hits.", (*_SELLER, "kind")
        )
        self._thinking = Counter(
            "crewcap_thinking_tokens_total", "The part of the output tokens that was thinking.", _SELLER
        )
        self._failures = Counter(
            "crewcap_upstream_failures_total", "Attempts that a provider failed, by how.", ("provider", "kind")
        )
        self._incidents = Counter("crewcap_incidents_total", "Answers that broke what holds rest on.", ("provider",))
        self._added = Histogram(
            "crewcap_added_seconds",
            "From a request's last byte read to its first byte sent on: what the gateway adds, waiting included.",
            ("provider",),
        )
        self._first_byte = Histogram(
            "crewcap_first_byte_seconds", "From an attempt's start to the head of the provider's answer.", ("provider",)
        )
        self._whole = Histogram(
            "crewcap_request_seconds", "From a request's last byte read to the end of its answer.", ("provider",)
        )
        self._ledger = Histogram(
            "crewcap_ledger_round_seconds",
            "One round of the ledger: all that had queued up, on the disk.",
            (),
            LEDGER_S,
        )

    def ended(self, ended: Ended) -> None:
        """Count one attempt."""
        provider, closed = ended.request.provider.name, ended.closed
        seller = (provider, model_of(ended.request))
        self._requests.add(*seller, ended.end, status_class(ended.status))
        self.booked(*seller, closed)
        if failure := _failure(ended):
            self._failures.add(provider, failure)
        self._time(provider, ended)

    def booked(self, provider: str, model: str, closed: Settlement) -> None:
        """Count what one settlement moved: of a request's attempt, or of an item of a batch."""
        seller = (provider, model)
        for name, amount in (("spent", closed.spent), ("uncertain", closed.uncertain), ("notional", closed.notional)):
            if amount:
                self._money[name].add(*seller, by=amount.nano)
        for kind in TOKENS:
            if count := getattr(closed.usage, kind):
                self._tokens.add(*seller, kind, by=count)
        if closed.usage.thinking:
            self._thinking.add(*seller, by=closed.usage.thinking)
        if closed.incident:
            self._incidents.add(provider)

    def declined(self, declined: Declined) -> None:
        """Count one refusal."""
        self._refusals.add(declined.dialect, declined.kind)

    def ledger_round(self, seconds: float) -> None:
        """Count one round of the ledger; called on the ledger's thread, which alone writes this one."""
        self._ledger.observe(seconds)

    def render(self, now: Snapshot) -> bytes:
        """Everything, as a scraper reads it."""
        return text((*self._counted(), *_of_now(now)))

    def _counted(self) -> Iterator[str]:
        counters = (self._requests, self._refusals, *self._money.values(), self._tokens, self._thinking)
        for each in (*counters, self._failures, self._incidents):
            yield from each.lines()
        for histogram in (self._added, self._first_byte, self._whole, self._ledger):
            yield from histogram.lines()

    def _time(self, provider: str, ended: Ended) -> None:
        if ended.attempt == 1:
            self._added.observe(ended.started - ended.request.arrived, provider)
        if ended.first_byte is not None:
            self._first_byte.observe(ended.first_byte - ended.started, provider)
        self._whole.observe(ended.over - ended.request.arrived, provider)


def model_of(request: Request) -> str:
    """How a request's model is called here: as its price list calls it, whatever the client wrote."""
    return request.cards[0].model if request.cards else OTHER


def status_class(status: int) -> str:
    """`2xx`; `none` where there was no answer."""
    return f"{status // 100}xx" if 100 <= status < 600 else "none"


def _failure(ended: Ended) -> str:
    """How the provider failed this attempt; '' where it did not."""
    if ended.end in {"no_answer", "cut", "unsent"}:
        return ended.end
    if ended.status == 429:
        return "rate_limited"
    return "server_error" if ended.status >= 500 else ""


def _of_now(now: Snapshot) -> Iterator[str]:
    info = (__version__, now.boot, now.book)
    yield from _gauge("crewcap_info", "This gateway.", ("version", "boot", "book"), [(info, 1)])
    yield from _gauge("crewcap_start_time_seconds", "When it started, since 1970.", (), [((), now.started_at)])
    yield from _gauge("crewcap_draining", "1 while it ends: what is new is refused.", (), [((), int(now.is_draining))])
    yield from _gauge("crewcap_holds_open", "Requests under way, each with its hold.", (), [((), len(now.held))])
    yield from _gauge("crewcap_requests_waiting", "Requests that wait for money.", (), [((), now.waiting)])
    yield from _gauge("crewcap_run_doors", "Runs with a door of their own.", (), [((), now.doors)])
    held: Tally[tuple[str, str]] = Tally()
    for each in now.held:
        held[each.provider, each.model] += each.nano
    yield from _gauge("crewcap_held_nanodollars", "Promised to requests under way.", _SELLER, held.items())
    frozen = Tally(now.frozen)
    yield from _gauge("crewcap_frozen", "Troubles of a provider's key, by kind.", ("provider", "kind"), frozen.items())
    states = [(each, 1) for each in now.breakers]
    yield from _gauge("crewcap_breaker", "The state that a provider's breaker is in.", ("provider", "kind"), states)


def _gauge(name: str, help_: str, labels: tuple[str, ...], samples: Iterable[tuple[Any, float]]) -> Iterator[str]:
    found: list[Sample] = list(samples)
    return family(name, "gauge", help_, labels, found)
