"""Members of the right kind, and refusals in one form of words."""

from __future__ import annotations

from typing import Any

import pytest

from crewcap.wire import Malformed, findings
from crewcap.wire.findings import Findings


def test_a_refusal_ends_in_the_line_that_lifts_it() -> None:
    """The name is cut where a stranger made it long."""
    found = Findings()
    found.refuse('the field "x"', "costs", "x" * 99)
    line = f'[gateway] allow = ["{"x" * 80}"]'
    assert found.refusals == [f'the field "x" costs, so capped keys may not use it; to let them: {line}']


def test_what_no_hold_covers_is_not_to_be_allowed() -> None:
    """Only a key without a cap may."""
    found = Findings()
    found.never("the tool", "runs for ever")
    assert found.refusals == ["the tool runs for ever, so no hold can cover it; use a key without a cap"]


def test_any_of_several_names_may_be_allowed() -> None:
    """A family, or one version of it."""
    found = Findings(allow=frozenset({"web_search"}))
    assert found.allows("web_search_2025_08_26", "web_search")
    assert not found.allows("file_search")


@pytest.mark.parametrize("value", [True, 1.5, "5", -1, 10**9, [], {}])
def test_a_number_is_whole_and_within_bounds_or_the_body_is_malformed(value: Any) -> None:
    """Readers differ on everything else."""
    with pytest.raises(Malformed, match=r"^n is not a whole number from 0 to 10,000,000$"):
        findings.whole({"n": value}, "n")


def test_what_is_not_said_is_none() -> None:
    """Null is as good as nothing in these APIs."""
    fields: dict[str, Any] = {"n": None, "f": None, "o": None}
    assert findings.whole(fields, "n") is None
    assert findings.whole({}, "n") is None
    assert not findings.flag(fields, "f")
    assert findings.object_or_none(fields, "o") is None
    assert findings.whole({"n": 0}, "n") == 0


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (findings.text, None, "m is not a name"),
        (findings.text, "", "m is not a name"),
        (findings.flag, 1, "m is neither true nor false"),
        (findings.object_or_none, [], "m is not an object"),
        (findings.objects, [1], "m is not a list of objects"),
        (findings.objects, {}, "m is not a list of objects"),
    ],
)
def test_the_wrong_kind_is_malformed(read: Any, value: Any, problem: str) -> None:
    """One sentence says which member, and what is wrong with it."""
    with pytest.raises(Malformed, match=f"^{problem}$"):
        read(value, "m") if read is findings.objects else read({"m": value}, "m")


def test_a_missing_name_is_said_to_be_missing() -> None:
    """And not to be of the wrong kind."""
    with pytest.raises(Malformed, match=r"^model is missing$"):
        findings.text({}, "model")


def test_a_part_is_measured_as_widely_as_json_writes_it() -> None:
    """However the client wrote it."""
    assert findings.size({"a": "ä"}) == len('{"a": "\\u00e4"}')
