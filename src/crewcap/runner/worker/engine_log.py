"""What DBOS has to say goes into our log, in our form, and only where it is news."""

from __future__ import annotations

import logging

_KNOWN = (  # what DBOS says of things that we do on purpose, or tell ourselves
    "DBOS failed to launch",
    "Could not connect to postgres database to verify existence",
    "Asyncio task cancelled",
    "was cancelled during execution",
    "Workflow already exists in queue: None",
)
_KNOWN_ERRORS = ("StepFailed", "DBOSAwaitedWorkflowCancelledError")
log = logging.getLogger(__name__)


def redirect_log() -> None:
    """DBOS would write to the console in a form of its own; what it has to say goes where ours goes."""
    theirs = logging.getLogger("dbos")
    theirs.handlers[:] = [_Forward()]
    theirs.propagate = False


class _Forward(logging.Handler):
    """Records of DBOS as records of ours, without its fields."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless it is known."""
        said = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if type(error).__name__ in _KNOWN_ERRORS or any(known in said for known in _KNOWN):
            return
        if error is not None and type(error).__module__.startswith("sqlalchemy"):
            told = str(getattr(error, "orig", error)).splitlines() or [type(error).__name__]
            log.log(record.levelno, "engine: %s %s", said, told[0])
            return
        log.log(record.levelno, "engine: %s", said, exc_info=record.exc_info)
