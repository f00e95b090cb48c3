"""From a settings file to `Settings`, or to one clear `SettingsError`.

Three steps, each of which can refuse: the text becomes TOML values (`parse`), the values become a `SettingsFile`
(`validate`), and that becomes `Settings` with every default filled in (`resolve`). Messages name file, line, key,
what is wrong and the right spelling; no message holds a secret.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from crewcap.core.limits import COUNT_KINDS
from crewcap.core.scrub import looks_secret
from crewcap.errors import SettingsError, UnsafeEnvironment
from crewcap.settings import locate
from crewcap.settings.keysource import refuse_shared_file
from crewcap.settings.locate import dotted
from crewcap.settings.misplaced import Misplaced
from crewcap.settings.models import Part, Settings, SettingsFile
from crewcap.settings.place import find
from crewcap.settings.resolve import resolve
from crewcap.settings.values import SOURCE_HELP, Written, Wrong, nearest, quoted

LARGEST_FILE = 1 << 20
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)\Z")
_SPELLINGS = (  # a line that is not TOML, and what was probably meant
    (r"\s*(?P<scope>(?:key|team|user|repo|issue|run|workflow):[^\s=\"']+)",
     'a scope is written between quotes: "{scope}" = ...'),
    (r"\s*\[repos\.(?P<name>[^\"'\]\s]+/[^\"'\]\s]+)\]",
     'a name with a slash is written between quotes: [repos."{name}"]'),
    (r".*=\s*\$?(?P<whole>\d+),(?P<part>\d{1,2})\b", "money is written with a point: {whole}.{part}"),
    (r".*=\s*\$(?P<amount>\d+(?:\.\d+)?)\s*(?:#.*)?\Z", "money is written without a sign: {amount}"),
    (r".*=\s*(?P<text>\d+[smhd](?:\d+[smh])*)\b", 'a duration is written between quotes: "{text}"'),
    (r".*=\s*(?P<text>\d+)\s?%", 'a share is written between quotes: "{text}%"'),
    (r".*=\s*(?P<text>[A-Za-z][\w.:/@-]{0,23})\s*(?:#.*)?\Z", 'a text is written between quotes: "{text}"'),
)  # fmt: skip

Model = TypeVar("Model", bound=Part)
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML text that was parsed, and where its keys stand."""

    name: str  # the file, as messages call it
    values: Mapping[str, Any]
    places: Mapping[Place, int]

    def where(self, path: Place) -> str:
        """`/etc/crewcap.toml, line 7`, as near as is known."""
        line = locate.nearest_line(self.places, path)
        return f"{self.name}, line {line}" if line else self.name

    def origin(self, path: Place) -> str:
        """`/etc/crewcap.toml:7`, as `config show` prints it."""
        line = locate.nearest_line(self.places, path)
        return f"{self.name}:{line}" if line else self.name

    def wrong(self, path: Place, message: str, help_: str) -> SettingsError:
        """The error for one key of this document."""
        key = f": {dotted(path)}" if path else ""
        return SettingsError(f"{self.where(path)}{key}: {message}", help=help_)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a file that was named, of `~/.config/crewcap/config.toml`, or the defaults of no file at all."""
    found = find(path, environ)
    if found is None:
        return settings_of(Document(name="", values={}, places={}), environ)
    settings = settings_of(parse(_read(found), name=str(found)), environ)
    _refuse_shared_keys(settings, environ)
    return settings


def settings_of(document: Document, environ: Mapping[str, str] | None = None) -> Settings:
    """What a parsed file means; the environment says which providers there are, where the file says none."""
    written = validate(SettingsFile, document)
    said = set(document.places)
    try:
        return resolve(written, source=document.name, origin=document.origin, said=said, environ=environ or {})
    except Misplaced as error:
        raise document.wrong(error.path, error.message, error.help) from None


def parse(data: bytes, *, name: str) -> Document:
    """TOML values with their lines; refuses what is not UTF-8, not TOML, too large, or holds a pasted secret."""
    if len(data) > LARGEST_FILE:
        raise SettingsError(
            f"{name} is larger than a settings file may be (1 MiB)", help="crewcap init writes a new one"
        )
    text = _decode(data, name).replace("\r\n", "\n")
    try:
        document = Document(name=name, values=tomllib.loads(text, parse_float=Written), places=locate.lines(text))
        _refuse_secrets(document)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, name) from None
    except (RecursionError, ValueError, ArithmeticError):
        raise SettingsError(
            f"{name}: a value is nested too deeply, or a number is too long",
            help="crewcap config schema describes every key",
        ) from None
    return document


def validate(model: type[Model], document: Document) -> Model:
    """The document as a model, or the first thing that is wrong with it."""
    try:
        return model.model_validate(dict(document.values))
    except ValidationError as error:
        _explain(model, document, error)


def _refuse_shared_keys(settings: Settings, environ: Mapping[str, str]) -> None:
    """A key file that others can read is refused before anything starts; one that is not there yet, when it is read."""
    for provider in settings.providers.values():
        if provider.key is not None and provider.key.kind == "file":
            path = provider.key.path(environ)
            with suppress(OSError):
                refuse_shared_file(path, path.stat())


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise SettingsError(f"{path} is a folder, not a settings file", help=f"did you mean {path}/config.toml?")
        if mode & 0o002:
            raise UnsafeEnvironment(f"{path} can be changed by anybody on this machine", help=f"chmod o-w {path}")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise SettingsError(
            f"there is no settings file {path}", help="crewcap init writes one; without --config none is needed"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"the settings file {path} cannot be read: {error.strerror}", help="name another one with --config"
        ) from None


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{name}, line {line}: this is not UTF-8 text", help="save the file as UTF-8") from None


def _syntax_error(message: str, text: str, name: str) -> SettingsError:
    """The parser's complaint with line and column, and the spelling that was probably meant."""
    place = _PLACE.search(message)
    what = message[: place.start()] if place else message
    if "Cannot overwrite a value" in what or "twice" in what or "Duplicate" in what:
        return _duplicate(what, text, name)
    if not place or not place["line"]:
        return SettingsError(f"{name}, at its end: {_small(what)}", help="a quote or a bracket is not closed")
    line, column = int(place["line"]), int(place["column"])
    source = text.split("\n")[line - 1]
    return SettingsError(f"{name}, line {line}, column {column}: {_small(what)}", help=_spelling(source))


