"""What a batch would cost, said before anything is sent: the worst case, a likely cost, and the same sent one by one.

The worst case is what the gateway would hold, reckoned by the gateway's own rule. The likely cost is the worst case's
tokens times what earlier batches really used of theirs; a home without any takes a token for every four letters, and
answers as long as they may be. Both costs are prices of the book: what a batch saves is taken from there as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import islice

from crewcap.core.budget import Balance
from crewcap.core.money import ZERO, Money, total
from crewcap.core.pricing import Modifiers, RateCard, Usage
from crewcap.gateway.batch.folder import Folder, Planned, Prompt
from crewcap.gateway.money.admission import Prices
from crewcap.runner.batch_results import view
from crewcap.stores import Ledger

FEW = 10  # answers; with fewer, one of them decides
_LOOKED_THROUGH = 20  # of the newest batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """The share of their bound that prompts really had, and of their limit that answers had."""

    answers: int  # of earlier batches that it is from; 0 = by letters
    prompt: Fraction
    output: Fraction
    of: str = "all models"  # whose answers they were

    @property
    def words(self) -> str:
        """What it rests on."""
        if self.answers:
            return f"as {self.answers:,} answers of your earlier batches came out ({self.of})"
        return f"fewer than {FEW} answers of earlier batches: a token every 4 letters, answers as long as they may be"


BY_LETTERS = Used(answers=0, prompt=Fraction(1, 4), output=Fraction(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutlook:
    """One prompt, and what it would come to."""

    id: str
    model: str
    provider: str = ""
    worst: Money = ZERO
    likely: Money = ZERO
    likely_live: Money = ZERO  # the same tokens, sent one by one
    refused: str = ""  # why it would not be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrices:
    """What one model takes a token of input and of output, in a batch and one by one."""

    batch: RateCard
    live: RateCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """A whole batch."""

    cap: Money
    items: tuple[ItemOutlook, ...]
    used: Mapping[str, Used] = field(default_factory=dict)  # by model
    prices: Mapping[str, ModelPrices] = field(default_factory=dict)

    @property
    def sent(self) -> tuple[ItemOutlook, ...]:
        """What would be sent."""
        return tuple(item for item in self.items if not item.refused)

    @property
    def refused(self) -> tuple[ItemOutlook, ...]:
        """What would not."""
        return tuple(item for item in self.items if item.refused)

    def of_models(self) -> Iterator[tuple[str, tuple[ItemOutlook, ...]]]:
        """What would be sent, by model, in the order of the prompts."""
        sent = self.sent
        for model in dict.fromkeys(item.model for item in sent):
            yield model, tuple(item for item in sent if item.model == model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much of something a batch may hold."""

    free: Money
    name: str  # "the cap of $5.00"


def rooms(cap: Money, balances: Iterable[Balance], held_by_batches: Mapping[str, Money], *, share: int) -> list[Room]:
    """The cap, what is left of each budget, and the part of it that batches together may hold."""
    found = [Room(free=cap, name=f"the cap of {cap.show()}")]
    for each in balances:
        named = f"{each.scope} ({each.window})"
        part, held = Money(each.limit.nano * share // 100), held_by_batches.get(each.scope, ZERO)
        found.append(Room(free=each.left, name=f"what is left of {named}"))
        found.append(
            Room(free=Money(max(0, part.nano - held.nano)), name=f"the {share} % of {named} that batches may hold")
        )
    return found


def outlook(
    planned: Sequence[Planned],
    prompts: Sequence[Prompt],
    *,
    book: Prices,
    lists: Mapping[str, str],
    earlier: Earlier,
    cap: Money,
    free: Sequence[Room],
    at: datetime,
) -> Outlook:
    """What each prompt would come to; `lists` tells each provider's price list. They are let in in their order."""
    least = min(free, key=lambda room: room.free)
    left = least.free
    items, used, prices = [], dict[str, Used](), dict[str, ModelPrices]()
    for item, prompt in zip(planned, prompts, strict=True):
        if item.refused:
            items.append(ItemOutlook(id=prompt.id, model=prompt.model, refused=item.refused))
            continue
        if item.model not in used:
            used[item.model] = earlier.used(item.model)
            prices[item.model] = _prices(book, lists[item.provider], item.model, at=at)
        one = _item(item, prompt, used[item.model], prices[item.model])
        if one.worst > left:
            why = f"it can cost {one.worst.show()}, and {left.show()} is free of {least.name}"
            items.append(ItemOutlook(id=one.id, model=one.model, provider=one.provider, refused=why))
        else:
            left -= one.worst
            items.append(one)
    return Outlook(cap=cap, items=tuple(items), used=used, prices=prices)


def _item(item: Planned, prompt: Prompt, used: Used, prices: ModelPrices) -> ItemOutlook:
    tokens = Usage(input=_share(item.prompt_bound, used.prompt), output=_share(item.output_limit, used.output))
    return ItemOutlook(
        id=prompt.id,
        model=item.model,
        provider=item.provider,
        worst=Money(item.nano),
        likely=min(Money(item.nano), prices.batch.cost(tokens)),
        likely_live=prices.live.cost(tokens),
    )


def _share(number: int, part: Fraction) -> int:
    return int(number * part)


def _prices(book: Prices, provider: str, model: str, *, at: datetime) -> ModelPrices:
    return ModelPrices(
        batch=book.card(provider, model, at=at, modifiers=Modifiers(tier="batch")),
        live=book.card(provider, model, at=at, modifiers=Modifiers()),
    )


# --- what earlier batches tell


@dataclass(slots=True, kw_only=True)
class Earlier:
    """What the newest batches of a home used of what was held for them."""

    _seen: list[tuple[str, int, int, int, int]] = field(default_factory=list)  # model, prompt, of, output, of

    @classmethod
    def of(cls, folders: Sequence[Folder], ledger: Ledger) -> Earlier:
        """Read from the folders of batches that are over, and from the books."""
        found = cls()
        newest = sorted(folders, key=lambda each: each.job().created_at, reverse=True)
        for folder in islice((each for each in newest if each.state().is_over), _LOOKED_THROUGH):
            planned = {item.n: item for item in folder.planned() or ()}
            for item in view(folder, ledger).items:
                if item.state == "succeeded" and item.usage.output:
                    plan = planned[item.prompt.n]
                    usage = item.usage
                    found.note(plan.model, usage.prompt, plan.prompt_bound, usage.output, plan.output_limit)
        return found

    def note(self, model: str, prompt: int, prompt_bound: int, output: int, output_limit: int) -> None:
        """One answer: its tokens, and what they were bounded by."""
        self._seen.append((model, prompt, prompt_bound, output, output_limit))

    def used(self, model: str) -> Used:
        """By this model's answers where they are enough, else by everybody's, else by letters."""
        own = [each for each in self._seen if each[0] == model]
        of, alike = (model, own) if len(own) >= FEW else ("all models", self._seen)
        if len(alike) < FEW:
            return BY_LETTERS
        _, prompt, bound, output, limit = zip(*alike, strict=True)
        return Used(
            answers=len(alike),
            prompt=Fraction(sum(prompt), max(1, sum(bound))),
            output=Fraction(sum(output), max(1, sum(limit))),
            of=of,
        )


def sums(items: Iterable[ItemOutlook]) -> tuple[Money, Money, Money]:
    """Worst case, likely cost, and likely cost one by one."""
    listed = tuple(items)
    return (
        total(item.worst for item in listed),
        total(item.likely for item in listed),
        total(item.likely_live for item in listed),
    )
