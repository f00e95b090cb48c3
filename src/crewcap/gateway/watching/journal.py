"""One log line for each attempt and each refusal, at level info: who, what, how it ended, what it cost.

Ids and numbers only. What a client wrote (a model that does not exist, a header) never gets here, and neither do the
words of a refusal, which may quote it.
"""

from __future__ import annotations

import logging

from crewcap.gateway.watching.metrics import model_of
from crewcap.gateway.watching.watchers import Declined, Ended

log = logging.getLogger(__name__)


class Journal:
    """A watcher that writes the log."""

    def ended(self, ended: Ended) -> None:
        """One attempt."""
        if not log.isEnabledFor(logging.INFO):
            return
        request, closed, usage = ended.request, ended.closed, ended.closed.usage
        log.info(
            "attempt ended",
            extra={
                "hold": closed.hold,
                "key": request.key.id,
                "run": request.key.run,
                "provider": request.provider.name,
                "model": model_of(request),
                "attempt": ended.attempt,
                "end": ended.end,
                "status": ended.status,
                "booked": closed.kind,
                "spent_usd": closed.spent.exact(),
                "uncertain_usd": closed.uncertain.exact(),
                "notional_usd": closed.notional.exact(),
                "input_tokens": usage.prompt,
                "cache_read_tokens": usage.cache_read,
                "output_tokens": usage.output,
                "seconds": round(ended.over - ended.started, 3),
            },
        )

    def declined(self, declined: Declined) -> None:
        """One refusal."""
        if log.isEnabledFor(logging.INFO):
            said = {"kind": declined.kind, "dialect": declined.dialect, "key": declined.key or "", "run": declined.run}
            log.info("declined", extra=said)
