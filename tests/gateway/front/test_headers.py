"""Headers are rebuilt from lists in both directions."""

from __future__ import annotations

import pytest

from crewcap.gateway.front import headers


def test_the_clients_key_host_and_machine_never_reach_the_provider() -> None:
    client = headers.read(
        [
            ("Host", "127.0.0.1"),
            ("X-Api-Key", "ccap-client"),
            ("Authorization", "Bearer ccap-client"),
            ("Cookie", "a=b"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Stainless-OS", "Linux"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "one"),
            ("Anthropic-Beta", "two"),
            ("User-Agent", "claude-cli/2.1"),
        ]
    )
    assert headers.to_provider(client, key={"x-api-key": "sk-ant-fake"}) == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "anthropic-beta": "one,two",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        "user-agent": "claude-cli/2.1",
        "x-api-key": "sk-ant-fake",
    }


def test_the_client_sees_advice_and_limits_and_nothing_of_the_organisation() -> None:
    assert headers.to_client(
        {
            "Content-Type": "text/event-stream",
            "Request-Id": "req_1",
            "Retry-After": "2",
            "Anthropic-Ratelimit-Tokens-Remaining": "5",
            "Anthropic-Organization-Id": "org",
            "Set-Cookie": "a=b",
            "Transfer-Encoding": "chunked",
            "Location": "http://elsewhere",
        }
    ) == {
        "content-type": "text/event-stream",
        "request-id": "req_1",
        "retry-after": "2",
        "anthropic-ratelimit-tokens-remaining": "5",
    }


@pytest.mark.parametrize(
    ("shown", "key"),
    [
        ({"x-api-key": "a"}, "a"),
        ({"authorization": "Bearer a"}, "a"),
        ({"authorization": "bearer  a "}, "a"),
        ({"x-api-key": "a", "authorization": "Bearer a"}, "a"),
        ({"authorization": "Basic a"}, ""),
        ({}, ""),
    ],
)
def test_a_key_may_come_either_way(shown: dict[str, str], key: str) -> None:
    assert headers.key_shown(shown) == key


def test_two_different_keys_are_refused() -> None:
    with pytest.raises(headers.HeaderError, match="two different keys"):
        headers.key_shown({"x-api-key": "a", "authorization": "Bearer b"})
    with pytest.raises(headers.HeaderError, match="twice"):
        headers.read([("authorization", "Bearer a"), ("Authorization", "Bearer b")])


def test_a_key_in_the_query_is_one_of_the_ways() -> None:
    """Once more the same is the same; another one is one too many."""
    assert headers.key_shown({}, ["a"]) == "a"
    assert headers.key_shown({"x-goog-api-key": "a"}, ["a", "a"]) == "a"
    for client, queried in (({"x-goog-api-key": "a"}, ["b"]), ({}, ["a", "b"])):
        with pytest.raises(headers.HeaderError, match="two different keys"):
            headers.key_shown(client, queried)
