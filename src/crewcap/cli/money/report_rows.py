"""A report's lines as rows: for people in columns that fit, for machines as objects and CSV, for issues as Markdown.

A number without a letter is measured. Letters say what else it is, in every place where numbers are shown:

    u  uncertain   part of it was sent and no answer told its cost; it stays charged
    e  estimated   computed from something that is only nearly true
    r  reserved    promised to requests in flight, and not spent
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from crewcap.cli.screen.figures import columns_of, count, fit, pad, percent
from crewcap.core.bundles import KINDS, Costs, Line
from crewcap.core.harmless import one_line
from crewcap.core.makeup import PARTS, WORDS, Makeup
from crewcap.core.money import PICO_PER_NANO, Money

TOKENS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
KIND_WORDS = {
    "input": "input",
    "cache_read": "cache reads",
    "write_5m": "5-minute cache writes",
    "write_1h": "1-hour cache writes",
    "output": "output",
    "fees": "fees",
    "rounding": "rounding up",
    "other": "not told apart",
}
LEGEND = {
    "u": "u = part of it is uncertain: sent, and no answer told its cost",
    "e": "e = estimated",
    "r": "r = reserved for requests in flight, not spent",
}
_LEAST_KEY = 10  # columns
_GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table; the first to go where there is no room has the largest `rank`."""

    head: str
    rank: int
    cell: Callable[[Line, Line], str]  # of a line, and of all
    is_used: Callable[[Line], bool] = lambda _: True  # by the line of all


def money(amount: Money, state: str = "") -> str:
    """An amount with the letter of its state."""
    return f"{amount.show()}{state}"


def cost_cell(line: Line) -> str:
    """What it cost, and whether all of that is measured."""
    return money(line.cost, "u" if line.uncertain else "")


COLUMNS = (
    Column(head="requests", rank=6, cell=lambda line, _: f"{line.requests:,}"),
    Column(head="input", rank=8, cell=lambda line, _: count(line.usage.input)),
    Column(head="write", rank=7, cell=lambda line, _: count(line.usage.write_5m + line.usage.write_1h)),
    Column(head="read", rank=7, cell=lambda line, _: count(line.usage.cache_read)),
    Column(head="output", rank=7, cell=lambda line, _: count(line.usage.output)),
    Column(
        head="thinking",
        rank=9,
        cell=lambda line, _: count(line.usage.thinking),
        is_used=lambda whole: bool(whole.usage.thinking),
    ),
    Column(head="cost", rank=0, cell=lambda line, _: cost_cell(line)),
    Column(
        head="held",
        rank=2,
        cell=lambda line, _: money(line.held, "r") if line.held else "",
        is_used=lambda whole: bool(whole.held),
    ),
    Column(
        head="by plan",
        rank=2,
        cell=lambda line, _: money(line.notional) if line.notional else "",
        is_used=lambda whole: bool(whole.notional),
    ),
    Column(head="share", rank=3, cell=lambda line, whole: percent(line.cost, whole.cost)),
    Column(head="hit", rank=4, cell=lambda line, _: percent(line.usage.cache_read, line.usage.prompt)),
    Column(head="saved", rank=5, cell=lambda line, _: money(line.saved, "e") if line.saved else "$0.00"),
)


