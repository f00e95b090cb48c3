"""The filter for secrets: how often it finds one, and that it leaves the rest alone."""

from __future__ import annotations

import base64
import codecs
import html
import json
import random
import string
import textwrap
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.scrub import REMOVED, SHORTEST, Scrubber, looks_secret

SECRET = "zq81-hunter2/secret+value&more=5"
_LETTERS = string.ascii_letters + string.digits + "-_/+=.&%!$#@:"
_TEXT = (
    "def test_login(client):\n    assert client.post('/login', data={'email': 'a@b.example'}).status_code == 200\n"
    "E   AssertionError: assert 401 == 200  # sha 4f2c91e07ab3, took 0.31s, 17 passed, 3 failed\n"
)


def _xxd(value: str) -> str:
    digits = value.encode().hex()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


# How a secret is spelt by a lazy thief, or by an honest program that quotes it.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64, one letter before it": lambda value: base64.b64encode(f"a{value}b".encode()).decode(),
    "base64, two letters before it": lambda value: base64.b64encode(f"ab{value}cd".encode()).decode(),
    "base64 of addresses": lambda value: base64.urlsafe_b64encode(f"key={value}".encode()).decode().rstrip("="),
    "base64 in lines": lambda value: base64.encodebytes(bytes(50) + value.encode() + bytes(50)).decode(),
    "base64 in lines in JSON": lambda value: json.dumps(base64.encodebytes(bytes(41) + value.encode()).decode()),
    "base32": lambda value: base64.b32encode(f"k={value}".encode()).decode(),
    "hexadecimal": lambda value: value.encode().hex(),
    "hexadecimal, capitals": lambda value: value.encode().hex().upper(),
    "hexadecimal with colons": lambda value: value.encode().hex(":"),
    "hexadecimal as xxd prints it": _xxd,
    "bytes in C": lambda value: ", ".join(f"0x{byte:02x}" for byte in value.encode()),
    "bytes in Python": lambda value: "".join(f"\\x{byte:02x}" for byte in value.encode()),
    "decimal": lambda value: str(list(value.encode())),
    "in an address": lambda value: quote(value, safe=""),
    "in an address, every letter": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "in JSON": json.dumps,
    "in JSON in JSON": lambda value: json.dumps(json.dumps({"a": value})),
    "in JSON with \\/": lambda value: json.dumps(value).replace("/", "\\/"),
    "in JSON, every letter": lambda value: "".join(f"\\u{ord(letter):04x}" for letter in value),
    "in HTML": html.escape,
    "in HTML, every letter": lambda value: "".join(f"&#{ord(letter)};" for letter in value),
    "backwards": lambda value: value[::-1],
    "without its first seven letters": lambda value: value[7:],
    "without them, in base64": lambda value: base64.b64encode(value[7:].encode()).decode(),
    "in capitals": str.upper,
    "ROT13": lambda value: codecs.encode(value, "rot13"),
    "spaced out": " ".join,
    "a letter a line": "\n".join,
    "broken by a terminal": lambda value: textwrap.fill(value, 10, break_on_hyphens=False),
    "put together in code": lambda value: f'"{value[:9]}" + "{value[9:]}"',
}


def _corpus(count: int) -> list[str]:
    """Values as people have them: 12 to 64 letters, from the same seed each time."""
    rng = random.Random(20_261_122)
    return ["".join(rng.choices(_LETTERS, k=rng.randint(16, 64))) for _ in range(count)]


def _remains(clean: str, spelt: str) -> bool:
    """Whether more than the ragged ends of a spelling are left; runs of a few letters are what we put around it."""
    pieces = (spelt[at : at + 10] for at in range(4, len(spelt) - 14))
    return REMOVED not in clean or any(len(set(piece)) > 5 and piece in clean for piece in pieces)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_secret_is_found_in_every_usual_spelling(name: str) -> None:
    spelt = ENCODINGS[name](SECRET)
    clean = Scrubber({"STRIPE": SECRET}).text(f"before {spelt} after")
    assert REMOVED in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert Scrubber({"STRIPE": SECRET}).found(spelt) == ("STRIPE",)


def test_recall_over_a_corpus() -> None:
    """Values known in fives, each in every spelling, in the middle of a text."""
    values = _corpus(40)
    missed: dict[str, int] = dict.fromkeys(ENCODINGS, 0)
    for at in range(0, len(values), 5):
        scrubber = Scrubber({value: value for value in values[at : at + 5]})
        for name, spell in ENCODINGS.items():
            for value in values[at : at + 5]:
                spelt = spell(value)
                missed[name] += _remains(scrubber.text(f"{_TEXT}{spelt}{_TEXT}"), spelt)
    for name, count in missed.items():
        print(f"{name:34} {len(values) - count}/{len(values)}")  # noqa: T201  (`pytest -s` shows it)
    assert sum(missed.values()) == 0, missed


def test_ordinary_texts_stay_as_they_are() -> None:
    scrubber = Scrubber({str(number): value for number, value in enumerate(_corpus(8))})
    assert scrubber.text(_TEXT * 50) == _TEXT * 50


@given(st.text(max_size=300))
@settings(max_examples=60)
def test_a_text_without_secrets_stays_letter_by_letter(text: str) -> None:
    scrubber = Scrubber({"A": SECRET})
    assert scrubber.text(text) == text or looks_secret(text) or "://" in text


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=60)
def test_bytes_that_are_no_text_come_through_around_a_secret(before: bytes, after: bytes) -> None:
    clean = Scrubber({"A": SECRET}).bytes(before + b"\n" + SECRET.encode() + b"\n" + after)
    assert clean.startswith(before)
    assert clean.endswith(after)
    assert SECRET.encode() not in clean