def _duplicate(what: str, text: str, name: str) -> SettingsError:
    """A key that is said twice."""
    found = locate.repeat(text)
    if found is None:
        return SettingsError(f"{name}: a key is said twice ({_small(what)})", help="keep one of them")
    key = dotted(found.path) if not looks_secret(dotted(found.path)) else "a key"
    return SettingsError(
        f"{name}, line {found.again}: {key} is said a second time (first on line {found.first})",
        help="keep one of them",
    )


def _small(what: str) -> str:
    return f"{what[:1].lower()}{what[1:]}"


def _spelling(source: str) -> str:
    """What was probably meant by a line that is not TOML. The line itself may hold a secret and is not repeated."""
    if looks_secret(source):
        return SOURCE_HELP
    for pattern, template in _SPELLINGS:
        if match := re.match(pattern, source):
            return template.format(**match.groupdict())
    return "crewcap config schema describes every key"


def _refuse_secrets(document: Document) -> None:
    """A key or token that was pasted anywhere is refused, and its value is printed nowhere."""
    for path, text in _texts(document.values):
        if looks_secret(text):
            shown = tuple(part for part in path if not (isinstance(part, str) and looks_secret(part)))
            raise document.wrong(
                shown, "this looks like a key or token that was pasted (its value is not shown here)", SOURCE_HELP
            )


def _texts(value: object, path: Place = ()) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key), key
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


