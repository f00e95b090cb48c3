"""Our own dated prices, read from TOML and laid over the library's: first match wins, strangers' keys are refused.

    [policy]                what happens to an unknown model; how old prices may get
    [checked]               when and against which version of the library this file was last compared
    [[price]]               dollars for a model (or a pattern of models), under conditions, from a day, until a day
    [[factor]]              what tokens are multiplied by under conditions; never what is billed by the piece
    [[discount]]            a negotiated rate, in percent off tokens
    [[alias]]               what a short name means, and which other models it may come to mean
    [[model]]               context window, largest output, most tokens of one image

Prices are strings of dollars ("0.25"), so that no float is near them; a whole TOML number or a decimal one is read
exactly too. Days are UTC; `from` is the first day, `until` the first day on which the line no longer holds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

from crewcap.core.pricing import Modifiers
from crewcap.errors import SettingsError
from crewcap.prices.sheet import Price, Sheet, Sizes
from crewcap.prices.tables import Table

UnknownModel = Literal["refuse", "reserve_dearest"]

_IN_TOML = {"in": "input", "out": "output", "read": "cache_read", "write_5m": "write_5m", "write_1h": "write_1h"}
_PERCENT = Decimal(100)
LARGEST_BYTES = 2 * 2**20
LARGEST_USD = Decimal(1_000_000)  # per million tokens, or each: more is a slip of the pen, and books could not hold it
_FINEST = 12  # decimals that are read: a pico-dollar
_HEADER = re.compile(r"\s*\[\[\s*(?P<kind>[a-z]+)\s*\]\]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The days on which a line holds."""

    start: datetime | None = None
    end: datetime | None = None  # the first moment on which it no longer holds

    def holds(self, at: datetime) -> bool:
        """Whether the line holds at this moment."""
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    @property
    def changes(self) -> tuple[datetime, ...]:
        """The moments at which it begins and ends to hold."""
        return tuple(moment for moment in (self.start, self.end) if moment is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a line of ours stands."""

    file: str = ""
    line: int = 0  # 0 = not known: it is no [[table]] of its own

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


_NOWHERE = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """What a model costs, in our own words."""

    provider: str
    model: str  # an id, or a pattern with *
    when: Modifiers
    span: Span
    sheet: Sheet
    place: Place = field(default=_NOWHERE, compare=False, repr=False)  # a book's hash does not know where it was said


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorLine:
    """What tokens are multiplied by."""

    provider: str
    models: tuple[str, ...]
    geo: str
    tokens: Decimal
    span: Span
    place: Place = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountLine:
    """A negotiated rate."""

    provider: str
    models: tuple[str, ...]
    percent: Decimal
    span: Span
    place: Place = field(default=_NOWHERE, compare=False, repr=False)

    @property
    def factor(self) -> Decimal:
        """What is left to pay of one dollar."""
        return (_PERCENT - self.percent) / _PERCENT


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasLine:
    """What a short name means."""

    provider: str  # the provider whose requests use the name
    match: str  # a name, or a pattern with *
    use_provider: str
    use: str
    may_be: tuple[str, ...]  # other models, of the same provider as `use`, that vendor or agent may take it for
    factor: Decimal
    span: Span
    place: Place = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLine:
    """Figures of models that the library does not know."""

    provider: str
    models: tuple[str, ...]
    sizes: Sizes
    place: Place = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Everything that one or more files of ours say; what stands first wins."""

    unknown_model: UnknownModel = "refuse"
    max_age_days: int = 45
    library: str = ""  # the version that the file was compared with
    checked: date | None = None
    prices: tuple[PriceLine, ...] = ()
    factors: tuple[FactorLine, ...] = ()
    discounts: tuple[DiscountLine, ...] = ()
    aliases: tuple[AliasLine, ...] = ()
    models: tuple[ModelLine, ...] = ()
    said: frozenset[str] = field(default=frozenset(), compare=False, repr=False)  # which policies were spoken

    def over(self, under: Overrides) -> Overrides:
        """These lines before the other's; this one's policy where it has one."""
        return replace(
            under,
            unknown_model=self.unknown_model if "unknown_model" in self.said else under.unknown_model,
            max_age_days=self.max_age_days if "max_age_days" in self.said else under.max_age_days,
            library=self.library or under.library,
            checked=self.checked or under.checked,
            prices=(*self.prices, *under.prices),
            factors=(*self.factors, *under.factors),
            discounts=(*self.discounts, *under.discounts),
            aliases=(*self.aliases, *under.aliases),
            models=(*self.models, *under.models),
        )


def shipped() -> Overrides:
    """The file that comes with crewcap."""
    return parse(files("crewcap.prices").joinpath("overrides.toml").read_text("utf-8"), name="overrides.toml")


def read(path: str) -> Overrides:
    """A user's own file; `SettingsError` names file, line and key of what is wrong."""
    try:
        text = _read(Path(path).expanduser())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the price file {path} cannot be read: {error}", help="name a TOML file") from error
    return parse(text, name=path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise SettingsError(
            f"the price file {path} is larger than {LARGEST_BYTES // 2**20} MiB", help="name a file of prices"
        )
    return content.decode()


def parse(text: str, *, name: str) -> Overrides:
    """Turn TOML into lines."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, and nesting without end
        raise SettingsError(f"{name} is not TOML: {str(error)[:200]}", help="one key = value a line") from error
    top = Table(document, where=name, lines=_places(text, document))
    policy = top.table("policy")
    checked = top.table("checked")
    said = frozenset(policy.left())
    overrides = Overrides(
        unknown_model=policy.take("unknown_model", _unknown_model, "refuse"),
        max_age_days=policy.take("max_age_days", _count, 45),
        library=checked.take("library", _text, ""),
        checked=checked.take("on", _day, None),
        prices=tuple(
            replace(_price_line(line), place=Place(file=name, line=line.line)) for line in top.tables("price")
        ),
        factors=tuple(
            replace(_factor_line(line), place=Place(file=name, line=line.line)) for line in top.tables("factor")
        ),
        discounts=tuple(
            replace(_discount_line(line), place=Place(file=name, line=line.line)) for line in top.tables("discount")
        ),
        aliases=tuple(
            replace(_alias_line(line), place=Place(file=name, line=line.line)) for line in top.tables("alias")
        ),
        models=tuple(
            replace(_model_line(line), place=Place(file=name, line=line.line)) for line in top.tables("model")
        ),
        said=said,
    )
    for table in (policy, checked, top):
        table.finish()
    return overrides


def _places(text: str, document: Mapping[str, Any]) -> dict[str, list[int]]:
    """The lines on which the tables of each array begin; none where that is not sure (a header inside a long text)."""
    found: dict[str, list[int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            found.setdefault(header["kind"], []).append(number)
    return {kind: lines for kind, lines in found.items() if _length(document.get(kind)) == len(lines)}


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


@lru_cache(maxsize=8_192)  # a book asks the same of a model for each way in which it is priced
def matches(patterns: tuple[str, ...], *names: str) -> bool:
    """Whether one of the patterns fits one of the names."""
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _price_line(table: Table) -> PriceLine:
    source = table.take("source", _text, table.name)
    table.take("checked", _day, None)
    line = PriceLine(
        provider=table.need("provider", _text),
        model=table.need("model", _text).lower(),
        when=_when(table.table("when")),
        span=_span(table),
        sheet=_sheet(table, source),
    )
    table.finish()
    return line


def _sheet(table: Table, source: str) -> Sheet:
    base = _kinds(table.table("usd_per_mtok"))
    tiers = sorted((_tier(each) for each in table.tables("above")), key=lambda tier: tier[0])
    strangers = {kind for _, kinds in tiers for kind in kinds} - set(base)
    if not {"input", "output"} <= set(base) or strangers:
        raise SettingsError(
            f"{table.where}: usd_per_mtok needs in, out and every kind that a tier of `above` names",
            help='usd_per_mtok = { in = "3", out = "15" }',
        )
    pieces = table.table("usd_each")
    return Sheet(
        kinds={
            kind: Price(base=usd, above=tuple((start, kinds[kind]) for start, kinds in tiers if kind in kinds))
            for kind, usd in base.items()
        },
        pieces={name: pieces.need(name, _dollars) for name in pieces.left()},
        source=source,
    )


def _tier(table: Table) -> tuple[int, dict[str, Decimal]]:
    return table.need("prompt_tokens", _count), _kinds(table)


def _kinds(table: Table) -> dict[str, Decimal]:
    """Dollars by kind, of the kinds that are named."""
    found = {kind: table.take(word, _dollars, None) for word, kind in _IN_TOML.items()}
    table.finish()
    return {kind: usd for kind, usd in found.items() if usd is not None}


def _factor_line(table: Table) -> FactorLine:
    when = table.table("when")
    line = FactorLine(
        provider=table.need("provider", _text),
        models=table.need("models", _names),
        geo=when.need("geo", _text),
        tokens=table.need("tokens", _dollars),
        span=_span(table),
    )
    table.take("source", _text, "")
    when.finish()
    table.finish()
    return line


def _discount_line(table: Table) -> DiscountLine:
    line = DiscountLine(
        provider=table.need("provider", _text),
        models=table.take("models", _names, ("*",)),
        percent=table.need("percent", _percent),
        span=_span(table),
    )
    table.take("source", _text, "")
    table.finish()
    return line


def _alias_line(table: Table) -> AliasLine:
    provider, _, model = table.need("use", _text).lower().partition("/")
    if not model:
        raise SettingsError(f"{table.where}: use names no provider", help='use = "anthropic/claude-sonnet-5"')
    line = AliasLine(
        provider=table.take("provider", _text, provider),
        match=table.need("match", _text).lower(),
        use_provider=provider,
        use=model,
        may_be=table.take("may_be", _names, ()),
        factor=table.take("factor", _dollars, Decimal(1)),
        span=_span(table),
    )
    table.finish()
    return line


def _model_line(table: Table) -> ModelLine:
    line = ModelLine(
        provider=table.need("provider", _text),
        models=table.need("models", _names),
        sizes=Sizes(
            context_window=table.take("context_window", _count, None),
            max_output=table.take("max_output", _count, None),
            image_tokens=table.take("image_tokens", _count, None),
        ),
    )
    table.take("source", _text, "")
    table.finish()
    return line


def _when(table: Table) -> Modifiers:
    when = Modifiers(
        speed=table.take("speed", _text, "standard"),
        geo=table.take("geo", _text, "global"),
        tier=table.take("tier", _text, "standard"),
    )
    table.finish()
    return when


def _span(table: Table) -> Span:
    start, end = table.take("from", _day, None), table.take("until", _day, None)
    if start is not None and end is not None and end <= start:
        raise SettingsError(f"{table.where} ends before it begins", help="`until` is the first day without it")
    return Span(start=_midnight(start), end=_midnight(end))


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _refuse_unless(right: bool, reason: str) -> None:  # noqa: FBT001  (reads as a sentence)
    if not right:
        raise ValueError(reason)


def _text(value: Any) -> str:
    _refuse_unless(isinstance(value, str) and value != "", "is not a text")
    return str(value)


def _names(value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    _refuse_unless(is_list, 'is not a list of names: ["claude-opus-5*"]')
    return tuple(name.lower() for name in value)


def _count(value: Any) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    _refuse_unless(is_count, "is not a whole number above zero")
    return int(value)


def _day(value: Any) -> date:
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    _refuse_unless(is_day, "is not a day; write 2026-11-20 without quotes")
    return cast("date", value)


def _dollars(value: Any) -> Decimal:
    is_number = isinstance(value, (str, int, Decimal)) and not isinstance(value, bool)
    _refuse_unless(is_number, 'is not a number; write "0.25"')
    number = Decimal(value)
    _refuse_unless(number.is_finite() and number >= 0, "is not zero or more")
    _refuse_unless(number <= LARGEST_USD, f"is more than {LARGEST_USD:,}")
    _refuse_unless(-int(number.as_tuple().exponent) <= _FINEST, "has too many decimals")
    return number


def _percent(value: Any) -> Decimal:
    number = _dollars(value)
    _refuse_unless(number < _PERCENT, "leaves nothing to pay; a discount is below 100")
    return number


def _unknown_model(value: Any) -> UnknownModel:
    _refuse_unless(value in {"refuse", "reserve_dearest"}, 'is neither "refuse" nor "reserve_dearest"')
    return cast("UnknownModel", value)
