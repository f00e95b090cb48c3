"""Host names and patterns."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.hostnames import covers, is_name, meets


@pytest.mark.parametrize("name", ["pypi.org", "a.b", "files.pythonhosted.org", "xn--bcher-kva.example", "0x7f.example"])
def test_a_name_of_a_host_is_one(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "localhost", "pypi.org.", "PyPI.org", "pypi..org", ".pypi.org", "-a.org", "a-.org", "a_b.org", "*.org"),
        *("127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "1.0x7f", "a.1", "[::1]", "::1"),
        *(
            "pypi.org\0.evil.test",
            "pypi.org\n",
            "\u0440ypi.org",
            "pypi\u3002org",
            "a b.org",
            "a@b.org",
            f"{'a' * 64}.org",
        ),
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_could_be_read_as_something_else_is_none(name: str) -> None:
    assert not is_name(name)


def test_a_wildcard_covers_what_is_below_and_not_the_name_itself() -> None:
    assert covers("*.example.org", "a.example.org")
    assert covers("*.example.org", "a.b.example.org")
    assert not covers("*.example.org", "example.org")
    assert not covers("*.example.org", "anexample.org")
    assert not covers("example.org", "example.org.evil.test")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("*.amazonaws.com", "bedrock-runtime.*.amazonaws.com"),
        ("*.us-east-1.amazonaws.com", "bedrock-runtime.*.amazonaws.com"),
        ("*.com", "api.openai.com"),
        ("*.azure.com", "*.openai.azure.com"),
        ("+.a.org", "+.a.org"),
        ("x+.org", "+y.org"),
    ],
)
def test_two_patterns_meet_where_a_name_fits_both(one: str, other: str) -> None:
    assert meets(one, other)
    assert meets(other, one)


def test_two_patterns_that_share_no_name_do_not_meet() -> None:
    assert not meets("*.s3.amazonaws.com", "bedrock-runtime.*.api.aws")
    assert not meets("*.pypi.org", "*.openai.com")


def test_a_part_between_two_dots_has_no_dot() -> None:
    assert covers("bedrock+.+-+-+.amazonaws.com", "bedrock-runtime.us-east-1.amazonaws.com")
    assert covers("+.example.org", "a.example.org")
    assert not covers("+.example.org", "a.b.example.org")
    assert not covers("bedrock+.+-+-+.amazonaws.com", "bedrock-files.s3.us-east-1.amazonaws.com")
    assert meets("bedrock+.+-+-+.amazonaws.com", "*.us-east-1.amazonaws.com")
    assert not meets("bedrock+.+-+-+.amazonaws.com", "*.s3.us-east-1.amazonaws.com")


_LETTERS = st.text(alphabet="ab.", max_size=6)


@given(_LETTERS, st.text(alphabet="ab.*", max_size=6))
@settings(max_examples=200)
def test_covering_is_what_shells_call_matching(name: str, pattern: str) -> None:
    assert covers(pattern, name) == fnmatch.fnmatchcase(name, pattern)
