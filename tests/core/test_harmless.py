"""Text from strangers, made harmless."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.core.harmless import last_lines, one_line, plain, redact, reveal
from crewcap.core.scrub import REMOVED

SECRET = "zq81 hunter2/secret+value"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x\x1b]52;c;c2VjcmV0\x1b\\y", "xy"),
        ("\x9b31mred", "red"),
        ("\x1b(Bplain\x1b=", "plain"),
        ("a\r\nb\rc\x08\x07\x00", "a\nb\nc"),
        ("tab\tstays", "tab\tstays"),
        ("lone \x1b", "lone "),
    ],
)
def test_a_terminal_is_told_nothing_but_text(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_an_unfinished_escape_does_not_swallow_what_follows() -> None:
    """Else an agent could hide the rest of its log behind two letters."""
    assert plain("\x1b]0;never ended\nnext line") == "0;never ended\nnext line"


@given(st.text())
def test_no_control_character_ever_comes_through(text: str) -> None:
    assert all(char in "\n\t" or char.isprintable() or ord(char) > 0x9F for char in plain(text))
    assert "\n" not in one_line(text)
    assert len(one_line(text, limit=20)) <= 20


def test_one_line_is_cut_where_it_is_too_long() -> None:
    assert one_line("  a\n\tb \u202ec  ") == "a b c"
    assert one_line("abcdefgh", limit=6) == "abc..."


@pytest.mark.parametrize(
    ("text", "seen", "notes"),
    [
        ("plain words", "plain words", ()),
        ("a<!-- x -->b", "ab", ("1 comment left out",)),
        ("a<!-- never ends", "a", ("1 comment left out",)),
        ("a<!-- 1 -->b<!-- 2 -->c", "abc", ("2 comments left out",)),
        ("[//]: # (secret orders)\nb", "b", ("1 comment left out",)),
        ('[comment]: <> "orders"\nb', "b", ("1 comment left out",)),
        ("a<span style='display: none'>x</span>b", "ab", ("1 hidden element left out",)),
        ("a<div HIDDEN>x<b>y</b></div>b", "ab", ("1 hidden element left out",)),
        ('a<p style="font-size:0">x</p>b', "ab", ("1 hidden element left out",)),
        ("a\u200bb\u202ec\U000e0041d\u2063", "abcd", ("4 invisible letters left out",)),
        ("x\u200d\u200d\u200d\ufe0fy", "x\u200dy", ("1 invisible letter left out",)),
    ],
)
def test_what_readers_do_not_see_goes_and_is_counted(text: str, seen: str, notes: tuple[str, ...]) -> None:
    assert (reveal(text).text, reveal(text).notes) == (seen, notes)


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 family, \u2764\ufe0f heart",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian needs its joiners
        "[docs]: https://example.org/a 'title'",
        "if a < b and c > d: <b>bold</b>",
        "<details>folded but there</details>",
        "opacity: 0.5 and `display: none` in words",
    ],
)
def test_what_is_seen_stays(text: str) -> None:
    assert (reveal(text).text, reveal(text).notes) == (text, ())


@pytest.mark.parametrize(
    "disguise",
    [
        SECRET,
        SECRET[::-1],
        SECRET[7:],
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        quote(SECRET, safe=""),
        "".join(f"%{byte:02x}" for byte in SECRET.encode()),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"a{SECRET}".encode()).decode(),
        base64.b64encode(f"ab{SECRET}cd".encode()).decode(),
        base64.urlsafe_b64encode(f"abc{SECRET}".encode()).decode(),
        f"https://x.example/?q={quote(SECRET)}".replace("/secret", "%2Fsecret"),
    ],
)
def test_a_known_secret_is_found_in_the_usual_disguises(disguise: str) -> None:
    """The length of what is left tells that nothing but a letter or two at an end remains."""
    cleaned = redact(f"before {disguise} after", [SECRET])
    assert REMOVED in cleaned
    assert "hunter2" not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


@pytest.mark.parametrize(
    "key",
    [
        "sk-ant-api03-fakefakefakefake_fake",
        "ccap-fakefakefakefakefake",
        "ghp_0123456789abcdefghij0123",
        "github_pat_0123456789abcdefghij0123",
        "glpat-0123456789abcdefghij",
        "lin_api_0123456789abcdefghij",
        "xoxb-0123456789-abcdef",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_key_goes_although_nobody_told_us(key: str) -> None:
    assert redact(f"is {key} it") == f"is {REMOVED} it"


def test_a_password_in_an_address_goes() -> None:
    assert redact("postgres://ana:pw@db/x") == f"postgres://{REMOVED}@db/x"


def test_ordinary_words_stay() -> None:
    text = "task-based risk-free skill at 2026-11-22, sha 4f2c91e, see https://example.org:8080/a@b"
    assert redact(text, ["short"]) == text


@pytest.mark.parametrize("unit", ["<a ", "eyJ", "\x1b]", "<!--", "://", "-----BEGIN ", "[x]: #", "\u200d"])
def test_long_odd_texts_are_read_quickly(unit: str) -> None:
    """No pattern of ours may take the square of a text's length."""
    text = unit * (400_000 // len(unit))
    began = time.perf_counter()
    plain(text), reveal(text), redact(text)
    assert time.perf_counter() - began < 3


def test_the_end_of_what_a_program_said_is_short_whatever_it_was() -> None:
    said = "first\n" + "  indented\u200b\n" * 20 + "x" * 1_000
    shown = last_lines(said).splitlines()
    assert len(shown) == 20
    assert shown[0] == "  indented"
    assert shown[-1] == "x" * 157 + "..."
    assert last_lines(bytes(range(128, 256)).decode("utf-8", "replace") * 30) == "(bytes that are no text)"
    assert last_lines("begun\nA\ufffdB\n" + "\ufffd\ufffdx\n" * 9 + "ended") == "begun\n(bytes that are no text)\nended"
    assert last_lines("caf\ufffd \x1b[31mred\x1b[0m\r\n\n") == "caf\ufffd red"
