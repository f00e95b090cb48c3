"""Addresses and branch names, as values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.errors import UsageError
from crewcap.workspaces.repository.repositories import (
    Repository,
    check_branch,
    file_address,
    is_address,
    next_branch,
    parse_address,
    slug,
)


@pytest.mark.parametrize(
    ("text", "name", "protocol"),
    [
        ("git@github.com:acme/shop.git", "shop", "ssh"),
        ("github.com:acme/shop", "shop", "ssh"),
        ("ssh://git@example.com:2222/acme/shop.git", "shop", "ssh"),
        ("https://example.com/acme/shop.git/", "shop", "https"),
        ("http://127.0.0.1:8000/shop", "shop", "http"),
    ],
)
def test_an_address_has_a_name_and_one_protocol(text: str, name: str, protocol: str) -> None:
    assert is_address(text)
    assert (parse_address(text).name, parse_address(text).protocol) == (name, protocol)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://ana:hunter2@example.com/x", "holds a credential"),
        ("https://ghp_token@example.com/x", "holds a credential"),
        ("http://example.com/x", "not encrypted"),
        ("ext::sh -c id", "no address"),
        ("git://example.com/x", "no address"),
        ("ftp://example.com/x", "no address"),
        ("https:///x", "no address"),
        ("ssh://-oProxyCommand=id/x", "no address"),
        ("file:///srv/x", "by its path"),
    ],
)
def test_what_is_not_fetched_from_is_refused_without_showing_a_secret(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        parse_address(text)
    said = refused.value.message + refused.value.help
    assert "hunter2" not in said
    assert "ghp_token" not in said


@pytest.mark.parametrize("path", [".", "shop", "/srv/shop", "~/shop", "../x", "C", "-oProxyCommand=x:y"])
def test_a_path_is_no_address(path: str) -> None:
    assert not is_address(path)


def test_a_path_becomes_an_address_with_every_odd_letter_escaped() -> None:
    assert file_address(Path("/a b/ü%20#?")) == "file:///a%20b/%C3%BC%2520%23%3F"


def test_one_repository_has_one_mirror_however_it_is_written() -> None:
    assert (
        parse_address("https://example.com/shop").mirror_name == parse_address("https://example.com/shop/").mirror_name
    )


def test_a_mirrors_name_is_safe_whatever_the_repository_is_called() -> None:
    odd = Repository(name="../$(id) x", address="", protocol="file", identity="/srv/x")
    assert odd.mirror_name.startswith("id-x-")
    assert odd.mirror_name.endswith(".git")


@given(st.text(max_size=60))
def test_a_slug_is_made_of_plain_letters_and_never_empty(text: str) -> None:
    made = slug(text)
    assert check_branch(f"crewcap/{made}-1")
    assert 1 <= len(made) <= 40
    assert slug(made) == made


@given(st.lists(st.integers(1, 50)), st.integers(1, 50))
def test_a_new_number_is_above_all_that_were_used(used: list[int], at_least: int) -> None:
    taken = [f"crewcap/x-{n}" for n in used] + ["crewcap/x-y-99", "main", "crewcap/x-"]
    number = int(next_branch("x", taken=taken, at_least=at_least).rpartition("-")[2])
    assert number == max([at_least, *(n + 1 for n in used)])


@pytest.mark.parametrize(
    "name", ["main", "crewcap/", "crewcap/X-1", "crewcap/a..b", "crewcap/$(id)-1", "crewcap/a/b", "-"]
)
def test_only_names_of_ours_pass(name: str) -> None:
    with pytest.raises(UsageError):
        check_branch(name)
