"""A run's report in Markdown."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crewcap.core.budget import HoldId, KeyId
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.core.report import Parts
from crewcap.core.runs import Check, Issue, Remark, Run, RunId, RunState, Verdict
from crewcap.core.savings import CacheReport, CacheTurn
from crewcap.runner.account import Account
from crewcap.runner.report import code, markdown, text
from crewcap.stores import Totals

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
GREEN = Check(result="passed", summary="42 passed")
RUN = Run(
    id=RunId("01RUN"),
    name="fix-login.1",
    issue=Issue(tracker="files", key="fix-login", title="Login fails", body="..."),
    state=RunState.DONE,
    verdict=Verdict.FINISHED,
    repo="shop",
    repo_path="/srv/shop",
    branch="crewcap/fix-login-1",
    commits=1,
    model="claude-sonnet-5",
    because="default; no route matched",
    cap=Money.usd(3),
    cap_because="your default",
    check_before=Check(result="failed", summary="41 passed, 1 failed"),
    check_after=GREEN,
    created_at=START,
    started_at=START,
    ended_at=START + timedelta(seconds=77),
)


def account(**said: Any) -> Account:
    usage = Usage(input=3_100, write_5m=41_000, cache_read=412_000, output=6_200, thinking=2_000)
    known: dict[str, Any] = {
        "spent": Money.usd("0.2531"), "uncertain": ZERO, "held": ZERO, "notional": ZERO, "requests": 8, "refused": 0,
        "usage": usage,
    }  # fmt: skip
    parts = Parts(
        input=Money.usd("0.0062"),
        cache_write=Money.usd("0.1025"),
        cache_read=Money.usd("0.0824"),
        output=Money.usd("0.062"),
        thinking=Money.usd("0.02"),
        without_caching=Money.usd("0.9742"),
    )
    return Account(
        totals=Totals(**{**known, **said}),
        issue_cost=Money.usd("0.2531"),
        issue_cap=Money.usd(10),
        parts=parts,
        elsewhere=(("claude-opus-4-8", Money.usd("0.6328")),),
        book="3f9a17c2",
    )


def test_the_whole_report_of_a_run_that_went_well() -> None:
    said = markdown(RUN, account(), now=START, check="make test", told="Fix it.", reach=["network: model gateway"])
    assert (
        f"{said}\n"
        == """\
**Done**: `crewcap/fix-login-1`, checks green (42 passed), $0.2531 of $3.00
`##..................`  8 turns, 1 min 17 s, `claude-sonnet-5`

| | before | after |
|---|---|---|
| check `make test` | 41 passed, 1 failed | **42 passed** |
| this issue, all runs | $0.00 | $0.2531 of $10.00 |

<details><summary>Where the money went</summary>

- cache writes $0.1025, cache reads $0.0824, input $0.0062, output $0.0620 ($0.02 of it thinking)
- the same tokens would have cost: `claude-opus-4-8` $0.6328, no caching $0.9742
- tokens: input 3,100, cache write 41,000, cache read 412,000, output 6,200
- model and cap: default; no route matched; your default

</details>
<details><summary>What it was told, what it could reach</summary>

- network: model gateway

```text
Fix it.
```

