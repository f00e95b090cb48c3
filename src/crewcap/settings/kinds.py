"""The kinds of values that a settings file holds: how each is read, shown again, and described to editors.

`values.py` reads them; here each has a name and the JSON Schema that stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from crewcap.core.hours import Hours
from crewcap.core.money import Money
from crewcap.core.watch_rules import Rule as RuleOfWatch
from crewcap.settings import values, watch
from crewcap.settings.crons import read_cron
from crewcap.settings.hosts import read_endpoint, read_hosts
from crewcap.settings.keysource import KeySource

_TEXT = {"type": "string"}
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_MONEY = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\d{1,10}(\.\d{1,9})?$"}],
    "description": 'Dollars: 25, 25.00 or "25.00".',
}
_SOURCE = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {
        "env": {"type": "string", "description": "Name of an environment variable."},
        "file": {"type": "string", "description": "Path of a file that its owner alone can read."},
        "command": {"type": "array", "items": {"type": "string"}, "description": "A command that prints it."},
    },
}

_SHOWN = PlainSerializer(values.show_money)

Amount = Annotated[Money, PlainValidator(values.read_money), _SHOWN, WithJsonSchema(_MONEY)]
Cap = Annotated[Money, PlainValidator(values.read_cap), _SHOWN, WithJsonSchema(_MONEY)]
Count = Annotated[int, PlainValidator(values.read_count), WithJsonSchema({"type": "integer", "minimum": 1})]
Attempts = Annotated[
    int, PlainValidator(values.read_attempts), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 10})
]
_DURATION = WithJsonSchema(
    {"type": "string", "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$", "examples": ["45m", "1h30m"]}
)
_SIZE = WithJsonSchema({"type": "string", "pattern": r"^\d{1,6}\s?[MGT]i?B?$", "examples": ["8G", "512M"]})
Duration = Annotated[int, PlainValidator(values.read_duration), PlainSerializer(values.show_duration), _DURATION]
Share = Annotated[
    int,
    PlainValidator(values.read_share),
    PlainSerializer(values.show_share),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,3}\s?%$"}),
]
Size = Annotated[int, PlainValidator(values.read_size), PlainSerializer(values.show_size), _SIZE]
Ports = Annotated[
    Mapping[int, str],
    PlainValidator(values.read_ports),
    WithJsonSchema({"type": "object", "additionalProperties": _TEXT, "examples": [{"5432": "127.0.0.1:5432"}]}),
]
Zone = Annotated[str, PlainValidator(values.read_zone), WithJsonSchema({**_TEXT, "examples": ["Europe/Berlin"]})]
BaseUrl = Annotated[str, PlainValidator(values.read_base_url), WithJsonSchema({**_TEXT, "format": "uri"})]
StoreUrl = Annotated[str, PlainValidator(values.read_store_url), WithJsonSchema({**_TEXT, "format": "uri"})]
Source = Annotated[KeySource, PlainValidator(values.read_source), WithJsonSchema(_SOURCE)]
ModelName = Annotated[str, PlainValidator(values.read_model), WithJsonSchema(_TEXT)]
Text = Annotated[str, PlainValidator(values.read_text), WithJsonSchema(_TEXT)]
Texts = Annotated[tuple[str, ...], PlainValidator(values.read_texts), WithJsonSchema(_TEXTS)]
UserName = Annotated[str, PlainValidator(values.read_user), WithJsonSchema({**_TEXT, "examples": ["ana"]})]
Wishes = Annotated[tuple[str, ...], PlainValidator(values.read_wishes), WithJsonSchema(_TEXTS)]
InnerPaths = Annotated[tuple[str, ...], PlainValidator(values.read_inner_paths), WithJsonSchema(_TEXTS)]
Hosts = Annotated[tuple[str, ...], PlainValidator(read_hosts), WithJsonSchema(_TEXTS)]
Endpoint = Annotated[
    str, PlainValidator(read_endpoint), WithJsonSchema({**_TEXT, "examples": ["10.0.0.7:8443", "nexus.internal:8443"]})
]
Keeping = Annotated[int, PlainValidator(values.read_keeping), PlainSerializer(values.show_duration), _DURATION]
FileSize = Annotated[int, PlainValidator(values.read_file_size), PlainSerializer(values.show_size), _SIZE]
Cron = Annotated[str, PlainValidator(read_cron), WithJsonSchema({**_TEXT, "examples": ["0 2 * * *", "@daily"]})]
HoursOfDay = Annotated[
    Hours,
    PlainValidator(values.read_hours),
    PlainSerializer(str),
    WithJsonSchema({**_TEXT, "examples": ["22:00-07:00"]}),
]
Priority = Annotated[
    int, PlainValidator(values.read_priority), WithJsonSchema({"type": "integer", "minimum": -100, "maximum": 100})
]
Places = Annotated[
    int, PlainValidator(values.read_slots), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 1_000})
]
Offers = Annotated[
    tuple[Money, ...],
    PlainValidator(values.read_offers),
    PlainSerializer(lambda amounts: [values.show_money(amount) for amount in amounts]),
    WithJsonSchema({"type": "array", "items": _MONEY, "minItems": 1, "maxItems": 4}),
]
Listen = Annotated[str, PlainValidator(values.read_listen), WithJsonSchema({**_TEXT, "examples": ["127.0.0.1:8787"]})]

WatchRule = Annotated[
    RuleOfWatch, PlainValidator(watch.read), PlainSerializer(watch.plain), WithJsonSchema(watch.JSON_SCHEMA)
]

Effort = Literal["", "low", "medium", "high", "xhigh", "max"]
SandboxChoice = Literal["auto", "bubblewrap", "landlock", "unconfined"]
