"""The ledger beside transcripts: every dollar of the difference has a reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.money import ZERO, Money, total
from crewcap.core.pricing import Usage
from crewcap.core.transcripts import Told
from crewcap.core.usage_check import check

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1_000)
LATER, LATER_MS = AT + timedelta(minutes=1), AT_MS + 60_000


SEVEN, ANSWER = Money(7), Usage(input=5, output=3)


@dataclass(frozen=True)
class Request:
    kind: str = "settled"
    model: str = "m"
    spent: Money = SEVEN
    uncertain: Money = ZERO
    notional: Money = ZERO
    usage: Usage = ANSWER
    booked_at: datetime = AT
    request_id: str = ""
    reason: str = ""


def told(key: str = "claude:a:b", output: int = 3, at: int = AT_MS) -> Told:
    return Told(key, at, "s", "/f", "p", "m", input=5, output=output)


def test_the_same_answers_at_the_same_cost_need_no_word() -> None:
    checked = check([(told(), Money(7))], [Request()])
    assert (checked.matched, checked.differences, checked.ledger) == (1, (), Money(7))


def test_an_answer_is_known_by_the_providers_name_for_it() -> None:
    """Whatever its tokens say."""
    request = Request(request_id="resp_1", usage=Usage(input=1))
    assert check([(told("codex:resp_1", output=99), Money(7))], [request]).matched == 1


def test_the_name_outweighs_what_is_alike_and_nearer_in_time() -> None:
    """Two answers with the same tokens, one of them at half the price: whose it is decides the reason."""
    early, late = Request(request_id="msg_early", spent=Money(9)), Request(request_id="msg_late", booked_at=LATER)
    messages = [(told("claude:msg_early:", at=LATER_MS), Money(9)), (told("claude:msg_late:", at=AT_MS), Money(7))]
    assert check(messages, [early, late]).differences == ()
    assert check(messages[1:], [early, late]).differences[0].amount == Money(9)


def test_a_request_that_was_released_cost_nothing_and_is_no_difference() -> None:
    assert check([], [Request(kind="released", spent=ZERO)]).differences == ()


def test_each_reason_has_its_amount() -> None:
    side = Request(model="small", spent=Money(4))
    cut = Request(kind="uncertain", spent=Money(1), uncertain=Money(6), usage=Usage(input=9))
    checked = check([(told(), Money(5)), (told("claude:c:d", output=50), Money(3))], [Request(), side, cut])
    words = {each.why.split(":")[0]: each.amount.nano for each in checked.differences}
    assert words == {
        "same answer, another price": 2,
        "only in the ledger": 5,
        "uncertain": 6,
        "only in transcripts": -3,
    }


_MONEY = st.integers(0, 9).map(Money)
_REQUESTS = st.lists(
    st.builds(
        lambda kind, spent, open_, out: Request(kind, spent=spent, uncertain=open_, usage=Usage(output=out)),
        st.sampled_from(["settled", "uncertain"]), _MONEY, _MONEY, st.integers(0, 3),
    ), max_size=6,
)  # fmt: skip
_TOLD = st.lists(
    st.builds(
        lambda number, output, cost: (replace_input(told(f"claude:{number}:", output)), cost),
        st.integers(0, 99), st.integers(0, 3), st.one_of(st.none(), _MONEY),
    ), max_size=6,
)  # fmt: skip


def replace_input(one: Told) -> Told:
    return one._replace(input=0)


@given(_TOLD, _REQUESTS)
def test_the_reasons_add_up_to_the_difference(
    messages: list[tuple[Told, Money | None]], entries: list[Request]
) -> None:
    checked = check(messages, [replace(entry) for entry in entries])
    assert total(each.amount for each in checked.differences) == checked.ledger - checked.transcripts
