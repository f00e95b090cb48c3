"""`crewcap price check`: how old the prices are, what our own lines still do, and what was seen that nobody priced."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.prices.book import book_of, knows, overrides_option
from crewcap.cli.screen.figures import Screen, many, wrap
from crewcap.core.bundles import Bundle, at
from crewcap.core.harmless import one_line
from crewcap.core.pricing import Modifiers

if TYPE_CHECKING:
    from crewcap.prices import Book
    from crewcap.prices.compare import Finding
    from crewcap.prices.standing import Standing
    from crewcap.prices.unknown import Unknown

_WRONG = 1  # exit status
_MARGIN = 9  # columns of the labels
_FILL_IN = "put these lines into a price file of your own, with its prices"


@click.command(epilog="Example: crewcap price check")
@click.option("-a", "--all", "everything", is_flag=True, help="Every line of the price files, shipped ones as well.")
@overrides_option
@common
@with_call
def check(call: Call, *, everything: bool, overrides: str | None) -> None:
    """Say how old the prices are, what is wrong with them and what was seen without one; exit 1 where something is.

    Seen are models of requests that the gateway refused because nobody had a price of them, models that answers named
    instead of those that were asked, and models of imported transcripts; each with the lines of a price file that would
    price it.
    """
    from crewcap.prices import compare, standing  # noqa: PLC0415  (the price data is a fifth of a second)

    book, now = book_of(call, overrides), call.clock()
    findings = compare.check(book, at=now, names=_settings_names(call, book))
    lines = standing.lines(book, now)
    unknown = _unknown(call, book)
    findings += [_clash(line) for line in lines if line.clashes_with]
    findings += [_no_price(each) for each in unknown if not each.is_priced_now]
    is_fit = all(finding.level != "problem" for finding in findings)
    if call.as_json:
        call.emit(_object(call, book, findings, lines, unknown, is_fit=is_fit))
    else:
        columns = Screen.of(sys.stdout, call.environ).columns
        shown = lines if everything else [line for line in lines if line.file != "overrides.toml"]
        call.out("\n".join(_words(findings, shown, unknown, columns)))
    if not is_fit:
        click.get_current_context().exit(_WRONG)


def _settings_names(call: Call, book: Book) -> Iterator[tuple[str, str]]:
    """The models that the settings name; the provider is the one whose list knows them."""
    settings = call.app.settings
    lists = [each.prices for each in settings.providers.values()] or ["anthropic"]
    names = [settings.defaults.model]
    names += [name for rule in settings.routes for name in (rule.model, rule.subagent_model) if name]
    for name in names:
        yield next((each for each in lists if knows(call, book, each, name)), lists[0]), name


def _unknown(call: Call, book: Book) -> list[Unknown]:
    """Everything that was seen without a price, the most frequent first."""
    from crewcap.prices.unknown import looked_at  # noqa: PLC0415

    found = looked_at(book, [*_refused(call), *_answered(call, book), *_in_transcripts(call)], at=call.clock())
    return sorted(found, key=lambda each: (each.is_priced_now, -each.requests, each.provider, each.model))


def _refused(call: Call) -> Iterator[Unknown]:
    from crewcap.prices.unknown import Unknown  # noqa: PLC0415

    for each in () if call.app.is_new else call.app.price_notes.unpriced():
        yield Unknown(
            provider=each.provider,
            model=each.model,
            modifiers=Modifiers(),
            where="refused",
            requests=each.requests,
            last_at=each.last_at,
            message=each.message,
        )


def _answered(call: Call, book: Book) -> Iterator[Unknown]:
    """Models that answers came from and nobody has a price of now; the books name no card there."""
    from crewcap.prices.unknown import Unknown, is_priced  # noqa: PLC0415

    if call.app.is_new:
        return
    now, price_list = call.clock(), call.app.settings.prices_of
    seen = {(each.provider, each.model) for each in call.app.reports.bundles() if _is_cardless(each)}
    open_ = [name for name in seen if not is_priced(book, price_list(name[0]), name[1], Modifiers(), at=now, now=now)]
    quarters = call.app.reports.bundles(by_quarter=True) if open_ else ()
    for name in open_:
        told = [each for each in quarters if (each.provider, each.model) == name and _is_cardless(each)]
        yield Unknown(
            provider=price_list(name[0]),
            model=name[1],
            modifiers=Modifiers(),
            where="answered",
            requests=sum(each.requests for each in told),
            last_at=at(max(each.quarter for each in told)),
        )


def _is_cardless(bundle: Bundle) -> bool:
    """Answers with tokens that were priced at no card of their own."""
    tokens = bundle.input + bundle.cache_read + bundle.write_5m + bundle.write_1h + bundle.output
    return not bundle.card and bool(bundle.requests and tokens)


def _in_transcripts(call: Call) -> Iterator[Unknown]:
    """Of the index, where there is one."""
    from crewcap.prices.unknown import Unknown  # noqa: PLC0415
    from crewcap.transcripts.pricing import moment  # noqa: PLC0415

    if not call.home.usage.exists():
        return
    for each in call.app.usage.sums():
        if each.unpriced:
            yield Unknown(
                provider=each.provider,
                model=each.model,
                modifiers=each.modifiers,
                where="transcripts",
                requests=each.unpriced,
                last_at=moment(each.last_ms),
            )


_SEEN = {
    "refused": ("request", "refused"),
    "answered": ("answer", "from it"),
    "transcripts": ("message", "in transcripts"),
}


def _no_price(each: Unknown) -> Finding:
    from crewcap.prices.compare import Finding  # noqa: PLC0415

    what, how = _SEEN[each.where]
    name = " ".join(filter(None, (f"{each.provider}/{one_line(each.model, limit=80)}", _special(each.modifiers))))
    text = f"{name} has no price: {many(each.requests, what)} {how}, last on {each.last_at:%Y-%m-%d %H:%M} UTC"
    return Finding(level="problem", text=text, help=_FILL_IN)


def _special(modifiers: Modifiers) -> str:
    usual = Modifiers()
    return " ".join(
        getattr(modifiers, name)
        for name in ("speed", "geo", "tier")
        if getattr(modifiers, name) != getattr(usual, name)
    )


def _clash(line: Standing) -> Finding:
    from crewcap.prices.compare import Finding  # noqa: PLC0415

    where = f"{line.file}:{line.line}" if line.line else line.file
    return Finding(
        level="problem",
        text=f"{where}: a second price of {line.what} for some of the same days; {line.clashes_with} counts",
        help="end the one before the other begins: until = ...",
    )


def _words(
    findings: Sequence[Finding], lines: Sequence[Standing], unknown: Sequence[Unknown], columns: int
) -> Iterator[str]:
    open_ = iter([each for each in unknown if not each.is_priced_now])
    for finding in findings:
        yield from _told(finding.level, finding.text, columns)
        if finding.help and finding.level != "ok":
            yield from _told("", f"help: {finding.help}", columns)
        if finding.help == _FILL_IN:
            yield from (f"{'':<{_MARGIN}}{line}" for line in next(open_).toml.splitlines())
    done = [each for each in unknown if each.is_priced_now]
    if done:
        yield from _told("ok", f"names that have a price by now: {len(done):,}", columns)
    for line in lines:
        yield from _told("line" if line.changes else "idle", _line(line), columns)


def _told(label: str, text: str, columns: int) -> Iterator[str]:
    """A label, and a text beside it, on as many lines as it needs."""
    for number, line in enumerate(wrap(text, max(20, columns - _MARGIN))):
        yield f"{'' if number else label:<{_MARGIN}}{line}".rstrip()


def _line(line: Standing) -> str:
    """Where it stands, what of, since when, and what it does."""
    days = " ".join(
        f"{word} {moment:%Y-%m-%d}"
        for word, moment in (("from", line.start), ("until", line.end))
        if moment is not None
    )
    where = f"{one_line(line.file)}:{line.line}" if line.line else one_line(line.file)
    return f"{where} {line.kind} {one_line(line.what, limit=120)}{f', {days}' if days else ''}: {line.effect}"


def _object(
    call: Call,
    book: Book,
    findings: Sequence[Finding],
    lines: Sequence[Standing],
    unknown: Sequence[Unknown],
    *,
    is_fit: bool,
) -> dict[str, Any]:
    return {
        "ok": is_fit,
        "hash": book.hash,
        "source": book.source_version,
        "checked": book.checked,
        "age_days": book.age_days(call.clock()),
        "findings": [asdict(finding) for finding in findings],
        "lines": [
            {
                **asdict(line),
                "start": line.start.isoformat() if line.start else None,
                "end": line.end.isoformat() if line.end else None,
            }
            for line in lines
        ],
        "unknown": [{**asdict(each), "last_at": each.last_at.isoformat()} for each in unknown],
    }
