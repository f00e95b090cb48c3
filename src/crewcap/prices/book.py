"""The price book: every rate card by provider, model, date and modifiers, compiled before anyone asks.

The library's data lies below, our overrides above; for each model, condition and time the first line that fits
counts. The cards of the large providers are compiled when the book is made, those of the others when they are first
asked for; a request only looks a card up. Prices change at known moments, so time is cut into *epochs* (see
`Listing.epoch`) and a card belongs to one epoch.

What is compiled needs the library no more, so a book can be handed to a process that never reads that. Asked for
something else, it reads it there too.

What has no price is refused by name: an unknown model, a modifier that nobody priced for it, a fee. Nothing is ever
priced at one times the standard rate because nobody knew better.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import product

from crewcap.core.pricing import Modifiers, RateCard, Rates, UnknownPrice
from crewcap.prices.listing import Listing, Silence
from crewcap.prices.names import Directory, plain
from crewcap.prices.overrides import AliasLine, Overrides, matches
from crewcap.prices.sheet import Compiled, Sheet, Sizes, compile_card

_Condition = tuple[str, str, str, str, tuple[int, int]]  # provider, model, speed, tier, epoch
STANDARD = Modifiers()
COMPILED_AT_START = ("anthropic", "openai", "google")
SPEEDS = ("standard", "fast")
TIERS = ("standard", "batch", "flex", "priority")
_REMEMBERED_NAMES = 4_096  # names come from clients: what is remembered of them is bounded
_REMEMBERED_SILENCES = 65_536
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One price of a model as people see it: under which modifiers, contracted and by list."""

    modifiers: Modifiers
    card: RateCard
    listed: RateCard  # without negotiated discounts
    source: str
    is_rounded: bool  # a rate was no whole number of pico-dollars and was rounded up


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Everything that the book knows of a name."""

    provider: str
    asked: str
    resolved: str  # the name that is sent
    model: str  # the listing that prices it
    may_be: tuple[str, ...]  # other models that it may come to mean
    offers: tuple[Offer, ...]
    changes: tuple[datetime, ...]  # moments at which a price of it changed or will change


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a name means: a listing, and what its tokens are multiplied by."""

    listing: Listing
    factor: Decimal = _ONE


