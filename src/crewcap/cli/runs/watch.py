"""`crewcap watch`: the rules that look for runaways, and what they would have done to past runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.screen.amounts import table
from crewcap.cli.screen.figures import Screen, many, wrap
from crewcap.core.money import Money, total
from crewcap.core.watch_rules import ACTIONS, MEANINGS, RULES, Action, RuleName, Rules

if TYPE_CHECKING:
    from crewcap.runner.replaying import Replayed

_MOST_RUNS = 1_000_000
_MOST_SHOWN = 20


@click.group(epilog="Example: crewcap watch rules")
@common
@click.pass_context
def watch(ctx: click.Context, /, **options: object) -> None:
    """The watch over runs: signs of a runaway, and what is done about them."""
    remember(ctx, options)


@watch.command("rules", epilog="Example: crewcap watch rules")
@common
@with_call
def rules_(call: Call) -> None:
    """Show each rule: what it looks for, from where on it notes, and what it does at its second bound."""
    rules = call.app.settings.watch_rules
    if call.as_json:
        call.emit([_rule_object(rules, name) for name in RULES])
        return
    columns = Screen.of(sys.stdout, call.environ).columns
    for line in table([("rule", "does", "notes at", "acts at"), *(_rule_row(rules, name) for name in RULES)]):
        call.out(line)
    call.out()
    for name in RULES:
        for line in wrap(f"{name}: {MEANINGS[name].looks_for}", columns, indent="  "):
            call.out(line)
    call.out()
    for line in wrap(_floors(rules), columns):
        call.out(line)


@watch.command("replay", epilog="Example: crewcap watch replay --rule repeats --since 30d")
@click.option("--rule", type=click.Choice(RULES), help="This rule alone; by default all that are on.")
@click.option("--as", "action", type=click.Choice(ACTIONS[1:]), help="As if the rules did this at their second bound.")
@click.option("--since", metavar="D", default="30d", show_default=True, help="How far back: 30d, or 2026-11-01.")
@common
@with_call
def replay_(call: Call, *, rule: RuleName | None, action: Action | None, since: str) -> None:
    """Say what the rules would have done to past runs.

    The same machine that watches runs while they work is fed what is stored of each: its requests from the ledger and,
    where the run's folder still has them, its agent's own lines. Each is compared with the runs before it alone.
    """
    rules = _asked(call.app.settings.watch_rules, rule, action)
    found = list(_replayed(call, rules, since))
    if call.as_json:
        call.emit(_object(rules, found))
        return
    columns = Screen.of(sys.stdout, call.environ).columns
    for line in _lines(rules, found, since, columns):
        call.out(line)


def _asked(rules: Rules, rule: RuleName | None, action: Action | None) -> Rules:
    """The rules that are looked at; with another action, if one is asked for."""
    if rule is not None:
        rules = rules.only(rule)
    if action is None:
        return rules
    on = {name: replace(each, action=action) for name, each in rules.by_name.items() if each.action != "off"}
    return replace(rules, by_name={**rules.by_name, **on})


def _replayed(call: Call, rules: Rules, since: str) -> Iterator[Replayed]:
    """Every run that is over or waits, oldest first."""
    from crewcap.agents import AGENTS  # noqa: PLC0415  (heavy; not for --help)
    from crewcap.cli.money.past import read_since, zone_of  # noqa: PLC0415
    from crewcap.core.watch_past import Past, PastRun  # noqa: PLC0415
    from crewcap.runner.replaying import events_of, replay  # noqa: PLC0415
    from crewcap.runner.signs import alike, entries_of, in_the_past  # noqa: PLC0415

    begin = read_since(since, call.clock(), zone_of(call))
    if call.app.is_new:
        return
    runs = call.app.runs.list(limit=_MOST_RUNS)
    known: dict[str, PastRun] = {}
    for run in sorted(runs, key=lambda each: each.created_at):
        if run.created_at < begin or not run.turns:
            continue
        entries = entries_of(call.app.ledger, run)
        for other in (others := alike(run, runs)):
            if other.id not in known:
                known[other.id] = in_the_past(entries_of(call.app.ledger, other))
        adapter = AGENTS[run.agent]() if run.agent in AGENTS else None
        transcript = call.home.run(run.id) / "agent.jsonl"
        yield replay(
            run,
            entries,
            events_of(transcript, adapter) if adapter else None,
            rules=rules,
            past=Past(tuple(past for other in others if (past := known[other.id]).costs)),
            window=_window(call, run.model, entries[-1].provider if entries else ""),
        )


def _window(call: Call, model: str, provider: str) -> int:
    """How many tokens the model's context holds; 0 where nobody published it."""
    from crewcap.core.pricing import UnknownPrice  # noqa: PLC0415

    try:
        return call.app.book.card(provider, model, at=call.clock()).context_window or 0
    except UnknownPrice:
        return 0