def _explain(model: type[Part], document: Document, error: ValidationError) -> NoReturn:
    """The first complaint, as one sentence with its place."""
    complaint = error.errors(include_url=False, include_input=True)[0]
    path = tuple(complaint["loc"])
    kind, context = complaint["type"], complaint.get("ctx", {})
    value = complaint["input"]
    if kind == "value_error" and isinstance(context.get("error"), Wrong):
        raise document.wrong(path, context["error"].message, context["error"].help)
    if kind == "extra_forbidden":
        raise document.wrong(path, "there is no such key", _nearest_key(model, path))
    if kind == "missing":
        raise document.wrong(path[:-1], f"`{path[-1]}` is missing", "")
    if kind == "literal_error":
        raise _not_one_of(document, path, str(context["expected"]), value)
    if kind in {"frozen_set_type", "list_type", "set_type"} or (kind == "tuple_type" and not isinstance(value, dict)):
        raise document.wrong(path, f"{quoted(value)} stands where a list is wanted", f"write it as [{quoted(value)}]")
    if kind in {"model_type", "model_attributes_type"} and path[-1] in COUNT_KINDS:
        raise document.wrong(path, f"{quoted(value)} is for no window", f"write it as {path[-1]} = {{ day = {value} }}")
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        raise document.wrong(path, f"{quoted(value)} stands where a table is wanted", f"write it as [{dotted(path)}]")
    if kind == "tuple_type" and isinstance(value, dict):
        raise document.wrong(path, "this is a list of tables", f"write it with two brackets: [[{dotted(path)}]]")
    if kind == "bool_type":
        raise document.wrong(path, f"{quoted(value)} is not true or false", "write true or false, without quotes")
    raise document.wrong(path, f"{quoted(value)} will not do: {_small(complaint['msg'])}", "")


def _not_one_of(document: Document, path: Place, expected: str, value: object) -> SettingsError:
    words = [word for word in re.findall(r"'([^']*)'", expected) if word]
    key = path[:-1] if path[-1:] == ("[key]",) else path
    near = nearest(value, words) if isinstance(value, str) else None
    help_ = f'did you mean "{near}"?' if near else f'write it as "{words[0]}"' if words else ""
    return document.wrong(key, f"{quoted(value)} is not one of {', '.join(words)}", help_)


def _nearest_key(model: type[Part], path: Place) -> str:
    known = known_keys(model, path[:-1])
    near = nearest(str(path[-1]), known)
    if near:
        return f"did you mean `{near}`?"
    elsewhere = [
        table
        for table in known_keys(model, ())
        if str(path[-1]) in known_keys(model, (table,)) and path[:-1] != (table,)
    ]
    if elsewhere:
        return f"`{path[-1]}` belongs under [{elsewhere[0]}]"
    return f"the keys here are {', '.join(known)}"


def known_keys(model: type[Part], path: Place) -> list[str]:
    """The keys that may stand in a table, from the model's own schema."""
    schema = _schema(model)
    node: Mapping[str, Any] = schema
    for name in path:
        node = _step(schema, _table(schema, node), name)
    return list(_table(schema, node).get("properties", {}))


@cache
def _schema(model: type[Part]) -> Mapping[str, Any]:
    return model.model_json_schema(by_alias=True)


def _step(schema: Mapping[str, Any], node: Mapping[str, Any], name: str | int) -> Mapping[str, Any]:
    if isinstance(name, int):
        found = node.get("items", {})
    else:
        found = node.get("properties", {}).get(name) or node.get("additionalProperties") or {}
    return _table(schema, found) if isinstance(found, dict) else {}


def _table(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node with its references followed and its `None` left out."""
    for choice in node.get("anyOf", ()):
        if choice.get("type") != "null" and ("$ref" in choice or "properties" in choice or "items" in choice):
            return _table(schema, choice)
    if "$ref" in node:
        return _table(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    return node
