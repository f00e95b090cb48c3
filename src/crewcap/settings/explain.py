"""Every value with its origin, for `config show`; what is odd or not served yet, for `config check`; the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from crewcap.core.admission import Slots
from crewcap.core.hours import Hours
from crewcap.core.money import Money
from crewcap.core.watch_rules import Rule
from crewcap.settings import watch
from crewcap.settings.hosts import named_lists
from crewcap.settings.keysource import KeySource
from crewcap.settings.locate import Path, dotted
from crewcap.settings.models import GatewayFile, ProviderFile, Settings, SettingsFile, SlotsFile
from crewcap.settings.served import DEFAULT, BudgetLine, GatewaySettings, ProviderSettings
from crewcap.settings.values import show_duration, show_money, show_share, show_size

HIDDEN = {
    "source",
    "origins",
    "routes",
    "budgets",
    "rates",
    "timezone",
    "written_routes",
    "price_overrides",
    "store_url",
    "tells_of_money",
    "slots",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value that is in force."""

    key: str  # as written in the file: repos."acme/shop".check
    value: str  # as written in the file: "45m"
    plain: object  # as JSON has it; money is a decimal string
    origin: str  # "default", or the file and its line


class _AsWritten(GenerateJsonSchema):
    """A default stands in the schema as it would be written: `"45m"`, not 2700 seconds."""

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """The library's own, with the value as the field's serializer writes it."""
        writer = schema["schema"].get("serialization", {})
        if schema.get("default") is not None and writer.get("type") == "function-plain":
            schema = {**schema, "default": writer["function"](schema["default"])}
        return super().default_schema(schema)


def rows(settings: Settings) -> tuple[Row, ...]:
    """Every value in force, in the order of the file's tables."""
    tables = list(SettingsFile.model_fields)
    return tuple(
        Row(
            key=dotted(path),
            value=spelled(value),
            plain=_plain(value),
            origin=settings.origins.get(dotted(path), DEFAULT),
        )
        for path, value in sorted(_leaves(settings), key=lambda leaf: tables.index(str(leaf[0][0])))
    )


def schema() -> Mapping[str, Any]:
    """JSON Schema of the settings file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **SettingsFile.model_json_schema(by_alias=True, schema_generator=_AsWritten),
        "title": "crewcap settings",
    }


def warnings(settings: Settings) -> tuple[str, ...]:
    """What is allowed and probably not meant: the smaller of two limits binds."""
    return tuple(_odd_caps(settings)) + tuple(_odd_budgets(settings)) + tuple(_loosened(settings))


def unserved(settings: Settings) -> tuple[str, ...]:
    """What the file says and this version does not do yet, each with what holds meanwhile."""
    return tuple(_unserved_providers(settings)) + tuple(_unserved_triggers(settings))


def _leaves(settings: Settings) -> Iterator[tuple[Path, object]]:
    for name, value in ((each.name, getattr(settings, each.name)) for each in fields(settings)):
        if name not in HIDDEN and value != ():
            yield from _walk(("defaults",) if name == "defaults" else (name,), value)
        if name == "defaults":
            yield from _budget_leaves(settings)
            yield from _slot_leaves(settings.slots)
    for index, route in enumerate(settings.written_routes):
        yield from _walk(("routes", index), route, only_said=True)
    if settings.price_overrides:
        yield ("prices", "overrides"), settings.price_overrides
    if settings.store_url:
        yield ("store", "url"), settings.store_url


def _budget_leaves(settings: Settings) -> Iterator[tuple[Path, object]]:
    yield ("budgets", "timezone"), settings.timezone
    for line in settings.budgets:
        yield ("budgets", line.scope, line.window), line.amount
    for rate in settings.rates:
        window = (rate.window,) if rate.window else ()
        yield ("budgets", rate.scope, rate.kind, *window), rate.count


def _slot_leaves(slots: Slots) -> Iterator[tuple[Path, object]]:
    for name in SlotsFile.model_fields:
        yield ("slots", name), getattr(slots, name)
    for scope, limit in slots.named.items():
        yield ("slots", scope), limit


def _walk(path: Path, value: object, *, only_said: bool = False) -> Iterator[tuple[Path, object]]:
    match value:
        case BaseModel():
            for name, field in type(value).model_fields.items():
                inner = getattr(value, name)
                skip = (only_said or inner in (None, "", (), {})) and name not in value.model_fields_set
                if (not skip and inner is not None and name != "name") or (name == "name" and only_said and inner):
                    yield from _walk((*path, field.alias or name), _shown(name, inner), only_said=only_said)
        case ProviderSettings() | GatewaySettings():
            yield from _said(path, value)
        case Mapping():
            for key, inner in value.items():
                yield from _walk((*path, str(key)), inner, only_said=only_said)
        case tuple() if value and isinstance(value[0], BaseModel):
            for index, inner in enumerate(value):
                yield from _walk((*path, index), inner, only_said=True)
        case _:
            yield path, value


def _said(path: Path, value: ProviderSettings | GatewaySettings) -> Iterator[tuple[Path, object]]:
    """What was made of a table, under the names that the file has for it."""
    written = ProviderFile if isinstance(value, ProviderSettings) else GatewayFile
    for name in (each.name for each in fields(value) if each.name != "name"):
        if (inner := getattr(value, name)) is not None:
            yield (*path, written.model_fields[name].alias or name), _shown(name, inner)


def _shown(name: str, value: object) -> object:
    """A value whose unit is in its field's name, as a file has it."""
    if not isinstance(value, int):
        return value
    if name in {"share", "batch_share"}:
        return show_share(value)
    if name.endswith("_bytes"):
        return show_size(value)
    return show_duration(value) if name.endswith("_s") else value


