"""`crewcap price`: the price book. Nothing here goes over the network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.prices.book import book_of, overrides_option
from crewcap.cli.prices.check import check
from crewcap.cli.prices.diff import diff
from crewcap.cli.prices.reprice import reprice_
from crewcap.cli.screen import csv_cells
from crewcap.cli.screen.amounts import fitted, folded, room
from crewcap.core.pricing import UnknownPrice
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.prices import Book
    from crewcap.prices.compare import Row


_CSV = (
    "provider", "model", "speed", "geo", "tier", "prompt_above", "input", "output", "cache_read", "write_5m",
    "write_1h", "fees", "card", "source",
)  # fmt: skip
_HEAD = ("model", "input", "output", "read", "write 5m", "write 1h")


@click.group(invoke_without_command=True, epilog="Example: crewcap price list --model sonnet")
@common
@click.pass_context
def price(ctx: click.Context, /, **options: object) -> None:
    """Show, check and compare prices, and correct what was paid at wrong ones; without a word more, show them."""
    remember(ctx, options)
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@price.command("list", epilog="Example: crewcap price list --provider anthropic")
@click.option("--provider", default="", help="One provider: anthropic, openai, google, openrouter...")
@click.option("--model", default="", help="One model, as it is named in a request or in the settings.")
@click.option("--all", "everything", is_flag=True, help="With fast, batch and other tiers, and US-only inference.")
@click.option("--csv", "as_csv", is_flag=True, help="Every price as CSV.")
@overrides_option
@common
@with_call
def list_(call: Call, *, provider: str, model: str, everything: bool, as_csv: bool, overrides: str | None) -> None:
    """List what models cost now, in dollars per million tokens; --model and --json show every modifier."""
    from crewcap.prices import compare  # noqa: PLC0415  (the price data is a fifth of a second)

    book = book_of(call, overrides)
    try:
        found = compare.rows(book, at=call.clock(), provider=provider, model=model)
    except UnknownPrice as unknown:
        raise UsageError(str(unknown), help="crewcap price list names what has a price") from unknown
    if call.as_json:
        call.emit(found)
        return
    if as_csv:
        text = io.StringIO()
        csv_cells.write(text, _CSV, (cells for row in found for cells in _cells(row)))
        call.out(text.getvalue(), end="")
        return
    shown = found if everything or model else [row for row in found if compare.is_standard(row)]
    columns = room(call.environ)
    call.out("\n".join(_table(shown, columns)))
    if model:
        call.out("\n".join(folded(_details(call, book, found, model), columns)))
    call.note(f"price table {book.hash}, {book.source_version}, checked {book.checked}")


price.add_command(check)
price.add_command(diff)
price.add_command(reprice_)


def _cells(row: Row) -> Iterator[tuple[str, ...]]:
    """One line for each size of prompt that has prices of its own."""
    named = tuple(str(row[name]) for name in _CSV[:5])
    fees = " ".join(f"{name}={usd}" for name, usd in row["usd_each"].items())
    tiers = [(0, row["usd_per_mtok"]), *((tier["prompt_tokens"], tier["usd_per_mtok"]) for tier in row["above"])]
    for above, usd in tiers:
        yield (*named, str(above), *(usd[kind] for kind in _CSV[6:11]), fees, row["card"], row["source"])


def _table(rows: list[Row], columns: int) -> Iterator[str]:
    """One line a price; a second one for what a long prompt costs."""
    told = [line for row in rows for line in _priced(row)]
    yield from fitted(_HEAD, told, columns, right=frozenset(range(1, len(_HEAD))))


def _priced(row: Row) -> Iterator[tuple[str, ...]]:
    from crewcap.prices.compare import modifiers_of  # noqa: PLC0415

    yield f"{row['provider']}/{row['model']} {modifiers_of(row)}".rstrip(), *_rates(row["usd_per_mtok"])
    for tier in row["above"]:
        yield f"  prompt above {tier['prompt_tokens']:,}", *_rates(tier["usd_per_mtok"])


def _rates(usd: dict[str, str]) -> Iterator[str]:
    from crewcap.prices.compare import short  # noqa: PLC0415

    return (short(usd[kind]) for kind in ("input", "output", "cache_read", "write_5m", "write_1h"))


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
