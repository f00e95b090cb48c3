"""Our dated price file: legal TOML, exact numbers, nothing understood by guessing."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from crewcap.core.pricing import Modifiers
from crewcap.errors import SettingsError
from crewcap.prices import Book
from crewcap.prices.overrides import Overrides, matches, parse, read, shipped
from crewcap.prices.sheet import Price

WHOLE = """
[policy]
unknown_model = "reserve_dearest"
max_age_days = 7

[checked]
library = "genai-prices 9.9.9"
on = 2026-11-20

[[price]]
provider = "anthropic"
model = "claude-opus-4-7*"
when = { speed = "fast" }
from = 2026-04-16
until = 2027-01-01
usd_per_mtok = { in = "30", out = "150", read = "3", write_5m = "37.5", write_1h = "60" }
above = [{ prompt_tokens = 200000, in = "60", out = "225" }]
usd_each = { web_search = "0.01" }
source = "vendor pricing page"
checked = 2026-11-20

[[factor]]
provider = "anthropic"
models = ["claude-opus-5*"]
when = { geo = "us" }
tokens = "1.1"

[[discount]]
provider = "anthropic"
percent = 12
from = 2026-10-01

[[alias]]
provider = "aws"
match = "us.anthropic.claude-opus-4-8-*"
use = "anthropic/claude-opus-4-8"
factor = 1.1

