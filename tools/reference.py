"""Write docs/reference/ from the code: settings, commands, errors, states.

    python -m tools.reference            write the pages
    python -m tools.reference --check    say which are stale, and change nothing (exit 1)

Nothing on these pages is written by hand: what a page says wrong is corrected where the code says it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from crewcap import errors
from crewcap.cli import COMMANDS, root
from crewcap.core.runs import EXIT_STATUS, OPEN_STATES, TRANSITIONS, RunEvent, RunState
from crewcap.settings import models, repository
from crewcap.settings.explain import schema, spelled
from crewcap.settings.hosts import named_lists

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
WIDTH = 100
_NOTE = "<!-- Made by `make docs` from the code. Do not edit: a test fails when this page is stale. -->\n"
_COMMON = {"home", "config", "as_json", "quiet", "verbose", "help"}


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    if "--check" in arguments:
        old = stale()
        for name in old:
            print(f"stale: docs/reference/{name}; `make docs` writes it again", file=sys.stderr)
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")
    return 0


def stale() -> list[str]:
    """The pages that do not say what the code says."""
    return [name for name, page in PAGES.items() if not _is_fresh(FOLDER / name, page())]


def _is_fresh(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


# --- settings


def settings_page() -> str:
    """Every key of the settings file, and of a repository's own."""
    tables = schema()
    lines = [
        "# Settings",
        "",
        _NOTE,
        "`crewcap config show` prints every value that is in force with its origin, `config check` reads a file,",
        "`config schema` prints the JSON Schema. A key that is not on this page is refused, with the nearest that is.",
        "",
        'Money is written `25`, `25.00` or `"25.00"`; a duration with its unit: `"45m"`, `"1h30m"`; a secret as the',
        'place where it is kept: `{ env = "NAME" }`, `{ file = "/path" }` (mode 600) or',
        '`{ command = ["pass", "show", "x"] }`.',
        "",
    ]
    for name, node in tables["properties"].items():
        lines += _settings_table(tables, name, node)
    return "\n".join([*lines, *_hosts(), *_repository()]).rstrip() + "\n"


def _settings_table(tables: Mapping[str, Any], name: str, node: Mapping[str, Any]) -> Iterator[str]:
    """One table of the file with its keys, and the tables inside it."""
    heading, inner, is_list = _heading(tables, name, node)
    brackets = f"[[{heading}]]" if is_list else f"[{heading}]"
    yield from (f"## `{brackets}`", "", _what(node) or _what(inner), "")
    if not inner:
        yield from ("Names of your choice, each with a list of texts.", "")
        return
    yield from ("| key | by default | what it says |", "|---|---|---|")
    nested = []
    for key, field in inner["properties"].items():
        below = _model(tables, field)
        if below and below is not inner:
            nested.append((key, field, below))
        yield f"| `{key}` | {_default(field)} | {_what(field)} |"
    if "additionalProperties" in inner and isinstance(inner["additionalProperties"], dict):
        below = _model(tables, inner["additionalProperties"])
        example = (
            '`"all"`, `"team:core"`, `"repo:acme/shop"`: the keys below' if below else '`"team:core"`: for it alone'
        )
        yield f"| a scope, between quotes | | {example} |"
        if below:
            nested.append(("SCOPE", {}, below))
    yield ""
    for key, field, below in nested:
        yield from (f"### `{heading}.{key}`", "", str(field.get("description") or below.get("description", "")), "")
        yield from ("| key | what it says |", "|---|---|")
        yield from (
            f"| `{inner_key}` | {_what(inner_field)} |" for inner_key, inner_field in below["properties"].items()
        )
        yield ""


