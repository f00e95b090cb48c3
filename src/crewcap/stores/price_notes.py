"""What is remembered of prices beside the books: cards that something was settled at, and what had no price.

No money rests on it, and none of it is written while a request is on its way: the gateway notes a card when it first
meets it, a moment later, and adds up what it refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from crewcap.core.cards import Kept, Unpriced

MOST_UNPRICED = 1_000
"""Names that are remembered: they come from clients. What there is no room for is left out."""


class PriceNotes(Protocol):
    """Cards in full, and names without a price."""

    def keep(self, cards: Sequence[Kept]) -> None:
        """Keep cards; one that is kept already stays as it is."""
        ...

    def kept(self) -> Mapping[str, Kept]:
        """Every card that was kept, by its id."""
        ...

    def note_unpriced(self, found: Sequence[Unpriced]) -> None:
        """Add to what was refused."""
        ...

    def unpriced(self) -> tuple[Unpriced, ...]:
        """Everything that was refused for want of a price, the newest first."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...
