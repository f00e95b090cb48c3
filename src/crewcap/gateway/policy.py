"""What a gateway goes by: its settings, without where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field

from crewcap.gateway.provider.breaker import Rules

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Limits in seconds and bytes, and what capped keys may use beyond the known lists."""

    allow: frozenset[str] = frozenset()
    wait_s: float = 300  # for money that others hold
    release_s: float = 2  # after its first event a hold is lowered by then, at once where somebody is short
    drain_s: float = 120  # an answer is read on after its client left
    idle_s: float = 300  # a provider may be silent inside a stream; twice that before a whole answer
    ping_s: float = 15  # a stream in which the provider is silent for so long is kept alive with pings
    look_s: float = 5  # a client that is sent nothing is looked after this often
    attempts: int = 6  # of one request, where the provider fails before the client has seen anything
    unsure_attempts: int = 2  # of these, that may have been billed
    retry_s: float = 180  # for all of them together, the waits between them and for a breaker included
    backoff_s: float = 2  # before the second attempt, where the provider names no time; doubles with each
    most_backoff_s: float = 30
    breaker: Rules = field(default_factory=Rules)  # when a provider's key is left alone
    longest_s: float = 7_200  # one answer, from its first byte sent; prices of this span are held for
    batch_share: int = 50  # per cent of a window that batches may hold
    batch_poll_s: float = 30  # a batch is asked after this often; sooner while it is young
    batch_appears_s: float = 120  # after its POST a batch may still appear in the provider's list
    body_bytes: int = 32 * MEBIBYTE
    counts_per_minute: int = 240  # count calls of one key that are passed on
    probe_s: float = 60  # a frozen key is tried this often
    beat_s: float = 60
    look_again_s: float = 2  # whether the settings have changed