def test_a_secret_that_is_no_ascii_is_found_too() -> None:
    value = "pässwörter-für-üben"
    scrubber = Scrubber({"A": value})
    for spelt in (value, quote(value), json.dumps(value), base64.b64encode(value.encode()).decode()):
        assert REMOVED in scrubber.text(f"x {spelt} y"), spelt
    assert scrubber.bytes(value.encode()) == REMOVED.encode()


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    """The longer one is looked for first, and what touches is taken out as one."""
    scrubber = Scrubber({"A": "alpha-bravo-charlie", "B": "charlie-delta-echo", "C": "alpha-bravo-charlie-delta"})
    assert scrubber.text("x alpha-bravo-charlie-delta y") == f"x {REMOVED} y"
    assert "delta" not in scrubber.text("alpha-bravo-charliecharlie-delta-echo")


def test_a_value_that_is_too_short_would_take_words_away() -> None:
    assert Scrubber({"A": "a" * (SHORTEST - 1)}).text("aaaaaaaaaa") == "aaaaaaaaaa"
    assert Scrubber({"A": "hunter"}).text("a hunter2") == f"a {REMOVED}2"


def test_nothing_that_prints_a_filter_prints_a_secret() -> None:
    scrubber = Scrubber({"STRIPE": SECRET})
    assert SECRET not in f"{scrubber!r}{scrubber}"
    assert repr(scrubber) == "Scrubber(STRIPE)"


def test_two_filters_together_know_the_secrets_of_both() -> None:
    both = Scrubber({"A": "first-words-of-A"}) + Scrubber({"A": "other-secret-value", "B": "a-third-value-of-B"})
    assert both.found("other-secret-value a-third-value-of-B") == ("A (2)", "B")
    assert both.found(b"first-words-of-A") == ("A",)
    assert (both + Scrubber()).found("nothing here") == ()


class TestStream:
    """A text that comes in pieces."""

    @given(st.lists(st.integers(1, 40_000), max_size=8), st.integers(0, 20_000), st.sampled_from(sorted(ENCODINGS)))
    @settings(max_examples=40, deadline=None)
    def test_pieces_do_not_matter(self, sizes: list[int], before: int, name: str) -> None:
        """Wherever a text is cut, the same comes out as of the whole."""
        scrubber = Scrubber({"A": SECRET})
        whole = ("." * before) + ENCODINGS[name](SECRET) + _TEXT * 200 + SECRET + "\n"
        stream, said, at = scrubber.stream(), "", 0
        for size in (*sizes, len(whole)):
            said += stream.feed(whole[at : at + size])
            at += size
        assert said + stream.close() == scrubber.text(whole)

    def test_it_keeps_no_more_than_it_must(self) -> None:
        stream = Scrubber({"A": SECRET}).stream()
        said = sum(len(stream.feed(_TEXT)) for _ in range(1_000))
        assert said > len(_TEXT) * 1_000 - 40_000

    def test_bytes_may_be_cut_inside_of_a_letter(self) -> None:
        data = ("ü" * 30_000 + SECRET + "\n" + "é" * 30_000).encode() + b"\xff"
        stream = Scrubber({"A": SECRET}).stream()
        said = b"".join(stream.feed_bytes(data[at : at + 7_001]) for at in range(0, len(data), 7_001))
        assert said + stream.close_bytes() == data.replace(SECRET.encode(), REMOVED.encode())


@pytest.mark.parametrize(
    "unit",
    [
        "z", "zq81-", SECRET[:-1], "".join(f"{byte:02x}" for byte in SECRET[:-1].encode()), "7 ", "7a 71:", "\\x7a",
        "%7A%71", "&#122;", "enE4MS1odW50ZXIy", "-", " ", "\\", "sk-", "://a:", "-----BEGIN PRIVATE KEY-----", "eyJ.",
    ],
)  # fmt: skip
def test_no_text_takes_the_square_of_its_length(unit: str) -> None:
    """Half of a secret, again and again, is the worst that a thief can write."""
    scrubber = Scrubber(
        {"A": SECRET, "B": "-" * 40, "C": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "D": " \\%&+-/'\"" * 3}
    )
    seconds = []
    for size in (100_000, 400_000):
        text = unit * (size // len(unit))
        began = time.perf_counter()
        scrubber.text(text)
        seconds.append(time.perf_counter() - began)
    assert seconds[1] < 3, seconds


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("sk-ant-fake", True),
        ("ghp_", True),
        ("ccap-x", True),
        ("AIzaFAKE123456", True),
        ("-----BEGIN PRIVATE KEY-----", True),
        ("https://hooks.slack.com/services/T0/B0/fake", True),
        ("sonnet", False),
        ("task-based", False),
        ("acme/shop", False),
    ],
)
def test_what_looks_pasted_is_told_by_its_beginning(text: str, is_one: bool) -> None:  # noqa: FBT001  (a parameter)
    assert looks_secret(text) is is_one


def test_a_pasted_webhook_and_a_long_private_key_go() -> None:
    scrubber = Scrubber()
    assert scrubber.text("to https://hooks.slack.com/services/T0/B0/fakefake now") == f"to https://{REMOVED} now"
    block = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIabc+/\n" * 700 + "-----END RSA PRIVATE KEY-----"
    assert scrubber.text(f"a {block} b") == f"a {REMOVED} b"


def test_words_that_end_in_sk_are_no_keys() -> None:
    """A branch is named after its issue: `disk-` is no beginning of a key."""
    branch = "crewcap/disk-fill-on-the-build-machine-1 task-force-for-the-release risk-assessment-of-everything"
    assert Scrubber().text(branch) == branch
    assert "abcdefghij" not in Scrubber().text("key=sk-abcdefghijklmnopqrstuvwxyz")
