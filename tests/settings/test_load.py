"""Settings are read once; everything wrong in a file is one line with its place and the right spelling."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap import config
from crewcap.config import BudgetLine, KeySource, Settings
from crewcap.core.budget import ALL, Scope
from crewcap.core.hours import Hours
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import Money
from crewcap.errors import SettingsError, UnsafeEnvironment
from crewcap.settings import load
from crewcap.stores import Limit

SAMPLE = Path(__file__).with_name("sample.toml")
SECRET = "sk-ant-fake-0123456789abcdefghijklmnopqrstuvwxyz"


def usd(amount: str) -> Money:
    return Money.usd(amount)


def read(text: str) -> Settings:
    """What a file with this text means."""
    return load.settings_of(load.parse(text.encode(), name="config.toml"))


def refused(text: str) -> SettingsError:
    """The error that a file with this text is."""
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert caught.value.exit_status == 2
    assert "\n" not in caught.value.message + caught.value.help
    return caught.value


# --- what is promised


def test_no_file_at_all_works(tmp_path: Path) -> None:
    """Inside a git repository with a key in the environment, nothing needs to be set."""
    loaded = config.load(None, {"HOME": str(tmp_path)})
    anthropic = loaded.providers["anthropic"]
    assert (anthropic.base_url, anthropic.prices) == ("https://api.anthropic.com", "anthropic")
    assert anthropic.key == KeySource("env", "ANTHROPIC_API_KEY")
    assert loaded.budgets == (BudgetLine(scope=ALL, window="day", amount=usd("25.00")),)
    assert loaded.limits() == (Limit(scope=ALL, window="day", amount=usd("25.00"), source="default"),)
    assert (loaded.timezone, loaded.source, loaded.store_url) == ("UTC", "", "")
    defaults = loaded.defaults
    assert (defaults.agent, defaults.model, defaults.sandbox) == ("claude", "sonnet", "auto")
    assert (defaults.cap, defaults.issue_cap) == (usd("5.00"), usd("10.00"))
    assert (defaults.max_turns, defaults.timeout_s, defaults.fix_attempts) == (40, 2_700, 2)
    assert defaults.max_output == 16_000
    gateway = loaded.gateway
    assert (gateway.wait_s, gateway.drain_s, gateway.idle_s, gateway.geo) == (300, 120, 300, "us")


def test_the_promised_sample_loads() -> None:
    """Every line of the sample means what its comment says."""
    loaded = config.load(SAMPLE, {})
    assert loaded.providers["anthropic"].share == 50
    assert loaded.timezone == "Europe/Berlin"
    assert loaded.budgets == (
        BudgetLine(scope=ALL, window="month", amount=usd("900")),
        BudgetLine(scope=Scope("team:core"), window="day", amount=usd("100")),
        BudgetLine(scope=Scope("repo:acme/shop"), window="day", amount=usd("25")),
    )
    assert [(rate.scope, rate.kind, rate.window, rate.count) for rate in loaded.rates] == [
        ("team:core", "tpm", None, 200_000),
        ("repo:acme/shop", "runs", "day", 40),
    ]
    assert [limit.source for limit in loaded.limits()] == ["file"] * 3
    assert loaded.rate_limits() == (RateLimit(scope=Scope("team:core"), kind="tpm", value=200_000, source="file"),)
    assert loaded.count_limits() == (
        CountLimit(scope=Scope("repo:acme/shop"), kind="runs", window="day", value=40, source="file"),
    )
    hard, chore = loaded.routes
    assert (hard.label, hard.model, hard.effort, hard.cap) == (("hard",), "opus", "high", usd("8"))
    assert (chore.model, chore.subagent_model, chore.thinking_tokens) == ("haiku", "haiku", 8_000)
    shop = loaded.repos["acme/shop"]
    assert (shop.setup, shop.check, shop.hosts) == ("npm ci", "npm test", ("npm",))
    assert shop.secrets == {"STRIPE_TEST_KEY": KeySource("env", "SHOP_STRIPE_TEST_KEY")}
    assert loaded.team_of("ana") == ("core",)
    assert loaded.user_of("github:ana-dev") == "ana"
    assert loaded.user_of("github:stranger") == "unknown"
    assert loaded.schedules[0].cron == "0 2 * * *"
    assert loaded.triggers["linear"].key == KeySource("env", "LINEAR_API_KEY")
    assert loaded.notify[0].quiet == Hours.parse("22:00-07:00")


def test_every_value_has_an_origin() -> None:
    """`config show` says file and line, also for keys inside inline tables."""
    loaded = config.load(SAMPLE, {})
    lines = SAMPLE.read_text("utf-8").splitlines()
    for key, mark in {
        "defaults.cap": "cap = 5.00",
        'budgets."repo:acme/shop".runs.day': '"repo:acme/shop"',
        "routes[1].thinking_tokens": "thinking_tokens",
        'repos."acme/shop".check': "check =",
    }.items():
        path, _, line = loaded.origins[key].rpartition(":")
        assert path == str(SAMPLE)
        assert lines[int(line) - 1].lstrip().startswith(mark)


def test_a_repository_of_money_only_for_others_leaves_the_day_alone() -> None:
    """The $25.00 a day hold only where no budget was said at all."""
    assert read('[budgets]\n"team:core" = { day = 100 }').budgets == (
        BudgetLine(scope=Scope("team:core"), window="day", amount=usd("100")),
    )
    assert read('[budgets]\ntimezone = "Asia/Tokyo"').budgets[0].amount == usd("25")


@pytest.mark.parametrize("spelling", ["25", "25.00", '"25.00"', '"25"', "25.000000000"])
def test_money_may_be_written_in_three_ways(spelling: str) -> None:
    assert read(f"[defaults]\ncap = {spelling}\nissue_cap = 30").defaults.cap == usd("25")


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no settings file .*nowhere\.toml"):
        config.load(tmp_path / "nowhere.toml", {})


def test_the_variable_names_a_file_too_and_the_usual_place_is_looked_at_last(tmp_path: Path) -> None:
    """`--config`, else $CREWCAP_CONFIG, else ~/.config/crewcap/config.toml."""
    usual = tmp_path / ".config" / "crewcap" / "config.toml"
    usual.parent.mkdir(parents=True)
    usual.write_text("[defaults]\ncap = 1.00\n")
    other = tmp_path / "other.toml"
    other.write_text("[defaults]\ncap = 2.00\n")
    environ = {"HOME": str(tmp_path)}
    assert config.load(None, environ).defaults.cap == usd("1")
    assert config.load(None, {**environ, "CREWCAP_CONFIG": str(other)}).defaults.cap == usd("2")
    assert config.load(usual, {**environ, "CREWCAP_CONFIG": str(other)}).defaults.cap == usd("1")


def test_a_crewcap_toml_in_the_current_folder_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository that somebody cloned may not set up crewcap."""
    (tmp_path / "crewcap.toml").write_text("[defaults]\ncap = 1.00\n")
    monkeypatch.chdir(tmp_path)
    assert config.load(None, {"HOME": str(tmp_path / "home")}).defaults.cap == usd("5")


