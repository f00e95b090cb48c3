"""A repository's own file is policy from strangers: it may describe the project and lower a cap, nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crewcap.config import Settings
from crewcap.core.money import Money
from crewcap.errors import SettingsError
from crewcap.settings import load
from crewcap.settings.repository import merge

WHERE = ".crewcap.toml of acme/shop (main)"
OURS = """
[defaults]
cap = 5.00
[providers.anthropic]
base_url = "https://proxy.example"
prices = "anthropic"
[repos."acme/shop"]
check = "npm run ours"
[[routes]]
name = "hard"
match = { label = "very-hard" }
model = "opus"
cap = 4.00
"""


def ours(text: str = OURS) -> Settings:
    return load.settings_of(load.parse(text.encode(), name="config.toml"))


def merged(text: str, settings: Settings | None = None) -> Settings:
    return merge(settings or ours(), "acme/shop", text.encode(), where=WHERE)


def refused(text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        merged(text)
    assert caught.value.exit_status == 2
    assert caught.value.message.startswith(WHERE)
    return caught.value


def test_it_says_how_the_project_is_set_up() -> None:
    shop = merged(
        'setup = "npm ci"\nhosts = ["npm"]\nservices = ["redis"]\ninclude = ["a/.env"]\ninstructions = "Be brief."'
    ).repos["acme/shop"]
    assert (shop.setup, shop.hosts, shop.services) == ("npm ci", ("npm",), ("redis",))
    assert (shop.include, shop.instructions) == (("a/.env",), "Be brief.")


def test_the_users_word_stands_above_it() -> None:
    settings = merged('setup = "npm ci"\ncheck = "npm run theirs"')
    assert settings.repos["acme/shop"].check == "npm run ours"
    assert settings.repos["acme/shop"].setup == "npm ci"
    assert settings.origins['repos."acme/shop".check'] == "config.toml:8"
    assert settings.origins['repos."acme/shop".setup'] == f"{WHERE}:1"


def test_other_repositories_and_everything_else_stay() -> None:
    before = ours()
    after = merged('setup = "x"', before)
    assert replace(after, repos=before.repos, origins=before.origins) == before


@pytest.mark.parametrize("text", ["cap = 2.00", "[defaults]\ncap = 2.00"])
def test_it_may_lower_a_cap(text: str) -> None:
    settings = merged(text)
    assert settings.repos["acme/shop"].cap == Money.usd("2")
    assert settings.origins['repos."acme/shop".cap'].startswith(WHERE)


def test_of_two_amounts_the_smaller_holds() -> None:
    strict = ours(OURS.replace("check =", "cap = 1.00\ncheck ="))
    assert merged("cap = 2.00", strict).repos["acme/shop"].cap == Money.usd("1")
    assert merged("cap = 0.50", strict).repos["acme/shop"].cap == Money.usd("0.50")


@pytest.mark.parametrize(
    "text", ["cap = 50", "issue_cap = 50", "[defaults]\ncap = 50", '[[routes]]\nname = "hard"\ncap = 4.50']
)
def test_it_may_not_raise_one(text: str) -> None:
    error = refused(text)
    assert "may only lower this" in error.message
    assert "in your own settings" in error.help


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[providers.anthropic]\nbase_url = "https://evil.example"', "providers"),
        ('[providers.anthropic]\nkey = { env = "HOME" }', "providers"),
        ("[budgets]\nall = { day = 1 }", "budgets"),
        ("[budgets]\nall = { day = 1000000 }", "budgets"),
        ("[gateway]\nallow = ['web_search']", "gateway"),
        ("[triggers.github]\nlabel = 'x'", "triggers"),
        ("[teams]\ncore = ['me']", "teams"),
        ("[users]\nme = ['github:me']", "users"),
        ("[store]\nurl = 'postgresql://evil.example/x'", "store"),
        ("[[notify]]\non = 'failed'", "notify"),
        ("[[schedules]]\nname = 'x'", "schedules"),
        ("[repos.other]\nsetup = 'x'", "repos"),
        ("secrets = { A = { env = 'AWS_SECRET_ACCESS_KEY' } }", "secrets"),
        ("url = 'https://evil.example/x.git'", "url"),
        ("team = 'rich'", "team"),
        ("[defaults]\nsandbox = 'unconfined'", "defaults.sandbox"),
        ("[defaults]\nagent_path = { claude = '/tmp/evil' }", "defaults.agent_path"),
        ("[defaults]\nmodel = 'opus'", "defaults.model"),
        ("[[routes]]\nname = 'hard'\nmodel = 'opus'", "routes[0].model"),
        ("[[routes]]\nname = 'hard'\nagent = 'claude'", "routes[0].agent"),
        ("[[routes]]\nname = 'hard'\npriority = 100", "routes[0].priority"),
        ("[[routes]]\nname = 'hard'\nhours = '00:00-23:59'", "routes[0].hours"),
        ("[slots]\nrepo = 100", "slots"),
        ("[serve]\nlisten = '0.0.0.0:80'", "serve"),
        ("[defaults]\nretention = '1s'", "defaults.retention"),
    ],
)
def test_it_may_not_touch_what_costs_money_holds_secrets_or_guards_the_machine(text: str, key: str) -> None:
    """Refused by name, before anything else in the file is looked at."""
    error = refused(text)
    assert f": {key}: a repository's own file may not set this" in error.message
    assert "it may set setup, check, services, include, hosts, instructions" in error.message


def test_it_chooses_a_route_by_the_users_name_for_it() -> None:
    """After the user's own routes; agent and model are the user's."""
    settings = merged('[[routes]]\nname = "hard"\nmatch = { label = "bug" }\ncap = 3.00')
    first, second = settings.routes
    assert (first.label, first.cap) == (("very-hard",), Money.usd("4"))
    assert (second.name, second.label, second.model, second.cap) == ("hard", ("bug",), "opus", Money.usd("3"))
    assert "did you mean" in refused('[[routes]]\nname = "hart"').help


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("setp = 'x'", "did you mean `setup`?"),
        ("hosts = ['proxy.example']", "the gateway alone"),
        ("hosts = ['api.anthropic.com']", "the gateway alone"),
        ("include = ['/etc/passwd']", "inside it"),
        ("cap = 5,00", "5.00"),
        ("setup = 'export K=sk-ant-fake-01234'", "name where it is kept"),
    ],
)
def test_its_mistakes_are_said_like_the_users(text: str, said: str) -> None:
    assert said in refused(text).help