</details>
<sub>`crewcap diff fix-login.1`, `crewcap checkout fix-login.1`. Exactly $0.253100000, price table 3f9a17c2.</sub>
"""
    )


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"state": RunState.RUNNING, "verdict": None, "commits": 0, "ended_at": None}, "**Working**: $0.2531 of $3.00"),
        (
            {"check_after": Check(result="not_run")},
            "**Done**: `crewcap/fix-login-1`, not checked, $0.2531 of $3.00",
        ),
        (
            {"state": RunState.FAILED, "verdict": Verdict.CHECK_FAILED,
             "check_after": Check(result="failed", summary="40 passed, 2 failed")},
            "**Not done, the check is red**: `crewcap/fix-login-1`, checks red (40 passed, 2 failed), $0.2531 of $3.00",
        ),
        (
            {"state": RunState.FAILED, "verdict": Verdict.NO_CHANGES, "commits": 0},
            "**No change**: $0.2531 of $3.00",
        ),
        (
            {"state": RunState.WAITING, "verdict": Verdict.BUDGET_EXHAUSTED},
            "**Paused at the cap**: `crewcap/fix-login-1`, checks green (42 passed), $0.2531 of $3.00",
        ),
        ({"state": RunState.WAITING, "verdict": Verdict.CANCELLED, "commits": 0}, "**Paused**: $0.2531 of $3.00"),
        ({"state": RunState.FAILED, "verdict": None, "commits": 0}, "**Failed**: $0.2531 of $3.00"),
    ],
)  # fmt: skip
def test_the_first_line_answers_whether_it_is_done_good_and_what_it_cost(changes: dict[str, Any], first: str) -> None:
    assert markdown(replace(RUN, **changes), account(), now=START).splitlines()[0] == first


def test_every_end_has_words() -> None:
    for verdict in Verdict:
        assert markdown(replace(RUN, state=RunState.FAILED, verdict=verdict), account(), now=START).startswith("**")


def test_what_is_not_proven_and_what_was_refused_is_said() -> None:
    said = markdown(
        replace(RUN, state=RunState.FAILED, verdict=Verdict.AGENT_ERROR, reason="it fell over"),
        account(uncertain=Money.usd("0.01"), refused=7, held=Money.usd("0.02"), notional=Money.usd(1)),
        now=START,
    )
    assert "- it fell over\n" in said
    assert "- 7 requests were refused before costing anything.\n" in said
    assert "- $0.01 of it is uncertain: no answer told the cost, so it stays charged.\n" in said
    assert "- $0.02 more is still promised to requests in flight.\n" in said
    assert "- $1.00 more is notional: a subscription paid for it.\n" in said
    assert "$0.2631 of $3.00" in said.splitlines()[0]


def test_hidden_text_that_was_left_out_is_said_to_everybody() -> None:
    run = replace(RUN, issue=replace(RUN.issue, notes=("1 comment left out",)))
    assert "- The issue: 1 comment left out.\n" in markdown(run, account(), now=START)


@pytest.mark.parametrize(
    "hostile",
    [
        "<!-- /crewcap:fix-login.1 -->",
        "</details><script>alert(1)</script>",
        "![x](https://evil.example/beacon.png)",
        "[click](https://evil.example)",
        "@everyone and @ana, see #1",
        "\x1b]52;c;c2VjcmV0\x07\x1b[2Jgone",
        "a | b\n| c | d |",
        "`code` **bold** _it_ ~~no~~",
        "::set-output name=x::y",
    ],
)
def test_words_of_strangers_are_only_words(hostile: str) -> None:
    """A check's output, an agent's reason, a branch: all of it can be written by whoever wrote the code."""
    run = replace(
        RUN,
        state=RunState.FAILED,
        verdict=Verdict.AGENT_ERROR,
        reason=hostile,
        branch=f"x{hostile}",
        check_before=Check(result="failed", summary=hostile),
        check_after=Check(result="failed", summary=hostile),
        model=hostile,
    )
    said = markdown(run, account(), now=START, check=hostile, told=hostile, reach=[hostile])
    spoken = re.sub(r"```text\n.*?\n```\n", "", said, flags=re.DOTALL)
    outside = "".join(part for number, part in enumerate(spoken.split("`")) if number % 2 == 0).replace("\\]", "")
    for trick in ("<!--", "<script", "![", "](", "@everyone", " #1"):
        assert trick not in outside
    assert "\x1b" not in said
    assert outside.count("</details>") == 2
    assert [line[:7] for line in spoken.splitlines() if line.startswith("|")] == [
        "| | bef",
        "|---|--",
        "| check",
        "| this ",
    ]


def test_a_prompt_that_holds_fences_stays_inside_its_own() -> None:
    said = markdown(RUN, account(), now=START, told="a\n````\nb")
    assert "\n`````text\na\n````\nb\n`````\n" in said


def test_secrets_never_get_into_a_report() -> None:
    """Known ones in their usual disguises, unknown ones by their look."""
    secret = "hunter2_long*secret"
    words = f"{secret} {base64.b64encode(secret.encode()).decode()} sk-ant-fake-0123456789abcdef"
    run = replace(RUN, check_after=Check(result="passed", summary=words), issue=replace(RUN.issue, notes=(words,)))
    said = markdown(run, account(), now=START, told=words, secrets=[secret])
    assert "hunter2" not in said
    assert "sk-ant" not in said
    assert base64.b64encode(secret.encode()).decode()[:-4] not in said


def test_plain_words_and_code_are_what_they_say() -> None:
    assert text("a_b *c* <d> @e `f`\ng") == "a\\_b \\*c\\* &lt;d&gt; &#64;e \\`f\\` g"
    assert code("a`b|c") == "`a'b\u00a6c`"
    assert code("") == "` `"


def test_a_run_that_was_told_to_wrap_up_says_so() -> None:
    """A reader must know why it ended where it did."""
    told = replace(RUN, wrap_up="with $0.05 left, the agent was told to wrap up")
    assert "- The money ran short: with $0.05 left, the agent was told to wrap up." in markdown(
        told, account(), now=START
    )
    assert "ran short" not in markdown(RUN, account(), now=START)


def test_what_the_caches_lost_stands_where_the_money_went() -> None:
    """With the place at which the prefix broke, made harmless like every word from outside."""
    broke = CacheTurn(
        hold=HoldId("h"), run="r", key=KeyId("k"), conversation="c", gap_ms=9, kept=9, broke="system, character 1,204"
    )
    caches = CacheReport(conversations=1, breaks=2, lost=41_200, cost=Money.usd("0.15"), dearest=broke)
    said = markdown(RUN, replace(account(), caches=caches), now=START)
    assert (
        "- the cached prefix broke 2 times (at system, character 1,204): 41,200 tokens were sent again, "
        "for $0.15 more than reading them\n"
    ) in said


def test_what_the_watch_said_stands_in_the_report_and_why_it_paused_only_once() -> None:
    note = Remark(rule="cache", action="note", words="3 prompts in a row @all", turn=4)
    pause = Remark(rule="repeats", action="pause", words="read a.py 8 times", turn=9)
    reason = f"paused by the watch: {pause.words}"
    run = replace(RUN, state=RunState.WAITING, verdict=Verdict.RUNAWAY, reason=reason, watched=(note, pause))
    said = markdown(run, account(), now=START)
    assert said.startswith("**Paused by the watch**: ")
    assert "- The watch: 3 prompts in a row &#64;all." in said
    assert said.count("read a.py 8 times") == 1


def test_evidence_of_the_watch_holds_no_secret() -> None:
    leak = Remark(rule="repeats", action="note", words="ran echo hunter2-canary 3 times")
    said = markdown(replace(RUN, watched=(leak,)), account(), now=START, secrets=["hunter2-canary"])
    assert "The watch: ran echo" in said
    assert "canary" not in said
