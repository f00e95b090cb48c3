"""`crewcap price`: the price book. Nothing here goes over the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.price_reprice import reprice_
from crewcap.core.pricing import UnknownPrice
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.prices import Book
    from crewcap.prices.compare import Change, Finding, Row

_overrides = click.option("--overrides", metavar="FILE", help="A price file of your own, laid over the shipped one.")


@click.group(invoke_without_command=True, epilog="Example: crewcap price list --model sonnet")
@common
@click.pass_context
def price(ctx: click.Context, /, **options: object) -> None:
    """Show, check and compare the prices that crewcap holds and books at; without a word more, show them."""
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@price.command("list", epilog="Example: crewcap price list --provider anthropic")
@click.option("--provider", default="", help="One provider: anthropic, openai, google, openrouter...")
@click.option("--model", default="", help="One model, as it is named in a request or in the settings.")
@click.option("--all", "everything", is_flag=True, help="With fast, batch and other tiers, and US-only inference.")
@_overrides
@common
@with_call
def list_(call: Call, *, provider: str, model: str, everything: bool, overrides: str | None) -> None:
    """List what models cost now, in dollars per million tokens; --model and --json show every modifier."""
    from crewcap.prices import compare  # noqa: PLC0415  (the price data is a fifth of a second)

    book = _book(call, overrides)
    try:
        found = compare.rows(book, at=call.clock(), provider=provider, model=model)
    except UnknownPrice as unknown:
        raise UsageError(str(unknown), help="crewcap price list names what has a price") from unknown
    if call.as_json:
        call.emit(found)
        return
    shown = found if everything or model else [row for row in found if compare.is_standard(row)]
    call.out("\n".join(_table(shown)))
    if model:
        call.out("\n".join(_details(call, book, found, model)))
    call.note(f"price table {book.hash}, {book.source_version}, checked {book.checked}")


@price.command(epilog="Example: crewcap price check")
@_overrides
@common
@with_call
def check(call: Call, *, overrides: str | None) -> None:
    """Say how old the prices are and what is wrong with them; exit 1 where something is."""
    from crewcap.prices import compare  # noqa: PLC0415

    book = _book(call, overrides)
    findings = compare.check(book, at=call.clock(), names=_settings_names(call, book))
    is_fit = all(finding.level != "problem" for finding in findings)
    if call.as_json:
        call.emit(
            {
                "ok": is_fit,
                "hash": book.hash,
                "source": book.source_version,
                "checked": book.checked,
                "age_days": book.age_days(call.clock()),
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        call.out("\n".join(line for finding in findings for line in _finding(finding)))
    if not is_fit:
        click.get_current_context().exit(1)


@price.command(epilog="Example: crewcap price diff last-month.json")
@click.argument("file", required=False)
@_overrides
@common
@with_call
def diff(call: Call, *, file: str | None, overrides: str | None) -> None:
    """Compare with the library's own prices, or with FILE, a table saved by `price list --json`."""
    from crewcap import prices  # noqa: PLC0415
    from crewcap.prices import compare  # noqa: PLC0415

    now = call.clock()
    before = _saved(file) if file else compare.rows(prices.library_alone(), at=now)
    changes = compare.diff(before, compare.rows(_book(call, overrides), at=now))
    if call.as_json:
        call.emit([asdict(change) for change in changes])
        return
    for change in changes:
        call.out(_change(change))
    call.note(f"{len(changes)} differences" if changes else "no difference")


price.add_command(reprice_)


def _book(call: Call, overrides: str | None) -> Book:
    if overrides is None:
        return call.app.book
    from crewcap import prices  # noqa: PLC0415

    return prices.load(overrides)


def _settings_names(call: Call, book: Book) -> Iterator[tuple[str, str]]:
    """The models that the settings name; the provider is the one whose list knows them."""
    settings = call.app.settings
    lists = [each.prices for each in settings.providers.values()] or ["anthropic"]
    names = [settings.defaults.model]
    names += [name for rule in settings.routes for name in (rule.model, rule.subagent_model) if name]
    for name in names:
        yield next((each for each in lists if _knows(call, book, each, name)), lists[0]), name


def _knows(call: Call, book: Book, provider: str, name: str) -> bool:
    try:
        book.resolve(provider, name, at=call.clock())
    except UnknownPrice:
        return False
    return True


def _saved(file: str) -> list[Row]:
    from crewcap.prices import compare  # noqa: PLC0415

    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {getattr(error, 'strerror', '') or 'it is not UTF-8 text'}",
            help="name a file made by `crewcap price list --json`",
        ) from error
    return compare.read_rows(text, name=file)


def _table(rows: list[Row]) -> Iterator[str]:
    """One line a price; a second one for what a long prompt costs."""
    from crewcap.prices.compare import modifiers_of  # noqa: PLC0415

    yield f"{'model':<44} {'input':>9} {'output':>9} {'read':>9} {'write 5m':>9} {'write 1h':>9}"
    for row in rows:
        name = f"{row['provider']}/{row['model']} {modifiers_of(row)}".rstrip()
        yield f"{name:<44} {_rates(row['usd_per_mtok'])}"
        for tier in row["above"]:
            above = f"  prompt above {tier['prompt_tokens']:,}"
            yield f"{above:<44} {_rates(tier['usd_per_mtok'])}"


def _rates(usd: dict[str, str]) -> str:
    from crewcap.prices.compare import short  # noqa: PLC0415

    return " ".join(f"{short(usd[kind]):>9}" for kind in ("input", "output", "cache_read", "write_5m", "write_1h"))


def _details(call: Call, book: Book, rows: list[Row], model: str) -> Iterator[str]:
    """What else the book knows of one model."""
    from crewcap.prices.compare import is_standard, short  # noqa: PLC0415

    for row in filter(is_standard, rows):
        known = book.describe(row["provider"], model, at=call.clock())
        fees = ", ".join(f"{name} ${short(usd)}" for name, usd in row["usd_each"].items())
        yield f"{row['provider']}/{row['model']}"
        yield f"  sent as    {known.resolved}" + (f"   may be {', '.join(known.may_be)}" if known.may_be else "")
        yield f"  window     {_count(row['context_window'])} tokens, output {_count(row['max_output'])}"
        yield f"  an image   at most {_count(row['image_tokens'])} tokens"
        yield f"  fees       {fees or 'none known'}"
        yield f"  changed    {', '.join(f'{moment:%Y-%m-%d}' for moment in known.changes) or 'never'}"
        yield f"  source     {row['source']}, card {row['card']}" + (", rounded up" if row["rounded_up"] else "")


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.level:<8} {finding.text}"
    if finding.help and finding.level != "ok":
        yield f"{'':<8} help: {finding.help}"


def _change(change: Change) -> str:
    if change.kind == "removed":
        return f"- {change.what}"
    if change.kind == "added":
        return f"+ {change.what}: {change.after}"
    return f"~ {change.what}: {change.field} {_number(change.before)} -> {_number(change.after)}"


def _number(text: str) -> str:
    from crewcap.prices.compare import short  # noqa: PLC0415

    return short(text) if "." in text else text
