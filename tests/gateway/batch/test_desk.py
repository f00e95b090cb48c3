"""Batch jobs in a living gateway: what is held, refused, settled, released, and what stays uncertain."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import aiohttp
import pytest
from tests.gateway.batch.jobs import MODELS, PROVIDER_KEY, Desk, in_a_loop, over, serving, until, utc_now

from crewcap.core.budget import Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers
from crewcap.errors import UsageError
from crewcap.gateway.provider.freeze import Trouble
from crewcap.prices import Book
from crewcap.runner.batch_results import view
from crewcap.simulator.batch import BatchScript
from crewcap.simulator.server import Simulator
from crewcap.simulator.troubles import TROUBLES
from crewcap.stores import Limit
from crewcap.stores.sqlite.prices import SqlitePriceNotes

usd = Money.usd
APIS = ("/v1/messages", "/v1/responses", "/v1/chat/completions")
each_api = pytest.mark.parametrize("api", APIS)


@each_api
@in_a_loop
async def test_twenty_prompts_are_answered_and_every_sum_is_the_same(
    api: str, desk: Desk, simulator: Simulator, book: Book
) -> None:
    job = desk.job(api=api, count=20)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
        async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/metrics") as page:
            scraped = re.findall(r"^crewcap_spent_nanodollars_total\{.*\} (\d+)", await page.text(), re.MULTILINE)
    one = view(job, desk.ledger)
    assert one.sum("spent") == desk.totals(job).spent == simulator.meter.total() > ZERO
    assert [Money(int(nano)) for nano in scraped] == [simulator.meter.total()]
    assert [item.text.partition(":")[0] for item in one.items] == ["Reviewed"] * 20
    assert all(f"number {item.prompt.n}" in item.text for item in one.items)
    assert desk.holds_nothing()


@each_api
@in_a_loop
async def test_a_batch_is_held_and_paid_at_the_batch_card(
    api: str, desk: Desk, simulator: Simulator, book: Book
) -> None:
    """Whatever the price list says of batches; nothing is derived from the usual price."""
    job = desk.job("job", "hello", api=api)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    (entry,) = desk.ledger.entries()
    at = entry.booked_at
    card = book.card("anthropic" if api == APIS[0] else "openai", MODELS[api], at=at, modifiers=Modifiers(tier="batch"))
    assert (entry.card, entry.spent) == (card.id, card.cost(entry.usage))
    (item,) = job.planned() or ()
    us = Modifiers(tier="batch", geo="us")
    dearest = max(
        book.card("anthropic", MODELS[api], at=at, modifiers=us) if api == APIS[0] else card,
        card,
        key=lambda each: each.rates.output,
    )
    assert item.nano == dearest.most(prompt_tokens=item.prompt_bound, write="none", output_tokens=400).nano


@each_api
@in_a_loop
async def test_the_card_of_a_batch_is_kept_in_full(api: str, desk: Desk, simulator: Simulator, book: Book) -> None:
    """So that `audit` and `price` tell it when the price list is another."""
    job = desk.job("job", api=api)
    store = SqlitePriceNotes(desk.home)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.watch_prices(store)
        gateway.batches.start("job")
        await over(job)
    entries = desk.ledger.entries()
    (kept,) = store.kept().values()
    assert {entry.card for entry in entries} == {kept.card.id}
    assert (kept.modifiers.tier, kept.book) == ("batch", book.hash)
    assert [kept.card.cost(entry.usage) for entry in entries] == [entry.spent for entry in entries]
    store.close()


@in_a_loop
async def test_a_model_without_a_batch_price_is_refused_by_name(desk: Desk, simulator: Simulator, book: Book) -> None:
    job = desk.job("job", "hello", model="claude-opus-4-1")
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    (why,) = job.state().refused.values()
    assert "claude-opus-4-1" in why
    assert "batch" in why
    assert simulator.batches.posted == 0
    assert desk.totals(job).spent == ZERO


@in_a_loop
async def test_a_cap_holds_with_a_thousand_prompts_and_money_for_ten(
    desk: Desk, simulator: Simulator, book: Book
) -> None:
    """Those that do not fit are refused one by one, named, and the rest go."""
    probe = desk.job("probe", "Audit file number 000")
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("probe")
        await over(probe)
        (item,) = probe.planned() or ()
        cap = Money(10 * item.nano + item.nano // 2)
        job = desk.job("job", *(f"Audit file number {n:03}" for n in range(1_000)), cap=cap.exact())
        gateway.batches.start("job")
        await over(job)
    assert len(job.state().refused) == 990
    assert "key:" in next(iter(job.state().refused.values()))
    assert len(job.answers()) == 10
    totals = desk.totals(job)
    assert totals.spent + totals.uncertain <= cap
    assert desk.holds_nothing()


@in_a_loop
async def test_two_batches_at_once_share_one_budget(desk: Desk, simulator: Simulator, book: Book) -> None:
    """Together they never hold more than their part of the window."""
    desk.ledger.set_limit(Limit(scope=Scope("team:core"), window="day", amount=usd("0.10"), source="command"))
    jobs = [desk.job(name, count=20, scopes=("team:core",)) for name in ("one", "two")]
    seen: list[Money] = []

    def are_over() -> bool:
        balances = {each.scope: each for each in desk.ledger.all_balances()}
        seen.append(balances[Scope("team:core")].held)
        return all(job.state().is_over for job in jobs)

    async with serving(desk, book, simulator.url) as gateway:
        for job in jobs:
            gateway.batches.start(job.path.name)
        await until(are_over)
    assert ZERO < max(seen) <= usd("0.05")
    refused = [why for job in jobs for why in job.state().refused.values()]
    assert refused
    assert "50 % of team:core (day)" in refused[0]
    spent = sum(desk.totals(job).spent.nano for job in jobs)
    assert spent == simulator.meter.total().nano
    assert desk.holds_nothing()


@each_api
@in_a_loop
async def test_partial_failure_is_booked_item_by_item(api: str, desk: Desk, simulator: Simulator, book: Book) -> None:
    """What failed or expired is not billed, as the provider says; what has no result stays charged in full."""
    simulator.batches.script = BatchScript(
        fails=re.compile("number 0"), expires=re.compile("number 1"), vanishes=re.compile("number 2")
    )
    job = desk.job(api=api, count=5)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    one = view(job, desk.ledger)
    assert [item.state for item in one.items] == ["errored", "expired", "missing", "succeeded", "succeeded"]
    plan = job.planned() or ()
    assert [item.uncertain.nano for item in one.items] == [0, 0, plan[2].nano, 0, 0]
    assert desk.totals(job).spent == simulator.meter.total()
    assert [each.hold for each in desk.ledger.uncertain_holds()] == [plan[2].hold]
    assert desk.holds_nothing()


@in_a_loop
async def test_a_batch_that_the_provider_finds_invalid_gives_everything_back(
    desk: Desk, simulator: Simulator, book: Book
) -> None:
    simulator.batches.script = BatchScript(is_invalid=True)
    job = desk.job(api=APIS[1])
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    totals = desk.totals(job)
    assert (totals.spent, totals.uncertain, totals.held) == (ZERO, ZERO, ZERO)
    assert {item.why for item in view(job, desk.ledger).items} == {"line 1 is not valid"}


@pytest.mark.parametrize("api", APIS[:2])
@pytest.mark.parametrize("lie", ["usage-above-bound", "output-above-limit", "dearer-model", "dearer-tier"])
@in_a_loop
async def test_a_lie_about_usage_is_booked_in_full_and_freezes_the_provider(
    lie: str, api: str, desk: Desk, simulator: Simulator, book: Book
) -> None:
    simulator.lie = lie
    job = desk.job("job", "hello", api=api)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
        await until(lambda: bool(desk.ledger.frozen()))
        second = desk.job("second", "hello", api=api)
        gateway.batches.start("second")
        await until(lambda: "frozen" in str(gateway.batches.status("second")["said"]))
        assert simulator.batches.posted == 1
        simulator.lie = ""
        await gateway.thaw("anthropic" if api == APIS[0] else "openai")
        await over(second)
    (entry, _) = desk.ledger.entries()
    assert entry.incident
    assert entry.spent + entry.uncertain >= simulator.meter.bills[0].amount
    assert desk.ledger.verify().problems == ()


@each_api
@in_a_loop
async def test_two_results_for_one_item_are_booked_at_the_dearer_and_stay_charged(
    api: str, desk: Desk, simulator: Simulator, book: Book
) -> None:
    """Whichever comes first; the provider has contradicted itself, and somebody looks before more is sent to it."""
    simulator.batches.script = BatchScript(repeats=re.compile("number 1"), repeat_times=3)
    job = desk.job(api=api, count=3)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
        await until(lambda: bool(desk.ledger.frozen()))
    told = [item for item in view(job, desk.ledger).items if item.uncertain]
    plan = job.planned() or ()
    (item,) = told
    assert (item.prompt.n, item.spent.nano + item.uncertain.nano) == (1, plan[1].nano)
    (waiting,) = desk.ledger.uncertain_holds()
    assert waiting.reason == "the provider gave 2 different results for it"
    entry = next(each for each in desk.ledger.entries() if each.hold == waiting.hold)
    assert entry.usage.output == 3 * 120
    assert desk.holds_nothing()


@in_a_loop
async def test_the_same_result_once_more_is_one_result(desk: Desk, simulator: Simulator, book: Book) -> None:
    simulator.batches.script = BatchScript(repeats=re.compile("number"), repeat_times=1)
    job = desk.job(count=3)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    assert desk.totals(job).spent == simulator.meter.total()
    assert desk.ledger.uncertain_holds() == ()
    assert desk.ledger.frozen() == ()


@in_a_loop
async def test_an_answer_without_usage_stays_charged(desk: Desk, simulator: Simulator, book: Book) -> None:
    simulator.lie = "no-usage"
    job = desk.job("job", "hello")
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    (item,) = job.planned() or ()
    totals = desk.totals(job)
    assert totals.spent + totals.uncertain == Money(item.nano)


@each_api
@in_a_loop
async def test_cancelling_keeps_what_is_answered(api: str, desk: Desk, simulator: Simulator, book: Book) -> None:
    """The provider stops it; what it did is paid, the rest comes back when the provider says that it is not billed."""
    simulator.batches.script = BatchScript(polls=1_000)
    job = desk.job(api=api, count=8)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await until(lambda: bool(simulator.meter.bills))
        await gateway.batches.cancel("job")
        await over(job)
    one = view(job, desk.ledger)
    assert one.count("succeeded") + one.count("canceled") == 8
    assert one.count("canceled") > 0
    assert desk.totals(job).spent == simulator.meter.total() > ZERO
    assert desk.totals(job).uncertain == ZERO
    assert desk.holds_nothing()


@in_a_loop
async def test_a_batch_that_was_not_sent_yet_is_cancelled_without_the_provider(
    desk: Desk, simulator: Simulator, book: Book
) -> None:
    job = desk.job()
    async with serving(desk, book, simulator.url) as gateway:
        gateway.freezer.freeze("anthropic", Trouble(kind="spend", reason="empty", until=utc_now().replace(year=2999)))
        gateway.batches.start("job")
        await until(lambda: "empty" in str(gateway.batches.status("job")["said"]))
        assert desk.totals(job).held > ZERO
        await gateway.batches.cancel("job")
        await over(job)
    assert simulator.batches.posted == 0
    assert desk.totals(job).held == ZERO
    assert {item.why for item in view(job, desk.ledger).items} == {"cancelled before it was sent"}


@in_a_loop
async def test_an_abandoned_batch_leaves_uncertain_what_it_held(desk: Desk, simulator: Simulator, book: Book) -> None:
    simulator.batches.script = BatchScript(polls=1_000_000)
    job = desk.job()
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await until(lambda: any(part.batch for part in job.state().parts.values()))
        held = desk.totals(job).held
        await gateway.batches.abandon("job")
        totals = desk.totals(job)
        assert (totals.held, totals.uncertain) == (ZERO, held)
        assert desk.ledger.batches() == ()
        assert gateway.batches.status("job")["is_going"] is False


@in_a_loop
async def test_a_spend_limit_of_the_provider_waits_and_goes_on(desk: Desk, simulator: Simulator, book: Book) -> None:
    """Its key is frozen like for every other request; the batch is sent when it is thawed."""
    simulator.trouble = TROUBLES["usage_limit"]
    job = desk.job()
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await until(lambda: bool(gateway.freezer.all()))
        assert desk.totals(job).held > ZERO
        simulator.trouble = None
        await gateway.thaw("anthropic")
        await over(job)
    assert desk.totals(job).spent == simulator.meter.total() > ZERO
    assert simulator.batches.posted == 1


@in_a_loop
async def test_a_plain_no_to_the_batch_gives_everything_back(desk: Desk, simulator: Simulator, book: Book) -> None:
    simulator.trouble = TROUBLES["bad_request"]
    job = desk.job()
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    assert desk.totals(job).held == desk.totals(job).spent == ZERO
    assert "took none of it (400)" in view(job, desk.ledger).items[0].why


@in_a_loop
async def test_models_of_two_providers_go_in_a_part_each(desk: Desk, simulator: Simulator, book: Book) -> None:
    """OpenAI takes one model a batch; Anthropic takes any."""
    job = desk.job(count=6)
    prompts = [
        replace(
            prompt, model=("claude-sonnet-4-6", "claude-haiku-4-5", "gpt-5", "gpt-5", "gpt-4.1", "claude-haiku-4-5")[n]
        )
        for n, prompt in enumerate(job.prompts())
    ]
    lines = [
        json.dumps({"n": p.n, "id": p.id, "text": p.text, "model": p.model, "max_output": p.max_output})
        for p in prompts
    ]
    (job.path / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    assert simulator.batches.posted == 3
    assert len(job.answers()) == 6
    assert desk.totals(job).spent == simulator.meter.total()


@in_a_loop
async def test_every_open_batch_goes_on_when_a_gateway_starts(desk: Desk, simulator: Simulator, book: Book) -> None:
    jobs = [desk.job("one"), desk.job("two", api=APIS[1])]
    async with serving(desk, book, simulator.url):
        await over(*jobs)
    assert desk.holds_nothing()


@in_a_loop
async def test_only_one_gateway_works_on_a_batch(desk: Desk, simulator: Simulator, book: Book) -> None:
    simulator.batches.script = BatchScript(polls=30)
    job = desk.job()
    async with serving(desk, book, simulator.url):
        await until(lambda: bool(simulator.batches.made))
        async with serving(desk, book, simulator.url) as other:
            assert other.batches.start("job")["is_going"] is False
            with pytest.raises(UsageError, match="another gateway"):
                await other.batches.cancel("job")
            await over(job)
    assert simulator.batches.posted == 1


@in_a_loop
async def test_a_gateway_that_ends_leaves_the_batch_to_the_next(desk: Desk, simulator: Simulator, book: Book) -> None:
    simulator.batches.script = BatchScript(polls=50)
    job = desk.job()
    async with serving(desk, book, simulator.url):
        await until(lambda: any(part.batch for part in job.state().parts.values()))
    totals = desk.totals(job)
    assert (totals.uncertain, totals.held > ZERO) == (ZERO, True)
    simulator.batches.script = BatchScript(polls=1)
    async with serving(desk, book, simulator.url):
        await over(job)
    assert simulator.batches.posted == 1
    assert desk.totals(job).spent == simulator.meter.total()


@in_a_loop
async def test_a_key_ends_with_its_batch(desk: Desk, simulator: Simulator, book: Book) -> None:
    job = desk.job()
    async with serving(desk, book, simulator.url):
        await over(job)
    keys = desk.ledger.keys()
    (key,) = [each for each in keys if each.id == job.job().key]
    assert key.revoked_at is not None


@each_api
@in_a_loop
async def test_a_batch_whose_results_say_the_key_is_kept_without_it(
    api: str, desk: Desk, simulator: Simulator, book: Book
) -> None:
    """Results are printed, and stored for good."""
    job = desk.job("job", f"say {PROVIDER_KEY} back", api=api)
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    (item,) = view(job, desk.ledger).items
    assert "say [secret removed] back" in item.text
    assert PROVIDER_KEY.encode() not in b"".join(
        each.read_bytes() for each in job.path.iterdir() if each.is_file() and not each.name.startswith("prompts")
    )


@in_a_loop
async def test_a_batch_that_is_refused_with_the_key_is_told_without_it(
    desk: Desk, simulator: Simulator, book: Book
) -> None:
    simulator.trouble = replace(TROUBLES["bad_request"], message=f"not with {PROVIDER_KEY}")
    job = desk.job("job", "hello")
    async with serving(desk, book, simulator.url) as gateway:
        gateway.batches.start("job")
        await over(job)
    (item,) = view(job, desk.ledger).items
    assert PROVIDER_KEY not in repr(item)
    assert "not with [secret removed]" in repr(item)
