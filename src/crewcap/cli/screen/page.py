"""Pages that can be sent: one HTML file with its style and its drawing in it, and nothing from elsewhere.

There is no script on them, and their own policy forbids any. They are light where a reader's system is light and dark
where it is dark. Below each plot stand its numbers, for those who cannot see it and those who want to copy them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from crewcap.cli.context import Call
from crewcap.cli.money.books import Books
from crewcap.cli.money.plots import course_words, month_of, report_bars
from crewcap.cli.money.report_rows import COLUMNS, LEGEND, kinds_line, makeup_line, money, tree
from crewcap.cli.screen import drawing
from crewcap.cli.screen.written import writing
from crewcap.core.bundles import Line
from crewcap.core.plots import Bars, Course, Fan, shortened

if TYPE_CHECKING:
    from crewcap.cli.money.report import Report

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def report_page(call: Call, made: Report, file: str, *, fan: Fan | None = None) -> None:
    """A report with its plot; by month, the month so far stands first."""
    title = f"Spend by {' and '.join(made.by)}"
    now = call.clock()
    bars = shortened(report_bars(made, now=now), drawing.MOST_SERIES)
    figures = [_figure(drawing.bars(bars, title=title), _legend_of(bars), title)]
    if made.by[0] == "month" and made.lines:
        so_far = month_of(Books(call=call), made.period.zone, now, fan=fan)
        name = f"{so_far.label} so far"
        figures = [_figure(drawing.month(so_far, title=name), _legend_of_month(fan), name), *figures]
    body = [_headline(title, made.whole, made.period.words()), *figures, _table(made), _below(made)]
    _write(call, file, title, body)


def course_page(call: Call, course: Course, words: Sequence[str], file: str) -> None:
    """A run's course over the band of earlier ones, and its number explained."""
    legend = [("s0", "this run")]
    if course.high:
        legend.append(("of-band", f"eight of ten of {course.runs} earlier runs"))
    figure = _figure(drawing.course(course, title=f"Cost by turn, {course.label}"), legend, "Cost by turn")
    said = f'<div class="wide"><pre>{escape(chr(10).join(line.removeprefix("  ") for line in words[1:]))}</pre></div>'
    cost = course.costs[-1].show() if course.costs else "$0.00"
    turns = f"{len(course.costs)} turn{'' if len(course.costs) == 1 else 's'}"
    head = f'<h1>{escape(words[0])}</h1><p class="sum">{escape(cost)}<small>after {turns}</small></p>'
    body = [head, f"<p>{escape(course_words(course).partition('; ')[2])}</p>", figure, said]
    _write(call, file, words[0], body)


def _headline(title: str, whole: Line, period: str) -> str:
    """What it is about, and the one number."""
    state = "partly uncertain" if whole.uncertain else "measured"
    beside = [f"{money(whole.held)} reserved"] if whole.held else []
    beside += [f"{money(whole.notional)} paid by subscriptions beside it"] if whole.notional else []
    more = f"<p>{escape(', '.join(beside))}</p>" if beside else ""
    total = f'<p class="sum">{escape(whole.cost.show())}<small>{escape(state)}</small></p>'
    return f"<h1>{escape(title)}</h1>{total}<p>{escape(period)}</p>{more}"


def _figure(svg: str, legend: Sequence[tuple[str, str]], name: str) -> str:
    marks = "".join(f'<li><i class="{kind}"></i>{escape(name)}</li>' for kind, name in legend)
    listed = f'<ul class="legend">{marks}</ul>' if len(legend) > 1 else ""
    return f"<figure><figcaption>{escape(name)}</figcaption>{svg}{listed}</figure>"


def _legend_of(bars: Bars) -> list[tuple[str, str]]:
    return [(f"s{place}", name) for place, name in enumerate(bars.series)]


def _legend_of_month(fan: Fan | None) -> list[tuple[str, str]]:
    return [("s0", "spent"), *([("of-band", "where it may go, in eight of ten cases")] if fan else [])]


def _table(made: Report) -> str:
    """The rows, as on the screen, all columns."""
    used = [column for column in COLUMNS if column.is_used(made.whole)]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in (" / ".join(made.by), *(c.head for c in used)))
    rows = [
        _row(name, [column.cell(line, made.whole) for column in used], kind="part" if name.startswith("  ") else "")
        for name, line in tree(made.lines)
    ]
    rows.append(_row("total", [column.cell(made.whole, made.whole) for column in used], kind="total"))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(name: str, cells: Sequence[str], *, kind: str) -> str:
    tds = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    of = f' class="{kind}"' if kind else ""
    return f'<tr{of}><th scope="row">{escape(name.strip())}</th>{tds}</tr>'


def _below(made: Report) -> str:
    lines = [f"Went for: {kinds_line(made.whole.costs)}." if made.whole.spent else ""]
    lines.append(f"Prompts were, estimated: {makeup_line(made.makeup)}." if made.makeup.whole else "")
    lines.append(f"{'; '.join(_letters(made))}; price table {made.book[:8]}.")
    return f"<footer>{''.join(f'<p>{escape(line)}</p>' for line in lines if line)}</footer>"


def _letters(made: Report) -> Iterator[str]:
    yield "Numbers without a letter are measured"
    if made.whole.uncertain:
        yield LEGEND["u"]
    yield LEGEND["e"]
    if made.whole.held:
        yield LEGEND["r"]


def _write(call: Call, file: str, title: str, body: Sequence[str]) -> None:
    """The whole page, written at once; its place is said."""
    style = resources.files("crewcap.cli.screen").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{style}</style></head>"
    )
    when = f"crewcap, {call.clock():%Y-%m-%d %H:%M} UTC"
    text = f"{head}<body><main>{''.join(body)}<footer><p>{escape(when)}</p></footer></main></body></html>\n"
    with writing(file) as stream:
        stream.write(text)
    call.note(f"written to {file}")