def spelled(value: object) -> str:
    """A value as a settings file writes it."""
    match value:
        case Money():
            return show_money(value)
        case KeySource() | Rule():
            return value.written()
        case bool():
            return str(value).lower()
        case tuple() | frozenset():
            return (
                f"[{', '.join(spelled(item) for item in (sorted(value) if isinstance(value, frozenset) else value))}]"
            )
        case str() | Hours():
            return dotted_text(str(value))
        case _:
            return str(value)


def _plain(value: object) -> object:
    match value:
        case Money():
            return value.exact()
        case KeySource():
            return {value.kind: list(value.value) if isinstance(value.value, tuple) else value.value}
        case Rule():
            return watch.plain(value)
        case tuple() | frozenset():
            return [_plain(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
        case Hours():
            return str(value)
        case _:
            return value


def dotted_text(text: str) -> str:
    """A text as TOML writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _odd_caps(settings: Settings) -> Iterator[str]:
    defaults = settings.defaults
    if defaults.cap > defaults.issue_cap:
        yield f"defaults.cap {defaults.cap} is above defaults.issue_cap {defaults.issue_cap}; the smaller binds"
    for index, route in enumerate(settings.written_routes):
        if route.cap is not None and route.cap > defaults.cap:
            yield f"routes[{index}].cap {route.cap} is above defaults.cap {defaults.cap}; the smaller binds"


def _loosened(settings: Settings) -> Iterator[str]:
    for host, registry in settings.registries.items():
        if registry.address is not None:
            who = f"setup of {', '.join(registry.repos)}" if registry.repos else "every setup that has it in `hosts`"
            key = dotted(("registries", host, "address"))
            yield f"{key} lets {who} reach {registry.address}, wherever that is: a loosening"


def _odd_budgets(settings: Settings) -> Iterator[str]:
    for line in settings.budgets:
        here = dotted(("budgets", line.scope, line.window))
        if not line.amount:
            yield f"{here} is 0: everything in {line.scope} is refused"
        for wider in settings.budgets:
            if line.scope == wider.scope and _is_longer(wider, line) and line.amount > wider.amount:
                yield f"{here} {line.amount} is above its {wider.window} {wider.amount}; the smaller binds"
            if wider.scope == "all" != line.scope and line.window == wider.window and line.amount > wider.amount:
                yield f"{here} {line.amount} is above the {wider.amount} of all; the smaller binds"
        if line.amount and line.amount < settings.defaults.cap and line.scope == "all":
            yield f"defaults.cap {settings.defaults.cap} is above {here} {line.amount}; the smaller binds"


def _is_longer(one: BudgetLine, other: BudgetLine) -> bool:
    order = {"day": 0, "week": 1, "month": 2, "total": 3}
    return order[one.window] > order[other.window]


def _unserved_providers(settings: Settings) -> Iterator[str]:
    for name, provider in settings.providers.items():
        if provider.billing == "subscription" and provider.dialect != "anthropic":
            yield f"providers.{name}.billing: its answers do not tell who paid, so they are booked as billed money"
        if provider.share != 100 and provider.dialect == "gemini":
            yield f"providers.{name}.share: Google's answers do not tell of its limits, so nothing can follow them"


def _unserved_triggers(settings: Settings) -> Iterator[str]:
    if settings.triggers:
        yield "triggers are not served yet; until then runs are started by hand, or by a schedule"


def host_lists(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """The named lists of package hosts that some repository uses."""
    used = {name for repo in settings.repos.values() for name in repo.hosts}
    return {name: hosts for name, hosts in named_lists().items() if name in used}