class _Shelf:
    """One provider's models, and how their names are written."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        self.listings = {listing.id: listing for listing in listings}
        names = [(spelling, each.id) for each in self.listings.values() for spelling in each.spellings]
        self.directory = Directory([(each, each) for each in self.listings] + names)


class Book:
    """Implements `crewcap.core.pricing.PriceBook`."""

    def __init__(self, overrides: Overrides, *, compiled: bool = True) -> None:
        from crewcap.prices import genai  # noqa: PLC0415  (not in a process that is handed a book)

        self._overrides = overrides
        self._version = genai.VERSION
        self._library_providers = genai.provider_ids()
        self._silences: dict[_Condition, Silence] = {}
        self._latest: tuple[_Condition, Sheet] | None = None  # one sheet makes the cards of all geos
        self._shelves: dict[str, _Shelf] = {}
        self._cards: dict[tuple[str, str, Modifiers, tuple[int, int], Decimal], Compiled] = {}
        self._meanings: dict[tuple[str, str] | AliasLine, tuple[_Meaning, ...]] = {}
        self._aliases: dict[tuple[str, str], tuple[AliasLine, ...]] = {}  # that a name fits, whenever they count
        self._hash = self._compile_all() if compiled else ""

    @property
    def hash(self) -> str:
        """Short hash of the whole table; stored with every entry."""
        if not self._hash:
            self._hash = self._compile_all()
        return self._hash

    @property
    def source_version(self) -> str:
        """Where the prices come from."""
        return self._version

    @property
    def overrides(self) -> Overrides:
        """Our own lines, those of the user before those that are shipped."""
        return self._overrides

    @property
    def compiled(self) -> int:
        """Rate cards that are ready."""
        return len(self._cards)

    def prepare(self, providers: Iterable[str]) -> None:
        """Compile these providers' cards as well; the hash stays, it is of what every book has."""
        for provider in providers:
            if provider in self.providers and provider not in COMPILED_AT_START:
                self._compile(provider)

    @property
    def checked(self) -> date | None:
        """The day on which the table was last compared with what the vendors publish."""
        return self._overrides.checked

    def age_days(self, at: datetime) -> int | None:
        """Whole days since the table was last checked; None where nobody ever said that it was."""
        return (at.astimezone(UTC).date() - self.checked).days if self.checked else None

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider that has a price."""
        ours = [line.provider for line in self._overrides.prices]
        return tuple(dict.fromkeys([*self._library_providers, *ours]))

    @property
    def lists(self) -> tuple[str, ...]:
        """Every name that a provider of the settings may bill by: what has a price, or short names for what has."""
        return tuple(dict.fromkeys([*self.providers, *(line.provider for line in self._overrides.aliases)]))

    def models(self, provider: str) -> tuple[str, ...]:
        """Every model of a provider, by the id of its listing."""
        return tuple(self._shelf(provider).listings)

    def aliases(self, provider: str) -> tuple[AliasLine, ...]:
        """The short names that a provider's requests may use."""
        return tuple(line for line in self._overrides.aliases if line.provider == provider)

    def resolve(self, provider: str, name: str, *, at: datetime) -> str:
        """Turn a short or aliased name into the one that is sent; `UnknownPrice` if it has no price.

        A full name is kept as it was given (`claude-sonnet-4-5-20250929` stays dated, `[1m]` stays on).
        """
        asked = plain(name)
        alias = self._alias(provider, asked, at)
        if alias is None or "*" in alias.match:
            self._may_be(provider, asked, at)  # refuses what nobody knows, unless the policy holds it at the dearest
            return name.strip()
        self._meaning(alias.use_provider, alias.use, at)
        return alias.use + name.strip().lower().removeprefix(asked)

    def card(self, provider: str, model: str, *, at: datetime, modifiers: Modifiers = STANDARD) -> RateCard:
        """The card that a model's answer settles at. `UnknownPrice` when model or modifier has no price."""
        try:
            meaning = self._meaning(provider, plain(model), at)
        except UnknownPrice:
            if self._overrides.unknown_model != "reserve_dearest":
                raise
            return self._dearest(provider, model, modifiers, at)
        return self._compiled(meaning, modifiers, at).card

    def reachable(
        self, provider: str, model: str, *, start: datetime, end: datetime, modifiers: Iterable[Modifiers]
    ) -> tuple[RateCard, ...]:
        """Every card that a request may meet: each date in [start, end], each modifier, each model it may mean."""
        wanted = tuple(modifiers) or (STANDARD,)
        found: dict[str, RateCard] = {}
        for moment in self._moments(provider, plain(model), start, max(start, end)):
            for each in wanted:
                card = self.card(provider, model, at=moment, modifiers=each)
                found[card.id] = card
            for meaning in self._may_be(provider, plain(model), moment):
                found.update((card.id, card) for card in self._priced(meaning, wanted, moment))
        return tuple(found.values())

    def describe(self, provider: str, model: str, *, at: datetime) -> Description:
        """Everything that the book knows of a name at a time."""
        meaning = self._meaning(provider, plain(model), at)
        others = (each.listing.id for each in self._may_be(provider, plain(model), at))
        return Description(
            provider=provider,
            asked=model,
            resolved=self.resolve(provider, model, at=at),
            model=meaning.listing.id,
            may_be=tuple(dict.fromkeys(each for each in others if each != meaning.listing.id)),
            offers=tuple(self._offers(meaning, at)),
            changes=meaning.listing.changes,
        )

    # --- what a name means

    def _shelf(self, provider: str) -> _Shelf:
        """A provider's models, read on first use; `UnknownPrice` names the nearest provider."""
        if provider not in self._shelves:
            if provider not in self.providers:
                near = difflib.get_close_matches(provider, self.providers, n=1)
                raise UnknownPrice(f"the provider {provider!r}", "a price list", nearest=near[0] if near else "")
            self._shelves[provider] = _Shelf(self._listings(provider))
        return self._shelves[provider]

    def _listings(self, provider: str) -> Iterator[Listing]:
        """The library's listings with our figures and dates, then the models that only we price."""
        from crewcap.prices import genai  # noqa: PLC0415  (as above)

        known = genai.listings(provider)
        ids = {listing.id for listing in known}
        for listing in known:
            yield self._ours(listing)
        for model in dict.fromkeys(line.model for line in self._overrides.prices if line.provider == provider):
            if model not in ids and "*" not in model:
                yield self._ours(Listing(provider=provider, id=model, spellings=(model,)))

    def _ours(self, listing: Listing) -> Listing:
        """A listing whose dates include those of our own lines for it."""
        lines = (
            [line.span for line in self._overrides.prices if _is_for(line.provider, (line.model,), listing)]
            + [line.span for line in self._overrides.factors if _is_for(line.provider, line.models, listing)]
            + [line.span for line in self._overrides.discounts if _is_for(line.provider, line.models, listing)]
        )
        changes = {*listing.changes, *(moment for span in lines for moment in span.changes)}
        return replace(listing, changes=tuple(sorted(changes)))

    def _alias(self, provider: str, asked: str, at: datetime) -> AliasLine | None:
        lines = self._aliases.get((provider, asked))
        if lines is None:
            if len(self._aliases) >= _REMEMBERED_NAMES:
                self._aliases.clear()
            lines = tuple(line for line in self.aliases(provider) if fnmatchcase(asked, line.match))
            self._aliases[provider, asked] = lines
        return next((line for line in lines if line.span.holds(at)), None)

    def _meaning(self, provider: str, asked: str, at: datetime) -> _Meaning:
        """The listing that a plain name means, through at most one alias."""
        return self._meanings_of(provider, asked, at)[0]

    def _may_be(self, provider: str, asked: str, at: datetime) -> tuple[_Meaning, ...]:
        """The listings that a vendor or an agent may take the name for instead."""
        try:
            return self._meanings_of(provider, asked, at)[1:]
        except UnknownPrice:
            if self._overrides.unknown_model != "reserve_dearest":
                raise
            return ()

    def _meanings_of(self, provider: str, asked: str, at: datetime) -> tuple[_Meaning, ...]:
        alias = self._alias(provider, asked, at)
        key = (provider, asked) if alias is None else alias
        if key not in self._meanings:
            if len(self._meanings) >= _REMEMBERED_NAMES:
                self._meanings.clear()
            self._meanings[key] = self._named(provider, asked) if alias is None else self._aliased(alias)
        return self._meanings[key]

    def _named(self, provider: str, asked: str, factor: Decimal = _ONE) -> tuple[_Meaning, ...]:
        """The listing of a full name first, then the dated editions that have listings of their own."""
        shelf = self._shelf(provider)
        model = shelf.directory.find(asked)
        if model is None:
            short = asked[:100]
            aliases = [line.match for line in self.aliases(provider)]
            raise UnknownPrice(f"{provider}/{short}", nearest=shelf.directory.nearest(short, others=aliases))
        ids = (model, *sorted(shelf.directory.may_be(asked)))
        return tuple(_Meaning(shelf.listings[each], factor) for each in ids)

    def _aliased(self, alias: AliasLine) -> tuple[_Meaning, ...]:
        """What an alias means now, then everything that it may be."""
        patterns = alias.may_be
        shelf = self._shelf(alias.use_provider)
        others = [each for each in shelf.listings.values() if matches(patterns, each.id)]
        return (
            *self._named(alias.use_provider, alias.use, alias.factor),
            *(_Meaning(each, alias.factor) for each in others),
        )

    def _moments(self, provider: str, asked: str, start: datetime, end: datetime) -> list[datetime]:
        """One moment of each epoch of everything that the name may mean between two moments."""
        found = {start}
        turns = (moment for line in self.aliases(provider) for moment in line.span.changes)
        found.update(turn for turn in turns if start < turn <= end)
        for moment in sorted(found):
            try:
                meanings = self._meanings_of(provider, asked, moment)
            except UnknownPrice:
                if self._overrides.unknown_model != "reserve_dearest":
                    raise
                meanings = tuple(_Meaning(each) for each in self._shelf(provider).listings.values())
            for meaning in meanings:
                found.update(meaning.listing.moments(start, end))
        return sorted(found)

    # --- what it costs

    def _compile_all(self) -> str:
        """Compile the cards of the large providers; the hash of all of them, whatever else was compiled before."""
        ids = [id_ for provider in COMPILED_AT_START for id_ in self._compile(provider)]
        said = (self._version, repr(self._overrides), sorted(ids))
        return hashlib.blake2b(repr(said).encode(), digest_size=6).hexdigest()

    def _compile(self, provider: str) -> list[str]:
        """Compile every card of a provider: each model, epoch and set of modifiers that has a price; their ids."""
        geos = {line.geo for line in self._overrides.factors} - {STANDARD.geo}
        own = {line.when.geo for line in self._overrides.prices}  # may be sold there and nowhere else
        conditions = [
            (Modifiers(speed=speed, tier=tier), [Modifiers(speed=speed, tier=tier, geo=geo) for geo in geos])
            for speed, tier in product(SPEEDS, TIERS)
        ]
        found: list[Compiled | None] = []
        for listing in self._shelf(provider).listings.values():
            meaning = _Meaning(listing)
            for moment, (plainly, elsewhere) in product(listing.epochs(), conditions):
                found.append(self._attempt(meaning, plainly, moment))
                is_sold = found[-1] is not None
                sold_there = [each for each in elsewhere if is_sold or each.geo in own]
                found += [self._attempt(meaning, each, moment) for each in sold_there]
        return [each.card.id for each in found if each is not None]

    def _attempt(self, meaning: _Meaning, modifiers: Modifiers, at: datetime) -> Compiled | None:
        """The compiled card, or None where nobody priced it."""
        try:
            return self._compiled(meaning, modifiers, at)
        except UnknownPrice:
            return None

    def _compiled(self, meaning: _Meaning, modifiers: Modifiers, at: datetime) -> Compiled:
        listing = meaning.listing
        key = (listing.provider, listing.id, modifiers, listing.epoch(at), meaning.factor)
        found = self._cards.get(key)
        if found is None:
            found = self._cards[key] = self._make(listing, modifiers, at, meaning.factor * self._discount(listing, at))
        return found

    def _make(self, listing: Listing, modifiers: Modifiers, at: datetime, factor: Decimal) -> Compiled:
        sheet, geo_factor = self._sheet(listing, modifiers, at)
        return compile_card(
            sheet,
            provider=listing.provider,
            model=listing.id,
            sizes=self._sizes(listing),
            factor=factor * geo_factor,
        )

    def _sheet(self, listing: Listing, modifiers: Modifiers, at: datetime) -> tuple[Sheet, Decimal]:
        """The first sheet that fits, ours before the library's, and the factor of the geo."""
        exact = self._our_sheet(listing, modifiers, at)
        if exact is not None:
            return exact, _ONE
        factor = self._geo_factor(listing, modifiers.geo, at)
        is_plain = modifiers.geo == STANDARD.geo
        ours = None if is_plain else self._our_sheet(listing, replace(modifiers, geo=STANDARD.geo), at)
        return ours or self._library_sheet(listing, modifiers, at), factor

    def _library_sheet(self, listing: Listing, modifiers: Modifiers, at: datetime) -> Sheet:
        """What the library says; what it does not say is remembered, so that it need not be read for that."""
        key = (listing.provider, listing.id, modifiers.speed, modifiers.tier, listing.epoch(at))
        found = self._silences.get(key) or (self._latest[1] if self._latest and self._latest[0] == key else None)
        if found is None:
            from crewcap.prices import genai  # noqa: PLC0415  (as above)

            found = genai.sheet_at(listing, speed=modifiers.speed, tier=modifiers.tier, at=at)
        if isinstance(found, Sheet):
            self._latest = (key, found)
            return found
        if len(self._silences) < _REMEMBERED_SILENCES:
            self._silences[key] = found
        raise UnknownPrice(found.model, found.words(at))

    def _our_sheet(self, listing: Listing, modifiers: Modifiers, at: datetime) -> Sheet | None:
        lines = (line for line in self._overrides.prices if line.when == modifiers and line.span.holds(at))
        return next((line.sheet for line in lines if _is_for(line.provider, (line.model,), listing)), None)

    def _geo_factor(self, listing: Listing, geo: str, at: datetime) -> Decimal:
        if geo == STANDARD.geo:
            return _ONE
        theirs = (line for line in self._overrides.factors if line.provider == listing.provider and line.geo == geo)
        lines = [line for line in theirs if line.span.holds(at)]
        found = next((line.tokens for line in lines if matches(line.models, listing.id)), None)
        if found is not None:
            return found
        if not lines:
            raise UnknownPrice(f"{listing.provider}/{listing.id}", f"a price in the geo {geo!r}")
        return max(_ONE, *(line.tokens for line in lines))  # a model that is not named there yet: never below the bill

    def _discount(self, listing: Listing, at: datetime) -> Decimal:
        lines = (line for line in self._overrides.discounts if line.span.holds(at))
        return next((line.factor for line in lines if _is_for(line.provider, line.models, listing)), _ONE)

    def _sizes(self, listing: Listing) -> Sizes:
        """Our figures where we have them, else the library's."""
        lines = [line.sizes for line in self._overrides.models if _is_for(line.provider, line.models, listing)]
        return Sizes(
            context_window=_first([*(each.context_window for each in lines), listing.context_window]),
            max_output=_first([each.max_output for each in lines]),
            image_tokens=_first([each.image_tokens for each in lines]),
        )

    def _priced(self, meaning: _Meaning, wanted: Sequence[Modifiers], at: datetime) -> Iterator[RateCard]:
        """Cards of a model that a name may come to mean; what it does not sell, it cannot bill."""
        cards = (self._attempt(meaning, each, at) for each in wanted)
        return (each.card for each in cards if each is not None)

    def _offers(self, meaning: _Meaning, at: datetime) -> Iterator[Offer]:
        geos = dict.fromkeys([STANDARD.geo, *(line.geo for line in self._overrides.factors)])
        for speed, tier, geo in product(SPEEDS, TIERS, geos):
            modifiers = Modifiers(speed=speed, geo=geo, tier=tier)
            compiled = self._attempt(meaning, modifiers, at)
            if compiled is not None:
                listed = self._make(meaning.listing, modifiers, at, meaning.factor)
                yield Offer(
                    modifiers=modifiers,
                    card=compiled.card,
                    listed=listed.card,
                    source=compiled.source,
                    is_rounded=compiled.is_rounded,
                )

    def _dearest(self, provider: str, model: str, modifiers: Modifiers, at: datetime) -> RateCard:
        """A card that no card of the provider is dearer than, for a model that nobody knows."""
        listings = self._shelf(provider).listings.values()
        compiled = [self._attempt(_Meaning(each), modifiers, at) for each in listings]
        cards = [each.card for each in compiled if each is not None]
        if not cards:
            raise UnknownPrice(f"{provider}/{model[:100]}")
        return dearest_of(cards, model=plain(model)[:100])


def dearest_of(cards: Sequence[RateCard], *, model: str) -> RateCard:
    """One card whose every rate is the dearest of all these cards' rates, tiers included."""
    every = [rates for card in cards for rates in (card.rates, *(tier.rates for tier in card.tiers))]
    pieces = {piece for card in cards for piece in card.per_piece}
    dearest = Rates(
        input=max(each.input for each in every),
        cache_read=max(each.cache_read for each in every),
        write_5m=max(each.write_5m for each in every),
        write_1h=max(each.write_1h for each in every),
        output=max(each.output for each in every),
    )
    return RateCard(
        provider=cards[0].provider,
        model=model,
        rates=dearest,
        per_piece={piece: max(card.per_piece.get(piece, 0) for card in cards) for piece in sorted(pieces)},
        context_window=None,
        image_tokens=max(card.image_tokens for card in cards),
        id=f"dearest-{hashlib.blake2b(repr(dearest).encode(), digest_size=6).hexdigest()}",
    )


def _is_for(provider: str, patterns: tuple[str, ...], listing: Listing) -> bool:
    return provider == listing.provider and matches(patterns, listing.id)


def _first(values: Iterable[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)