def _lines(rules: Rules, found: Sequence[Replayed], since: str, columns: int) -> Iterator[str]:
    on = [name for name in RULES if rules[name].action != "off"]
    cost = total(each.cost for each in found)
    yield f"{many(len(found), 'run')} since {since}, {cost.show()}"
    if not found:
        return
    yield ""
    yield from table(
        [("rule", "noted", "ended", "good ones", "spent after"), *(_summary(name, found) for name in on)],
        right=frozenset({1, 2, 3, 4}),
    )
    told = [each for each in found if each.findings]
    for each in told[-_MOST_SHOWN:]:
        yield ""
        yield from _told(each, columns)
    if len(told) > _MOST_SHOWN:
        yield f"and {len(told) - _MOST_SHOWN} before them; --json has all"


def _told(each: Replayed, columns: int) -> Iterator[str]:
    """One run: what would have been said of it, and how it went on."""
    word = each.run.verdict.value if each.run.verdict else each.run.state.value
    yield f"{each.run.name}   {word}   {each.cost.show()}, {many(each.turns, 'turn')}"
    for finding, so_far in each.findings:
        line = f"{finding.rule}: {finding.action} at turn {finding.turn}, {so_far.show()}: {finding.words}"
        yield from (f"  {part}" for part in wrap(line, columns - 2, indent="  "))
    if each.end:
        yield f"  it went on for {many(each.turns - each.end[0].turn, 'turn')} and {each.after.show()}"


def _summary(name: RuleName, found: Sequence[Replayed]) -> tuple[str, ...]:
    """What one rule would have done to all runs."""
    noted = sum(any(finding.rule == name for finding, _ in each.findings) for each in found)
    ended = [each for each in found if each.end and each.end[0].rule == name]
    after = total(each.after for each in ended)
    return name, str(noted), str(len(ended)), str(sum(each.is_good for each in ended)), after.show() if ended else ""


def _rule_row(rules: Rules, name: RuleName) -> tuple[str, ...]:
    rule, unit = rules[name], MEANINGS[name].unit
    return name, rule.action, f"{rule.note_at} {unit}", str(rule.act_at)


def _rule_object(rules: Rules, name: RuleName) -> Mapping[str, object]:
    rule, meaning = rules[name], MEANINGS[name]
    return {
        "rule": name,
        "action": rule.action,
        "note_at": rule.note_at,
        "act_at": rule.act_at,
        "unit": meaning.unit,
        "looks_for": meaning.looks_for,
    }


def _floors(rules: Rules) -> str:
    return (
        f"Money below {rules.spend_floor.show()} in five minutes and prompts below {rules.prompt_floor:,} tokens are no"
        f" signs. `[watch]` in the settings says otherwise; `crewcap watch replay` tries it on past runs."
    )


def _object(rules: Rules, found: Sequence[Replayed]) -> Mapping[str, object]:
    return {
        "runs": len(found),
        "cost_usd": total(each.cost for each in found).exact(),
        "rules": [_rule_object(rules, name) for name in RULES if rules[name].action != "off"],
        "findings": [_finding(each, place) for each in found for place in range(len(each.findings))],
    }


def _finding(each: Replayed, place: int) -> Mapping[str, object]:
    finding, so_far = each.findings[place]
    after: Money = each.cost - so_far
    return {
        "run": each.run.name,
        "run_id": each.run.id,
        "verdict": each.run.verdict.value if each.run.verdict else None,
        "good": each.is_good,
        "rule": finding.rule,
        "action": finding.action,
        "turn": finding.turn,
        "words": finding.words,
        "cost_usd": so_far.exact(),
        "after_usd": after.exact(),
    }