# --- what is wrong, where, and the right spelling

NIGHTLY = "[repos.r]\n[[schedules]]\nname = 'a'\ncron = '@daily'\nrepo = 'r'\nprompt = 'x'"
NIGHTLY_AGAIN = NIGHTLY.removeprefix("[repos.r]\n")
WRONG = {
    # syntax
    "a comma in money": ("[defaults]\ncap = 5,00", "line 2, column 8", "money is written with a point: 5.00"),
    "a scope without quotes": ("[budgets]\nteam:core = { day = 1 }", "line 2, column 5", '"team:core" = '),
    "a name with a slash": ("[repos.acme/shop]\nsetup = 'x'", "line 1, column 12", '[repos."acme/shop"]'),
    "a bare duration": ("[defaults]\ntimeout = 45m", "line 2", '"45m"'),
    "a bare share": ("[providers.anthropic]\nshare = 50%", "line 2", '"50%"'),
    "a bare word": ("[defaults]\nmodel = sonnet", "line 2, column 9", '"sonnet"'),
    "a dollar sign": ("[defaults]\ncap = $5.00", "line 2, column 7", "without a sign: 5.00"),
    "an open string": ('[defaults]\nmodel = "sonnet', "at its end", "not closed"),
    "a key said twice": ("[defaults]\ncap = 1.00\ncap = 2.00", "line 3: defaults.cap is said a second", "keep one"),
    "a table said twice": ("[gateway]\n[defaults]\n[gateway]", "line 3: gateway is said a second time", "keep one"),
    "a key said twice inline": ("[budgets]\nall = { day = 1, day = 2 }", "line 2: budgets.all.day", "keep one of them"),
    "a rate beyond all sense": ("[budgets]\nall = { tpm = 10_000_000_001 }", "line 2", "write at most 10_000_000_000"),
    # unknown keys
    "a misspelt table": ("[default]\ncap = 1.00", "line 1: default: there is no such key", "did you mean `defaults`?"),
    "a misspelt key": ("[defaults]\nmax_turn = 4", "line 2: defaults.max_turn", "did you mean `max_turns`?"),
    "a key of another table": ("[gateway]\nissue_cap = 4", "line 2: gateway.issue_cap", "belongs under [defaults]"),
    "a key in a list": ("[[routes]]\n[[routes]]\nmodle = 'x'", "line 3: routes[1].modle", "did you mean `model`?"),
    "a window": ("[budgets]\nall = { daily = 4 }", "line 2: budgets.all.daily", "did you mean `day`?"),
    "a match": ("[[routes]]\nmatch = { labels = 'x' }", "line 2: routes[0].match.labels", "did you mean `label`?"),
    # values
    "a comma in quotes": ('[defaults]\ncap = "5,00"', "line 2: defaults.cap", "did you mean 5.00?"),
    "an exponent": ("[defaults]\ncap = 5e2", "5e2 has an exponent", "write it as 500"),
    "not a number": ("[defaults]\ncap = nan", "nan is not an amount of money", "write it as 25.00"),
    "infinity": ("[defaults]\ncap = inf", "inf is not an amount", "write it as 25.00"),
    "negative money": ("[defaults]\ncap = -1", "line 2: defaults.cap", "write an amount above 0"),
    "negative text": ('[defaults]\ncap = "-1.00"', "line 2: defaults.cap", "write an amount above 0"),
    "a cap of nothing": ("[defaults]\ncap = 0", "a cap of 0 refuses every request", "such as 5.00"),
    "too many decimals": ("[defaults]\ncap = 0.0000000001", "more than nine decimals", ""),
    "true money": ("[defaults]\ncap = true", "true is not an amount of money", "write it as 25.00"),
    "a number without a unit": ("[defaults]\ntimeout = 45", "45 has no unit", 'write it as "45m"'),
    "a text without a unit": ('[defaults]\ntimeout = "45"', "has no unit", 'write it as "45m"'),
    "no time at all": ('[defaults]\ntimeout = "0m"', "is not a duration", '"45m"'),
    "an unknown scope": ("[budgets]\n'teem:core' = { day = 1 }", "is not a scope", "repo:acme/shop"),
    "a budget that is a number": ("[budgets]\nall = 25", "25 stands where a table is wanted", "[budgets.all]"),
    "an unknown zone": ('[budgets]\ntimezone = "Europe/Berln"', "is not a time zone", "Europe/Berlin"),
    "an unknown sandbox": ('[defaults]\nsandbox = "none"', "is not one of auto, bubblewrap", ""),
    "a near sandbox": ('[defaults]\nsandbox = "bublewrap"', "is not one of", 'did you mean "bubblewrap"?'),
    "an unknown agent": ('[defaults]\nagent = "cloude"', "there is no agent", 'did you mean "claude"?'),
    "two users": ('[defaults]\nuser = "ana bo"', '"ana bo" is not a user', "ana"),
    "an address": ('[defaults]\nuser = "ana@example.com"', '"ana@example.com" is not a user', "ana"),
    "no turns": ("[defaults]\nmax_turns = 0", "0 is not a whole number above 0", "40"),
    "half a turn": ("[defaults]\nmax_turns = 1.5", "1.5 is not a whole number above 0", "40"),
    "one bracket": ("[routes]\nmodel = 'x'", "this is a list of tables", "[[routes]]"),
    "a quoted switch": ('[gateway]\nstrict_betas = "yes"', "is not true or false", "without quotes"),
    "a share above all": ('[providers.anthropic]\nshare = "150%"', "is not a share from 1% to 100%", "50%"),
    "a cron of six": ("[[schedules]]\nname='a'\nrepo='r'\ncron='0 0 2 * * *'", "five fields", "0 2 * * *"),
    "an hour of 25": ("[[schedules]]\nname='a'\nrepo='r'\ncron='0 25 * * *'", "the hour", "from 0 to 23"),
    "a nameless identity": ("[users]\nana = ['ana-dev']", "does not say where", "github:ana-dev"),
    "one identity, two users": ("[users]\na = ['github:x']\nb = ['github:x']", "line 3: users.b[0]", "keep one"),
    "an unknown team": ("[teams]\ncore = ['a']\n[repos.r]\nteam = 'cor'", "no team", 'did you mean "core"?'),
    "an unknown list of hosts": ("[repos.r]\nhosts = ['pyton']", "no list of hosts", 'did you mean "python"?'),
    "a host with a port": ("[repos.r]\nhosts = ['example.com:443']", "not a host's name", ""),
    "a way around the meter": ("[repos.r]\nhosts = ['*.anthropic.com']", "host of a model provider", "gateway alone"),
    "a path out": ("[repos.r]\ninclude = ['../secrets']", "leads out of the repository", "inside it"),
    "git's own folder": ("[repos.r]\ninclude = ['.git/config']", "leads out of the repository", "inside it"),
    "a service by another name": ("[repos.r]\nservices = ['postgresql']", "no service", 'did you mean "postgres"?'),
    "a service with a slip": ("[repos.r]\nservices = ['rediss']", "repos.r.services", 'did you mean "redis"?'),
    "a service of nobody": ("[repos.r]\nservices = ['kafka']", "no service", "others come in with `ports`"),
    "a port of the system": ("[repos.r]\nports = { 80 = '127.0.0.1:80' }", "belongs to the system", "another number"),
    "the gateway's own port": ("[repos.r]\nports = { 8787 = '127.0.0.1:1' }", "belongs to the gateway", "another"),
    "a port of a service": (
        "[repos.r]\nservices = ['redis']\nports = { 6379 = 'db.example:1' }", "6379 inside belongs to redis", "another"
    ),
    "a port to a provider": (
        "[repos.r]\nports = { 1443 = 'api.anthropic.com:443' }", "the host of a model provider", "gateway alone"
    ),
    "a port to a provider of one's own": (
        "[providers.anthropic]\nbase_url='http://localhost:80'\nprices='x'\n[repos.r]\nports = {1443='localhost:80'}",
        "the address of a model provider", "through the gateway",
    ),
    "a provider's key for agents": (
        "[repos.r]\nsecrets = { MINE = { env = 'ANTHROPIC_API_KEY' } }", "a provider's key may not be", "take it out"
    ),
    "a provider's key by its usual name": (
        "[repos.r]\nsecrets = { OPENAI_API_KEY = { env = 'A' } }", "a provider's key may not be given", "take it out"
    ),
    "a secret that the loader obeys": (
        "[repos.r]\nsecrets = { LD_PRELOAD = { env = 'A' } }", "line 2: repos.r.secrets.LD_PRELOAD", "SHOP_LD_PRELOAD"
    ),
    "a secret that says where to connect": (
        "[repos.r]\nsecrets = { HTTPS_PROXY = { env = 'A' } }", "programs obey this variable", "only your tests read"
    ),
    "a secret that is no variable": ("[repos.r]\nsecrets = { 'a-b' = { env = 'A' } }", "environment variable", ""),
    "a route said twice": ("[[routes]]\nname='a'\n[[routes]]\nname='a'", "line 4: routes[1].name", "rename one"),
    "a schedule without a prompt": (
        "[repos.r]\n[[schedules]]\nname='a'\nrepo='r'\ncron='0 2 * * *'", "a `prompt` or a `prompt_file`", ""
    ),
    "a schedule said twice": (f"{NIGHTLY}\n{NIGHTLY_AGAIN}", "schedules[1].name", "rename one"),
    "a schedule of two words": (f"{NIGHTLY}\nworkflow = 'big audit'", "has a space", "write it as big-audit"),
    "a schedule in a folder from somewhere": (
        "[[schedules]]\nname='a'\nrepo='./shop'\ncron='@daily'\nprompt='x'", "there is no repository", ""
    ),
    "a schedule in no folder": ("[[schedules]]\nname='a'\nrepo=''\ncron='@daily'\nprompt='x'", "no repository", ""),
    "a day that never comes": (f"{NIGHTLY.replace('@daily', '0 0 31 2 *')}", "line 4: schedules[0].cron", "that comes"),
    "a schedule's zone": (f"{NIGHTLY}\ntimezone = 'Europe/Berln'", "is not a time zone", '"Europe/Berlin"'),
    "a schedule's agent": (f"{NIGHTLY}\nagent = 'cloude'", "there is no agent", 'did you mean "claude"?'),
    "a jitter without a unit": (f"{NIGHTLY}\njitter = 10", "10 has no unit", '"10m"'),
    "a jitter past the next": (f"{NIGHTLY}\njitter = '25h'", "longer than the 1d between", 'at most jitter = "1d"'),
    "a way to catch up": (f"{NIGHTLY}\ncatch_up = 'on'", "is not one of one, none, all", 'did you mean "one"?'),
    "an overlap": (f"{NIGHTLY}\noverlap = 'wait'", "is not one of skip, queue, allow", ""),
    "hours of no length": ("[[routes]]\nhours = '07:00-07:00'", "begins and ends at the same minute", "22:00-07:00"),
    "hours past midnight": ("[[routes]]\nhours = '20:00-24:00'", "is not a span of the day", "22:00-07:00"),
    "a priority beyond": ("[[routes]]\npriority = 101", "not a whole number from -100 to 100", "0 is usual"),
    "a slot below nothing": ("[slots]\nall = -1", "not a whole number from 0 to 1000", "0 = no limit"),
    "a slot's misspelt kind": ("[slots]\nteams = 3", "is not a scope", "did you mean `team`?"),
    "slots of an unknown team": ("[teams]\ncore = ['a']\n[slots]\n'team:cor' = 3", "no team", 'did you mean "core"?'),
    "slots of an issue": ("[slots]\n'issue:files/a' = 3", "slots are not for single ones of these", "team, repo, user"),
    "a floor in the cellar": ("[defaults]\ndisk_floor = '1M'", "is not a size (at least 64M)", "8G"),
    "a question without an answer": ("[defaults]\nquestions = []", "a list of one to four amounts", "[2.00, 5.00]"),
    "kept for ever": ("[defaults]\nretention = '999d'", "at most 365d", "45m"),
    "a port alone": ("[serve]\nlisten = '8787'", "is not an address of this machine and a port", "127.0.0.1:8787"),
    "a log of no size": ("[serve]\nlog_bytes = 50", "is not a size (at least 1M)", "512M"),
    "a schedule of nothing": (
        "[[schedules]]\nname='a'\nrepo='shop'\ncron='0 2 * * *'\nprompt='x'", "there is no repository", "no repository"
    ),
    "a trigger without a token": ("[triggers.github]\nlabel='x'", "`token` is missing", 'token = { env = "NAME" }'),
    "an unknown tracker": ("[triggers.jira]\nlabel='x'", "is not one of github, gitlab, linear", ""),
    "a password for the store": ('[store]\nurl = "postgresql://u:p@h/d"', "carries a password", "pgpass"),
    "a password in the store's words": ('[store]\nurl = "postgresql://h/d?password=p"', "carries a password", "pgpass"),
    "a store's word of nobody": ('[store]\nurl = "postgresql://h/d?sslmod=require"', "which means nothing", "sslmode"),
    "a store without a host": ('[store]\nurl = "postgresql:///d"', "and a host", "postgresql://"),
    "a price file from somewhere": ('[prices]\noverrides = "prices.toml"', "is not a whole path", "start it with /"),
    "no subagent at all": ("[[routes]]\nmax_agents = 0", "0 is not a whole number above 0", "40"),
    "another store": ('[store]\nurl = "mysql://h/d"', "is not a store", "postgresql://"),
    # addresses
    "plain http": ('[providers.anthropic]\nbase_url = "http://example.com"', "in the clear", "https://example.com"),
    "a name in the address": ('[providers.anthropic]\nbase_url = "https://u:p@example.com"', "user name", "in `key`"),
    "a path upward": ('[providers.anthropic]\nbase_url = "https://example.com/a/../b"', "goes up", ""),
    "a hidden path upward": ('[providers.anthropic]\nbase_url = "https://example.com/%2e%2E/b"', "goes up", ""),
    "a port too large": ('[providers.anthropic]\nbase_url = "https://example.com:99999"', "host or port", "65535"),
    "a foreign alphabet": ('[providers.anthropic]\nbase_url = "https://\u0430pi.example"', "not plain ASCII", "xn--"),
    "a query": ('[providers.anthropic]\nbase_url = "https://example.com/?a=b"', "a query", ""),
    "no scheme": ('[providers.anthropic]\nbase_url = "example.com"', "does not start with https://", ""),
    "prices of nobody": (
        '[providers.anthropic]\nbase_url = "https://example.com"', "its prices are not known", 'prices = "anthropic"'
    ),
    "an unknown provider": ("[providers.antropic]", "`dialect` is missing", "[providers.anthropic]"),
    "a provider without an address": ('[providers.mine]\ndialect = "anthropic"', "`base_url` is missing", "https://"),
    "two of one dialect": (
        '[providers.anthropic]\n[providers.b]\ndialect="anthropic"\nbase_url="https://b.example"\nprices="anthropic"',
        "line 2: providers.b: anthropic speaks the anthropic dialect already", "keep one",
    ),
    # secrets
    "a pasted key": (f'[providers.anthropic]\nkey = "{SECRET}"', "line 2: providers.anthropic.key", "name where it is"),
    "a pasted key without quotes": (f"[providers.anthropic]\nkey = {SECRET}", "line 2, column 7", "name where it is"),
    "a key as a variable's name": (f'[providers.anthropic]\nkey = {{ env = "{SECRET}" }}', "line 2", "name where"),
    "a password of no known shape": ('[providers.anthropic]\nkey = "hunter2"', "may not stand in a", "name where"),
    "a source of no known kind": ('[providers.anthropic]\nkey = { vault = "a" }', "there is no source", "env"),
    "a command for a shell": ('[providers.anthropic]\nkey = { command = "pass show a" }', "list", '["pass", "show"'),
    "a pasted token elsewhere": ('[triggers.linear]\nkey = "lin_api_fake0123"', "line 2: triggers.linear.key", "name"),
    "a pasted webhook": (
        '[[notify]]\non="failed"\nwebhook="https://hooks.slack.com/services/T/B/x"', "line 3: notify[0].webhook", "name"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_everything_wrong_is_one_line_with_the_right_spelling(case: str) -> None:
    """File, line where it is known, key, what is wrong; and how it is written."""
    text, message, help_ = WRONG[case]
    error = refused(text)
    assert error.message.startswith("config.toml")
    assert message in error.message
    assert help_ in error.help
    for secret in (SECRET, "hunter2", "lin_api_fake0123", "hooks.slack.com", ":p@"):
        assert secret not in error.message + error.help


PLACES = (
    "[defaults]\nmodel = {}",
    "[repos.r]\nsetup = {}",
    "[repos.{}]",
    "[budgets]\n{} = 1",
    "[gateway]\nallow = [{}]",
    "[users]\nana = [{}]",
    "x = {}",
    "{} = 1",
    "[teams]\nx = {{ {} = 1 }}",
    "[defaults]\ncap = {} 1",
)


@settings(max_examples=50)
@given(where=st.sampled_from(PLACES), tail=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=12, max_size=40))
def test_a_pasted_key_is_never_repeated(where: str, tail: str) -> None:
    """Wherever it stands, whatever else is wrong, no message holds it."""
    error = refused(where.format(f'"sk-ant-{tail}"'))
    assert tail not in error.message + error.help


def test_what_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    for data, said in ((b"# ok\n\xff\xfe", "line 2: this is not UTF-8"), (b"a" * (2 << 20), "larger than")):
        path = tmp_path / "config.toml"
        path.write_bytes(data)
        with pytest.raises(SettingsError, match=said):
            config.load(path, {})


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a folder, not a settings file"):
        config.load(tmp_path, {})


def test_a_file_that_anybody_may_change_is_not_trusted(tmp_path: Path) -> None:
    """It could name a command."""
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(UnsafeEnvironment, match="can be changed by anybody"):
        config.load(path, {})


@pytest.mark.parametrize("depth", [150, 320, 400, 480, 5_000])
def test_nesting_without_end_is_refused(depth: int) -> None:
    """A stranger's file must not end in a traceback."""
    refused(f"x = {'[' * depth}{']' * depth}")
    refused(f"x = {'[' * depth}")


def test_a_file_of_many_keys_is_read_at_once() -> None:
    """The line of each is known without counting from the top each time."""
    text = "[teams]\n" + "".join(f"t{number} = ['a', 'b']\n" for number in range(20_000))
    assert read(text).origins["teams.t19999"] == "config.toml:20001"


def test_a_number_without_end_is_refused() -> None:
    assert refused("[defaults]\nmax_turns = " + "9" * 5_000).exit_status == 2
    assert refused("[defaults]\ncap = 1e999999999999999999").exit_status == 2


def test_a_key_file_that_others_can_read_is_refused_before_anything_starts(tmp_path: Path) -> None:
    key, path = tmp_path / "key", tmp_path / "config.toml"
    key.write_text(SECRET)
    path.write_text('[providers.anthropic]\nkey = { file = "~/key" }')
    environ = {"HOME": str(tmp_path)}
    for mode, refuses in ((0o644, True), (0o600, False)):
        key.chmod(mode)
        if refuses:
            with pytest.raises(UnsafeEnvironment, match=r"can be read by others \(mode 0644\)"):
                config.load(path, environ)
        else:
            assert config.load(path, environ).source == str(path)
    key.unlink()
    assert config.load(path, environ).source == str(path), "a key that is not there yet is said when it is read"


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    assert read("\ufeff[defaults]\r\ncap = 1.00\r\n").defaults.cap == usd("1")


def test_loopback_may_speak_plain_http_and_names_its_prices() -> None:
    """The simulator, and a proxy of one's own."""
    for host in ("127.0.0.1:8080", "localhost", "[::1]:9", "127.8.9.1"):
        loaded = read(f'[providers.anthropic]\nbase_url = "http://{host}/"\nprices = "anthropic"')
        assert loaded.providers["anthropic"].base_url == f"http://{host}"
        assert loaded.providers["anthropic"].key == KeySource("env", "ANTHROPIC_API_KEY")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read("").defaults.cap = usd("9")  # type: ignore[misc]  # the type checker knows as well


def test_how_far_an_agent_may_fan_out_is_said_for_all_runs_and_for_some() -> None:
    said = read("[defaults]\nmax_agents = 8\nmax_concurrent = 4\n[[routes]]\nmax_depth = 1\nmax_agents = 2")
    assert (said.defaults.max_agents, said.defaults.max_depth, said.defaults.max_concurrent) == (8, None, 4)
    (rule,) = said.routes
    assert (rule.max_agents, rule.max_depth, rule.max_concurrent) == (2, 1, None)


def test_slots_are_those_of_the_scope_else_of_its_kind_and_0_is_no_limit() -> None:
    """`[slots]` says how many runs are at work at once."""
    of = read(
        "[teams]\ncore = ['ana']\n[slots]\nrepo = 3\n'team:core' = 2\n'repo:b' = 0\n'user:ana' = 1"
    ).slots.slots_of
    assert of([Scope("run:1"), Scope("repo:a"), Scope("user:ana"), Scope("team:core"), Scope("team:web"), ALL]) == {
        "repo:a": 3, "user:ana": 1, "team:core": 2, "all": 8,
    }  # fmt: skip
    assert of([Scope("repo:b")]) == {}


def test_runs_of_a_schedule_that_queue_have_one_slot_unless_more_were_said() -> None:
    scope = Scope("workflow:a")
    assert read(NIGHTLY).slots.slots_of([scope]) == {}
    assert read(f"{NIGHTLY}\noverlap = 'queue'").slots.slots_of([scope]) == {scope: 1}
    assert read(f"[slots]\n'workflow:a' = 2\n{NIGHTLY}\noverlap = 'queue'").slots.slots_of([scope]) == {scope: 2}


def test_a_schedule_goes_by_its_own_zone_else_by_the_budgets() -> None:
    second = NIGHTLY_AGAIN.replace("name = 'a'", "name = 'b'")
    settings = read(f"[budgets]\ntimezone = 'Europe/Berlin'\n{NIGHTLY}\n{second}\ntimezone = 'Asia/Tokyo'")
    assert [settings.zone_of(each) for each in settings.schedules] == ["Europe/Berlin", "Asia/Tokyo"]


def test_what_a_schedule_asks_lies_beside_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(NIGHTLY.replace("prompt = 'x'", "prompt_file = 'prompts/audit.md'"), "utf-8")
    settings = config.load(file, {})
    assert settings.prompt_file_of(settings.schedules[0]) == tmp_path / "prompts/audit.md"


def test_a_schedule_is_a_workflow_of_its_own_unless_it_names_another() -> None:
    assert read(NIGHTLY).schedules[0].workflow_name == "a"
    assert read(f"{NIGHTLY}\nworkflow = 'audit'").schedules[0].workflow_name == "audit"


def test_a_subscriptions_token_is_looked_for_where_claude_code_has_it() -> None:
    plan = read('[providers.anthropic]\nbilling = "subscription"').providers["anthropic"]
    assert (plan.billing, str(plan.key)) == ("subscription", "$CLAUDE_CODE_OAUTH_TOKEN")
    named = read('[providers.anthropic]\nbilling = "subscription"\nkey = { env = "MINE" }').providers["anthropic"]
    assert str(named.key) == "$MINE"


@pytest.mark.parametrize(
    ("keys", "served"),
    [
        (["ANTHROPIC_API_KEY"], ["anthropic"]),
        (["OPENAI_API_KEY"], ["openai"]),
        (["GEMINI_API_KEY", "ANTHROPIC_API_KEY"], ["anthropic", "gemini"]),
        (["GOOGLE_API_KEY"], ["gemini"]),
        ([], ["anthropic"]),
    ],
)
def test_without_settings_every_vendor_is_served_whose_usual_key_is_set(
    tmp_path: Path, keys: list[str], served: list[str]
) -> None:
    """Any program of any family runs with no file at all; where no key is set, the first one is asked for."""
    environ = {"HOME": str(tmp_path), **dict.fromkeys(keys, "sk-fake")}
    assert list(load.load(None, environ).providers) == served
    file = tmp_path / "c.toml"
    file.write_text("[providers.openai]\n")
    assert list(load.load(file, environ).providers) == ["openai"]
