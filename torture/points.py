"""The named points of a request's life, in the order in which it passes them."""

from __future__ import annotations

from typing import Final

POINTS: Final = {
    "reserve.before": "the ledger is about to be asked for a hold",
    "reserve.after": "the hold is on the disk, and nobody knows of it yet",
    "send.before": "the hold is granted, and nothing was sent",
    "send.during": "the request is on its way, and no answer has begun",
    "head": "the provider's status line is here",
    "event.first": "the first bytes of the answer were read, and not passed on",
    "event.later": "the answer is half way through",
    "event.last": "the answer is complete, and not settled",
    "shrink.before": "the hold is about to be lowered",
    "shrink.after": "the hold was lowered",
    "settle.before": "the ledger is about to hear of the end",
    "settle.after": "the end is in the books",
    "refusal": "a request was refused, and the note of it is about to be written",
    "beat": "the ledger's marker is about to be written",
    "drain": "the gateway was told to end, and answers are under way",
    "stop": "the boot is about to end",
}