def _heading(tables: Mapping[str, Any], name: str, node: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], bool]:
    """How a table is headed, the model of its keys, and whether it may be said many times."""
    found = next((choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"), node)
    if "items" in found:
        return name, _model(tables, found["items"]), True
    if "additionalProperties" in found and "properties" not in found:
        inner = _model(tables, found["additionalProperties"])
        return (f"{name}.NAME" if inner else name), inner, False
    return name, _model(tables, found), False


def _model(tables: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    """The table that a node means, if it means one."""
    if not isinstance(node, dict):
        return {}
    for choice in (node, *node.get("anyOf", ())):
        if "$ref" in choice:
            found: Mapping[str, Any] = tables["$defs"][choice["$ref"].rpartition("/")[2]]
            return found
    return {}


def _default(field: Mapping[str, Any]) -> str:
    """A default as it would be written."""
    value = field.get("default")
    if value in (None, "", [], {}):
        return ""
    is_money = isinstance(value, str) and any(choice.get("type") == "number" for choice in field.get("anyOf", ()))
    return f"`{value if is_money else spelled(value)}`"


def _what(field: Mapping[str, Any]) -> str:
    """Its sentence, and the words that it may be."""
    words = next((choice["enum"] for choice in (field, *field.get("anyOf", ())) if "enum" in choice), ())
    listed = ", ".join(f"`{word}`" for word in words if word)
    return " ".join(part for part in (str(field.get("description", "")), f"One of {listed}." if listed else "") if part)


def _hosts() -> Iterator[str]:
    yield from ("## Named lists of hosts", "", "| name | hosts |", "|---|---|")
    for name, hosts in named_lists().items():
        yield f"| `{name}` | {', '.join(f'`{host}`' for host in hosts)} |"
    yield ""


def _repository() -> Iterator[str]:
    yield from (
        f"## A repository's own `{repository.FILE}`",
        "",
        "Read from the repository's default branch and merged under your settings. It is policy from strangers: it may",
        "only say what is on this list, and amounts only below yours. Anything else is refused with its key.",
        "",
        "| key | what it says |",
        "|---|---|",
    )
    ours = models.RepoSettings.model_fields
    for name, field in repository.RepositoryFile.model_fields.items():
        described = field.description or (ours[name].description if name in ours else "")
        yield f"| `{name}` | {described} |"
    yield from (
        f"| `routes[].{name}` | {field.description} |" for name, field in repository.NamedRoute.model_fields.items()
    )


# --- commands


def commands_page() -> str:
    """What a user can type."""
    context = click.Context(
        root, info_name="crewcap", max_content_width=WIDTH, terminal_width=WIDTH, **root.context_settings
    )
    lines = ["# Commands", "", _NOTE, *_common_options(context), ""]
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None  # noqa: S101  (the table names it)
        lines += _command(command, click.Context(command, info_name=name, parent=context), depth=2)
    return "\n".join(lines).rstrip() + "\n"


def _common_options(context: click.Context) -> Iterator[str]:
    yield from ("These work before and after every command:", "", "| option | what it does |", "|---|---|")
    for parameter in root.params:
        if parameter.name in _COMMON and (record := parameter.get_help_record(context)):
            yield f"| `{record[0]}` | {_cell(record[1])} |"
    yield from ("", "Results go to stdout, everything else to stderr. Exit statuses: [errors.md](errors.md).")


def _command(command: click.Command, context: click.Context, *, depth: int) -> Iterator[str]:
    pieces = " ".join(command.collect_usage_pieces(context))
    yield from (f"{'#' * depth} `{context.command_path}`", "", f"`{context.command_path} {pieces}`", "")
    yield from (inspect.cleandoc(command.help or ""), "")
    records = [
        record
        for parameter in command.params
        if parameter.name not in _COMMON and (record := parameter.get_help_record(context)) and record[1]
    ]
    if records:
        yield from ("| option | what it does |", "|---|---|")
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records)
        yield ""
    if command.epilog:
        yield from (f"Example: `{command.epilog.removeprefix('Example: ')}`", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None  # noqa: S101  (the group lists it)
            yield from _command(inner, click.Context(inner, info_name=name, parent=context), depth=depth + 1)


def _cell(text: str) -> str:
    """Text that does not end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


# --- errors


def errors_page() -> str:
    """The tree of errors, and the exit status of every end."""
    lines = [
        "# Errors and exit statuses",
        "",
        _NOTE,
        "Two lines on stderr, `error:` and `help:`; with `--json` one object on stdout,",
        '`{"error": {"code", "message", "help"}}`. Never a traceback, never a secret.',
        "",
        "| exit | code | HTTP | when |",
        "|---|---|---|---|",
    ]
    for kind in _errors(errors.CrewcapError):
        sentence = _cell(inspect.getdoc(kind) or "")
        lines.append(f"| {kind.exit_status} | `{kind.code}` | {kind.http_status} | {sentence} |")
    lines += ["", "An interrupted command ends with 130 (Ctrl-C) or 143 (SIGTERM); its state is kept.", ""]
    lines += ["## What a run ends with", "", "| verdict | exit |", "|---|---|"]
    lines += [f"| `{verdict}` | {status} |" for verdict, status in EXIT_STATUS.items()]
    return "\n".join(lines) + "\n"


def _errors(kind: type[errors.CrewcapError]) -> Iterator[type[errors.CrewcapError]]:
    """The tree as errors.py draws it: what other modules derive has the same statuses."""
    if kind is not errors.CrewcapError:
        yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _errors(below)


# --- states


def states_page() -> str:
    """The one table that says how a run may move, as a diagram and as a table."""
    lines = ["# States of a run", "", _NOTE, "```mermaid", "stateDiagram-v2", f"    [*] --> {RunState.QUEUED}"]
    lines += [f"    {state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()]
    lines += [f"    {state} --> [*]" for state in RunState if state not in OPEN_STATES]
    lines += ["```", "", f"| | {' | '.join(RunEvent)} |", f"|---{'|---' * len(RunEvent)}|"]
    for state in RunState:
        row = (TRANSITIONS.get((state, event), "") for event in RunEvent)
        lines.append(f"| **{state}** | {' | '.join(row)} |")
    lines += ["", "What is not in the table cannot happen: `move` refuses it."]
    return "\n".join(lines) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "states.md": states_page,
    "commands.md": commands_page,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
