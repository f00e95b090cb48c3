"""`crewcap config`: what is set and where it was said, whether it is right, and the schema for editors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.core.pricing import UnknownPrice
from crewcap.errors import SettingsError

if TYPE_CHECKING:
    from crewcap.settings.models import Settings


@click.group(invoke_without_command=True, epilog="Example: crewcap config show")
@common
@click.pass_context
def config(ctx: click.Context, /, **options: object) -> None:
    """Show and check the settings; without a word more, show them."""
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@config.command(epilog="Example: crewcap config show --json")
@common
@with_call
def show(call: Call) -> None:
    """Every value that is in force, and where it was said."""
    from crewcap.settings import explain  # noqa: PLC0415  (pydantic is not for --help)

    _say_which_file(call)
    rows = explain.rows(call.app.settings)
    if call.as_json:
        call.emit([{"key": row.key, "value": row.plain, "origin": row.origin} for row in rows])
        return
    call.out(f"# {call.app.settings.source or 'no settings file: these are the defaults'}")
    width = min(60, max(len(f"{row.key} = {row.value}") for row in rows))
    for row in rows:
        call.out(f"{f'{row.key} = {row.value}':<{width}}  # {row.origin}")
    for name, hosts in explain.host_lists(call.app.settings).items():
        call.out(f"# hosts {name}: {', '.join(hosts)}")


@config.command(epilog="Example: crewcap config check --repo-file .crewcap.toml")
@click.option("--repo-file", metavar="FILE", help="Check a repository's own file too, as if it were merged.")
@common
@with_call
def check(call: Call, *, repo_file: str | None) -> None:
    """Read the settings, price their models, look at the files they name; say what is odd or not served yet."""
    from crewcap.runner.named_places import wrong_places  # noqa: PLC0415
    from crewcap.settings import explain  # noqa: PLC0415
    from crewcap.settings.unattended import check_prompt_files  # noqa: PLC0415

    _say_which_file(call)
    settings = _with_repository(call, repo_file)
    check_prices(call, settings)
    check_prompt_files(settings)
    for error in wrong_places(settings, environ=call.environ, state=call.home.root):
        raise error
    notes = {"warnings": explain.warnings(settings), "unserved": explain.unserved(settings)}
    if call.as_json:
        call.emit({"file": settings.source, "ok": True, **notes})
        return
    for note in notes["warnings"]:
        call.note(f"warning: {note}")
    for note in notes["unserved"]:
        call.note(f"note: {note}")
    call.out(f"ok: {settings.source or 'no settings file; the defaults hold'}")


@config.command(epilog="Example: crewcap config schema > crewcap.schema.json")
@common
@with_call
def schema(call: Call) -> None:
    """JSON Schema of the settings file, for editors."""
    import json  # noqa: PLC0415

    from crewcap.settings import explain  # noqa: PLC0415

    call.out(json.dumps(explain.schema(), indent=None if call.as_json else 2, ensure_ascii=False))


def _say_which_file(call: Call) -> None:
    """Of two files that were named, the one on the command line counts."""
    other = call.environ.get("CREWCAP_CONFIG")
    if call.config_path is not None and other and Path(other).expanduser().absolute() != call.config_path:
        call.note(f"note: --config {call.config_path} counts; $CREWCAP_CONFIG names {other}")


def _with_repository(call: Call, repo_file: str | None) -> Settings:
    from crewcap.settings.repository import merge  # noqa: PLC0415

    if repo_file is None:
        return call.app.settings
    try:
        data = Path(repo_file).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{repo_file} cannot be read: {error.strerror}", help="name a repository's .crewcap.toml"
        ) from None
    return merge(call.app.settings, "this", data, where=repo_file)


def check_prices(call: Call, settings: Settings) -> None:
    """A model without a price would be refused at its first request; say so now.

    An agent asks the provider that speaks its dialect; where none is set up, it is no agent of this file's.
    """
    from crewcap.settings.price_lists import check_price_lists  # noqa: PLC0415  (not for --help)

    check_price_lists(settings, lambda: call.app.book.lists)
    for where, model, agent in _models(settings):
        for provider in settings.providers.values():
            if provider.dialect != _dialect(agent):
                continue
            try:
                call.app.book.resolve(provider.prices, model, at=call.clock())
            except UnknownPrice as error:
                raise SettingsError(
                    f"{settings.source or 'defaults'}: {where}: {error}", help="crewcap price list shows what has one"
                ) from None


def _models(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Where each model is named, and which agent asks for it."""
    defaults = settings.defaults
    yield "defaults.model", defaults.model, defaults.agent
    if defaults.subagent_model:
        yield "defaults.subagent_model", defaults.subagent_model, defaults.agent
    for index, rule in enumerate(settings.routes):
        for name, model in (("model", rule.model), ("subagent_model", rule.subagent_model)):
            if model:
                yield f"routes[{index}].{name}", model, rule.agent or defaults.agent


def _dialect(agent: str) -> str:
    from crewcap.agents import AGENTS  # noqa: PLC0415  (not for --help)

    make = AGENTS.get(agent)
    return make().capabilities().dialect if make else ""
