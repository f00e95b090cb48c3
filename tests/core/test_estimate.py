"""What a run will probably cost, and what in an issue is dear."""

from __future__ import annotations

import pytest
from tests.core.past import job

from crewcap.core.estimate import dear_signs, estimate
from crewcap.core.money import Money
from crewcap.core.runs import Issue


def test_ten_like_it_are_gone_by() -> None:
    past = [job(n) for n in range(1, 11)]
    found = estimate(past, workflow="run", model="claude-sonnet-5", repo="shop")
    assert (found.basis, found.p50, found.p90, found.jobs) == ("history", Money.usd(5), Money.usd(9), 10)
    assert found.p10 == Money.usd(1)
    assert found.like == "runs in shop on claude-sonnet-5"


def test_fewer_are_widened_before_they_are_given_up() -> None:
    past = [job(1, repo="shop") for _ in range(4)] + [job(3, repo="tools") for _ in range(6)]
    found = estimate(past, workflow="run", model="claude-sonnet-5", repo="shop")
    assert (found.like, found.p50) == ("runs on claude-sonnet-5, all repositories", Money.usd(3))


def test_without_history_it_is_what_others_published() -> None:
    found = estimate([job(1)] * 9, workflow="run", model="claude-sonnet-5", repo="shop")
    assert (found.basis, found.p50, found.p90, found.jobs) == ("published", Money.usd(2), Money.usd(5), 9)


def test_what_keys_did_without_a_run_is_no_guide_to_a_run() -> None:
    past = [job(1, is_run=False)] * 20
    assert estimate(past, workflow="run", model="claude-sonnet-5", repo="shop").basis == "published"


@pytest.mark.parametrize(
    ("title", "body", "signs"),
    [
        ("Improve this codebase", "", ("no path", "no test", "something broad", "says little")),
        (
            "Login fails",
            "In src/login.py capitals are kept. The test test_login_capitals should pass: names compare.",
            (),
        ),
        (
            "Login fails",
            "Capitals in the e-mail address make the login fail, and the user should be logged in.",
            ("no path",),
        ),
    ],
)
def test_an_issue_says_itself_what_is_dear(title: str, body: str, signs: tuple[str, ...]) -> None:
    found = dear_signs(Issue(tracker="files", key="x", title=title, body=body))
    assert len(found) == len(signs)
    assert all(sign in said for sign, said in zip(signs, found, strict=True))