def table(lines: Sequence[Line], whole: Line, *, by: Sequence[str], columns: int) -> Iterator[str]:
    """Rows in as many columns as fit, groups of a second dimension below those of the first."""
    shown = [*tree(lines), ("total", whole)]
    used = [column for column in COLUMNS if column.is_used(whole)]
    while True:
        cells = [[column.cell(line, whole) for column in used] for _, line in shown]
        widths = [
            max(len(column.head), *(columns_of(row[place]) for row in cells)) for place, column in enumerate(used)
        ]
        room = columns - sum(widths) - _GAP * len(widths)
        longest = max(columns_of(name) for name, _ in shown)
        if room >= max(_LEAST_KEY - _GAP, min(longest, max(_LEAST_KEY, columns // 4))) or len(used) == 1:
            break
        used.remove(max(used, key=lambda column: column.rank))
    width = max(_LEAST_KEY - _GAP, min(room, max(longest, columns_of(" ".join(by)))))
    yield _row(fit(" / ".join(by), width), [column.head for column in used], width, widths)
    for (name, _), row in zip(shown, cells, strict=True):
        yield _row(fit(name, width), row, width, widths)


def tree(lines: Sequence[Line]) -> Iterator[tuple[str, Line]]:
    """With a second dimension, a line of its own for each group of the first, and its parts below it."""
    for first in dict.fromkeys(line.keys[0] for line in lines):
        mine = [line for line in lines if line.keys[0] == first]
        if len(mine[0].keys) == 1:
            yield one_line(first), mine[0]
            continue
        whole = mine[0]
        for line in mine[1:]:
            whole += line
        yield one_line(first), whole
        yield from ((f"  {one_line(line.keys[1])}", line) for line in mine if line.keys[1])


def _row(name: str, cells: Sequence[str], width: int, widths: Sequence[int]) -> str:
    placed = (" " * (room - columns_of(cell)) + cell for cell, room in zip(cells, widths, strict=True))
    return (" " * _GAP).join((pad(name, width), *placed)).rstrip()


def legend(text: str, whole: Line) -> Iterator[str]:
    """What the letters mean that were used."""
    if whole.uncertain:
        yield LEGEND["u"]
    if whole.held:
        yield LEGEND["r"]
    if "e" in {cell[-1] for row in text.split("\n") for cell in row.split()}:
        yield LEGEND["e"]


def kinds(costs: Costs) -> Iterator[tuple[str, Money]]:
    """Where the money went, the dearest first; to the nano-dollar below, so that no more is said than was paid."""
    found = [(KIND_WORDS[kind], Money(getattr(costs, kind) // PICO_PER_NANO)) for kind in KINDS]
    yield from sorted(((name, amount) for name, amount in found if amount), key=lambda each: -each[1].nano)


def kinds_line(costs: Costs) -> str:
    """`output $0.06 (thinking $0.02), cache writes $0.10`."""
    state = "" if costs.is_exact else "e"
    said = []
    for name, amount in kinds(costs):
        thinking = Money(costs.thinking // PICO_PER_NANO)
        of_it = f" (thinking {money(thinking, state)})" if name == "output" and thinking else ""
        said.append(f"{name} {money(amount, state)}{of_it}")
    return ", ".join(said)


def makeup_line(makeup: Makeup) -> str:
    """`history 41 %, files 22 %`, all of it estimated."""
    sizes = sorted(((getattr(makeup, name), WORDS[name]) for name in PARTS), reverse=True)
    return ", ".join(f"{word} {percent(size, makeup.whole)}" for size, word in sizes if size)


def as_object(line: Line, by: Sequence[str]) -> dict[str, object]:
    """A line for machines: every number, and what its state is."""
    return {
        **dict(zip(by, line.keys, strict=False)),
        "requests": line.requests,
        "cost_usd": line.cost.exact(),
        "state": "uncertain" if line.uncertain else "measured",
        "spent_usd": line.spent.exact(),
        "uncertain_usd": line.uncertain.exact(),
        "held_usd": line.held.exact(),
        "notional_usd": line.notional.exact(),
        "tokens": {kind: getattr(line.usage, kind) for kind in TOKENS},
        "pieces": dict(line.usage.pieces),
        "cache_hit": round(line.usage.cache_read / line.usage.prompt, 4) if line.usage.prompt else 0.0,
        "kinds_usd": {**{kind: exact_pico(getattr(line.costs, kind)) for kind in KINDS}},
        "thinking_usd": exact_pico(line.costs.thinking),
        "kinds_state": "measured" if line.costs.is_exact else "estimated",
        "saved_usd": line.saved.exact(),
    }


STATES = {
    "spent_usd": "measured",
    "uncertain_usd": "uncertain",
    "held_usd": "reserved",
    "notional_usd": "measured",
    "tokens": "measured",
    "saved_usd": "estimated",
    "input_parts": "estimated",
}
"""The states of the numbers that always have the same one."""


def makeup_object(makeup: Makeup) -> dict[str, int]:
    """Tokens of a prompt's parts, all of them estimates."""
    return {name: getattr(makeup, name) for name in PARTS}


def exact_pico(pico: int) -> str:
    """Pico-dollars as dollars, all twelve decimals: `0.000253100000`."""
    sign, pico = ("-", -pico) if pico < 0 else ("", pico)
    return f"{sign}{pico // 10**12}.{pico % 10**12:012d}"


CSV_HEAD = (
    "requests", "cost_usd", "state", "spent_usd", "uncertain_usd", "held_usd", "notional_usd", *TOKENS,
    *(f"{kind}_usd" for kind in KINDS), "thinking_usd", "kinds_state", "cache_hit", "saved_usd",
)  # fmt: skip


def csv_row(line: Line) -> tuple[str, ...]:
    """A line's cells in the order of `CSV_HEAD`."""
    found = as_object(line, ())
    return (
        *(str(found[name]) for name in CSV_HEAD[:7]),
        *(str(getattr(line.usage, kind)) for kind in TOKENS),
        *(exact_pico(getattr(line.costs, kind)) for kind in KINDS),
        *(str(found[name]) for name in CSV_HEAD[-4:]),
    )


def markdown(lines: Sequence[Line], whole: Line, *, by: Sequence[str]) -> Iterator[str]:
    """A Markdown table, in which nothing that somebody named is mark-up."""
    used = [column for column in COLUMNS if column.is_used(whole)]
    yield f"| {' | '.join((*by, *(column.head for column in used)))} |"
    yield f"|{'---|' * len(by)}{'---:|' * len(used)}"
    named = [(tuple(_plain(key) for key in line.keys), line) for line in lines]
    for names, line in (*named, (("**total**", *("" for _ in by[1:])), whole)):
        yield f"| {' | '.join((*names, *(column.cell(line, whole) for column in used)))} |"


def _plain(words: str) -> str:
    """Names as code: a bar or a backquote in one would end the cell."""
    return f"`{one_line(words, limit=120).replace('`', chr(39)).replace('|', chr(0xA6)) or ' '}`"
