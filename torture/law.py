"""What must be true of the books after anything at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewcap.core.money import ZERO, Money
from crewcap.stores import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one trial."""

    billed: Money  # by the provider's own meter
    charged: Money  # spent and uncertain, by the ledger
    broken: tuple[str, ...]  # sentences; none = the law holds
    struck: bool = True  # whether the trouble happened at all


def judge(ledger: Ledger, billed: Money, *, faults: Sequence[str] = ()) -> Verdict:
    """Look at books that no gateway uses any more."""
    entries = ledger.entries()
    charged = Money(sum(entry.spent.nano + entry.uncertain.nano for entry in entries))
    broken = [*faults, *ledger.verify().problems]
    if charged < billed:
        broken.append(f"{billed.exact()} was billed and {charged.exact()} is charged")
    broken += [f"hold {hold.hold} is still open" for hold in ledger.open_holds()]
    for balance in ledger.all_balances():
        taken = balance.spent + balance.uncertain + balance.held
        if taken > balance.limit:
            broken.append(f"{balance.scope} {balance.window} has {taken.exact()} of {balance.limit.exact()}")
        if balance.held != ZERO:
            broken.append(f"{balance.scope} {balance.window} holds {balance.held.exact()} for nobody")
    return Verdict(billed=billed, charged=charged, broken=tuple(broken))