[[model]]
provider = "anthropic"
models = ["claude-opus-5"]
context_window = 1000000
max_output = 128000
image_tokens = 4784
"""


def test_every_kind_of_line_is_read_exactly() -> None:
    ours = parse(WHOLE, name="mine.toml")
    assert (ours.unknown_model, ours.max_age_days) == ("reserve_dearest", 7)
    assert (ours.library, ours.checked) == ("genai-prices 9.9.9", date(2026, 11, 20))
    line = ours.prices[0]
    assert (line.model, line.when) == ("claude-opus-4-7*", Modifiers(speed="fast"))
    assert line.sheet.kinds["input"] == Price(base=Decimal(30), above=((200_000, Decimal(60)),))
    assert line.sheet.kinds["cache_read"] == Price(base=Decimal(3))
    assert line.sheet.pieces == {"web_search": Decimal("0.01")}
    assert ours.factors[0].tokens == Decimal("1.1")
    assert ours.discounts[0].factor == Decimal("0.88")
    assert ours.aliases[0].factor == Decimal("1.1")
    assert ours.models[0].sizes.image_tokens == 4784


def test_a_line_holds_from_its_first_day_until_the_day_before_its_last_word() -> None:
    span = parse(WHOLE, name="mine.toml").prices[0].span
    assert not span.holds(datetime(2026, 4, 15, 23, 59, 59, tzinfo=UTC))
    assert span.holds(datetime(2026, 4, 16, tzinfo=UTC))
    assert span.holds(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert not span.holds(datetime(2027, 1, 1, tzinfo=UTC))


def test_the_shipped_file_is_legal_and_says_where_its_prices_are_from() -> None:
    ours = shipped()
    assert ours.checked is not None
    assert ours.unknown_model == "refuse"
    assert all(line.sheet.source.startswith("https://") for line in ours.prices)
    assert {line.match for line in ours.aliases} >= {"sonnet", "opus", "haiku"}


def test_a_users_lines_stand_before_the_shipped_ones_and_keep_the_policy_that_they_do_not_name() -> None:
    mine = parse('[[alias]]\nmatch = "sonnet"\nuse = "anthropic/claude-sonnet-4-5"\n', name="mine.toml")
    both = mine.over(shipped())
    assert both.aliases[0].use == "claude-sonnet-4-5"
    assert both.unknown_model == "refuse"
    assert both.checked == shipped().checked
    assert parse(WHOLE, name="mine.toml").over(shipped()).unknown_model == "reserve_dearest"
    assert parse(WHOLE, name="mine.toml").over(shipped()).checked == date(2026, 11, 20)


def test_an_empty_file_says_nothing() -> None:
    assert parse("", name="mine.toml") == Overrides()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[[price]]\nprovider = "a"; model = "b"', "not TOML"),
        ("[policy]\nunknown_model = 'free'", "unknown_model"),
        ("[policy]\nunknown_modell = 'refuse'", "unknown_modell"),
        ("[[prices]]\nprovider = 'a'", "prices"),
        ("[[price]]\nprovider = 'a'\nmodel = 'b'\nusd_per_mtok = { in = '1' }", "needs in, out"),
        ("[[price]]\nprovider = 'a'\nmodel = 'b'\nusd_per_mtok = { in = '1', out = '-2' }", "zero or more"),
        ("[[price]]\nprovider = 'a'\nmodel = 'b'\nusd_per_mtok = { in = 'NaN', out = '2' }", "NaN"),
        ("[[price]]\nprovider = 'a'\nmodel = 'b'\nusd_per_mtok = { in = '1,5', out = '2' }", "not a number"),
        ("[[price]]\nprovider = 'a'\nmodel = 'b'\nusd_per_mtok = { in = true, out = '2' }", "not a number"),
        (
            "[[price]]\nprovider='a'\nmodel='b'\nusd_per_mtok={in='1',out='2'}\nabove=[{prompt_tokens=9,read='1'}]",
            "every kind",
        ),
        (
            "[[price]]\nprovider='a'\nmodel='b'\nfrom=2026-02-01\nuntil=2026-01-01\nusd_per_mtok={in='1',out='1'}",
            "ends",
        ),
        ("[[price]]\nprovider='a'\nmodel='b'\nfrom='2026-02-01'\nusd_per_mtok={in='1',out='1'}", "not a day"),
        ("[[factor]]\nprovider='a'\nmodels='b'\nwhen={geo='us'}\ntokens='1.1'", "list of names"),
        ("[[factor]]\nprovider='a'\nmodels=['b']\ntokens='1.1'", "lacks 'geo'"),
        ("[[discount]]\nprovider='a'\npercent='100'", "below 100"),
        ("[[alias]]\nmatch='a'\nuse='claude'", "names no provider"),
        ("[[model]]\nprovider='a'\nmodels=['b']\nmax_output=0", "above zero"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, word: str) -> None:
    """A price file that is half understood would hold and book wrong money."""
    with pytest.raises(SettingsError) as refused:
        parse(text, name="mine.toml")
    assert "mine.toml" in refused.value.message
    assert word in refused.value.message
    assert refused.value.help


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml"):
        read(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"binary\.toml"):
        read(str(tmp_path / "binary.toml"))


def test_patterns_fit_whole_names() -> None:
    assert matches(("claude-opus-5*",), "claude-opus-5-5")
    assert not matches(("claude-opus-5",), "claude-opus-5-5")


LINE = '[[price]]\nprovider = "p"\nmodel = "m"\nusd_per_mtok = { in = %s, out = "1" }\n'


@pytest.mark.parametrize(
    ("usd", "word"),
    [
        ('"-1"', "zero or more"),
        ("-1", "zero or more"),
        ("nan", "zero or more"),
        ("inf", "zero or more"),
        ('"NaN"', "zero or more"),
        ('"sNaN"', "zero or more"),
        ('"Infinity"', "zero or more"),
        ('"5,00"', "not a number"),
        ('"$5"', "not a number"),
        ('""', "not a number"),
        ("true", "not a number"),
        ("[1]", "not a number"),
        ("{ usd = 1 }", "not a number"),
        ('"1e999999"', "more than"),
        ('"1000001"', "more than"),
        ('"0.0000000000001"', "decimals"),
        ('"1e-400"', "decimals"),
    ],
)
def test_a_wrong_price_is_one_line_with_its_place(usd: str, word: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse("\n\n" + LINE % usd, name="mine.toml")
    assert "mine.toml, [[price]] 1 (line 3)" in refused.value.message
    assert word in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'[' * 100_000}",
        f"a = {'9' * 5_000}",
        "a = 2026-13-45",
        "\x00",
        "[[price]]\n[price]\n",
        "price = 1",
        "[[price]]\nprovider = 1",
        "[checked]\non = 2026-11-22T10:00:00Z",
    ],
)
def test_no_file_ends_in_a_traceback(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(text, name="mine.toml")
    assert len(refused.value.message) < 400


def test_a_file_of_any_size_is_not_read_to_its_end(tmp_path: Path) -> None:
    huge = tmp_path / "huge.toml"
    with huge.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SettingsError, match="larger than 2 MiB"):
        read(str(huge))


def test_the_longest_legal_prices_are_multiplied_exactly() -> None:
    """Every factor that a file may name, at once: no rounding that nobody asked for, and no traceback."""
    text = (
        LINE % '"123456.123456789012"'
        + '[[factor]]\nprovider = "p"\nmodels = ["*"]\nwhen = { geo = "us" }\ntokens = "999999.999999999999"\n'
        + '[[discount]]\nprovider = "p"\npercent = "12.345678901234"\n'
        + '[[alias]]\nmatch = "x"\nprovider = "p"\nuse = "p/m"\nfactor = "999999.999999999999"\n'
    ).replace("12.345678901234", "12.345678901233")
    book = Book(parse(text, name="mine.toml"))
    card = book.card("p", "x", at=datetime(2026, 11, 22, tzinfo=UTC), modifiers=Modifiers(geo="us"))
    assert card.rates.input > 10**20
